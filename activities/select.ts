/** The select stage: one patch per task by the selector, and the predictions file to hand in. */
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Prediction, writePredictions } from '../adapters/predictions';
import { SealedStage } from '../adapters/report/sealed-stage';
import type { StageStore } from '../adapters/store/stages';
import type { SelectorConfig } from '../config/schema';
import type { FailureRecord } from '../core/report';
import {
  type Candidate,
  candidateOf,
  type ScoreRecord,
  selectCandidate,
  type SelectionRecord,
  type VerdictRecord,
} from '../core/selection';
import type { RolloutSummary } from '../core/trajectory';

export interface SelectInput {
  /** Sealed stage of the rollouts. */
  evaluateFolder: string;
  /** Sealed stage of their scores. */
  scoreFolder: string;
  /** Sealed verify stage of the same rollouts; absent where the experiment has no verifier. */
  verdictFolder?: string | undefined;
  selector: SelectorConfig;
  /** Name of the evaluated arm: in the predictions' model name. */
  armName: string;
  /** Receives `selections.jsonl` and `predictions.json`. */
  outFolder: string;
}

/** Selects for a declared select stage out of what its inputs hold. */
export async function selectCandidates(store: StageStore, id: string): Promise<void> {
  const { inputs, config } = await store.read<'select'>(id);
  const { rollouts, scores, verdicts } = inputs;
  await selectStage({
    evaluateFolder: store.folder(rollouts!),
    scoreFolder: store.folder(scores!),
    verdictFolder: verdicts === undefined ? undefined : store.folder(verdicts),
    selector: config.selector,
    armName: config.arm,
    outFolder: store.folder(id),
  });
}

/** Writes both files; a task whose rollouts all failed has a selection that says so, and no prediction. */
export async function selectStage(input: SelectInput): Promise<void> {
  const { evaluateFolder, scoreFolder, verdictFolder, selector, armName, outFolder } = input;
  const rollouts = await SealedStage.open(evaluateFolder);
  const scores = await recordsById<ScoreRecord>(scoreFolder, 'scores.jsonl');
  const verdicts = await recordsById<VerdictRecord>(verdictFolder, 'verdicts.jsonl');
  await mkdir(outFolder, { recursive: true });
  const records = await selectTasks(rollouts, scores, verdicts, selector);
  const lines = records.map((record) => `${JSON.stringify(record)}\n`);
  await pipeline(Readable.from(lines), createWriteStream(path.join(outFolder, 'selections.jsonl')));
  const predictions = predictionsOf(records, rollouts, `${armName}+${selector.type}`);
  await writePredictions(path.join(outFolder, 'predictions.json'), predictions);
}

/** Rollout id -> record; none without a stage. */
async function recordsById<T extends { id: string }>(
  folder: string | undefined,
  file: string,
): Promise<Map<string, T>> {
  const records = new Map<string, T>();
  if (folder === undefined) return records;
  for await (const record of (await SealedStage.open(folder)).lines<T>(file)) records.set(record.id, record);
  return records;
}

async function selectTasks(
  rollouts: SealedStage,
  scores: Map<string, ScoreRecord>,
  verdicts: Map<string, VerdictRecord>,
  selector: SelectorConfig,
): Promise<SelectionRecord[]> {
  const tasks = new Map<string, { candidates: Candidate[]; missing: number }>();
  const taskOf = (id: string) => {
    const task = tasks.get(id) ?? { candidates: [], missing: 0 };
    tasks.set(id, task);
    return task;
  };
  for await (const rollout of rollouts.lines<RolloutSummary>('results.jsonl')) {
    const candidate = candidateOf(rollout, scores.get(rollout.id), verdicts.get(rollout.id));
    taskOf(rollout.task).candidates.push(candidate);
  }
  for await (const failure of rollouts.lines<FailureRecord>('failures.jsonl')) taskOf(failure.task).missing += 1;
  return [...tasks]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([task, { candidates, missing }]) => ({ task, selector, ...selectCandidate(candidates, selector, missing) }));
}

async function* predictionsOf(
  records: readonly SelectionRecord[],
  rollouts: SealedStage,
  model: string,
): AsyncGenerator<Prediction> {
  const sampleOf = new Map<string, RolloutSummary>();
  for await (const rollout of rollouts.lines<RolloutSummary>('results.jsonl')) sampleOf.set(rollout.id, rollout);
  for (const { task, chosen } of records) {
    if (chosen === null) continue;
    const { patch } = await rollouts.trajectory(task, sampleOf.get(chosen)!.sample);
    yield { instance_id: task, model_name_or_path: model, model_patch: patch };
  }
}
