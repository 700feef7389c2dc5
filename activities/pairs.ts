/**
 * The pairs stage: conversations of graded rollouts, pairs and labels. One task's conversations are held at a time.
 * Nothing is drawn from rollouts that ended as infrastructure failures: how they would have ended is unknown.
 */
import path from 'node:path';
import { Readable } from 'node:stream';
import { writeSealed } from '../adapters/store/sealed';
import type { StageStore } from '../adapters/store/stages';
import { writeLines } from '../adapters/tasks/lines';
import { Failure } from '../core/failures';
import { inputsNamed } from '../core/plan';
import { type Label, mixedOutcomes, noPairs, type PreferencePair, preferencesOf } from '../core/preference';
import type { RolloutSummary } from '../core/trajectory';
import { type Conversation, RolloutSource, textDigest } from './conversations';

interface Pooled {
  source: RolloutSource;
  summary: RolloutSummary;
}

/** Writes the stage's files. Throws `DataUnusable` where no pair is left. */
export async function makePairs(store: StageStore, id: string, signal: AbortSignal): Promise<void> {
  const stage = await store.read<'pairs'>(id);
  const folder = store.folder(id);
  const tasks = new Map<string, Pooled[]>();
  for (const input of inputsNamed(stage, 'rollouts')) {
    const source = await RolloutSource.open(store, input);
    for await (const summary of source.summaries()) {
      tasks.set(summary.task, [...(tasks.get(summary.task) ?? []), { source, summary }]);
    }
  }

  const pairs: PreferencePair[] = [];
  const labels: Label[] = [];
  const outcomes: boolean[][] = [];
  let duplicates = 0;
  const conversations = async function* (): AsyncGenerator<Conversation> {
    for (const pooled of tasks.values()) {
      const read = await readAll(pooled);
      outcomes.push(read.map(({ resolved }) => resolved));
      const graded = read.map((one) => ({ ...one, digest: textDigest(one) }));
      const found = preferencesOf(graded, stage.config);
      pairs.push(...found.pairs);
      labels.push(...found.labels);
      duplicates += found.duplicates;
      const used = new Set(found.labels.map((label) => label.id));
      yield* read.filter((one) => used.has(one.id));
    }
  };
  await writeLines(path.join(folder, 'conversations.jsonl'), conversations(), signal);
  const counted = mixedOutcomes(outcomes);
  if (pairs.length === 0) throw new Failure('DataUnusable', `${id}: ${noPairs(counted)}`);
  await writeLines(path.join(folder, 'pairs.jsonl'), Readable.from(pairs));
  await writeLines(path.join(folder, 'labels.jsonl'), Readable.from(labels));
  await writeSealed(path.join(folder, 'summary.json'), `${JSON.stringify({ ...counted, duplicates })}\n`);
}

async function readAll(pooled: readonly Pooled[]): Promise<Conversation[]> {
  const read: Conversation[] = [];
  for (const { source, summary } of pooled) {
    const conversation = await source.read(summary);
    if (conversation) read.push(conversation);
  }
  return read;
}
