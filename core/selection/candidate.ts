/** What a selector may see of a rollout. There is no hidden grade here, so no rule can use one. */
import type { Exit, RolloutSummary } from '../trajectory';

/** How many tests passed; where they never ran the score is null, which is not 0. */
export interface TestScore {
  passed: number;
  total: number;
}

/** What the score stage says about one rollout: a line of `scores.jsonl`. */
export interface ScoreRecord {
  /** Rollout name, ids.ts. */
  id: string;
  task: string;
  sample: number;
  /** Visible tests that pass on the untouched code, run on the patch. */
  regression: TestScore | null;
  /** The failing example, run on the patch. */
  reproduction: TestScore | null;
}

/** What the verify stage says about one rollout: a line of `verdicts.jsonl`. */
export interface VerdictRecord {
  id: string;
  task: string;
  sample: number;
  /** Probability in [0, 1] that the patch resolves the task; null = unscored, which is not 0. */
  verifierScore: number | null;
  /** Tokens that the verifier read, and those left out of observations to make it fit. */
  tokens: number;
  condensedTokens: number;
}

export interface Candidate extends Omit<ScoreRecord, 'task'> {
  /** Probability in [0, 1] that the patch resolves the task; null = never scored. */
  verifierScore: number | null;
  exit: Exit;
  steps: number;
  patchSha256: string;
  /** 0 for an empty patch. */
  patchLines: number;
}

/** Leaves the hidden grade behind. */
export function candidateOf(
  rollout: RolloutSummary,
  score: ScoreRecord | undefined,
  verdict: VerdictRecord | undefined,
): Candidate {
  return {
    id: rollout.id,
    sample: rollout.sample,
    exit: rollout.exit,
    regression: score?.regression ?? null,
    reproduction: score?.reproduction ?? null,
    verifierScore: verdict?.verifierScore ?? null,
    steps: rollout.steps,
    patchSha256: rollout.patchSha256,
    patchLines: rollout.patchLines,
  };
}

/** False for null and for NaN, which a verifier without a verdict gives. */
export function isScored(score: number | null): score is number {
  return score !== null && Number.isFinite(score);
}

/** Spec §5.5(b): higher verifier score (none comes last), then smaller patch, then lower run index. */
export function byTies(a: Candidate, b: Candidate): number {
  const score = (candidate: Candidate) => (isScored(candidate.verifierScore) ? candidate.verifierScore : -Infinity);
  if (score(a) !== score(b)) return score(a) > score(b) ? -1 : 1;
  return a.patchLines - b.patchLines || a.sample - b.sample || byIdentity(a, b);
}

/** Total over any candidates, also two of the same id: no result depends on the order of the input. */
export function byIdentity(a: Candidate, b: Candidate): number {
  return a.sample - b.sample || compareText(a.id, b.id) || compareText(JSON.stringify(a), JSON.stringify(b));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
