/** How much the rollouts of a task differ, measured beside every score. Formulas and ranges: `Diversity`, types.ts. */
import { distinctShare, entropy, mean } from '../estimators';
import type { RolloutSummary } from '../trajectory';
import type { RepeatData } from './data';
import type { TrajectoryFacts } from './facts';
import { figure, type Interval, knownMean, overRepeats, rolloutsByTask } from './rollouts';
import type { Diversity } from './types';

type OfSummaries = (rollouts: RolloutSummary[]) => number | null;
type OfFacts = (facts: TrajectoryFacts[]) => number | null;

/** Taken from the results file. */
const OF_SUMMARIES = {
  distinctPatches: (rollouts) =>
    distinctShare(rollouts.map(({ patchSha256, patchLines }) => (patchLines > 0 ? patchSha256 : null))),
  meanSteps: (rollouts) => mean(rollouts.map(({ steps }) => steps)),
  meanTokens: (rollouts) => knownMean(rollouts.map(({ completionTokens }) => completionTokens)),
  finished: (rollouts) => mean(rollouts.map(({ exit }) => (exit === 'submitted' ? 1 : 0))),
} satisfies Record<string, OfSummaries>;

/** Taken from the trajectories. */
const OF_FACTS = {
  distinctActions: (facts) => distinctShare(facts.map(({ actions }) => actions)),
  distinctFirstEdits: (facts) => distinctShare(facts.map(({ firstEdit }) => firstEdit)),
  placeEntropy: (facts) => entropy(facts.map(({ place }) => place)),
  tokenEntropy: (facts) => {
    const sampled = facts.flatMap(({ surprisal }) => surprisal ?? []);
    const tokens = sampled.reduce((sum, part) => sum + part.tokens, 0);
    return tokens === 0 ? null : sampled.reduce((sum, { nats }) => sum + nats, 0) / tokens;
  },
} satisfies Record<string, OfFacts>;

export function diversityOf(repeats: readonly RepeatData[], interval: Interval): Diversity {
  const results = repeats.map(({ stage }) => `${stage}/results.jsonl`);
  // Every trajectory of the stage: the manifest lists them with their digests.
  const trajectories = repeats.map(({ stage }) => `${stage}/manifest.json`);
  const over = (of: (repeat: RepeatData) => (number | null)[], source: string[]) =>
    figure(interval(overRepeats(repeats.map(of))), source);
  const ofSummaries = (of: OfSummaries) => over((repeat) => rolloutsByTask(repeat).map(of), results);
  const ofFacts = (of: OfFacts) =>
    over((repeat) => rolloutsByTask(repeat).map((rollouts) => of(factsOf(repeat, rollouts))), trajectories);
  return {
    distinctPatches: ofSummaries(OF_SUMMARIES.distinctPatches),
    distinctActions: ofFacts(OF_FACTS.distinctActions),
    distinctFirstEdits: ofFacts(OF_FACTS.distinctFirstEdits),
    placeEntropy: ofFacts(OF_FACTS.placeEntropy),
    tokenEntropy: ofFacts(OF_FACTS.tokenEntropy),
    meanSteps: ofSummaries(OF_SUMMARIES.meanSteps),
    meanTokens: ofSummaries(OF_SUMMARIES.meanTokens),
    finished: ofSummaries(OF_SUMMARIES.finished),
  };
}

function factsOf({ facts }: RepeatData, rollouts: RolloutSummary[]): TrajectoryFacts[] {
  return rollouts.map(({ id }) => facts.get(id)).filter((found) => found !== undefined);
}

/** At most twenty bins of one width, from 0. */
export function stepHistogram(steps: readonly number[]): { from: number; to: number; rollouts: number }[] {
  if (steps.length === 0) return [];
  const width = Math.max(1, Math.ceil((steps.reduce((a, b) => Math.max(a, b), 0) + 1) / 20));
  const bins = new Map<number, number>();
  for (const count of steps) bins.set(Math.floor(count / width), (bins.get(Math.floor(count / width)) ?? 0) + 1);
  const last = Math.max(...bins.keys());
  return Array.from({ length: last + 1 }, (_, bin) => ({
    from: bin * width,
    to: (bin + 1) * width - 1,
    rollouts: bins.get(bin) ?? 0,
  }));
}
