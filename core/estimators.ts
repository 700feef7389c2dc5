/**
 * Estimates from graded rollouts: what k rollouts of a task are worth, how sure that is over tasks, how much the
 * rollouts differ. Shares are in [0, 1], without a unit. A task's n rollouts are those with a grade: an infrastructure
 * failure is unknown and in none of them; k beyond n is null, and the caller says what it means (report/arm.ts).
 *
 * The selector's rule enters as ranks (`SelectionOrder`, selection.ts); what it looks at is not known here.
 */
import { random } from './random';

/**
 * Probability that at least one of k rollouts, drawn without replacement from n of which c resolve, resolves.
 * 1 - C(n-c, k) / C(n, k); in [0, 1]; null where k > n. Unbiased. Source: Chen et al. 2021, arXiv 2107.03374, §2.1.
 */
export function passAtK(n: number, c: number, k: number): number | null {
  if (k > n) return null;
  let noneResolves = 1;
  for (let i = 0; i < k; i++) noneResolves *= Math.max(0, n - c - i) / (n - i);
  return 1 - noneResolves;
}

/** The rule as ranks, aligned with the rollouts (`SelectionOrder`). */
export interface RankedRollouts {
  /** Whether each rollout resolves its task: 1 or 0, or a mean over equals (`averageTies`). */
  correct: readonly number[];
  cut: readonly number[];
  rank: readonly number[];
  top: (k: number) => number;
}

/**
 * Best@k: the expected correctness of the rollout that the rule chooses from k of the n, over all C(n, k) subsets;
 * index k - 1, k = 1..n; in [0, 1]. Exact, by counting instead of enumerating. Let m = top(k). Rollout c is chosen when
 * it is among the m lowest by `cut` and no other of these m ranks before it. With q the place of the last of the m:
 *
 *     #(c, q) = C(worse than c before q, m - 1 - [q is not c]) * C(n - 1 - q, k - m)
 *
 * Source of the measure: R2E-Gym's notebook (spec §5.4), which draws 1000 random subsets instead.
 */
export function bestAtK({ correct, cut, rank, top }: RankedRollouts): number[] {
  const n = correct.length;
  const byCut = [...correct.keys()].toSorted((a, b) => cut[a]! - cut[b]!);
  const choose = binomials(n);
  return Array.from({ length: n }, (_, index) => {
    const k = index + 1;
    const kept = top(k);
    let expected = 0;
    byCut.forEach((candidate, place) => {
      if (correct[candidate] === 0) return;
      const worse = (other: number) => (rank[other]! > rank[candidate]! ? 1 : 0);
      let before = byCut.slice(0, place).filter(worse).length;
      let chosen = choose[before]![kept - 1]! * choose[n - 1 - place]![k - kept]!;
      for (let last = place + 1; last < n; last++) {
        if (!worse(byCut[last]!)) continue;
        if (kept >= 2) chosen += choose[before]![kept - 2]! * choose[n - 1 - last]![k - kept]!;
        before++;
      }
      expected += correct[candidate]! * chosen;
    });
    return expected / choose[n]![k]!;
  });
}

/**
 * Correctness with that of equal rollouts averaged: with it `bestAtK` is the expectation over random tie-breaking, as
 * the source's notebook computes it (spec §9.5). `equal` from `SelectionOrder`.
 */
export function averageTies(correct: readonly number[], equal: readonly string[]): number[] {
  const meanOf = new Map<string, number>();
  for (const key of new Set(equal)) meanOf.set(key, mean(correct.filter((_, index) => equal[index] === key))!);
  return equal.map((key) => meanOf.get(key)!);
}

/** Pascal's triangle: `[n][k]`, 0 where k > n. Exact below 2^53, else to 16 digits. */
function binomials(n: number): number[][] {
  const rows = [[1, ...new Array<number>(n).fill(0)]];
  for (let i = 1; i <= n; i++) {
    const above = rows[i - 1]!;
    rows.push(above.map((value, k) => value + (k > 0 ? above[k - 1]! : 0)));
  }
  return rows;
}

/** Arithmetic mean; null of nothing. Expected correctness of a random one of N rollouts, when over their correctness. */
export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Sample standard deviation, divisor n - 1; null of fewer than two values. */
export function deviation(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const center = mean(values)!;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1));
}

/**
 * Area under the ROC curve: probability that a random positive scores above a random negative, ties counting one half;
 * in [0, 1], 0.5 = no better than chance. Null where one class is missing. By ranks: (R⁺ - n⁺(n⁺ + 1)/2) / (n⁺·n⁻),
 * equal scores sharing their mean rank. Source: Hanley and McNeil 1982; Mann and Whitney 1947.
 */
export function areaUnderCurve(rows: readonly { score: number; positive: boolean }[]): number | null {
  const positives = rows.filter(({ positive }) => positive).length;
  const negatives = rows.length - positives;
  if (positives === 0 || negatives === 0) return null;
  const sorted = rows.toSorted((a, b) => a.score - b.score);
  let ranks = 0;
  for (let start = 0, end = 0; start < sorted.length; start = end) {
    while (end < sorted.length && sorted[end]!.score === sorted[start]!.score) end++;
    const rank = (start + 1 + end) / 2;
    for (let i = start; i < end; i++) if (sorted[i]!.positive) ranks += rank;
  }
  return (ranks - (positives * (positives + 1)) / 2) / (positives * negatives);
}

/**
 * Least squares line y = intercept + slope·x and the share of y's variance that it explains, r2 in [0, 1]. Slope and r2
 * are null where all x are equal, r2 also where all y are; the intercept is then null as well.
 */
export function linearFit(points: readonly { x: number; y: number }[]) {
  const meanX = mean(points.map(({ x }) => x)) ?? 0;
  const meanY = mean(points.map(({ y }) => y)) ?? 0;
  let [xx, xy, yy] = [0, 0, 0];
  for (const { x, y } of points) {
    xx += (x - meanX) ** 2;
    xy += (x - meanX) * (y - meanY);
    yy += (y - meanY) ** 2;
  }
  if (xx === 0) return { slope: null, intercept: null, r2: null };
  return { slope: xy / xx, intercept: meanY - (xy / xx) * meanX, r2: yy === 0 ? null : (xy * xy) / (xx * yy) };
}

/** A mean over tasks with its bootstrap interval. Null where no task has a value. */
export interface Estimate {
  value: number | null;
  low: number | null;
  high: number | null;
  /** Tasks with a value: the others are unknown, not zero. */
  tasks: number;
}

export interface BootstrapSettings {
  resamples: number;
  /** Coverage of the interval, in (0, 1). */
  confidence: number;
  seed: number;
}

/**
 * Mean over tasks with a percentile bootstrap interval (Efron 1979): tasks are drawn with replacement, the interval is
 * between the (1 ± confidence) / 2 quantiles of the resamples' means. The same draws serve every list of that many
 * values, so points of a curve move together. For a paired difference pass each task's difference.
 */
export function bootstrap({ resamples, confidence, seed }: BootstrapSettings) {
  const draws = new Map<number, Uint32Array>();
  const drawsFor = (tasks: number): Uint32Array => {
    const known = draws.get(tasks);
    if (known) return known;
    const stream = random(seed);
    const made = Uint32Array.from({ length: resamples * tasks }, () => stream.int(0, tasks - 1));
    draws.set(tasks, made);
    return made;
  };
  return (perTask: readonly (number | null)[]): Estimate => {
    const values = Float64Array.from(perTask.filter((value) => value !== null));
    const tasks = values.length;
    if (tasks === 0) return { value: null, low: null, high: null, tasks };
    const drawn = drawsFor(tasks);
    const means = new Float64Array(resamples);
    for (let resample = 0; resample < resamples; resample++) {
      let sum = 0;
      for (let i = resample * tasks; i < (resample + 1) * tasks; i++) sum += values[drawn[i]!]!;
      means[resample] = sum / tasks;
    }
    means.sort();
    const tail = (1 - confidence) / 2;
    return { value: mean([...values]), low: quantile(means, tail), high: quantile(means, 1 - tail), tasks };
  };
}

/** Linear between order statistics (Hyndman and Fan 1996, type 7). `sorted` ascending, not empty. */
function quantile(sorted: Float64Array, share: number): number {
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const [left, right] = [sorted[below]!, sorted[Math.min(below + 1, sorted.length - 1)]!];
  return left + (right - left) * (position - below);
}

/** Each task's difference a - b where both are known: the input of a paired interval. */
export function pairedDifferences(a: readonly (number | null)[], b: readonly (number | null)[]): (number | null)[] {
  return a.map((value, task) => {
    const other = b[task] ?? null;
    return value === null || other === null ? null : value - other;
  });
}

/** Distinct values among the known ones, over how many are known; in (0, 1], 1 = all differ. Null of nothing. */
export function distinctShare(values: readonly (string | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : new Set(known).size / known.length;
}

/** Shannon entropy of the known values' frequencies, in nats; 0 = all equal, at most ln(n). Null of nothing. */
export function entropy(values: readonly (string | null)[]): number | null {
  const counts = countBy(values.filter((value) => value !== null));
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  return Object.values(counts).reduce((sum, count) => sum - (count / total) * Math.log(count / total), 0);
}

/** How often each value occurs, sorted by value. */
export function countBy(values: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
