/**
 * The text that the tiny base model learns from: conversations as rollouts show them to a policy, played in process by
 * scripts on pocket tasks of other seeds. Some are plays of the teacher, the others are noisy: one or two random wrong
 * edits, submitted whatever the tests say. So the base can read, edit, test and undo, but often submits rubbish.
 *
 * No task of the shipped splits is among them: held-out bodies and the unseen families are never drawn, and what equals
 * a shipped training task up to names and numbers is dropped. Decided by the seed alone.
 */
import { isFormatError, parseAction } from '../../core/action';
import { Failure } from '../../core/failures';
import { normalisedBody } from '../../core/pocket/body';
import { generatePocket, POCKET_COUNTS, type PocketTask } from '../../core/pocket/generate';
import { conversation, openingMessages, type Prompt } from '../../core/prompt';
import { type Random, random, seedFor } from '../../core/random';
import type { Task } from '../../core/task';
import { runTool } from '../../core/tools/run';
import type { Message } from '../../core/trajectory';
import {
  bash,
  definitionOf,
  editsOf,
  finish,
  type Move,
  readConversation,
  replaceSpan,
  replyText,
  sed,
  shownLines,
  succeeded,
  suspicion,
  view,
} from '../policy/moves';
import { teacherMove } from '../policy/teacher';
import { fileDiff, goldPatch } from './gold';
import { memoryPort, type RunTests } from './memory-port';
import { testFile } from './pocket';
import { type PythonChild, pythonEvaluate, startPython } from './python';

/** Seed of the shipped splits. */
const SHIPPED_SEED = 1;
const TASKS_PER_SEED = 1000;

/** What is played on each task. Pairs are the least and the most. */
export interface Mixture {
  plays: [number, number];
  softSteps: [number, number];
  /** Share of plays by the teacher; the others are noisy. */
  teacher: number;
  /** The teacher's: share that edits once and submits untested, most wrong edits before the right one. */
  sloppy: number;
  wrongEdits: number;
  /** Most wrong edits of a noisy play; each is tested with probability `tests`, taken back before the next with `undo`. */
  noisyEdits: number;
  tests: number;
  undo: number;
}

const WORKDIR = '/testbed';
const TEST = 'bash run_tests.sh';
const COMMAND_TIMEOUT_MS = 10_000;

/** A pocket task as far as plays need it. */
export type PlayedTask = Pick<Task, 'id' | 'statement' | 'workdir' | 'gold' | 'visibleCommand'>;

/** Next move after what the policy was shown. */
export type Script = (messages: readonly Message[]) => Move;

export interface CorpusInput {
  /** Tasks are generated per seed: this many seeds from the first on. */
  firstSeed: number;
  seeds: number;
  tasksPerSeed?: number;
  onTasks?: (done: { seed: number; tasks: number; dropped: number }) => void;
}

/** All conversations, in an order that the seeds decide; the last message is the policy's. */
export async function* corpus(
  { prompt, mixture, ...drawn }: CorpusInput & { prompt: Prompt; mixture: Mixture },
  signal?: AbortSignal,
): AsyncGenerator<Message[]> {
  await using runner = startPython('visible_tests.py', signal);
  for await (const { pocket, seed } of corpusTasks(drawn, signal)) {
    const draw = random(seedFor('corpus', seed, pocket.id));
    const plays = Array.from({ length: draw.int(...mixture.plays) }, () => drawPlay(pocket, mixture, draw));
    yield* await Promise.all(plays.map((play) => playInMemory(pocket, play, prompt, runVisible(pocket, runner))));
  }
}

/** Seed by seed, without those that a shipped task equals. */
export async function* corpusTasks(
  { firstSeed, seeds, tasksPerSeed = TASKS_PER_SEED, onTasks }: CorpusInput,
  signal?: AbortSignal,
): AsyncGenerator<{ seed: number; pocket: PocketTask }> {
  await using evaluator = startPython('evaluate.py', signal);
  const evaluate = pythonEvaluate(evaluator);
  const shipped = new Set((await generatePocket({ seed: SHIPPED_SEED, split: 'train' }, evaluate)).map(twinOf));
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const counts = { ...POCKET_COUNTS, train: tasksPerSeed };
    const drawn = await generatePocket({ seed, split: 'train', counts }, evaluate);
    const tasks = drawn.filter((task) => !shipped.has(twinOf(task)));
    onTasks?.({ seed, tasks: tasks.length, dropped: drawn.length - tasks.length });
    for (const pocket of tasks) yield { seed, pocket };
  }
}

/** `runner` is `visible_tests.py`. */
export function runVisible(pocket: PocketTask, runner: PythonChild): RunTests {
  const tests = testFile(pocket, pocket.visible);
  return async (source) =>
    (await runner.ask({ module: pocket.file, source, tests })) as { exitCode: number; stdout: string };
}

/** Equal for tasks that differ in names and numbers only. */
function twinOf({ bodyHash, broken }: PocketTask): string {
  const code = broken.split('\n').filter((_, index) => index !== 1);
  return `${bodyHash}\0${normalisedBody(code)}`;
}

/** The task as its row gives it to a rollout. */
export function playedTask(pocket: PocketTask): PlayedTask {
  return {
    id: pocket.id,
    statement: `\n${pocket.statement}`,
    workdir: WORKDIR,
    gold: goldPatch({ file_diffs: [fileDiff(pocket.file, pocket.broken, pocket.good)] }),
    visibleCommand: TEST,
  };
}

export interface Play {
  script: Script;
  softSteps: number;
}

export function drawPlay(pocket: PocketTask, mixture: Mixture, draw: Random): Play {
  const softSteps = draw.int(...mixture.softSteps);
  const rolloutSeed = draw.int(0, 0x7fffffff);
  const task = playedTask(pocket) as Task;
  const teacher = { sloppy: mixture.sloppy, wrongEdits: mixture.wrongEdits, testCommand: TEST, rolloutSeed };
  if (draw.float() < mixture.teacher) return { softSteps, script: (messages) => teacherMove(messages, task, teacher) };
  return { softSteps, script: (messages) => noisyMove(messages, pocket, mixture, rolloutSeed) };
}

/** One or two wrong edits, some tested, some undone; then it submits, whatever the tests say. */
function noisyMove(
  messages: readonly Message[],
  { file, name, good }: PocketTask,
  mixture: Mixture,
  seed: number,
): Move {
  const { turns } = readConversation(messages);
  const path = `${WORKDIR}/${file}`;
  const [first] = turns;
  if (first === undefined) return view(path);
  const last = turns.at(-1)!;
  if (last.reply.includes(TEST) && succeeded(last)) return finish('The tests pass.');
  const draw = random(seed);
  const lines = shownLines(first);
  const fixed = good.split('\n');
  const start = definitionOf(lines, name);
  if (start === undefined) throw new Failure('TaskBroken', `${file}: the view shows no ${name}`);
  const wrong = draw.shuffle(editsOf(lines, start).filter((edit) => fixed[edit.line - 1] !== edit.after));
  const moves = wrong
    .slice(0, draw.int(1, mixture.noisyEdits))
    .flatMap((edit, index) => [
      ...(index > 0 && draw.float() < mixture.undo
        ? [bash('That was not it: take it back.', `cd ${WORKDIR} && git checkout -q .`)]
        : []),
      bash(suspicion(edit.kind, draw), sed(replaceSpan(edit), path)),
      ...(draw.float() < mixture.tests ? [bash('What do the tests say?', TEST)] : []),
    ]);
  return moves[turns.length - 1] ?? finish('That settles it.');
}

/** Plays until the script submits. */
export async function playInMemory(
  pocket: PocketTask,
  { script, softSteps }: Play,
  prompt: Prompt,
  runTests: RunTests,
): Promise<Message[]> {
  const port = memoryPort(WORKDIR, pocket.file, pocket.broken, runTests);
  const opening = openingMessages(prompt, playedTask(pocket));
  const steps: { reply: { text: string }; observation: string }[] = [];
  for (;;) {
    const messages = conversation(opening, steps, { softSteps });
    const text = replyText(script(messages));
    const action = parseAction(text);
    if (isFormatError(action)) throw new Error(`a script wrote no call: ${text}`);
    const { observation, finished } = await runTool(action, port, { commandTimeoutMs: COMMAND_TIMEOUT_MS });
    if (finished) return [...messages, { role: 'assistant', content: text }];
    steps.push({ reply: { text }, observation });
  }
}
