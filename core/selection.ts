/**
 * Selection: which of the N candidates of a task is handed in. A rule is a list of criteria; each keeps the best of the
 * pool and passes them on, and where nobody meets a yes-or-no criterion the pool stays as it was (spec §5.5).
 *
 * - An empty patch is the untouched code, which the pre-flight has seen fail: every rule drops it first.
 * - A score that a candidate with a patch lacks (null, NaN) makes its criterion skip the task: unknown is not zero.
 * - Last come the ties of spec §5.5(b): higher verifier score, smaller patch, lower run index.
 *
 * Rollouts that ended as infrastructure failures are no candidates, only counted.
 */
import type { SelectorConfig } from '../config/schema';
import { sampleName } from './ids';
import { byIdentity, byTies, type Candidate, isScored } from './selection/candidate';
import type { Criterion, FilterName } from './selection/criteria';
import { ruleOf } from './selection/rule';

export {
  type Candidate,
  candidateOf,
  type ScoreRecord,
  type TestScore,
  type VerdictRecord,
} from './selection/candidate';
export { type SelectionOrder, selectionOrder } from './selection/rule';

export interface SelectionStep {
  filter: FilterName | 'ties';
  /** Ids left after this step, by run index. */
  kept: string[];
  dropped: { id: string; why: string }[];
  /** Nobody met it, so the pool stayed as it was. */
  reverted: boolean;
  /** Why the step did not judge this task; null when it did. */
  skipped: string | null;
}

export interface Selection {
  /** Id of the chosen candidate; null when there is none. */
  chosen: string | null;
  candidates: number;
  /** Rollouts of the task that are unknown: infrastructure failures. */
  missing: number;
  steps: SelectionStep[];
  /** The whole choice in one sentence. */
  reason: string;
}

/** A line of `selections.jsonl`. */
export interface SelectionRecord extends Selection {
  task: string;
  selector: SelectorConfig;
}

/** Chooses one candidate of a task. Never throws; the same for every order of the candidates. */
export function selectCandidate(candidates: readonly Candidate[], selector: SelectorConfig, missing = 0): Selection {
  const all = candidates.toSorted(byIdentity);
  if (all.length === 0) {
    const reason = `Nothing to choose from${missing > 0 ? `: ${unknown(missing)}` : ''}.`;
    return { chosen: null, candidates: 0, missing, steps: [], reason };
  }
  const rule = ruleOf(all, selector);
  const steps: SelectionStep[] = [];
  const phrases: string[] = [];
  let pool = all;
  for (const criterion of rule.criteria) {
    const skipped = rule.skipped(criterion);
    const { kept, reverted } = skipped === null ? rule.keep(criterion, pool) : { kept: pool, reverted: false };
    const dropped = pool.filter((candidate) => !kept.includes(candidate));
    const phrase = phraseOf(criterion, pool.length, kept, reverted, skipped);
    if (phrase) phrases.push(phrase);
    steps.push({
      filter: criterion.filter,
      kept: kept.map(({ id }) => id),
      dropped: dropped.map((candidate) => ({ id: candidate.id, why: criterion.why(candidate) })),
      reverted,
      skipped,
    });
    pool = kept;
  }
  const chosen = pool.toSorted(byTies)[0]!;
  if (pool.length > 1) {
    const others = pool.filter((candidate) => candidate !== chosen);
    const dropped = others.map((other) => ({ id: other.id, why: TIES[tieOf(other, chosen)] }));
    steps.push({ filter: 'ties', kept: [chosen.id], dropped, reverted: false, skipped: null });
    const decided = [...new Set(others.map((other) => tieOf(other, chosen)))];
    phrases.push(`of ${pool.length} equals it has the ${decided.join(' or the ')}`);
  }
  return { chosen: chosen.id, candidates: all.length, missing, steps, reason: sentence(chosen, all, missing, phrases) };
}

function phraseOf(
  { filter, does, detail }: Criterion,
  before: number,
  kept: Candidate[],
  reverted: boolean,
  skipped: string | null,
): string | null {
  if (skipped !== null) return `${filter} skipped (${skipped})`;
  if (reverted) return `none ${does}, so that filter is set aside`;
  if (kept.length === before) return null;
  const number = detail?.(kept[0]!);
  return `${kept.length} of ${before} ${does}${number ? ` (${number})` : ''}`;
}

/** What the chosen one of equals has -> what the other one has. */
const TIES = {
  'higher verifier score': 'lower verifier score',
  'smaller patch': 'larger patch',
  'lower run index': 'higher run index',
} as const;

function tieOf(other: Candidate, chosen: Candidate): keyof typeof TIES {
  if (isScored(chosen.verifierScore) && other.verifierScore !== chosen.verifierScore) return 'higher verifier score';
  return other.patchLines === chosen.patchLines ? 'lower run index' : 'smaller patch';
}

function unknown(missing: number): string {
  return missing === 1
    ? '1 rollout ended as an infrastructure failure'
    : `${missing} rollouts ended as infrastructure failures`;
}

function sentence(chosen: Candidate, all: Candidate[], missing: number, phrases: string[]): string {
  const name = sampleName(chosen.sample);
  const beside = missing > 0 ? ` (${unknown(missing)})` : '';
  if (all.length === 1) return `${name} is the only candidate${beside}.`;
  const same = all.filter((c) => c !== chosen && c.patchLines > 0 && c.patchSha256 === chosen.patchSha256);
  const twins = same.length > 0 ? [`${same.length} more left the same patch`] : [];
  return `${name} of ${all.length} candidates${beside}: ${[...phrases, ...twins].join('; ')}.`;
}
