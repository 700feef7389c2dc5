/**
 * A verifier reads a judge's conversation and says with which probability the trajectory in it resolves its task
 * (core/verdict.ts). Exported weights in this process (onnx.ts), or an endpoint (llm.ts): one contract, test/contract.
 */
import type { JudgeBudget, JudgeConversation } from '../../core/verifier-input';

export interface Verdict {
  /** Probability in [0, 1]; null = unscored, which is not 0: no verdict in the answer, or a conversation that does not fit. */
  score: number | null;
  /** Tokens read, as far as known; those of a conversation that does not fit are what it would have had. */
  tokens: number;
  /** Tokens left out of the observations to make it fit. */
  condensedTokens: number;
}

export interface Verifier {
  /** What a conversation may have, and how its tokens are counted. */
  readonly budget: JudgeBudget;
  /** Throws `PolicyUnavailable` (retryable) or `PolicyRefused` where an endpoint does. */
  judge(conversation: JudgeConversation, signal?: AbortSignal): Promise<Verdict>;
  close(): Promise<void>;
}

/** A verifier that is a function of the conversation: the fake of this interface. A word is a token. */
export function scriptedVerifier(
  score: (conversation: JudgeConversation) => number | null,
  maxTokens = 1000,
): Verifier {
  const count = (text: string) => text.split(/\s+/).filter(Boolean).length;
  return {
    budget: { maxTokens, reservedTokens: 10, count },
    judge: async (conversation) => verdictOf(conversation, conversation.fits ? score(conversation) : null),
    close: async () => {},
  };
}

/** `tokens` where they are known better than by the budget's count. */
export function verdictOf(
  { tokens, condensedTokens }: JudgeConversation,
  score: number | null,
  read: number = tokens,
): Verdict {
  return { score, tokens: read, condensedTokens };
}
