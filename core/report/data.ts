/** The input of the report: what the sealed files say, read by adapters/report. */
import type { ExperimentConfig, SelectorConfig } from '../../config/schema';
import type { Manifest } from '../artifact';
import type { BootstrapSettings } from '../estimators';
import type { Stage } from '../plan';
import type { ScoreRecord, SelectionRecord, VerdictRecord } from '../selection';
import type { RolloutSummary } from '../trajectory';
import type { TrajectoryFacts } from './facts';
import type { CurvePoint, Heldout } from './training-types';
import type { StageTime } from './types';

/** A line of `failures.jsonl`: a rollout that is unknown. */
export interface FailureRecord {
  id: string;
  task: string;
  /** Null where the record is of a whole task. */
  sample: number | null;
  type: string;
  message: string;
}

/** A line of `excluded.jsonl`: a task that the pre-flight refused. */
export interface ExcludedTask {
  id: string;
  reason: string;
}

export interface TasksData {
  /** Name in the configuration: `heldout`. */
  name: string;
  stage: string;
  tasks: { id: string; dataset: string; group: string }[];
  excluded: ExcludedTask[];
}

export interface RolloutsData {
  name: string;
  stage: string;
  tasks: TasksData;
  rollouts: RolloutSummary[];
  failures: FailureRecord[];
}

/** One evaluate stage of an arm and what was made of its rollouts. */
export interface RepeatData extends RolloutsData {
  /** From 1. */
  repeat: number;
  /** By rollout name. */
  facts: Map<string, TrajectoryFacts>;
  /** Null where the score stage is not sealed; then there is no selection either. */
  scores: { stage: string; records: Map<string, ScoreRecord> } | null;
  /** Null where no verifier scored it. */
  verdicts: { stage: string; records: Map<string, VerdictRecord> } | null;
  selections: { name: string; stage: string; rule: SelectorConfig; records: SelectionRecord[] }[];
}

export interface ArmData {
  name: string;
  tasks: TasksData;
  /** N as configured. */
  samples: number;
  /** The sealed ones; at least one. */
  repeats: RepeatData[];
}

/** `summary.json` of a train stage, as far as it is known here. */
export interface TrainSummary {
  rows?: number;
  dropped?: number;
  tokens?: number;
  trainedTokens?: number;
  updates?: number;
  finalLoss?: number;
  saturated?: number;
  heldout?: Heldout;
}

/** A line of `reference.jsonl`: sums over the trained tokens of a conversation, nats. */
export interface ReferenceRecord {
  id: string;
  tokens: number;
  logProb: number;
  entropy: number;
}

/** The pairs of a preference training under its reference. */
export interface ReferenceData {
  stage: string;
  pairsStage: string;
  /** Sums over all conversations. */
  tokens: number;
  entropy: number;
  /** Of each pair, chosen minus rejected; only those with both sides in the reference. */
  differences: { tokens: number; logProb: number }[];
  missing: number;
}

export interface TrainingData {
  /** The train stage. */
  stage: Stage;
  summary: TrainSummary;
  curve: CurvePoint[];
  /** Null where it learns from something else. */
  reference: ReferenceData | null;
}

/** A stage of the plan with what its folder says. */
export interface StageData {
  stage: Stage;
  /** Null where it is not sealed. */
  manifest: Manifest | null;
  /** Why it failed when it last ran; null where it did not. */
  failure: string | null;
  tokensSampled: number | null;
  tokensTrained: number | null;
}

export interface ReportData {
  title: string;
  seed: number;
  config: ExperimentConfig;
  bootstrap: BootstrapSettings;
  /** In the order of the plan, without the report. */
  stages: StageData[];
  tasks: TasksData[];
  collections: RolloutsData[];
  /** In the order of the configuration. */
  arms: ArmData[];
  trainings: TrainingData[];
  times: StageTime[] | null;
}
