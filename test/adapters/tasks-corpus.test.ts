import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { playRollout } from '../../activities/rollout';
import type { Policy } from '../../adapters/policy/policy';
import { replyText } from '../../adapters/policy/moves';
import { corpusTasks, drawPlay, type Mixture, type Play, playInMemory, runVisible } from '../../adapters/tasks/corpus';
import { memoryPort } from '../../adapters/tasks/memory-port';
import { writeLines } from '../../adapters/tasks/lines';
import { pocketRows } from '../../adapters/tasks/pocket';
import { pythonEvaluate, startPython } from '../../adapters/tasks/python';
import { loadRows } from '../../adapters/tasks/r2e';
import { RUN_TESTS } from '../../adapters/tasks/repository-files';
import { loadPrompt } from '../../config/prompts';
import { normalisedBody, splitOf } from '../../core/pocket/body';
import { SHARED_FAMILIES } from '../../core/pocket/families';
import { generatePocket, type PocketTask, POCKET_COUNTS } from '../../core/pocket/generate';
import { conversation } from '../../core/prompt';
import { random } from '../../core/random';
import type { Task } from '../../core/task';
import type { Message } from '../../core/trajectory';
import { depsFor, inputFor } from '../fixtures/rollout-input';

const SEED = 1000;
const TASKS = 40;
const MIXTURE: Mixture = {
  ...{ plays: [2, 2], softSteps: [12, 24], teacher: 0.5, sloppy: 0.35, wrongEdits: 2 },
  ...{ noisyEdits: 2, tests: 0.5, undo: 0.7 },
};
const COUNTS = { ...POCKET_COUNTS, train: TASKS };
const prompt = loadPrompt('tiny');

let home: string;
let pockets: PocketTask[];
let dropped = 0;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'corpus-'));
  pockets = [];
  const onTasks = (done: { dropped: number }) => (dropped += done.dropped);
  for await (const { pocket } of corpusTasks({ firstSeed: SEED, seeds: 1, tasksPerSeed: TASKS, onTasks }))
    pockets.push(pocket);
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** The corpus' tasks as rollouts get them, by id. */
async function loadTasks(seed: number): Promise<Map<string, Task>> {
  const file = join(home, `rows-${seed}.jsonl`);
  await writeLines(file, pocketRows({ seed, split: 'train', counts: COUNTS }));
  const tasks = new Map<string, Task>();
  for await (const row of loadRows(file, 'pocket')) {
    if ('problem' in row) throw new Error(row.problem);
    const { task, bundle } = row.loaded;
    tasks.set(task.id, task);
    if (task.place.type !== 'repository') throw new Error(`${task.id} has no repository`);
    const path = join(home, 'tasks', task.place.bundle);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bundle!);
  }
  return tasks;
}

/** The same script in a real sandbox. */
async function playInSandbox(task: Task, { script, softSteps }: Play, sample: number): Promise<Message[]> {
  const policy: Policy = {
    ref: { name: 'script', model: 'script', privileged: true },
    ask: ({ messages }) => Promise.resolve({ text: replyText(script(messages)) }),
  };
  const input = inputFor(home, task, policy);
  const limits = { ...input.limits, softSteps, maxSteps: softSteps };
  const id = { ...input.id, task: task.id, sample };
  const { trajectory } = await playRollout({ ...input, id, prompt, limits }, depsFor(home));
  const last = trajectory.steps.at(-1)!;
  const shown = conversation(trajectory.prompt, trajectory.steps.slice(0, -1), limits);
  return [...shown, { role: 'assistant', content: last.reply.text }];
}

test('a play in memory shows the very messages of a rollout in a sandbox', async () => {
  const tasks = await loadTasks(SEED);
  await using runner = startPython('visible_tests.py');
  const draw = random(7);
  const seen = { commands: new Set<string>(), failed: 0, passed: 0 };
  for (const [sample, pocket] of pockets.slice(0, 8).entries()) {
    for (let play = 0; play < 2; play++) {
      const drawn = drawPlay(pocket, MIXTURE, draw);
      const inMemory = await playInMemory(pocket, drawn, prompt, runVisible(pocket, runner));
      expect(await playInSandbox(tasks.get(pocket.id)!, drawn, 10 * sample + play)).toEqual(inMemory);
      const text = inMemory.map(({ content }) => content).join('\n');
      for (const [command] of text.matchAll(/sed -i|git checkout|run_tests\.sh|>submit/g)) seen.commands.add(command);
      if (text.includes('1 failed')) seen.failed += 1;
      if (text.includes('=== 3 passed ===')) seen.passed += 1;
    }
  }
  expect(seen.commands).toEqual(new Set(['sed -i', 'git checkout', 'run_tests.sh', '>submit']));
  expect(seen.failed).toBeGreaterThan(0);
  expect(seen.passed).toBeGreaterThan(0);
}, 120_000);

test('no corpus task is one of the shipped splits, whatever its names and numbers', async () => {
  await using python = startPython('evaluate.py');
  const shipped = await generatePocket({ seed: 1, split: 'train' }, pythonEvaluate(python));
  const code = (source: string) => normalisedBody(source.split('\n').filter((_, index) => index !== 1));
  const change = ({ good, broken }: PocketTask) => `${code(broken)}\0${code(good)}`;
  const changes = new Set(shipped.map(change));
  expect(pockets.length).toBeGreaterThan(TASKS / 2);
  expect(dropped).toBe(TASKS - pockets.length);
  expect(dropped).toBeGreaterThan(0);
  expect(pockets.filter((task) => changes.has(change(task)))).toEqual([]);
  expect(pockets.filter(({ bodyHash }) => splitOf(bodyHash) !== 'train')).toEqual([]);
  const families = SHARED_FAMILIES.map(({ name }) => name);
  expect(pockets.filter(({ family }) => !families.includes(family))).toEqual([]);
});

describe('the visible tests', () => {
  const body = (...lines: string[]) => ['def f(x):', ...lines.map((line) => `    ${line}`), ''].join('\n');
  const tests = 'from seq import f\n\n\ndef test_1():\n    assert f(3) == 4\n\n\ndef test_2():\n    assert f(0) == 0\n';
  const runner = join(__dirname, '../../adapters/tasks/run_functions.py');
  const shell = (source: string) => {
    const folder = mkdtempSync(join(tmpdir(), 'visible-'));
    mkdirSync(join(folder, 'tests'));
    copyFileSync(runner, join(folder, 'tests', 'run.py'));
    for (const [path, text] of Object.entries({
      'run_tests.sh': RUN_TESTS,
      'seq.py': source,
      'tests/test_visible.py': tests,
    })) {
      writeFileSync(join(folder, path), text);
    }
    const { status, stdout } = spawnSync('sh', ['run_tests.sh'], { cwd: folder, encoding: 'utf8' });
    rmSync(folder, { recursive: true });
    return { exitCode: status, stdout };
  };

  test.each([
    ['pass', body('return x + 1 if x else 0')],
    ['fail', body('return x + 2 if x else 0')],
    ['raise', body('return [][x]')],
    ['never return', body('while x < 9:', '    x += 0', 'return x')],
    ['do not load', body('return (')],
  ])('print in memory what they print in a repository where they %s', async (_, source) => {
    await using child = startPython('visible_tests.py');
    const before = await child.ask({ module: 'seq.py', source: body('return 7'), tests });
    expect(before).toMatchObject({ exitCode: 1 });
    expect(await child.ask({ module: 'seq.py', source, tests })).toEqual(shell(source));
  });
});

test('the memory port refuses what is no command of a play', async () => {
  const port = memoryPort('/testbed', 'seq.py', 'x = 1\n', () => Promise.reject(new Error('no tests')));
  const run = (command: string) => port.run(command, { timeoutMs: 1 });
  await expect(run('ls')).rejects.toThrow('not a command of scripted plays: ls');
  await expect(run("sed -i '1s/ 1/ 2/' /testbed/other.py")).rejects.toThrow('not a command');
  await run("sed -i '1s/ 1/ $&\\/\\&/' /testbed/seq.py");
  expect(Buffer.from((await port.read('/testbed/seq.py'))!).toString()).toBe('x = $&/&\n');
  await run('cd /testbed && git checkout -q .');
  expect(Buffer.from((await port.read('/testbed/seq.py'))!).toString()).toBe('x = 1\n');
});
