/**
 * The stages that run a program of the trainer: `train` and `reference`. Specification and data are on disk before the
 * program starts; it goes on from its newest complete checkpoint, whoever died meanwhile. What it leaves counts when
 * the stage is sealed.
 *
 * After a crash everything stays for the next attempt. A failure that no retry mends (diverged, unusable data) removes
 * what the program made: another start of the stage begins at its first update.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import type { DeviceSlots } from '../adapters/devices';
import { writeSealed } from '../adapters/store/sealed';
import type { StageStore } from '../adapters/store/stages';
import { writeLines } from '../adapters/tasks/lines';
import { appendTiming, readTiming } from '../adapters/timing';
import { runTrainer, trainerEnvironment, type TrainerProgress } from '../adapters/trainer';
import { plannedPrompt } from '../config/prompts';
import { Failure, isFailure } from '../core/failures';
import { inputsNamed, isPreference, type RunSettings, type Stage, type StageConfigs } from '../core/plan';
import { type Conversation, RolloutSource } from './conversations';
import type { StageTime } from './stages';
import { writeVerifierData } from './verify';

/** Cores of one program: others play rollouts meanwhile. */
const THREADS = 1;

export interface TrainerInput {
  stage: string;
  device: RunSettings['device'];
}

export interface TrainerDeps {
  store: StageStore;
  slots: DeviceSlots;
  /** The command that runs a program of the trainer on a specification. */
  command: (program: 'train' | 'reference', spec: string) => readonly [string, ...string[]];
  heartbeat: (progress?: TrainerProgress) => void;
  signal: AbortSignal;
}

type DeclaredStage<K extends 'train' | 'reference'> = Stage & { config: StageConfigs[K] };

export async function trainModel(input: TrainerInput, deps: TrainerDeps): Promise<void> {
  const { store } = deps;
  const stage = await store.read<'train'>(input.stage);
  const folder = store.folder(stage.id);
  await runStage('train', input, deps, async () => {
    const { prompt: _, ...config } = stage.config;
    const preference = isPreference(config.method);
    const data = path.join(folder, 'conversations.jsonl');
    if (config.method.type === 'sft' && !existsSync(data)) await writeData(stage, data, deps);
    if (config.method.type === 'verifier') await writeJudged(stage, data, deps);
    return {
      ...config,
      ...{ model: modelFolder(store, stage), lora: config.lora ?? null },
      data: preference ? store.folder(stage.inputs.pairs!) : data,
      reference: preference ? path.join(store.folder(stage.inputs.reference!), 'reference.jsonl') : null,
    };
  });
}

export async function scoreReference(input: TrainerInput, deps: TrainerDeps): Promise<void> {
  const { store } = deps;
  const stage = await store.read<'reference'>(input.stage);
  await runStage('reference', input, deps, () =>
    Promise.resolve({
      ...stage.config,
      model: modelFolder(store, stage),
      data: store.folder(stage.inputs.pairs!),
    }),
  );
}

function modelFolder(store: StageStore, stage: Stage): string {
  return path.join(store.folder(stage.inputs.model!), 'model');
}

/** The conversations that SFT learns from. Nothing lies there until all are written. */
async function writeData(stage: DeclaredStage<'train'>, file: string, deps: TrainerDeps): Promise<void> {
  const { method } = stage.config;
  const keep = method.type === 'sft' ? method.keep : 'all';
  let all = 0;
  let kept = 0;
  const conversations = async function* (): AsyncGenerator<Conversation> {
    for (const input of inputsNamed(stage, 'rollouts')) {
      const source = await RolloutSource.open(deps.store, input);
      for await (const summary of source.summaries()) {
        deps.heartbeat();
        all += 1;
        if (keep === 'finished' && summary.exit !== 'submitted') continue;
        if (keep === 'resolved' && !summary.resolved) continue;
        const conversation = await source.read(summary);
        if (!conversation) continue;
        kept += 1;
        yield conversation;
      }
    }
  };
  await writeLines(file, conversations(), deps.signal);
  if (kept > 0) return;
  await rm(file);
  throw new Failure(
    'DataUnusable',
    `${stage.id}: none of ${all} collected rollouts is ${keep === 'all' ? 'usable' : keep}: nothing to learn from; ` +
      `collect more, use a better teacher, or set keep: all`,
  );
}

/** What the verifier learns from, and in `data.json` what became of the rollouts. */
async function writeJudged(stage: DeclaredStage<'train'>, file: string, deps: TrainerDeps): Promise<void> {
  const { store, heartbeat, signal } = deps;
  const told = path.join(store.folder(stage.id), 'data.json');
  if (existsSync(told)) return;
  const data = await writeVerifierData(
    {
      ...{ stage: stage.id, rollouts: inputsNamed(stage, 'rollouts'), file },
      ...{ model: modelFolder(store, stage), cutoff: stage.config.cutoff },
    },
    { store, prompt: plannedPrompt(stage.config.prompt!).judge, heartbeat: () => heartbeat(), signal },
  );
  await writeSealed(told, `${JSON.stringify(data)}\n`);
}

async function runStage(
  program: 'train' | 'reference',
  input: TrainerInput,
  deps: TrainerDeps,
  prepare: () => Promise<Record<string, unknown>>,
): Promise<void> {
  const { store, signal } = deps;
  signal.throwIfAborted();
  const folder = store.folder(input.stage);
  const work = path.join(folder, '.work');
  await mkdir(work, { recursive: true });
  const spec = path.join(work, 'spec.json');
  const { device } = input;
  const given = { stage: input.stage, out: folder, ...(await prepare()), device, threads: THREADS };
  await writeSealed(spec, `${JSON.stringify(given, null, 2)}\n`);

  try {
    await runProgram(program, input, deps, spec);
  } catch (error) {
    if (!isFailure(error, 'TrainerCrashed') || (await crashesOnTheSpot(folder)) < MOST_CRASHES) throw error;
    throw new Failure(
      'TrainerStuck',
      `${error.message}\n${MOST_CRASHES} runs crashed in a row, none farther than the one before: mend the cause and ` +
        'start the experiment again, it goes on from the newest checkpoint',
    );
  }
}

/** Notes the run's time, whatever its end. */
async function runProgram(
  program: ProgramTime['program'],
  { stage, device }: TrainerInput,
  { store, slots, command, heartbeat, signal }: TrainerDeps,
  spec: string,
): Promise<void> {
  const folder = store.folder(stage);
  let newest: TrainerProgress | undefined;
  const beat = setInterval(() => heartbeat(newest), HEARTBEAT_MS);
  const started = Date.now();
  let ending = 'done';
  try {
    await slots.use((variables) =>
      runTrainer({
        command: command(program, spec),
        env: trainerEnvironment(device, variables),
        ...{ work: path.dirname(spec), name: stage, signal },
        onProgress: (progress) => {
          newest = progress;
          heartbeat(progress);
        },
      }),
    );
  } catch (error) {
    ending = error instanceof Error ? error.name : String(error);
    if (error instanceof Failure && !error.retryable) await forget(folder);
    throw error;
  } finally {
    clearInterval(beat);
    await noteTime(folder, program, started, ending, newest);
  }
}

const HEARTBEAT_MS = 5_000;
const MOST_CRASHES = 10;

/** Crashes since the stage was opened or got farther, the newest included: by its `timing.jsonl`. */
async function crashesOnTheSpot(folder: string): Promise<number> {
  let [crashes, farthest] = [0, -1];
  for await (const time of readTiming<StageTime | ProgramTime>(folder)) {
    if (time.event === 'opened') [crashes, farthest] = [0, -1];
    if (time.event !== 'program') continue;
    if (time.update > farthest) [crashes, farthest] = [0, time.update];
    if (time.ending === 'TrainerCrashed') crashes += 1;
  }
  return crashes;
}

/** What stays of a run that cannot be taken up: its declaration, its times, and what the program said. */
const KEPT = new Set(['stage.json', 'timing.jsonl', '.work']);

async function forget(folder: string): Promise<void> {
  const work = path.join(folder, '.work');
  const made = (await readdir(folder)).filter((name) => !KEPT.has(name)).map((name) => path.join(folder, name));
  const left = (await readdir(work)).filter((name) => name !== 'program.log').map((name) => path.join(work, name));
  for (const name of [...made, ...left]) await rm(name, { recursive: true, force: true });
}

/** A line of the stage's `timing.jsonl` for each run of the program: outside every digest. */
export interface ProgramTime {
  event: 'program';
  program: 'train' | 'reference';
  /** ISO 8601, when it ended. */
  at: string;
  host: string;
  seconds: number;
  /** `done`, or why it stopped: the name of a failure. */
  ending: string;
  /** Updates done when it ended, also those of earlier runs. */
  update: number;
  tokensPerSecond: number | null;
  /** Of main memory, by the process itself. */
  peakMemoryMb: number | null;
}

async function noteTime(
  folder: string,
  program: ProgramTime['program'],
  started: number,
  ending: string,
  newest: TrainerProgress | undefined,
): Promise<void> {
  const time: ProgramTime = {
    ...{ event: 'program', program, at: new Date().toISOString(), host: hostname() },
    ...{ seconds: (Date.now() - started) / 1000, ending, update: newest?.update ?? 0 },
    tokensPerSecond: newest?.tokensPerSecond ?? null,
    peakMemoryMb: newest?.peakMemoryMb ?? null,
  };
  await appendTiming(folder, time);
}
