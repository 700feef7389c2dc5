/**
 * Preference data out of graded rollouts: pairs of a resolved and an unresolved trajectory of the same task, and the
 * labels of KTO. Rollouts of all policies are pooled (spec §4.8 has the pairing of the source, which never crosses
 * models). Order and choice follow from the seed alone.
 *
 * Not covered: the text of a trajectory (activities/conversations.ts), and lengths, which no rule here looks at.
 */
import { random, seedFor } from './random';

/** A graded rollout with at least one reply, as pairing sees it. */
export interface Graded {
  /** Rollout id. */
  id: string;
  task: string;
  resolved: boolean;
  /** Equal for trajectories with equal text. */
  digest: string;
}

/** A line of `pairs.jsonl`. */
export interface PreferencePair {
  /** `<task>/0`, … */
  id: string;
  task: string;
  /** Ids of conversations. */
  chosen: string;
  rejected: string;
}

/** A line of `labels.jsonl`: desirable or not, on its own. */
export interface Label {
  id: string;
  task: string;
  desirable: boolean;
}

/** What may be learned from the rollouts of one task. */
export interface TaskPreferences {
  labels: Label[];
  pairs: PreferencePair[];
  /** Left out: another rollout has the same text. */
  duplicates: number;
}

/**
 * @param rollouts of one task, by any policy, in the order of the configuration.
 * Equal texts count once. Where they were graded differently none counts: the tests are not sure, and a pair of equal
 * texts teaches nothing.
 */
export function preferencesOf(
  rollouts: readonly Graded[],
  { seed, maxPairsPerTask }: { seed: number; maxPairsPerTask: number },
): TaskPreferences {
  const byText = new Map<string, Graded[]>();
  for (const rollout of rollouts) byText.set(rollout.digest, [...(byText.get(rollout.digest) ?? []), rollout]);
  const distinct = [...byText.values()].flatMap(([first, ...others]) =>
    others.every(({ resolved }) => resolved === first!.resolved) ? [first!] : [],
  );
  const labels = distinct.map(({ id, task, resolved }) => ({ id, task, desirable: resolved }));
  const pairs = pairLabels(labels, seed, maxPairsPerTask);
  return { labels, pairs, duplicates: rollouts.length - distinct.length };
}

/**
 * The first `most` pairs in an order that spreads: no side is used again before all of its kind were used as often, and
 * no pair occurs twice. Shuffled sides are walked side by side; after each common multiple of their numbers one of them
 * is shifted by one, which visits every pair once.
 */
function pairLabels(labels: readonly Label[], seed: number, most: number): PreferencePair[] {
  if (labels.length === 0) return [];
  const { task } = labels[0]!;
  const draw = random(seedFor(seed, 'pairs', task));
  const chosen = draw.shuffle(labels.filter(({ desirable }) => desirable));
  const rejected = draw.shuffle(labels.filter(({ desirable }) => !desirable));
  const count = Math.min(most, chosen.length * rejected.length);
  const period = leastCommonMultiple(chosen.length, rejected.length);
  return Array.from({ length: count }, (_, index) => ({
    id: `${task}/${index}`,
    task,
    chosen: chosen[index % chosen.length]!.id,
    rejected: rejected[(index + Math.floor(index / period)) % rejected.length]!.id,
  }));
}

function leastCommonMultiple(a: number, b: number): number {
  let [divisor, rest] = [a, b];
  while (rest > 0) [divisor, rest] = [rest, divisor % rest];
  return (a * b) / divisor;
}

/** How the rollouts of the tasks ended: only tasks with both outcomes give pairs. */
export interface Outcomes {
  tasks: number;
  mixed: number;
  allResolved: number;
  noneResolved: number;
}

/** @param tasks for each task, whether each of its rollouts resolved it. Tasks without rollouts are not counted. */
export function mixedOutcomes(tasks: Iterable<readonly boolean[]>): Outcomes {
  const outcomes: Outcomes = { tasks: 0, mixed: 0, allResolved: 0, noneResolved: 0 };
  for (const resolved of tasks) {
    if (resolved.length === 0) continue;
    outcomes.tasks += 1;
    if (resolved.every(Boolean)) outcomes.allResolved += 1;
    else if (resolved.some(Boolean)) outcomes.mixed += 1;
    else outcomes.noneResolved += 1;
  }
  return outcomes;
}

/** Why there is nothing to learn from, and what to change. */
export function noPairs({ tasks, mixed, allResolved, noneResolved }: Outcomes): string {
  const advice = [
    'more samples per task',
    'a higher temperature',
    ...(noneResolved > 0 ? ['a better teacher or easier tasks'] : []),
    ...(allResolved > 0 ? ['a sloppier teacher or harder tasks'] : []),
  ];
  return (
    `no pair of a resolved and an unresolved trajectory is left: of ${tasks} tasks with usable rollouts ${mixed} had ` +
    `mixed outcomes, ${allResolved} were always resolved, ${noneResolved} never` +
    (mixed > 0 ? '; where outcomes were mixed, equal texts were graded differently' : '') +
    `. Try ${advice.join('; ')}`
  );
}
