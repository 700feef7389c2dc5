/** What the report says of models: how they were trained, on what, and which bytes came out. */
import type { MethodConfig } from '../../config/schema';
import type { Sourced } from './types';

/** A train stage. */
export interface Training extends Sourced {
  name: string;
  stage: string;
  method: MethodConfig;
  /** Name of the model it started from; for the preference methods also the reference. */
  base: string;
  /** Weights of policy and reference in the logit; null for sft and verifier. */
  alpha: number | null;
  beta: number | null;
  /** As the training program counted; null where it says nothing. */
  rows: number | null;
  /** Pairs in its data; null for other data. */
  pairs: number | null;
  /** Rows left out as too long. */
  dropped: number | null;
  /** Tokens read, and of them those that entered the loss. */
  tokens: number | null;
  trainedTokens: number | null;
  updates: number | null;
  finalLoss: number | null;
  /** Share of rows with |logit| > 5 over the whole training: there the gradient is below 1 % of its most. */
  saturated: number | null;
  warnings: string[];
  /** At most a hundred points, each the mean over equally many updates. */
  curve: CurvePoint[];
  /** Entropy of the reference on the tokens to be trained, nats per token: where the curve of entropy begins. */
  referenceEntropy: number | null;
  /** For the methods on pairs. */
  length: LengthFit | null;
  /** For a verifier. */
  heldout: Heldout | null;
}

/** Means over the updates `from` to `to`, both included; null where the method has no such value. */
export interface CurvePoint {
  from: number;
  to: number;
  loss: number | null;
  /** Mean logit. */
  margin: number | null;
  /** Share of rows with |logit| > 5. */
  saturated: number | null;
  /** Share of rows with a logit above 0. */
  accuracy: number | null;
  /** Of the policy, nats per trained token. */
  entropy: number | null;
}

/**
 * The length ablation (training.md §8). At the start of training the entropy term moves the logit of a pair by
 * (α - β)·Δlogπ_ref, Δ = chosen - rejected. The line Δlogπ_ref = intercept + slope·Δtokens, least squares over the pairs,
 * says how much of that is trajectory length: `r2` of it, in [0, 1].
 */
export interface LengthFit extends Sourced {
  /** Pairs with both sides in the reference, and pairs without (too long). */
  pairs: number;
  missing: number;
  /** Nats per token; null where the pairs do not differ in length. */
  slope: number | null;
  /** Nats. */
  intercept: number | null;
  r2: number | null;
  /** Mean of Δtokens. */
  meanTokens: number | null;
  /** Mean and standard deviation of the shift (α - β)·Δlogπ_ref over the pairs, nats; 0 for plain DPO. */
  shift: { mean: number | null; deviation: number | null };
  /** A hundred pairs at most, evenly over the file, to draw. */
  points: { tokens: number; logProb: number }[];
}

/** The verifier on tasks set aside, as its training program measured it (trainer/verifier.py). Shares in [0, 1]. */
export interface Heldout {
  tasks: number;
  /** Rollouts; `unscored` of them without a verdict, `yes` of them resolved. */
  count: number;
  unscored: number;
  yes: number;
  auc: number | null;
  /** Share right at one half. */
  accuracy: number | null;
  /** Mean squared error of the probability; 0 is perfect, 0.25 is what always saying one half gives. */
  brier: number | null;
  /** Ten bins of the probability, without the empty ones: mean probability and share resolved. */
  calibration: { from: number; to: number; count: number; predicted: number; observed: number }[];
}

/** Weights: every stage with a folder `model/`. */
export interface ModelFacts extends Sourced {
  name: string;
  stage: string;
  /** Type of the training method; `untrained` where the weights were brought. */
  method: string;
  /** sha256 of the canonical JSON of the manifest's entries below `model/`: one digest of the whole folder. */
  sha256: string;
  files: number;
  bytes: number;
}
