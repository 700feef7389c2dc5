import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  areaUnderCurve,
  averageTies,
  bestAtK,
  bootstrap,
  countBy,
  deviation,
  distinctShare,
  entropy,
  linearFit,
  mean,
  pairedDifferences,
  passAtK,
} from '../../core/estimators';
import { type Candidate, selectCandidate, selectionOrder } from '../../core/selection';
import type { SelectorConfig } from '../../config/schema';

const SELECTORS: SelectorConfig[] = [
  { type: 'entropo', regression: 'relative', reproduction: 'absolute', minVerifierScore: 0.01, steps: 'fewest' },
  { type: 'ef' },
  { type: 'eb' },
  { type: 'r2e-hybrid', top: 'script' },
  { type: 'r2e-hybrid', top: 'notebook' },
];

const scored = (sample: number, verifierScore: number, regression: number, reproduction: number): Candidate => ({
  id: `r${sample}`,
  sample,
  exit: 'submitted',
  regression: { passed: regression, total: 9 },
  reproduction: { passed: reproduction, total: 9 },
  verifierScore,
  steps: (sample * 7) % 5,
  patchSha256: `p${sample}`,
  patchLines: 5,
});

function subsets<T>(items: readonly T[], k: number): T[][] {
  if (k === 0) return [[]];
  return items.flatMap((item, index) => subsets(items.slice(index + 1), k - 1).map((rest) => [item, ...rest]));
}

const ranked = (candidates: Candidate[], correct: number[], selector: SelectorConfig) => ({
  ...selectionOrder(candidates, selector),
  correct,
});
const averaged = (candidates: Candidate[], correct: number[], selector: SelectorConfig) =>
  bestAtK(ranked(candidates, averageTies(correct, selectionOrder(candidates, selector).equal), selector));

describe('pass@k', () => {
  test.each([
    [4, 2, 1, 0.5],
    [4, 2, 2, 5 / 6],
    [4, 2, 3, 1],
    [5, 0, 5, 0],
    [5, 5, 1, 1],
  ])('of n = %d with c = %d and k = %d', (n, c, k, expected) => {
    expect(passAtK(n, c, k)).toBeCloseTo(expected, 12);
  });

  test('is unknown where a task has fewer than k graded rollouts', () => {
    expect(passAtK(3, 3, 4)).toBeNull();
  });

  test('is the share of subsets that hold a resolved rollout', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 9 }), fc.nat(8), (resolved, index) => {
        const k = (index % resolved.length) + 1;
        const all = subsets(resolved, k);
        const expected = all.filter((subset) => subset.some(Boolean)).length / all.length;
        expect(passAtK(resolved.length, resolved.filter(Boolean).length, k)).toBeCloseTo(expected, 10);
      }),
    );
  });
});

describe('Best@k', () => {
  test('of the source: four rollouts by EF, ties averaged', () => {
    const candidates = [0.9, 0.8, 0.8, 0.1].map((score, sample) => scored(sample, score, 0, 0));
    const values = averaged(candidates, [0, 1, 0, 1], { type: 'ef' });
    expect(values).toEqual([0.5, 0.25, 0.125, 0].map((value) => expect.closeTo(value, 12)));
  });

  interface Vector {
    id: string;
    kind: string;
    input: { regression: number[]; reproduction: number[]; prob: number[]; correct: number[] };
    expected: { pass_at_k: number[]; ef: number[]; eb: number[]; hybrid: number[] };
  }
  const lines = readFileSync(join(__dirname, '../fixtures/selection/bestofn.jsonl'), 'utf8').trimEnd().split('\n');
  const vectors = lines.map((line) => JSON.parse(line) as Vector).filter(({ kind }) => kind === 'bestk');

  test.each(vectors.map((vector) => [vector.id, vector] as const))('of the notebook: %s', (_, { input, expected }) => {
    const { prob, regression, reproduction, correct } = input;
    const candidates = prob.map((score, i) => scored(i, score, regression[i]!, reproduction[i]!));
    const resolved = correct.filter((value) => value === 1).length;
    const close = (values: number[]) => values.map((value) => expect.closeTo(value, 10));
    expect(correct.map((_value, i) => passAtK(correct.length, resolved, i + 1))).toEqual(close(expected.pass_at_k));
    expect(averaged(candidates, correct, { type: 'ef' })).toEqual(close(expected.ef));
    expect(averaged(candidates, correct, { type: 'eb' })).toEqual(close(expected.eb));
    expect(averaged(candidates, correct, { type: 'r2e-hybrid', top: 'notebook' })).toEqual(close(expected.hybrid));
  });

  test('is the mean over all subsets of what the selector chooses', () => {
    const rollout = fc.record({
      score: fc.constantFrom(0, 0.3, 0.6, 0.9),
      regression: fc.nat(3),
      reproduction: fc.nat(2),
      finished: fc.boolean(),
      empty: fc.boolean(),
      resolved: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(rollout, { minLength: 1, maxLength: 8 }),
        fc.constantFrom(...SELECTORS),
        (rollouts, selector) => {
          const candidates = rollouts.map((row, i): Candidate => ({
            ...scored(i, row.score, row.regression, row.reproduction),
            exit: row.finished ? 'submitted' : 'stepLimit',
            patchLines: row.empty ? 0 : 4,
          }));
          const correct = new Map(candidates.map(({ id }, i) => [id, Number(rollouts[i]!.resolved)]));
          const values = bestAtK(ranked(candidates, [...correct.values()], selector));
          values.forEach((value, index) => {
            const chosen = subsets(candidates, index + 1).map((subset) => selectCandidate(subset, selector).chosen!);
            expect(value).toBeCloseTo(mean(chosen.map((id) => correct.get(id)!))!, 10);
          });
        },
      ),
      { numRuns: 150 },
    );
  });

  test('starts at random-of-N and ends at what was selected', () => {
    const candidates = Array.from({ length: 16 }, (_, i) => scored(i, ((i * 5) % 16) / 16, i % 4, i % 3));
    const correct = candidates.map((_candidate, i) => Number(i % 3 === 0));
    for (const selector of SELECTORS) {
      const values = bestAtK(ranked(candidates, correct, selector));
      expect(values[0]).toBeCloseTo(mean(correct)!, 12);
      expect(values[15]).toBeCloseTo(
        correct[candidates.findIndex(({ id }) => id === selectCandidate(candidates, selector).chosen)]!,
        12,
      );
    }
  });
});

describe('intervals', () => {
  const settings = { resamples: 400, confidence: 0.9, seed: 3 };

  test('the same seed gives the same interval, around the mean', () => {
    const values = Array.from({ length: 40 }, (_, i) => (i % 4) / 3);
    const estimate = bootstrap(settings)(values);
    expect(bootstrap(settings)(values)).toEqual(estimate);
    expect(estimate.value).toBeCloseTo(0.5, 12);
    expect(estimate.low!).toBeLessThan(0.5);
    expect(estimate.high!).toBeGreaterThan(0.5);
    expect(bootstrap({ ...settings, seed: 4 })(values)).not.toEqual(estimate);
  });

  test('an interval has about the width of the normal one', () => {
    const values = Array.from({ length: 100 }, (_, i) => i % 2);
    const { low, high } = bootstrap({ ...settings, resamples: 2000 })(values);
    expect(high! - low!).toBeCloseTo(2 * 1.645 * Math.sqrt(0.25 / 100), 1);
  });

  test('unknown tasks are left out and counted out', () => {
    expect(bootstrap(settings)([1, null, 1])).toEqual({ value: 1, low: 1, high: 1, tasks: 2 });
    expect(bootstrap(settings)([null])).toEqual({ value: null, low: null, high: null, tasks: 0 });
  });

  test('a paired difference is narrower than the difference of two intervals', () => {
    const base = Array.from({ length: 60 }, (_, i) => (i * 37) % 2);
    const better = base.map((value, i) => (i % 10 === 0 ? 1 : value));
    const estimate = bootstrap(settings);
    const paired = estimate(pairedDifferences(better, base));
    const apart = estimate(better).high! - estimate(base).low!;
    expect(paired.value).toBeCloseTo(mean(better)! - mean(base)!, 12);
    expect(paired.high!).toBeLessThan(apart);
    expect(pairedDifferences([1, null], [null, 1])).toEqual([null, null]);
  });
});

describe('diversity', () => {
  test('distinct shares, entropy and counts leave unknown values out', () => {
    expect(distinctShare(['a', 'a', 'b', null])).toBeCloseTo(2 / 3, 12);
    expect(distinctShare([null])).toBeNull();
    expect(entropy(['a', 'b', null])).toBeCloseTo(Math.log(2), 12);
    expect(entropy(['a', 'a'])).toBe(0);
    expect(entropy([])).toBeNull();
    expect(Object.entries(countBy(['b', 'a', 'b']))).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });
});

describe('area under the ROC curve', () => {
  const of = (...pairs: [number, 0 | 1][]) =>
    areaUnderCurve(pairs.map(([score, positive]) => ({ score, positive: positive === 1 })));

  test.each([
    ['perfect', of([0.1, 0], [0.2, 0], [0.8, 1]), 1],
    ['reversed', of([0.9, 0], [0.2, 1]), 0],
    ['all equal', of([0.5, 0], [0.5, 1], [0.5, 1]), 0.5],
    ['one of two pairs in order', of([0.4, 0], [0.3, 1], [0.6, 1]), 0.5],
    ['one class only', of([0.4, 1]), null],
    ['nothing', of(), null],
  ])('%s', (_, found, expected) => {
    expect(found).toBe(expected);
  });

  test('is the share of positive and negative pairs in order, ties counting one half', () => {
    const row = fc.record({ score: fc.constantFrom(0, 0.25, 0.5, 1), positive: fc.boolean() });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 12 }), (rows) => {
        const positives = rows.filter(({ positive }) => positive);
        const negatives = rows.filter(({ positive }) => !positive);
        const wins = positives.flatMap((a) =>
          negatives.map((b) => (a.score > b.score ? 1 : a.score === b.score ? 0.5 : 0)),
        );
        const found = areaUnderCurve(rows);
        expect(found === null).toBe(wins.length === 0);
        expect(found ?? 0).toBeCloseTo(mean(wins) ?? 0, 12);
      }),
    );
  });
});

describe('spread and line', () => {
  test('the standard deviation divides by n - 1 and needs two values', () => {
    expect(deviation([1, 2, 3, 4])).toBeCloseTo(Math.sqrt(5 / 3), 12);
    expect(deviation([7])).toBeNull();
  });

  test('a line is found again, with its share of the variance', () => {
    const exact = linearFit([1, 2, 5, 9].map((x) => ({ x, y: 4 - 3 * x })));
    expect(exact.slope).toBeCloseTo(-3, 12);
    expect(exact.intercept).toBeCloseTo(4, 12);
    expect(exact.r2).toBeCloseTo(1, 12);
    // Residuals ±1 at x = ±1: slope and intercept stay 0 and 0, nothing is explained.
    const none = linearFit([-1, -1, 1, 1].map((x, i) => ({ x, y: i % 2 === 0 ? 1 : -1 })));
    expect(none).toEqual({ slope: 0, intercept: 0, r2: 0 });
  });

  test('equal lengths have no line', () => {
    expect(linearFit([1, 2].map((y) => ({ x: 3, y })))).toEqual({ slope: null, intercept: null, r2: null });
    expect(linearFit([])).toEqual({ slope: null, intercept: null, r2: null });
  });
});
