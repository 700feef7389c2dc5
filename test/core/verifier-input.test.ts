import fc from 'fast-check';
import { loadPrompt } from '../../config/prompts';
import { sha256Hex } from '../../core/artifact';
import { changedLines, judgeConversation, type JudgeInput, withoutNewFiles } from '../../core/verifier-input';
import { readVectors } from '../support/vectors';

const full = loadPrompt('full').judge;
const tiny = loadPrompt('tiny').judge;
const count = (text: string) => text.length;
const roomy = { maxTokens: 1e6, reservedTokens: 0, count };

const PATCH = [
  'diff --git a/a.py b/a.py',
  'index 1..2 100644',
  '--- a/a.py',
  '+++ b/a.py',
  '@@ -1,2 +1,2 @@ def f():',
  ' x = 1',
  '--- old',
  '+++ new',
  '@@ -9 +9 @@',
  '-y',
  '+z',
  '',
].join('\n');
const NEW =
  'diff --git a/run.py b/run.py\nnew file mode 100644\nindex 0..3\n--- /dev/null\n+++ b/run.py\n@@ -0,0 +1 @@\n+p\n';

interface Recorded {
  entry: {
    problem_statement: string;
    trajectory_steps?: { thought: string; action: string; observation: string }[];
    trajectory?: { thought: string; action: string; observation: string }[];
    output_patch: string;
  };
}
interface Expected {
  steps_block_sha256: string;
  patch_block_sha256: string;
}

const vectors = readVectors<Recorded, Expected>('verifier-input').filter(
  ({ kind, defect }) => kind === 'verifier_input' && !defect,
);

test.each(vectors.map((v) => [v.id, v] as const))('steps and patch of %s are those of the source', (_id, vector) => {
  const { entry } = vector.input;
  const steps = (entry.trajectory_steps ?? entry.trajectory ?? []).map(({ thought, action, observation }) => ({
    reply: `${thought}\n\n${action}`.trim(),
    observation,
  }));
  const input = { statement: entry.problem_statement, steps, patch: entry.output_patch };
  const user = judgeConversation(input, full, roomy).messages[1].content;
  const block = /\[\/USER\](\n\n\[STEP\][\s\S]*\[\/USER\])\n/.exec(user)?.[1] ?? '';
  const patch = /\[PATCH\]\n([\s\S]*)\n\[\/PATCH\]/.exec(user)?.[1];
  expect(sha256Hex(block)).toBe(vector.expected.steps_block_sha256);
  expect(sha256Hex(patch ?? 'none')).toBe(vector.expected.patch_block_sha256);
});

test('the judge sees the issue, each step in order, and the changed lines', () => {
  const steps = [
    { reply: 'first {{reply}}', observation: 'seen <1> & "more"' },
    { reply: 'second', observation: '' },
  ];
  const { messages, fits, tokens } = judgeConversation(
    { statement: 'It {{breaks}}', steps, patch: PATCH },
    tiny,
    roomy,
  );
  expect(messages.map(({ role }) => role)).toEqual(['system', 'user']);
  const [system, user] = messages.map(({ content }) => content);
  expect(user).toContain('It {{breaks}}');
  expect(user).toContain('first {{reply}}\nseen <1> & "more"\nsecond\n');
  expect(user).toContain('--- old\n+++ new\n-y\n+z');
  expect(user).not.toContain('index 1..2');
  expect(fits).toBe(true);
  expect(tokens).toBe(count(system!) + count(user!));
});

describe('the patch', () => {
  test.each([
    ['keeps files that existed', PATCH, PATCH],
    ['leaves out those that it creates', NEW + PATCH + NEW, PATCH],
    ['is kept where it only creates', NEW, NEW],
    ['may be empty', '', ''],
  ])('%s', (_name, patch, expected) => expect(withoutNewFiles(patch)).toBe(expected));

  test('gives its changed lines with their sign, whatever they look like', () => {
    expect(changedLines(PATCH)).toEqual(['--- old', '+++ new', '-y', '+z']);
    expect(changedLines('')).toEqual([]);
  });
});

describe('condensing', () => {
  const steps = [
    { reply: 'look', observation: 'A'.repeat(400) },
    { reply: 'tiny', observation: 'ok' },
    { reply: 'edit', observation: 'B'.repeat(900) },
    { reply: 'test', observation: 'C'.repeat(300) },
  ];
  const input: JudgeInput = { statement: 'issue', steps, patch: '' };
  const whole = judgeConversation(input, full, roomy).tokens;
  const saved = (length: number) => length - full.condensed.length;

  test.each([
    ['nothing while it fits', whole, [], true],
    ['the oldest first', whole - 1, [0], true],
    ['the oldest while they do', whole - saved(400) - 1, [0, 2], true],
    ['never one shorter than its placeholder', whole - saved(400) - saved(900) - 1, [0, 2, 3], true],
    ['all, and says that it does not fit', 100, [0, 2, 3], false],
  ])('leaves out %s', (_name, maxTokens, gone, fits) => {
    const conversation = judgeConversation(input, full, { ...roomy, maxTokens });
    const user = conversation.messages[1].content;
    const left = steps.map(({ observation }) => user.includes(`[USER]\n${observation}\n[/USER]`));
    expect(left).toEqual(steps.map((_, index) => !gone.includes(index)));
    const lengths = gone.map((index) => saved(steps[index]!.observation.length));
    expect(conversation.condensed).toBe(gone.length);
    expect(conversation.condensedTokens).toBe(lengths.reduce((sum, length) => sum + length, 0));
    expect(conversation.fits).toBe(fits);
  });

  test('reserved tokens count against the budget', () => {
    expect(judgeConversation(input, full, { ...roomy, maxTokens: whole + 5, reservedTokens: 5 }).condensed).toBe(0);
    expect(judgeConversation(input, full, { ...roomy, maxTokens: whole + 5, reservedTokens: 6 }).condensed).toBe(1);
  });

  test('whatever counts the tokens: what fits is within budget, and what does not has nothing left to condense', () => {
    const step = fc.record({ reply: fc.string(), observation: fc.string({ maxLength: 300 }) });
    const counts = fc.constantFrom(
      count,
      (text: string) => Math.ceil(text.length / 4),
      (text: string) => text.split(/\b/).length,
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 6 }),
        counts,
        fc.integer({ min: 1, max: 3000 }),
        (all, counted, maxTokens) => {
          const budget = { maxTokens, reservedTokens: 3, count: counted };
          const conversation = judgeConversation({ statement: 's', steps: all, patch: PATCH }, tiny, budget);
          const [system, user] = conversation.messages.map(({ content }) => counted(content));
          expect(conversation.tokens).toBe(system! + user!);
          expect(conversation.fits).toBe(system! + user! + 3 <= maxTokens);
          const long = all.filter(({ observation }) => counted(observation) > counted(tiny.condensed)).length;
          expect(conversation.condensed).toBeGreaterThanOrEqual(conversation.fits ? 0 : long);
          expect(conversation.condensed).toBeLessThanOrEqual(long);
        },
      ),
    );
  });
});
