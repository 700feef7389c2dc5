/** What an experiment has done so far, gathered by queries: experiment -> running stages -> open shards. */
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { isSharded } from '../core/plan';
import type { ExperimentProgress, RolloutCounts, RolloutsProgress, StageProgress } from '../workflows/messages';

/** How far a program of the trainer is. */
export interface TrainingStatus {
  update: number;
  updates: number;
  loss: number | null;
}

export interface StageStatus extends StageProgress {
  counts: RolloutCounts | null;
  training: TrainingStatus | null;
  /** Why no new rollout starts; null while it runs. */
  paused: string | null;
}

export interface ExperimentStatus {
  experiment: string;
  /** Temporal's name of the state: RUNNING, COMPLETED, FAILED, … */
  state: string;
  paused: boolean;
  stages: StageStatus[];
}

export async function readStatus(client: Client, experiment: string): Promise<ExperimentStatus> {
  const handle = client.workflow.getHandle(experiment);
  const { status } = await handle.describe();
  const progress = await handle.query<ExperimentProgress>('progress');
  const stages = await Promise.all(progress.stages.map((stage) => withCounts(client, stage)));
  return { experiment, state: status.name, paused: progress.paused, stages };
}

async function withCounts(client: Client, stage: StageProgress): Promise<StageStatus> {
  const status: StageStatus = { ...stage, counts: null, training: null, paused: null };
  if (stage.state !== 'running') return status;
  if (stage.kind === 'train' || stage.kind === 'reference') {
    return { ...status, training: await quietly(readTraining(client, stage.id)) };
  }
  if (!isSharded(stage.kind)) return status;
  const progress = await quietly(client.workflow.getHandle(stage.id).query<RolloutsProgress>('progress'));
  if (!progress) return status;
  const shards = progress.shards.map((id) => quietly(client.workflow.getHandle(id).query<RolloutCounts>('progress')));
  const counts = { ...progress.counts };
  for (const shard of await Promise.all(shards)) {
    if (!shard) continue;
    counts.done += shard.done;
    counts.failed += shard.failed;
    counts.resolved += shard.resolved;
    counts.running += shard.running;
  }
  return { ...status, counts, paused: progress.paused };
}

/** From the last heartbeat of the stage's activity; null before the first. */
async function readTraining(client: Client, stage: string): Promise<TrainingStatus | null> {
  const { raw } = await client.workflow.getHandle(stage).describe();
  const [payload] = raw.pendingActivities?.[0]?.heartbeatDetails?.payloads ?? [];
  if (!payload) return null;
  const beat = defaultPayloadConverter.fromPayload<Partial<TrainingStatus> | null>(payload);
  if (beat?.update === undefined || beat.updates === undefined) return null;
  return { update: beat.update, updates: beat.updates, loss: beat.loss ?? null };
}

/** A workflow that has not begun or has just ended cannot be asked: no counts then. */
async function quietly<T>(promise: Promise<T>): Promise<T | null> {
  return promise.catch(() => null);
}
