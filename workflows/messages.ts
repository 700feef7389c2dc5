/** Queries, signals and updates of the workflows, and their types. Shared with CLI and viewer. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { StageKind } from '../core/plan';
import type { RunSettings } from '../core/plan';

export interface ExperimentInput {
  /** Name of a shipped configuration, or the configuration itself: the worker cannot see the caller's files. */
  config: string | Record<string, unknown>;
  /** `key=value`, applied in order. */
  overrides?: string[];
}

export interface StageInput {
  stage: string;
  settings: RunSettings;
  /** Next shard and what was counted so far, when the workflow continues as new. */
  resumeAt?: { shard: number; counts: RolloutCounts };
  /** Who waits for this stage, when the workflow continues as new. */
  holders?: Holder[];
}

export interface ShardInput {
  stage: string;
  shard: number;
  shardSize: number;
  lanes: number;
  sandbox: RunSettings['sandbox'];
  paused: string | null;
}

/** An experiment that waits for a stage. */
export interface Holder {
  experiment: string;
  paused: boolean;
}

/** How a model is served: the settings of the experiment that needed it first. */
export type ServeSettings = Pick<RunSettings, 'serve' | 'device' | 'idleStopMs'>;

export interface ModelServerInput {
  /** Stage that made the weights; also the model's name at the server. */
  model: string;
  settings: ServeSettings;
  /** Stages that need it, when the workflow continues as new. */
  holders?: string[];
}

export interface ServerProgress {
  /** Base URL with `/v1`; null while no server answers. */
  url: string | null;
  /** `waiting`: for a slot, or for the server to load. */
  state: 'waiting' | 'serving' | 'stopping';
  /** Ids of the stages that need it. */
  holders: string[];
}

export interface RolloutCounts {
  /** All rollouts of the stage, also those not yet started. */
  total: number;
  done: number;
  /** Ended as infrastructure failures: unknown, not unresolved. */
  failed: number;
  resolved: number;
  running: number;
}

export type StageState = 'waiting' | 'running' | 'sealed' | 'failed' | 'blocked';

export interface StageProgress {
  name: string;
  kind: StageKind;
  id: string;
  state: StageState;
  /** Why it failed or waits, in one line. */
  message?: string;
  /** Type of the failure (core/failures.ts), where it failed. */
  failure?: string;
}

export interface ExperimentProgress {
  experiment: string;
  paused: boolean;
  stages: StageProgress[];
}

export interface RolloutsProgress {
  counts: RolloutCounts;
  /** Why no new rollout starts; null while it runs. */
  paused: string | null;
  /** Workflow ids of open shards; their `progress` holds what is not yet in `counts`. */
  shards: string[];
}

export const experimentProgress = defineQuery<ExperimentProgress>('progress');
export const rolloutsProgress = defineQuery<RolloutsProgress>('progress');
export const shardProgress = defineQuery<RolloutCounts & { paused: string | null }>('progress');

/** Stops new rollouts; running ones finish. */
export const pause = defineUpdate<ExperimentProgress>('pause');
export const resume = defineUpdate<ExperimentProgress>('resume');

/**
 * An experiment takes, leaves, pauses or resumes a stage that it may share with others. It joins `again` when its watcher
 * was lost and another one took over: that changes nothing for a stage that it holds.
 */
export const join = defineSignal<[experiment: string, again: boolean]>('join');
export const leave = defineSignal<[string]>('leave');
export const pauseStage = defineSignal<[string]>('pauseStage');
export const resumeStage = defineSignal<[string]>('resumeStage');

/** From a stage to its shards: the reason, or null to go on. */
export const setPaused = defineSignal<[string | null]>('setPaused');
/** From a shard to its stage: the policy's endpoint refused, nobody should go on until a person looks. */
export const policyRefused = defineSignal<[string]>('policyRefused');

/** A stage takes and leaves the server of a model; taking twice counts once. */
export const acquire = defineSignal<[holder: string]>('acquire');
export const release = defineSignal<[holder: string]>('release');
/** From the activity that runs the server: its base URL, or null while it starts again. */
export const serving = defineSignal<[string | null]>('serving');
export const serverProgress = defineQuery<ServerProgress>('server');
