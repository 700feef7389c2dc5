/**
 * The report: everything an experiment found, recomputed from sealed files. No hosts, and not the name of the
 * experiment; times only in `times`, which the sealed report leaves out: equal work gives equal bytes. Every figure names
 * the files it was made from, as `<stage>/<file>` below the store. Shares are in [0, 1]; numbers have six decimals.
 */
import type { ExperimentConfig, SelectorConfig } from '../../config/schema';
import type { Estimate } from '../estimators';
import type { ModelFacts, Training } from './training-types';

export interface Sourced {
  /** Sealed files, `<stage>/<file>`; `<stage>/manifest.json` where it is all trajectories of the stage. */
  source: string[];
}
export type Figure = Estimate & Sourced;

/** A figure of an arm. With several repeats: of each task's mean over them. */
export type Measure = Figure & {
  /** Null where the arm has one repeat. */
  repeats: Spread | null;
};
export interface Spread {
  /** The figure of each repeat alone. */
  values: (number | null)[];
  mean: number | null;
  /** Sample standard deviation over the repeats (divisor n - 1); null where fewer than two have a value. */
  deviation: number | null;
}

export interface Curve extends Sourced {
  /** k = 1..N. A task with fewer than k graded rollouts counts with all it has, as in R2E-Gym's notebook (spec §5.4). */
  points: (Estimate & { k: number })[];
}

export interface Report {
  version: 2;
  title: string;
  seed: number;
  /** Resolved configuration. */
  config: ExperimentConfig;
  /** Bootstrap over tasks: how many resamples, and the coverage of every interval. */
  intervals: { resamples: number; confidence: number };
  /** Stages that are not sealed; empty in a complete experiment. */
  unfinished: Unfinished[];
  /** The questions that the plan poses. */
  answers: Answer[];
  /** One row per arm, in the order of the configuration, also of those that did not run. */
  methods: Method[];
  /** What was evaluated. */
  arms: Arm[];
  comparisons: Comparison[];
  trainings: Training[];
  models: ModelFacts[];
  collections: Collection[];
  tasks: TasksSection[];
  stages: StageFacts[];
  /** How long each stage took here; null in the sealed report. */
  times: StageTime[] | null;
}

export interface StageFacts {
  name: string;
  kind: string;
  id: string;
  key: string;
  /** Of the manifest; null where the stage is not sealed, and then it is in no figure. */
  counts: Record<string, number> | null;
  /** Completion tokens of all its rollouts; null where it samples none or the server did not count. */
  tokensSampled: number | null;
  /** Tokens that entered a loss; null where it trains nothing. */
  tokensTrained: number | null;
}

export interface StageTime {
  name: string;
  stage: string;
  /** From the first opening to the seal, waits and restarts included; null where that is not on record. */
  seconds: number | null;
  /** Above 1: it was taken up again after a failure or a kill. */
  openings: number;
  /** Of a training program, as it measured itself; null where none ran or it could not. */
  peakMemoryMb: number | null;
}

export interface Unfinished {
  name: string;
  stage: string;
  /** `blocked`: an input is missing. `not run`: neither begun to its end nor failed. */
  state: 'failed' | 'blocked' | 'not run';
  /** Why it failed, or which stages it waits for. */
  message: string;
}

export interface TasksSection extends Sourced {
  name: string;
  selected: number;
  /** Tasks of each group. */
  groups: Record<string, number>;
  excluded: { id: string; reason: string }[];
}

/** Rollouts of a stage, or of all repeats of an arm, and how they ended. */
export interface Outcomes extends Sourced {
  /** Graded rollouts. */
  rollouts: number;
  /** Rollouts that are unknown, by type of failure: not zero, and in no figure. */
  failures: Record<string, number>;
  /** Graded share of all rollouts. */
  usable: number | null;
  exits: Record<string, number>;
}

export interface Collection extends Outcomes {
  name: string;
  stage: string;
  /** Share of graded rollouts that resolve their task, over tasks. */
  resolved: Figure;
}

/** What an arm evaluates. */
export interface Method {
  arm: string;
  /** Name of the model, of the endpoint's model, or of the script. */
  model: string;
  /** Type of the training method; `untrained`, `endpoint` or `script` where nothing was trained here. */
  method: string;
  /** Name of the model it was trained from; null where it was not trained here. */
  trainedFrom: string | null;
  /** Stage that made the weights; null where none did. */
  stage: string | null;
  /** N: rollouts per task. */
  samples: number;
  repeats: { planned: number; sealed: number };
}

export interface Arm extends Outcomes {
  name: string;
  /** Evaluate stages: one per sealed repeat. */
  stages: string[];
  /** Name of the tasks it was evaluated on. */
  tasks: string;
  /** From code nobody here wrote: it proves the plumbing, not capability, and supports no claim. */
  library: boolean;
  /** N: rollouts per task. */
  samples: number;
  passAtK: Curve;
  results: Results;
  groups: (Results & { group: string })[];
  selectors: SelectorReport[];
  /** Null where no verifier scored it. */
  verifier: ArmVerifier | null;
  diversity: Diversity;
  /** Rollouts by number of steps, `from` and `to` both included. */
  steps: { from: number; to: number; rollouts: number }[];
}

/** Shares of tasks resolved; the same measures for all tasks and for each group. */
export interface Results {
  /** Of one rollout, and of a random one of the N: both are the mean correctness of the candidates. */
  passAt1: Measure;
  /** Of at least one of the N. */
  passAtN: Measure;
  /** passAtN minus passAt1, paired by task: the most that a selector could add. Never negative, so no claim by itself. */
  headroom: Figure;
  /** Best@N of each selector. */
  selected: {
    selector: string;
    /** Of the chosen one of the N. */
    resolved: Measure;
    /** Chosen minus a random one of the same candidates, paired by task. */
    gain: Figure;
  }[];
}

export interface SelectorReport {
  name: string;
  /** Select stages: one per repeat that has its selection. */
  stages: string[];
  rule: SelectorConfig;
  bestAtK: Curve;
  selections: {
    /** From 1. */
    repeat: number;
    task: string;
    group: string;
    chosen: string | null;
    /** Hidden grade of the chosen one, which the selector never saw; null where there is none. */
    resolved: boolean | null;
    reason: string;
  }[];
}

/** The verifier on an arm's own rollouts. The hidden grades are used here only: no selector sees them. */
export interface ArmVerifier extends Sourced {
  scored: number;
  /** Candidates without a verdict: unknown, not 0. */
  unscored: number;
  /** Area under the ROC curve of score against hidden grade, over the scored; null where they are all of one class. */
  auc: number | null;
  /** What each rule with a smallest score dropped for it; `resolved` of them would have passed the hidden tests. */
  removed: { selector: string; minVerifierScore: number; candidates: number; resolved: number }[];
}

/**
 * How much the N rollouts of a task differ: each measure is taken per task over its graded rollouts, then averaged over
 * tasks. Source: training.md §7.
 */
export interface Diversity {
  /** Distinct patches / patches that are not empty; in [1/N, 1]. */
  distinctPatches: Figure;
  /** Distinct sequences of parsed actions / rollouts; in [1/N, 1]. */
  distinctActions: Figure;
  /** Distinct first editing actions / rollouts that edit; in [1/N, 1]. */
  distinctFirstEdits: Figure;
  /** -Σ p log p over the patches' first changed places (file and line), nats; in [0, ln N]. Shannon 1948. */
  placeEntropy: Figure;
  /**
   * -Σ log p(token) / tokens over all sampled tokens of the task, nats per token; at least 0. A Monte-Carlo estimate of
   * the policy's entropy at its sampling settings, from stored log-probabilities; unknown where the server gave none.
   */
  tokenEntropy: Figure;
  /** Replies (turns) per rollout. */
  meanSteps: Figure;
  /** Completion tokens per rollout. */
  meanTokens: Figure;
  /** Rollouts that submitted / rollouts; in [0, 1]. */
  finished: Figure;
}

/** Two arms on the same tasks: second minus first, paired by task. */
export interface Comparison {
  /** Which question it answers; null for two arms that the plan does not relate. */
  question: Question | null;
  first: string;
  second: string;
  /** Settings other than the one in question that differ as well, `train` fields. */
  differs: string[];
  passAt1: Figure;
  passAtN: Figure;
  selected: { selector: string; difference: Figure }[];
}

export type Question = 'sft' | 'preference' | 'entropy' | 'selection' | 'arms';

export interface Answer {
  question: Question;
  title: string;
  /** One line: what is shown, and what is not. */
  text: string;
  claims: Claim[];
}

export interface Claim extends Sourced {
  text: string;
  /** On which side of zero the interval lies; null: no difference shown. */
  shown: 'higher' | 'lower' | null;
}
