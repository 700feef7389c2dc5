/**
 * Scores what selection may see of a task's candidates: the visible tests and the example, run on each distinct
 * patch in a fresh sandbox. The hidden tests never enter.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ScoreRecord, TestScore } from '../core/selection';
import { sha256Hex } from '../core/artifact';
import { rolloutName } from '../core/ids';
import type { Task } from '../core/task';
import { readCommitted } from '../adapters/journal';
import { writeSealed } from '../adapters/store/sealed';

export interface ScoreInput {
  /** Folder of all stages. */
  store: string;
  /** The score stage, and the stage whose rollouts it scores. */
  stage: string;
  rollouts: string;
  task: Task;
  samples: number;
}

export interface ScoreDeps {
  /** Of the visible tests that pass on the untouched code, how many pass on the patch. */
  regression(patch: string, id: string): Promise<TestScore | null>;
  /** The example on the patch. */
  reproduction(patch: string, id: string): Promise<TestScore | null>;
  heartbeat(): void;
}

type PatchScore = Pick<ScoreRecord, 'regression' | 'reproduction'>;

/** Writes `<stage>/<task>/scores.jsonl`; a patch already scored by a killed attempt is not run again. */
export async function scoreTask(input: ScoreInput, deps: ScoreDeps): Promise<void> {
  const { task } = input;
  const folder = path.join(input.store, input.stage, task.id);
  const lines: string[] = [];
  for (let sample = 0; sample < input.samples; sample++) {
    deps.heartbeat();
    const id = rolloutName({ stage: input.rollouts, task: task.id, sample });
    const committed = await readCommitted(path.join(input.store, id));
    if (!committed) continue; // an infrastructure failure: not a candidate
    const score = await scorePatch(folder, sha256Hex(committed.trajectory.patch), committed.trajectory.patch);
    const record: ScoreRecord = { id, task: task.id, sample, ...score };
    lines.push(`${JSON.stringify(record)}\n`);
  }
  await writeSealed(path.join(folder, 'scores.jsonl'), lines.join(''));

  async function scorePatch(folder: string, sha256: string, patch: string): Promise<PatchScore> {
    const file = path.join(folder, 'patches', `${sha256.slice(0, 16)}.json`);
    if (existsSync(file)) return JSON.parse(await readFile(file, 'utf8')) as PatchScore;
    const id = `${input.stage}/${task.id}/${sha256.slice(0, 16)}`;
    const score: PatchScore = {
      regression: await deps.regression(patch, `${id}/regression`),
      reproduction: await deps.reproduction(patch, `${id}/reproduction`),
    };
    await writeSealed(file, `${JSON.stringify(score)}\n`);
    return score;
  }
}
