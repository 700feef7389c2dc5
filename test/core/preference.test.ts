/** Pairs and labels: what may stand beside what, and that one seed gives one answer. */
import fc from 'fast-check';
import { type Graded, mixedOutcomes, noPairs, preferencesOf } from '../../core/preference';

const rollout = (id: string, resolved: boolean, digest = id): Graded => ({ id, task: 't1', resolved, digest });
const SETTINGS = { seed: 7, maxPairsPerTask: 4 };

test.each([
  ['no rollout', [], 0, 0],
  ['one rollout', [rollout('a', true)], 0, 1],
  ['only resolved ones', [rollout('a', true), rollout('b', true)], 0, 2],
  ['only unresolved ones', [rollout('a', false), rollout('b', false)], 0, 2],
  ['one of each', [rollout('a', true), rollout('b', false)], 1, 2],
  ['one against three', [rollout('a', true), rollout('b', false), rollout('c', false), rollout('d', false)], 3, 4],
  ['equal texts', [rollout('a', true, 'x'), rollout('b', true, 'x'), rollout('c', false)], 1, 2],
  ['equal texts, graded differently', [rollout('a', true, 'x'), rollout('b', false, 'x'), rollout('c', false)], 0, 1],
])('%s', (_, rollouts, pairs, labels) => {
  const found = preferencesOf(rollouts, SETTINGS);
  expect(found.pairs).toHaveLength(pairs);
  expect(found.labels).toHaveLength(labels);
  expect(found.duplicates).toBe(rollouts.length - labels);
});

test('the first of equal texts stays, and a label says whether it resolved its task', () => {
  const rollouts = [rollout('a', true, 'x'), rollout('b', true, 'x'), rollout('c', false)];
  expect(preferencesOf(rollouts, SETTINGS)).toEqual({
    labels: [
      { id: 'a', task: 't1', desirable: true },
      { id: 'c', task: 't1', desirable: false },
    ],
    pairs: [{ id: 't1/0', task: 't1', chosen: 'a', rejected: 'c' }],
    duplicates: 1,
  });
});

test('with at most four pairs each of four resolved and four unresolved trajectories is used once', () => {
  const rollouts = Array.from({ length: 8 }, (_, index) => rollout(`r${index}`, index < 4));
  const { pairs } = preferencesOf(rollouts, SETTINGS);
  expect(pairs.map(({ chosen }) => chosen).toSorted()).toEqual(['r0', 'r1', 'r2', 'r3']);
  expect(pairs.map(({ rejected }) => rejected).toSorted()).toEqual(['r4', 'r5', 'r6', 'r7']);
});

test('other seeds draw other pairs, and another task draws on its own', () => {
  const rollouts = Array.from({ length: 12 }, (_, index) => rollout(`r${index}`, index < 6));
  const drawn = (seed: number, task = 't1') =>
    JSON.stringify(
      preferencesOf(
        rollouts.map((one) => ({ ...one, task })),
        { ...SETTINGS, seed },
      ).pairs.map(({ chosen, rejected }) => [chosen, rejected]),
    );
  expect(new Set(Array.from({ length: 20 }, (_, seed) => drawn(seed))).size).toBeGreaterThan(15);
  expect(drawn(7, 't2')).not.toBe(drawn(7));
});

const pool = fc
  .array(fc.record({ resolved: fc.boolean(), text: fc.integer({ min: 0, max: 12 }) }), { maxLength: 24 })
  .map((drawn) => drawn.map(({ resolved, text }, index) => rollout(`r${index}`, resolved, `x${text}`)));
const settings = fc.record({ seed: fc.nat(), maxPairsPerTask: fc.integer({ min: 1, max: 200 }) });

test('every pair has exactly one resolved side, its sides have different texts, and no pair occurs twice', () => {
  fc.assert(
    fc.property(pool, settings, (rollouts, given) => {
      const known = new Map(rollouts.map((one) => [one.id, one]));
      const { pairs, labels } = preferencesOf(rollouts, given);
      for (const { chosen, rejected } of pairs) {
        expect(known.get(chosen)!.resolved).toBe(true);
        expect(known.get(rejected)!.resolved).toBe(false);
        expect(known.get(chosen)!.digest).not.toBe(known.get(rejected)!.digest);
      }
      expect(new Set(pairs.map(({ chosen, rejected }) => `${chosen} ${rejected}`)).size).toBe(pairs.length);
      expect(pairs.map(({ id }) => id)).toEqual(pairs.map((_, index) => `t1/${index}`));
      const desirable = labels.filter((label) => label.desirable).length;
      const possible = desirable * (labels.length - desirable);
      expect(pairs).toHaveLength(Math.min(given.maxPairsPerTask, possible));
      expect(preferencesOf(rollouts, given)).toEqual({ pairs, labels, duplicates: rollouts.length - labels.length });
    }),
  );
});

test('no side is used twice before every side of its kind was used as often', () => {
  fc.assert(
    fc.property(pool, settings, (rollouts, given) => {
      const { pairs, labels } = preferencesOf(rollouts, given);
      for (const side of ['chosen', 'rejected'] as const) {
        const uses = labels
          .filter(({ desirable }) => desirable === (side === 'chosen'))
          .map(({ id }) => pairs.filter((pair) => pair[side] === id).length);
        const spread = uses.length === 0 ? 0 : Math.max(...uses) - Math.min(...uses);
        expect(spread).toBeLessThanOrEqual(1);
      }
    }),
  );
});

test('texts that are equal are labelled once', () => {
  fc.assert(
    fc.property(pool, settings, (rollouts, given) => {
      const digests = preferencesOf(rollouts, given).labels.map(({ id }) => rollouts.find((r) => r.id === id)!.digest);
      expect(new Set(digests).size).toBe(digests.length);
    }),
  );
});

test('outcomes are counted by task', () => {
  expect(mixedOutcomes([[true, false], [true], [false, false], [], [true, true]])).toEqual({
    tasks: 4,
    mixed: 1,
    allResolved: 2,
    noneResolved: 1,
  });
});

test.each([
  [
    { tasks: 3, mixed: 0, allResolved: 0, noneResolved: 3 },
    'of 3 tasks with usable rollouts 0 had mixed outcomes, 0 were always resolved, 3 never. ' +
      'Try more samples per task; a higher temperature; a better teacher or easier tasks',
  ],
  [
    { tasks: 2, mixed: 0, allResolved: 2, noneResolved: 0 },
    'of 2 tasks with usable rollouts 0 had mixed outcomes, 2 were always resolved, 0 never. ' +
      'Try more samples per task; a higher temperature; a sloppier teacher or harder tasks',
  ],
  [
    { tasks: 1, mixed: 1, allResolved: 0, noneResolved: 0 },
    '1 had mixed outcomes, 0 were always resolved, 0 never; where outcomes were mixed, equal texts were graded differently',
  ],
])('a message says why there is no pair: %j', (outcomes, text) => {
  expect(noPairs(outcomes)).toContain(text);
});
