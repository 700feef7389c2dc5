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
  /** Why its one activity is being tried again, such as a hub that does not answer; null otherwise. */
  retrying: string | null;
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
  const status: StageStatus = { ...stage, counts: null, training: null, paused: null, retrying: null };
  if (stage.state !== 'running') return status;
  if (!isSharded(stage.kind)) return { ...status, ...(await quietly(readActivity(client, stage))) };
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

/** Of a stage that is one activity: its last heartbeat and the failure of its last attempt, null before the first. */
async function readActivity(
  client: Client,
  { id, kind }: StageProgress,
): Promise<Pick<StageStatus, 'training' | 'retrying'>> {
  const { raw } = await client.workflow.getHandle(id).describe();
  const activity = raw.pendingActivities?.[0];
  const [payload] = activity?.heartbeatDetails?.payloads ?? [];
  const trains = kind === 'train' || kind === 'reference';
  return {
    training: trains && payload ? trainingOf(defaultPayloadConverter.fromPayload(payload)) : null,
    retrying: activity?.lastFailure?.message || null,
  };
}

function trainingOf(beat: Partial<TrainingStatus> | null): TrainingStatus | null {
  if (beat?.update === undefined || beat.updates === undefined) return null;
  return { update: beat.update, updates: beat.updates, loss: beat.loss ?? null };
}

/** A workflow that has not begun or has just ended cannot be asked: no counts then. */
async function quietly<T>(promise: Promise<T>): Promise<T | null> {
  return promise.catch(() => null);
}
