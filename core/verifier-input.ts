/**
 * What the verifier reads: a trajectory as a judge's conversation, one system and one user message (spec §5.1). The
 * words are those of the prompt file; the structure is the source's: the issue, every step with reply and observation,
 * the patch, the question.
 *
 * A conversation that is too long has its observations condensed, oldest first, until it fits: what the policy thought
 * and did stays, and so does what it saw last. One that is still too long is never cut; it does not fit, and stays
 * unscored. Upstream condenses thoughts instead and may send what is over budget (D4-6); that is not covered.
 */
import { type JudgePrompt, render } from './prompt';
import type { Message, Trajectory } from './trajectory';

export interface JudgeInput {
  statement: string;
  steps: readonly { reply: string; observation: string }[];
  /** Unified diff against the base commit. */
  patch: string;
}

export interface JudgeBudget {
  /** Most tokens of the whole: messages, template, answer. */
  maxTokens: number;
  /** Of these, what template and answer need. */
  reservedTokens: number;
  count: (text: string) => number;
}

export interface JudgeConversation {
  messages: [system: Message, user: Message];
  /** Of both messages as they are now. */
  tokens: number;
  /** Observations left out, and the tokens saved by that. */
  condensed: number;
  condensedTokens: number;
  /** False: over budget with every observation condensed. */
  fits: boolean;
}

/** What the verifier may see of a rollout: there is no grade here. */
export function judgeInput({ steps, patch }: Pick<Trajectory, 'steps' | 'patch'>, statement: string): JudgeInput {
  return { statement, patch, steps: steps.map(({ reply, observation }) => ({ reply: reply.text, observation })) };
}

export function judgeConversation(input: JudgeInput, prompt: JudgePrompt, budget: JudgeBudget): JudgeConversation {
  const { count } = budget;
  const system = render(prompt.system, {});
  const limit = budget.maxTokens - budget.reservedTokens - count(system);
  const observations = input.steps.map(({ observation }) => observation);
  let user = userText(input, observations, prompt);
  const before = count(user);
  const placeholder = count(prompt.condensed);
  let [tokens, estimate, condensed] = [before, before, 0];
  // A text's tokens are not the sum of its parts' to the last one: the parts say when to count the whole again.
  for (const [index, observation] of observations.entries()) {
    const saved = tokens <= limit ? 0 : count(observation) - placeholder;
    if (saved <= 0) continue; // it fits, or would only grow (spec §10 item 5)
    observations[index] = prompt.condensed;
    condensed += 1;
    estimate -= saved;
    if (estimate <= limit) recount();
  }
  if (estimate !== tokens) recount();
  return {
    messages: [
      { role: 'system', content: system },
      { role: 'user', content: user },
    ],
    tokens: tokens + count(system),
    condensed,
    condensedTokens: before - tokens,
    fits: tokens <= limit,
  };

  function recount(): void {
    user = userText(input, observations, prompt);
    estimate = tokens = count(user);
  }
}

function userText({ statement, steps, patch }: JudgeInput, observations: string[], prompt: JudgePrompt): string {
  const rendered = steps.map(({ reply }, index) =>
    render(prompt.step, { index, reply, observation: observations[index]! }),
  );
  const judged = withoutNewFiles(patch);
  return render(prompt.user, {
    statement,
    steps: rendered.join('\n'),
    patch: judged,
    changedLines: changedLines(judged).join('\n'),
  });
}

/** The patch without files that it creates, mostly scripts of the policy; the whole where nothing else is in it. */
export function withoutNewFiles(patch: string): string {
  const files = patch.split(/^(?=diff --git )/m);
  const kept = files.filter((file) => !/^new file mode /m.test(file.split(/^@@/m)[0]!));
  return kept.length === 0 ? patch : kept.join('');
}

/** Lines removed and added, with their sign, in the order of the patch. */
export function changedLines(patch: string): string[] {
  const hunks = patch.split(/^(?=diff --git )/m).flatMap((file) => file.split(/^@@.*\n/m).slice(1));
  return hunks.flatMap((hunk) => hunk.split('\n').filter((line) => /^[+-]/.test(line)));
}
