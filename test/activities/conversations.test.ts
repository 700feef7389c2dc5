/** Trajectories become conversations: exactly what the policy was shown, with the tokens that it sampled. */
import fc from 'fast-check';
import { textDigest, toConversation } from '../../activities/conversations';
import { conversation } from '../../core/prompt';
import { trajectoryOf } from '../fixtures/graded-rollouts';

const SOFT_STEPS = 4;
const trajectory = (replies: string[], tokenIds?: number[]) =>
  trajectoryOf('collect-1', { task: 't1', sample: 0, resolved: true, replies, ...(tokenIds && { tokenIds }) });

test('a conversation is what the policy was shown, and ends with its last reply', () => {
  expect(toConversation(trajectory(['first', 'second']), true, SOFT_STEPS)).toEqual({
    ...{ id: 'collect-1/t1/r00', task: 't1', resolved: true, exit: 'submitted' },
    messages: [
      { role: 'system', content: 'You fix bugs.' },
      { role: 'user', content: 'Issue of t1\nSteps Remaining: 4' },
      { role: 'assistant', content: 'first' },
      { role: 'user', content: 'seen 0\nSteps Remaining: 3' },
      { role: 'assistant', content: 'second' },
    ],
  });
});

test('what stands before each reply is what the policy was asked with, for any replies', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1, maxLength: 8 }), (replies) => {
      const played = trajectory(replies);
      const { messages } = toConversation(played, false, SOFT_STEPS)!;
      expect(messages).toHaveLength(1 + 2 * replies.length);
      for (const [step, text] of replies.entries()) {
        const shown = conversation(played.prompt, played.steps.slice(0, step), { softSteps: SOFT_STEPS });
        expect(messages.slice(0, shown.length)).toEqual(shown);
        expect(messages[shown.length]).toEqual({ role: 'assistant', content: text });
      }
    }),
  );
});

test('sampled tokens stand with their reply, and with nothing else', () => {
  const { messages } = toConversation(trajectory(['first', 'second'], [5, 6, 2]), true, SOFT_STEPS)!;
  expect(messages.map(({ tokenIds }) => tokenIds)).toEqual([undefined, undefined, [5, 6, 2], undefined, [5, 6, 2]]);
});

test('a rollout without a reply gives no conversation', () => {
  expect(toConversation(trajectory([]), true, SOFT_STEPS)).toBeNull();
});

test('texts are compared without tokens and without who wrote them', () => {
  const digest = (replies: string[], tokenIds?: number[], sample = 0) =>
    textDigest(toConversation({ ...trajectory(replies, tokenIds), sample }, true, SOFT_STEPS)!);
  expect(digest(['a', 'b'], [1], 3)).toBe(digest(['a', 'b']));
  expect(digest(['a', 'c'])).not.toBe(digest(['a', 'b']));
  expect(digest(['a'])).not.toBe(digest(['a', '']));
});
