/** The one place that turns a policy's configuration into a policy. */
import { env } from '../../config/env';
import type { PolicyConfig } from '../../config/schema';
import { openAiPolicy } from './openai';
import type { Policy } from './policy';
import { type ScriptedContext, scriptedPolicy } from './scripted';

export interface PolicyContext extends ScriptedContext {
  /** Longest wait for one reply. */
  replyTimeoutMs: number;
  /** Where a `model` policy is served: base URL with `/v1`, and the model's name there (its stage id). */
  server?: { url: string; model: string };
}

const OPENAI_URL = 'https://api.openai.com/v1';

/** Of the worker's environment: `OPENAI_BASE_URL` where the configuration names no URL, and always `OPENAI_API_KEY`. */
export function createPolicy(config: PolicyConfig, context: PolicyContext): Policy {
  if (config.type === 'scripted') return scriptedPolicy(config, context);
  if (config.type === 'model') {
    const { url, model } = context.server!;
    const { replyTimeoutMs, name } = context;
    const served = { type: 'openai', model, sampling: config.sampling, logProbs: true } as const;
    return openAiPolicy(served, { url, apiKey: null, replyTimeoutMs, name });
  }
  return openAiPolicy(config, {
    url: config.url ?? env('OPENAI_BASE_URL') ?? OPENAI_URL,
    apiKey: env('OPENAI_API_KEY') ?? null,
    replyTimeoutMs: context.replyTimeoutMs,
    name: context.name,
  });
}
