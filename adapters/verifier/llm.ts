/**
 * A verifier behind any OpenAI-compatible endpoint: one greedy answer with the 20 most likely tokens at each place
 * (spec §5.1). Faults are those of a policy (adapters/policy/openai.ts); an answer without verdict, or a conversation
 * that the server finds too long, is unscored.
 */
import { z } from 'zod';
import { Failure } from '../../core/failures';
import { readVerdict, type SampledToken } from '../../core/verdict';
import type { JudgeBudget } from '../../core/verifier-input';
import { type Endpoint, openEndpoint } from '../policy/openai';
import { CONTEXT_FULL } from '../policy/policy';
import { verdictOf, type Verifier } from './verifier';

export interface LlmVerifierInput {
  /** The model's name there. */
  model: string;
  endpoint: Endpoint;
  /** By the served model's own tokenizer (tokenizer.ts). */
  budget: JudgeBudget;
  /**
   * For the chat template, as vLLM and SGLang take it: a reasoning model trained to answer at once needs
   * `{ enable_thinking: false }`. Other servers may refuse the field; absent it is not sent.
   */
  templateArguments?: Record<string, unknown>;
}

/** Enough for the tags in any tokenizer, and for a word before them. */
const ANSWER_TOKENS = 32;

const entry = z.object({ token: z.string(), logprob: z.number() }).transform(({ token, logprob }) => ({
  token,
  logProb: logprob,
}));
const logProbs = z.object({
  content: z.array(z.object({ token: z.string(), logprob: z.number(), top_logprobs: z.array(entry).nullish() })),
});

export function openLlmVerifier({ model, endpoint, budget, templateArguments }: LlmVerifierInput): Verifier {
  const complete = openEndpoint(model, endpoint);
  const settings = {
    temperature: 0,
    n: 1,
    max_tokens: ANSWER_TOKENS,
    logprobs: true,
    top_logprobs: 20,
    ...(templateArguments && { chat_template_kwargs: templateArguments }),
  };
  return {
    budget,
    async judge(conversation, signal) {
      if (!conversation.fits) return verdictOf(conversation, null);
      const completion = await complete({ ...settings, messages: conversation.messages }, signal);
      if (completion === CONTEXT_FULL) return verdictOf(conversation, null);
      const tokens = sampledTokens(completion.choices[0]!.logprobs);
      if (tokens === undefined) throw withoutLogProbs(model);
      return verdictOf(conversation, readVerdict(tokens), completion.usage?.prompt_tokens);
    },
    close: async () => {},
  };
}

/** Undefined where the server sent no log-probabilities. */
function sampledTokens(sent: unknown): SampledToken[] | undefined {
  return logProbs.safeParse(sent).data?.content.map(({ token, logprob, top_logprobs }) => ({
    token,
    logProb: logprob,
    alternatives: top_logprobs ?? [],
  }));
}

/** No rollout of the stage would get a score: not a missing verdict, but an endpoint that cannot verify. */
function withoutLogProbs(model: string): Failure {
  return new Failure(
    'PolicyRefused',
    `${model}: its endpoint sent no log-probabilities, which a verifier needs; serve it with vLLM or SGLang, or choose ` +
      'a provider that answers `logprobs: true`',
  );
}
