import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PlayDeps, playRollout } from '../../activities/rollout';
import type { Committed } from '../../adapters/journal';
import { CONTEXT_FULL, type Policy } from '../../adapters/policy/policy';
import { BubblewrapAdapter } from '../../adapters/sandbox/bubblewrap';
import type { OpenSandbox, Sandbox, SandboxAdapter } from '../../adapters/sandbox/sandbox';
import { renderAction } from '../../core/action';
import { Failure } from '../../core/failures';
import type { Task } from '../../core/task';
import type { RolloutLimits } from '../../core/trajectory';
import { type PolicyServer, readCalls, startPolicyServer } from '../fixtures/policy-server';
import { depsFor, inputFor, ROLLOUT, studentPolicy } from '../fixtures/rollout-input';
import { writeTinyTask } from '../fixtures/tiny-task';

let home: string;
let task: Task;
let server: PolicyServer;
let log: string;
/** Trajectory of the undisturbed rollout, and its calls. */
let quiet: { bytes: string; steps: number };

const rolloutFolder = () => join(home, 'store', ROLLOUT.stage, ROLLOUT.task, 'r03');
const bytesOf = ({ folder }: Committed) => readFile(join(folder, 'trajectory.json'), 'utf8');
const clearStore = () => rm(join(home, 'store'), { recursive: true, force: true });

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'rollout-'));
  log = join(home, 'calls');
  task = await writeTinyTask(join(home, 'tasks'));
  server = await startPolicyServer({ log, tries: 20 });
  const committed = await playRollout(inputFor(home, task, studentPolicy(server.url)), depsFor(home));
  quiet = { bytes: await bytesOf(committed), steps: committed.trajectory.steps.length };
});
beforeEach(async () => {
  await clearStore();
  await rm(log, { force: true });
});
afterEach(async () => {
  const left = await depsFor(home).sandboxes[0]!.list();
  if (left.length > 0) throw new Error(`sandboxes left: ${left.join(', ')}`);
});
afterAll(async () => {
  await server.close();
  await rm(home, { recursive: true, force: true });
});

const play = (policy: Policy, deps: Partial<PlayDeps> = {}, limits: Partial<RolloutLimits> = {}) => {
  const input = inputFor(home, task, policy);
  return playRollout({ ...input, limits: { ...input.limits, ...limits } }, { ...depsFor(home), ...deps });
};

/** Says these replies in turn. */
function saying(...replies: (string | typeof CONTEXT_FULL)[]): Policy & { asked: number } {
  return {
    ref: { name: 'fixed', model: 'fixed', privileged: false },
    asked: 0,
    async ask({ messages }) {
      this.asked++;
      const reply = replies[messages.filter(({ role }) => role === 'assistant').length]!;
      return reply === CONTEXT_FULL ? reply : { text: reply as string };
    },
  };
}
const bash = (cmd: string) => `Go.\n${renderAction({ tool: 'execute_bash', parameters: { cmd } })}`;
const finish = renderAction({ tool: 'finish', parameters: { command: 'submit' } });

/** Real sandboxes; `before` is called with the number of each command, over all of them, as it starts. */
function watched(before: (command: number, id: string) => Promise<void> | void): SandboxAdapter & { opened: string[] } {
  const inner = new BubblewrapAdapter(join(home, 'cache'));
  let commands = 0;
  const opened: string[] = [];
  return {
    opened,
    kind: inner.kind,
    unavailable: () => inner.unavailable(),
    holds: (one) => inner.holds(one),
    reattach: () => inner.reattach(),
    list: () => inner.list(),
    remove: (id) => inner.remove(id),
    async open(input: OpenSandbox): Promise<Sandbox> {
      opened.push(input.id);
      const sandbox = await inner.open(input);
      const exec = sandbox.exec.bind(sandbox);
      sandbox.exec = async (command, options) => {
        await before(++commands, input.id);
        return exec(command, options);
      };
      return sandbox;
    },
  };
}

/** The sandbox is lost as the n-th command starts. */
function losing(atCommand: number): SandboxAdapter & { opened: string[] } {
  const adapter = watched((command, id) => (command === atCommand ? adapter.remove(id) : undefined));
  return adapter;
}

test('equal input gives equal bytes, and a committed rollout is returned without asking anyone', async () => {
  const first = await play(studentPolicy(server.url));
  expect(await bytesOf(first)).toBe(quiet.bytes);
  expect(first.trajectory).toMatchObject({ id: `${ROLLOUT.stage}/tiny/r03`, exit: 'submitted', sample: 3 });
  expect(first.trajectory.patch).toMatch(/^diff --git a\/seq.py b\/seq.py\n/);
  const policy = saying();
  expect(await play(policy)).toEqual(first);
  expect(policy.asked).toBe(0);
});

test('the trajectory names no time, host or attempt; they are in timing.jsonl', async () => {
  await play(studentPolicy(server.url));
  expect(quiet.bytes).not.toMatch(/"(ms|host|pid|attempt|started|token)"/);
  const [line, ...more] = (await readFile(join(rolloutFolder(), 'timing.jsonl'), 'utf8')).trim().split('\n');
  expect(more).toEqual([]);
  expect(JSON.parse(line!)).toMatchObject({ attempt: 1, pid: process.pid, steps: quiet.steps, exit: 'submitted' });
});

test.each([1, 2, 3])('killed with -9 at call %i, another process finishes with the same bytes', async (killAt) => {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/fixtures/rollout-input.ts', home, server.url], {
    stdio: 'inherit',
  });
  const exited = once(child, 'exit');
  const before = server.requests.length;
  server.onRequest = () => {
    if (server.requests.length - before === killAt) child.kill('SIGKILL');
  };
  await exited;
  server.onRequest = null;
  expect(child.signalCode).toBe('SIGKILL');
  expect(server.requests.length - before).toBe(killAt);

  const resumed = await play(studentPolicy(server.url));
  expect(await bytesOf(resumed)).toBe(quiet.bytes);
  expect(resumed.attempt).toBe(1);
  const calls = [...readCalls(log).values()];
  expect(killAt).toBeLessThan(quiet.steps);
  expect(calls).toHaveLength(quiet.steps);
  expect(calls.reduce((sum, times) => sum + times, 0)).toBeLessThanOrEqual(quiet.steps + 1);
});

test('a lost sandbox resumes at the lost step, and no reply is asked for twice', async () => {
  const adapter = losing(4);
  await expect(play(studentPolicy(server.url), { sandboxes: [adapter] })).rejects.toMatchObject({
    name: 'SandboxLost',
    retryable: true,
  });
  const asked = readCalls(log).size;
  expect(asked).toBeGreaterThan(0);
  const resumed = await play(studentPolicy(server.url), { sandboxes: [adapter] });
  expect(adapter.opened).toHaveLength(2);
  expect(await bytesOf(resumed)).toBe(quiet.bytes);
  expect(Math.max(...readCalls(log).values())).toBe(1);
});

test('a rebuilt sandbox that answers otherwise restarts the rollout once, and both attempts stay on record', async () => {
  const uuid = 'cat /proc/sys/kernel/random/uuid';
  const policy = saying(bash(uuid), bash('true'), finish);
  const adapter = losing(2);
  await expect(play(policy, { sandboxes: [adapter] })).rejects.toMatchObject({ name: 'SandboxLost' });
  const again = await play(policy, { sandboxes: [adapter] });
  expect(again).toMatchObject({ attempt: 2, trajectory: { exit: 'submitted' } });
  const first = (await readFile(join(rolloutFolder(), 'a1', 'journal.jsonl'), 'utf8')).trim().split('\n');
  expect(JSON.parse(first.at(-1)!)).toMatchObject({ type: 'mismatch', step: 0 });
});

test('a second mismatch ends the rollout as a failure', async () => {
  const policy = saying(bash('cat /proc/sys/kernel/random/uuid'), bash('true'), finish);
  await expect(play(policy, { sandboxes: [losing(2)] })).rejects.toMatchObject({ name: 'SandboxLost' });
  // Command 1 rebuilds the first attempt and mismatches; 2 and 3 are steps 0 and 1 of the second.
  await expect(play(policy, { sandboxes: [losing(3)] })).rejects.toMatchObject({ name: 'SandboxLost' });
  await expect(play(policy)).rejects.toMatchObject({ name: 'RolloutStuck', retryable: false });
});

test('of two that play the same rollout the older one is fenced off', async () => {
  let goOn = () => {};
  const waiting = new Promise<void>((resolve) => (goOn = resolve));
  const slow = saying(bash('echo slow'), finish);
  const ask = slow.ask.bind(slow);
  const started = new Promise<void>((resolve) => {
    slow.ask = async (input) => {
      resolve();
      await waiting;
      return ask(input);
    };
  });
  const old = play(slow).catch((error: unknown) => error);
  await started;
  const young = await play(saying(bash('echo young'), finish));
  goOn();
  expect(await old).toMatchObject({ name: 'JournalFenced' });
  expect(young.trajectory.steps[0]!.observation).toContain('young');
  expect(JSON.parse(await bytesOf(young))).toEqual(young.trajectory);
});

test.each<[string, (string | typeof CONTEXT_FULL)[], Partial<RolloutLimits>, number]>([
  ['stepLimit', [bash('echo 1 > new.txt'), bash('true')], { maxSteps: 2 }, 2],
  ['formatLimit', [bash('echo 1 > new.txt'), 'no call', '<function=finish>', finish], {}, 3],
  ['contextLimit', [bash('echo 1 > new.txt'), CONTEXT_FULL], {}, 1],
  ['timeLimit', [bash('echo 1 > new.txt; sleep 0.1'), finish], { maxTimeMs: 50 }, 1],
  ['submitted', [bash('echo 1 > new.txt'), finish], { softSteps: 0 }, 2],
])('%s is an outcome that keeps steps and patch', async (exit, replies, limits, steps) => {
  const { trajectory } = await play(saying(...replies), {}, limits);
  expect(trajectory.exit).toBe(exit);
  expect(trajectory.steps).toHaveLength(steps);
  expect(trajectory.patch).toContain('+++ b/new.txt');
});

test('a prompt that does not fit the context is no outcome: it stops the stage with the remedy', async () => {
  await expect(play(saying(CONTEXT_FULL))).rejects.toMatchObject({
    name: 'ConfigInvalid',
    message: expect.stringMatching(/^the context of fixed is too small for the prompt of task tiny: use a model with/),
  });
  expect((await play(saying(finish))).trajectory.exit).toBe('submitted');
});

test('a command past its time is an observation, and the rollout goes on', async () => {
  const { trajectory } = await play(saying(bash('sleep 30'), finish), {}, { commandTimeoutMs: 300 });
  expect(trajectory.steps[0]).toMatchObject({ timedOut: true });
  expect(trajectory.exit).toBe('submitted');
});

test('an endpoint that is down for long stops nothing', async () => {
  const down: Policy = {
    ...saying(),
    ask: () => Promise.reject(new Failure('PolicyUnavailable', 'down')),
  };
  for (let attempt = 0; attempt < 5; attempt++) {
    await expect(play(down)).rejects.toMatchObject({ name: 'PolicyUnavailable' });
  }
  expect((await play(saying(finish))).trajectory.exit).toBe('submitted');
});

test('a rollout that breaks every attempt is stuck after three', async () => {
  const broken: Policy = { ...saying(), ask: () => Promise.reject(new Error('out of memory')) };
  for (let attempt = 0; attempt < 3; attempt++) await expect(play(broken)).rejects.toThrow('out of memory');
  await expect(play(saying(finish))).rejects.toMatchObject({ name: 'RolloutStuck' });
});

test('a cancelled rollout stops its command, closes its sandbox and can be taken up again', async () => {
  const controller = new AbortController();
  const policy = saying(bash('sleep 30'), finish);
  const adapter = watched(() => void setImmediate(() => controller.abort(new Error('cancelled'))));
  await expect(play(policy, { signal: controller.signal, sandboxes: [adapter] })).rejects.toThrow('cancelled');
  expect(adapter.opened).toHaveLength(1);
  expect(await depsFor(home).sandboxes[0]!.list()).toEqual([]);
  const { trajectory } = await play(saying(bash('unused'), finish), {}, { commandTimeoutMs: 300 });
  expect(trajectory.steps[0]!.reply.text).toBe(bash('sleep 30'));
});

test('a task that no sandbox of the worker holds is broken, with the remedy', async () => {
  await expect(play(saying(finish), { sandboxes: [] })).rejects.toMatchObject({
    name: 'TaskBroken',
    message: expect.stringContaining('need Docker'),
  });
});

test('a journal whose end is recorded is sealed without a sandbox', async () => {
  const first = await play(studentPolicy(server.url));
  await rm(join(first.folder, 'trajectory.json'));
  const adapter = losing(0);
  const again = await play(saying(), { sandboxes: [adapter] });
  expect(adapter.opened).toEqual([]);
  expect(again.trajectory).toMatchObject({ steps: first.trajectory.steps, patch: first.trajectory.patch });
});
