import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SelectorConfig } from '../../config/schema';
import { type Candidate, candidateOf, selectCandidate } from '../../core/selection';
import type { RolloutSummary } from '../../core/trajectory';

const entropo = (rule: Partial<Extract<SelectorConfig, { type: 'entropo' }>> = {}): SelectorConfig => ({
  type: 'entropo',
  regression: 'relative',
  reproduction: 'relative',
  minVerifierScore: 0.01,
  steps: 'fewest',
  ...rule,
});
const script: SelectorConfig = { type: 'r2e-hybrid', top: 'script' };
const notebook: SelectorConfig = { type: 'r2e-hybrid', top: 'notebook' };

function candidate(id: string, sample: number, facts: Partial<Candidate> = {}): Candidate {
  return {
    id,
    sample,
    exit: 'submitted',
    regression: { passed: 10, total: 10 },
    reproduction: { passed: 0, total: 3 },
    verifierScore: 0.5,
    steps: 10,
    patchSha256: id,
    patchLines: 7,
    ...facts,
  };
}

/** Spec §9.4: id, verifier score, regression, reproduction, steps, finished. */
const rows = (
  [
    ['a', 0.9, 10, 1, 40, true],
    ['b', 0.8, 10, 2, 60, true],
    ['c', 0.7, 9, 3, 90, true],
    ['d', 0.3, 10, 3, 120, true],
    ['e', 0.005, 10, 3, 150, true],
    ['f', 0.95, 10, 0, 200, false],
    ['g', 0.001, 8, 0, 30, false],
  ] as const
).map(([id, verifierScore, regression, reproduction, steps, finished], sample) =>
  candidate(id, sample, {
    verifierScore,
    regression: { passed: regression, total: 10 },
    reproduction: { passed: reproduction, total: 3 },
    steps,
    exit: finished ? 'submitted' : 'stepLimit',
  }),
);
const of = (ids: string) => rows.filter(({ id }) => ids.includes(id));

describe('the vectors of the source', () => {
  const off = { reproduction: 'off' } as const;
  test.each<[string, string, SelectorConfig, string]>([
    ['EF over a-f ignores the finished flag', 'abcdef', { type: 'ef' }, 'f'],
    ['EB over a-f takes d of the tie d/e by its higher verifier score', 'abcdef', { type: 'eb' }, 'd'],
    ['hybrid over a-f cuts to f, a, b', 'abcdef', script, 'b'],
    ['hybrid over a-f by the notebook cuts to the same three', 'abcdef', notebook, 'b'],
    ['hybrid over a-c by the script keeps one', 'abc', script, 'a'],
    ['hybrid over a-c by the notebook keeps three', 'abc', notebook, 'b'],
    ['hybrid over a alone, where the source raises', 'a', script, 'a'],
    ['hybrid over a alone by the notebook', 'a', notebook, 'a'],
    ['EntroPO, most steps', 'abcdef', entropo({ ...off, steps: 'most' }), 'd'],
    ['EntroPO, fewest steps', 'abcdef', entropo(off), 'a'],
    ['EntroPO with the reproduction filter, most steps', 'abcdef', entropo({ steps: 'most' }), 'd'],
    ['EntroPO falls back where nobody finished', 'fg', entropo(), 'f'],
  ])('%s', (_, ids, selector, chosen) => {
    expect(selectCandidate(of(ids), selector).chosen).toBe(chosen);
  });

  test('the survivors of each filter are recorded', () => {
    const { steps } = selectCandidate(of('abcdef'), entropo({ steps: 'most' }));
    expect(steps.map(({ filter, kept }) => `${filter} ${kept.join('')}`)).toEqual([
      'patch abcdef',
      'finished abcde',
      'regression abde',
      'reproduction de',
      'verifier d',
      'steps d',
    ]);
    expect(steps[1]!.dropped).toEqual([{ id: 'f', why: 'not finished: stepLimit' }]);
  });

  test('a filter that nobody meets is set aside and says so', () => {
    const { steps, reason } = selectCandidate(of('fg'), entropo());
    expect(steps[1]).toMatchObject({ filter: 'finished', kept: ['f', 'g'], dropped: [], reverted: true });
    expect(reason).toBe(
      'r05 of 2 candidates: none finished, so that filter is set aside; 1 of 2 pass the most regression tests (10 of 10).',
    );
  });

  interface Vector {
    id: string;
    kind: string;
    input: { candidates: { verifier_prob: number; regression_pass_count: number; reproduction_test_score: number }[] };
    expected: Record<'ef' | 'eb' | 'hybrid', { selected: number }>;
  }
  const file = join(__dirname, '../fixtures/selection/bestofn.jsonl');
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const vectors = lines.map((line) => JSON.parse(line) as Vector).filter(({ kind }) => kind === 'bon_script');

  test.each(vectors.map((vector) => [vector.id, vector] as const))('the script chooses the same: %s', (_, vector) => {
    const scored = vector.input.candidates.map((row, sample) =>
      candidate(String(sample), sample, {
        verifierScore: row.verifier_prob,
        regression: { passed: row.regression_pass_count, total: 10 },
        reproduction: { passed: row.reproduction_test_score, total: 10 },
      }),
    );
    // The script breaks EB's ties by position, which here is the run index; ours would ask the verifier first.
    const unverified = scored.map((c) => ({ ...c, verifierScore: null }));
    expect({
      ef: Number(selectCandidate(scored, { type: 'ef' }).chosen),
      eb: Number(selectCandidate(unverified, { type: 'eb' }).chosen),
      hybrid: Number(selectCandidate(scored, script).chosen),
    }).toEqual({
      ef: vector.expected.ef.selected,
      eb: vector.expected.eb.selected,
      hybrid: vector.expected.hybrid.selected,
    });
  });
});

describe('missing scores', () => {
  test('one unscored candidate skips the filter for the task instead of losing it', () => {
    const pool = [candidate('x', 0, { regression: null, steps: 3 }), candidate('y', 1)];
    const selection = selectCandidate(pool, entropo());
    expect(selection.chosen).toBe('x');
    expect(selection.steps.find(({ filter }) => filter === 'regression')!.skipped).toBe('1 of 2 lack this score');
  });

  test('a verifier without a verdict (NaN) is unscored, not zero', () => {
    const pool = [candidate('x', 0, { verifierScore: NaN, steps: 3 }), candidate('y', 1)];
    const { steps, chosen } = selectCandidate(pool, entropo());
    expect(chosen).toBe('x');
    expect(steps.find(({ filter }) => filter === 'verifier')!.skipped).toBe('1 of 2 lack this score');
  });

  test('EF takes the highest score there is when one is missing', () => {
    const pool = [candidate('x', 0, { verifierScore: null }), candidate('y', 1, { verifierScore: 0.001 })];
    expect(selectCandidate(pool, { type: 'ef' }).chosen).toBe('y');
  });

  test('an empty patch needs no score', () => {
    const empty = candidate('x', 0, { patchLines: 0, regression: null, reproduction: null, verifierScore: null });
    const { steps, chosen } = selectCandidate([empty, ...of('ad')], entropo({ steps: 'most' }));
    expect(chosen).toBe('d');
    expect(steps.filter(({ skipped }) => skipped !== null)).toEqual([]);
  });
});

describe('what every rule does', () => {
  test.each<SelectorConfig>([entropo(), { type: 'ef' }, { type: 'eb' }, script, notebook])(
    'an empty patch loses to any other: %j',
    (selector) => {
      const empty = candidate('x', 0, { patchLines: 0, verifierScore: 1, reproduction: { passed: 3, total: 3 } });
      expect(selectCandidate([empty, candidate('y', 1, { exit: 'timeLimit' })], selector).chosen).toBe('y');
    },
  );

  test('absolute regression keeps those that pass all, or everybody', () => {
    const pool = [10, 9].map((passed, sample) =>
      candidate(`${passed}`, sample, { regression: { passed, total: 10 }, steps: passed }),
    );
    const rule = entropo({ regression: 'absolute' });
    expect(selectCandidate(pool, rule).chosen).toBe('10');
    const failing = pool.map((c) => ({ ...c, regression: { passed: c.regression!.passed, total: 11 } }));
    expect(selectCandidate(failing, rule).chosen).toBe('9');
  });

  test.each([
    ['higher verifier score', { verifierScore: 0.6 }, 'lower verifier score'],
    ['smaller patch', { patchLines: 6 }, 'larger patch'],
    ['lower run index', {}, 'higher run index'],
  ])('ties are broken by the %s', (word, better, why) => {
    const sample = word === 'lower run index' ? 0 : 2;
    const pool = [candidate('other', 1), candidate('best', sample, better)];
    const { chosen, steps, reason } = selectCandidate(pool, entropo());
    expect(chosen).toBe('best');
    expect(steps.at(-1)).toMatchObject({ filter: 'ties', dropped: [{ id: 'other', why }] });
    expect(reason).toContain(`of 2 equals it has the ${word}`);
  });

  test('infrastructure failures are counted, never chosen', () => {
    expect(selectCandidate([], entropo(), 2)).toEqual({
      chosen: null,
      candidates: 0,
      missing: 2,
      steps: [],
      reason: 'Nothing to choose from: 2 rollouts ended as infrastructure failures.',
    });
    expect(selectCandidate([candidate('x', 3)], entropo(), 1).reason).toBe(
      'r03 is the only candidate (1 rollout ended as an infrastructure failure).',
    );
  });

  test('a candidate carries no hidden grade', () => {
    const rollout: RolloutSummary = {
      id: 'evaluate-1/t/r00',
      task: 't',
      sample: 0,
      exit: 'submitted',
      steps: 4,
      promptTokens: null,
      completionTokens: null,
      patchSha256: 'p',
      patchLines: 3,
      resolved: true,
      gradeReason: null,
    };
    const failing = { ...rollout, resolved: false, gradeReason: 'test_a FAILED' };
    expect(candidateOf(failing, undefined, undefined)).toEqual(candidateOf(rollout, undefined, undefined));
    expect(Object.keys(candidateOf(rollout, undefined, undefined))).not.toContain('resolved');
  });
});
