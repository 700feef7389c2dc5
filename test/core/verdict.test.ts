import fc from 'fast-check';
import { judgementText, readVerdict, type SampledToken, verdictProbability } from '../../core/verdict';
import { readVectors } from '../support/vectors';

/** To 8 places; null stays null. */
const rounded = (value: number | null) => (value === null ? null : value.toFixed(8));

describe('probability of YES', () => {
  test.each([
    [-0.01, -4.61, 0.9900481981],
    [-2.3, -0.105, 0.10020039],
    [undefined, -0.1, 0],
    [-0.1, undefined, 1],
    [undefined, undefined, null],
    [-800, -801, null],
    [Number.NaN, -1, null],
    [-Infinity, -Infinity, null],
  ])('of YES at %p and NO at %p is %p', (yes, no, expected) => {
    const probability = verdictProbability(yes, no);
    expect(rounded(probability)).toBe(rounded(expected));
  });

  test.each(
    readVectors<{ top_logprobs: Record<string, number> }, { prob: number | null }>('verifier-input').flatMap((v) =>
      v.kind === 'ef_prob' ? [[v.id, v.input.top_logprobs, v.expected.prob] as const] : [],
    ),
  )('is that of the source for %s', (_id, table, expected) => {
    const alternatives = Object.entries(table).map(([token, logProb]) => ({ token, logProb }));
    const tag = ['<', 'jud', 'gement', '>'].map((token) => ({ token, logProb: 0, alternatives: [] }));
    const sampled = { token: 'x', logProb: -9, alternatives };
    const probability = readVerdict([...tag, sampled]);
    expect(rounded(probability)).toBe(rounded(expected));
  });

  test('is in [0, 1], and 1 minus itself with the words exchanged', () => {
    const value = fc.double({ min: -700, max: 0, noNaN: true });
    fc.assert(
      fc.property(value, value, (yes, no) => {
        const probability = verdictProbability(yes, no)!;
        expect(probability).toBeGreaterThanOrEqual(0);
        expect(probability).toBeLessThanOrEqual(1);
        expect(probability + verdictProbability(no, yes)!).toBeCloseTo(1, 9);
      }),
    );
  });
});

describe('the verdict token', () => {
  const yes = Math.log(0.6);
  const no = Math.log(0.2);
  const plain = (token: string): SampledToken => ({ token, logProb: -0.01, alternatives: [] });
  const at = (token: string, other: string): SampledToken => ({
    token,
    logProb: yes,
    alternatives: [
      { token, logProb: yes },
      { token: other, logProb: no },
    ],
  });

  test.each<[string, SampledToken[], number | null]>([
    ['one token for the tag', [plain('<judgement>'), at('YES', 'NO')], 0.75],
    ['words before the tag', [plain('I say YES: '), plain('<judgement>'), at('YES', 'NO')], 0.75],
    ['the bracket in the same token', [plain('<judgement'), at('>YES', '>NO')], 0.75],
    ['a space before the word', [plain('<judgement>'), plain('\n'), at(' YES', ' NO')], 0.75],
    ['letters of the word', [plain('<judgement>'), at('Y', 'N'), plain('ES')], 0.75],
    ['more than the word', [plain('<judgement>'), at('YES</', 'NO</')], 0.75],
    [
      'a sampled token that is no alternative',
      [plain('<judgement>'), { ...at('YES', 'NO'), token: 'NO</' }],
      0.6 / 1.4,
    ],
    ['no tag', [plain('YES')], null],
    ['nothing after the tag', [plain('<judgement>'), plain(' ')], null],
    ['another word', [plain('<judgement>'), at('MAYBE', 'PERHAPS')], null],
    ['lower case', [plain('<judgement>'), at('yes', 'no')], null],
    ['no reply', [], null],
  ])('is found with %s', (_name, tokens, expected) => {
    const score = readVerdict(tokens);
    expect(rounded(score)).toBe(rounded(expected));
  });

  test('is where the training data has it', () => {
    const [head, tail] = [judgementText(true), judgementText(false)].map((text) => /^(<judgement>)(\w+)</.exec(text)!);
    expect([head![2], tail![2]]).toEqual(['YES', 'NO']);
  });
});
