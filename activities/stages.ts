/** Control activities of a stage: open, hand out shards, seal. */
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { sha256Hex } from '../core/artifact';
import { Failure } from '../core/failures';
import { rolloutName, sampleName } from '../core/ids';
import { isSharded, type RolloutsStageConfig, type Stage, type StageKind } from '../core/plan';
import type { Grade } from '../core/task';
import type { RolloutSummary, Trajectory } from '../core/trajectory';
import { readCommitted } from '../adapters/journal';
import { writeSealed } from '../adapters/store/sealed';
import type { StageStore } from '../adapters/store/stages';
import { TaskSet } from '../adapters/store/task-set';
import { appendTiming } from '../adapters/timing';
import { hasOnnx } from '../adapters/verifier/onnx';

/** One piece of a shard's work: a rollout, or a task to score. */
export interface Unit {
  task: string;
  /** Absent where the whole task is one piece. */
  sample?: number;
}

export interface RolloutFailure {
  id: string;
  task: string;
  sample: number | null;
  type: string;
  message: string;
}

/** A line of a stage's `timing.jsonl`. */
export interface StageTime {
  event: 'opened' | 'sealed';
  /** ISO 8601. */
  at: string;
  host: string;
}

export interface OpenedStage {
  sealed: boolean;
  counts: Record<string, number>;
  shards: number;
  /** Units of all shards together. */
  rollouts: number;
  /** The model that has to be served meanwhile: one of ours that plays, or judges and is too large for this process. */
  model?: string;
}

/** Tasks per shard: all samples of a task stay together. */
export function tasksPerShard(shardSize: number, samples: number): number {
  return Math.max(1, Math.floor(shardSize / samples));
}

/** Folder of a unit's records below its stage's folder. */
export function unitFolder(unit: Unit): string {
  return unit.sample === undefined ? unit.task : path.join(unit.task, sampleName(unit.sample));
}

export function createStageActivities(store: StageStore) {
  const tasksOf = (stage: Stage): Promise<TaskSet> => TaskSet.open(store.folder(stage.inputs.tasks!));
  const samplesOf = (stage: Stage): number =>
    stage.kind === 'score' ? 1 : (stage.config as RolloutsStageConfig).samples;

  const servedModel = ({ kind, inputs }: Stage): string | undefined => {
    if (kind === 'collect' || kind === 'evaluate') return inputs.model;
    return kind === 'verify' && !hasOnnx(store.folder(inputs.verifier!)) ? inputs.verifier : undefined;
  };

  return {
    async openStage(input: { stage: string; shardSize: number }): Promise<OpenedStage> {
      const stage = await store.read(input.stage);
      const manifest = await store.manifest(stage.id);
      if (manifest) return { sealed: true, counts: manifest.counts, shards: 0, rollouts: 0 };
      await noteTime(stage.id, 'opened');
      const model = servedModel(stage);
      const served = model === undefined ? {} : { model };
      if (!isSharded(stage.kind)) return { sealed: false, counts: {}, shards: 0, rollouts: 0, ...served };
      const { ids } = await tasksOf(stage);
      const samples = samplesOf(stage);
      const shards = Math.ceil(ids.length / tasksPerShard(input.shardSize, samples));
      return { sealed: false, counts: {}, shards, rollouts: ids.length * samples, ...served };
    },

    async openShard(input: {
      stage: string;
      shard: number;
      shardSize: number;
    }): Promise<{ activity: 'rollout' | 'scoreTask'; units: Unit[] }> {
      const stage = await store.read(input.stage);
      const samples = samplesOf(stage);
      const size = tasksPerShard(input.shardSize, samples);
      const { ids } = await tasksOf(stage);
      const tasks = ids.slice(input.shard * size, (input.shard + 1) * size);
      if (stage.kind === 'score') return { activity: 'scoreTask', units: tasks.map((task) => ({ task })) };
      const units = tasks.flatMap((task) => Array.from({ length: samples }, (_, sample) => ({ task, sample })));
      return { activity: 'rollout', units };
    },

    /** Keeps what went wrong beside the rollout: unknown, never a reward of 0. A later run of the stage tries again. */
    async recordFailure(input: { stage: string; type: string; message: string } & Unit): Promise<void> {
      const { stage, task, sample, type, message } = input;
      const id = sample === undefined ? `${stage}/${task}` : rolloutName({ stage, task, sample });
      const failure: RolloutFailure = { id, task, sample: sample ?? null, type, message };
      const file = path.join(store.folder(stage), unitFolder(input), 'failure.json');
      await writeSealed(file, `${JSON.stringify(failure)}\n`);
    },

    /** Gathers the stage's records in the order of its tasks, checks the usable share, and writes the manifest last. */
    async sealStage(id: string): Promise<Record<string, number>> {
      const stage = await store.read(id);
      const present = await store.manifest(id);
      if (present) return present.counts;
      const counts = isSharded(stage.kind) ? await gather(stage) : await countRecords(stage, store.folder(id));
      const manifest = await store.seal(stage, counts);
      await noteTime(id, 'sealed');
      return manifest.counts;
    },
  };

  /** When a stage began and ended here: beside its files, outside every digest. */
  async function noteTime(stage: string, event: StageTime['event']): Promise<void> {
    const time: StageTime = { event, at: new Date().toISOString(), host: hostname() };
    await appendTiming(store.folder(stage), time);
  }

  async function gather(stage: Stage): Promise<Record<string, number>> {
    const folder = store.folder(stage.id);
    const results = new LineFile(path.join(folder, stage.kind === 'score' ? 'scores.jsonl' : 'results.jsonl'));
    const failures = new LineFile(path.join(folder, 'failures.jsonl'));
    const counts = { tasks: 0, total: 0, usable: 0, failed: 0, resolved: 0 };
    for (const task of (await tasksOf(stage)).ids) {
      counts.tasks += 1;
      for (let sample = 0; sample < samplesOf(stage); sample++) {
        counts.total += 1;
        const unit: Unit = stage.kind === 'score' ? { task } : { task, sample };
        const record = stage.kind === 'score' ? await readScores(folder, unit) : await readRollout(stage, unit);
        if (record === null) {
          counts.failed += 1;
          await failures.write(await readFailure(stage, unit));
        } else {
          counts.usable += 1;
          counts.resolved += record.resolved;
          await results.write(record.lines);
        }
      }
    }
    await results.seal();
    await failures.seal();
    const required = stage.kind === 'score' ? 0 : (stage.config as RolloutsStageConfig).minUsable;
    if (counts.total > 0 && counts.usable / counts.total < required) {
      throw new Failure(
        'StageUnusable',
        `${stage.id}: ${counts.usable} of ${counts.total} rollouts are usable, ${required * 100} % are required; ` +
          `see ${path.join(folder, 'failures.jsonl')}, mend the cause and start the experiment again`,
      );
    }
    return counts;
  }

  async function readRollout(stage: Stage, unit: Unit): Promise<{ lines: string; resolved: number } | null> {
    const committed = await readCommitted(path.join(store.folder(stage.id), unitFolder(unit)));
    const grade = committed && (await readGrade(committed.folder));
    if (!committed || !grade) return null;
    const summary = summarize(committed.trajectory, grade);
    return { lines: `${JSON.stringify(summary)}\n`, resolved: grade.resolved ? 1 : 0 };
  }

  async function readScores(folder: string, unit: Unit): Promise<{ lines: string; resolved: number } | null> {
    const file = path.join(folder, unitFolder(unit), 'scores.jsonl');
    return existsSync(file) ? { lines: await readFile(file, 'utf8'), resolved: 0 } : null;
  }

  async function readFailure(stage: Stage, unit: Unit): Promise<string> {
    const file = path.join(store.folder(stage.id), unitFolder(unit), 'failure.json');
    if (existsSync(file)) return readFile(file, 'utf8');
    const id = `${stage.id}/${unitFolder(unit)}`;
    return `${JSON.stringify({ id, task: unit.task, sample: unit.sample ?? null, type: 'Missing', message: 'no record' })}\n`;
  }
}

/** The sealed grade beside a trajectory; null where it was not graded yet. */
export async function readGrade(folder: string): Promise<Grade | null> {
  const file = path.join(folder, 'grade.json');
  return existsSync(file) ? (JSON.parse(await readFile(file, 'utf8')) as Grade) : null;
}

/** What a sealed stage keeps of a rollout in its results file. */
export function summarize(trajectory: Trajectory, grade: Grade): RolloutSummary {
  const usages = trajectory.steps.map(({ reply }) => reply.usage);
  const counted = usages.every((usage) => usage !== undefined);
  const sum = (of: 'promptTokens' | 'completionTokens') =>
    counted ? usages.reduce((total, usage) => total + usage![of], 0) : null;
  return {
    id: trajectory.id,
    task: trajectory.task,
    sample: trajectory.sample,
    exit: trajectory.exit,
    steps: trajectory.steps.length,
    promptTokens: sum('promptTokens'),
    completionTokens: sum('completionTokens'),
    patchSha256: sha256Hex(trajectory.patch),
    patchLines: trajectory.patch === '' ? 0 : trajectory.patch.split('\n').length - 1,
    resolved: grade.resolved,
    gradeReason: grade.reason,
  };
}

/** What is counted of a stage that is one activity: lines of `<name>.jsonl`, and numbers of its `summary.json`. */
const COUNTED: Partial<Record<StageKind, { lines?: readonly string[]; summary?: readonly string[] }>> = {
  tasks: { lines: ['tasks', 'excluded'] },
  pairs: {
    lines: ['conversations', 'pairs', 'labels'],
    summary: ['tasks', 'mixed', 'allResolved', 'noneResolved', 'duplicates'],
  },
  reference: { lines: ['reference'] },
  train: { summary: ['rows', 'dropped', 'tokens', 'trainedTokens', 'updates'] },
  verify: { lines: ['verdicts'] },
  select: { lines: ['selections'] },
};

async function countRecords({ kind }: Stage, folder: string): Promise<Record<string, number>> {
  const { lines = [], summary = [] } = COUNTED[kind] ?? {};
  const counts: Record<string, number> = {};
  for (const name of lines) {
    const file = path.join(folder, `${name}.jsonl`);
    if (existsSync(file)) counts[name] = await countLines(file);
  }
  if (summary.length === 0) return counts;
  const told = JSON.parse(await readFile(path.join(folder, 'summary.json'), 'utf8')) as Record<string, unknown>;
  for (const name of summary) if (typeof told[name] === 'number') counts[name] = told[name];
  return counts;
}

async function countLines(file: string): Promise<number> {
  let count = 0;
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) count += 1;
  }
  return count;
}

/** A line file written from its beginning, in place only when complete. */
class LineFile {
  private readonly stream;

  constructor(private readonly file: string) {
    this.stream = createWriteStream(`${file}.tmp`);
  }

  async write(lines: string): Promise<void> {
    if (!this.stream.write(lines)) await once(this.stream, 'drain');
  }

  async seal(): Promise<void> {
    this.stream.end();
    await once(this.stream, 'close');
    await rename(`${this.file}.tmp`, this.file);
  }
}
