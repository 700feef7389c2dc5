/**
 * A policy behind any OpenAI-compatible endpoint: vLLM, SGLang, a provider's API, the embedded server.
 *
 * Faults are classified here and nowhere else: no answer (408, 409, 429, 5xx, connection, time out) is
 * `PolicyUnavailable`, a context-length refusal is the value `CONTEXT_FULL`, every other refusal is `PolicyRefused`
 * with status and request id. The key is read from the environment and appears in no message.
 */
import OpenAI, { APIConnectionError, APIError, APIUserAbortError, type ClientOptions } from 'openai';
import type { ChatCompletion, ChatCompletionCreateParamsNonStreaming } from 'openai/resources/chat/completions';
import { Agent, fetch as undiciFetch } from 'undici';
import { z } from 'zod';
import type { PolicyConfig } from '../../config/schema';
import { Failure } from '../../core/failures';
import type { Reply } from '../../core/trajectory';
import { CONTEXT_FULL, type AskInput, type Policy } from './policy';

export type OpenAiConfig = Extract<PolicyConfig, { type: 'openai' }>;

/** Where the endpoint is and how long it may take. From the worker's environment and the experiment's limits. */
export interface Endpoint {
  /** Base URL with `/v1`. */
  url: string;
  /** Null: no key is sent, as local servers want it. */
  apiKey: string | null;
  /** Longest wait for one reply, the client's own two tries again included. */
  replyTimeoutMs: number;
  /** How the configuration calls this policy. */
  name: string;
}

/** What the reply may hold beyond the official fields. Servers differ, so what is not there is left out. */
const extras = z.object({
  token_ids: z.array(z.number()).nullish().catch(null),
  logprobs: z
    .object({ content: z.array(z.object({ logprob: z.number() })).nullish() })
    .nullish()
    .catch(null),
});

export function openAiPolicy(config: OpenAiConfig, endpoint: Endpoint): Policy {
  const complete = openEndpoint(config.model, endpoint);
  return {
    ref: { name: endpoint.name, model: config.model, privileged: false },
    async ask({ messages, seed, signal }: AskInput) {
      const completion = await complete({ ...request(config), messages, seed }, signal);
      return completion === CONTEXT_FULL ? CONTEXT_FULL : toReply(completion);
    },
  };
}

/** Sends chat requests with any further fields. What comes back has a choice; a fault is classified as above. */
export function openEndpoint(model: string, endpoint: Endpoint) {
  const client = new OpenAI({
    baseURL: endpoint.url,
    apiKey: endpoint.apiKey ?? 'none',
    ...(endpoint.apiKey === null && { defaultHeaders: { Authorization: null } }),
    organization: null,
    project: null,
    maxRetries: 2,
    timeout: endpoint.replyTimeoutMs,
    logLevel: 'off',
    fetch: patientFetch(endpoint.replyTimeoutMs),
  });
  return async (
    body: { messages: AskInput['messages']; [field: string]: unknown },
    signal?: AbortSignal,
  ): Promise<ChatCompletion | typeof CONTEXT_FULL> => {
    const deadline = AbortSignal.timeout(endpoint.replyTimeoutMs);
    try {
      const completion = await client.chat.completions.create(
        { ...body, model } as ChatCompletionCreateParamsNonStreaming,
        { signal: signal ? AbortSignal.any([signal, deadline]) : deadline },
      );
      if (completion.choices?.[0]?.message !== undefined) return completion;
      throw unavailable(model, endpoint, 'answered without a choice: not a chat completion');
    } catch (error) {
      signal?.throwIfAborted();
      return classify(error, model, endpoint);
    }
  };
}

/**
 * Node's own fetch gives up after five minutes without headers, and a long reply sends none before. SGLang and older
 * vLLM refuse with `{message, …}` where the client looks for `{error: {message, …}}`.
 */
function patientFetch(timeoutMs: number): NonNullable<ClientOptions['fetch']> {
  const dispatcher = new Agent({ headersTimeout: timeoutMs + 1000, bodyTimeout: timeoutMs + 1000 });
  return async (url, init) => {
    const response = await undiciFetch(url as string, { ...(init as object), dispatcher });
    const { ok, status, headers } = response;
    if (ok) return response as unknown as Response;
    const body = await response.text();
    return new Response(withError(body), { status, headers: Object.fromEntries(headers) });
  };
}

function withError(body: string): string {
  const parsed = z.record(z.string(), z.unknown()).safeParse(safely(() => JSON.parse(body) as unknown)).data;
  return parsed && !('error' in parsed) ? JSON.stringify({ error: parsed }) : body;
}

function safely<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** `top_k`, `min_p` and `return_token_ids` are fields of vLLM and SGLang; sent only where the configuration asks. */
function request({ sampling, logProbs }: OpenAiConfig) {
  return {
    temperature: sampling.temperature,
    top_p: sampling.topP,
    max_tokens: sampling.maxNewTokens,
    ...(sampling.topK !== undefined && { top_k: sampling.topK }),
    ...(sampling.minP !== undefined && { min_p: sampling.minP }),
    ...(sampling.stop !== undefined && { stop: sampling.stop }),
    ...(logProbs && { logprobs: true, return_token_ids: true }),
  };
}

function toReply(completion: ChatCompletion): Reply {
  const choice = completion.choices[0]!;
  const extra = extras.safeParse(choice).data;
  const logProbs = extra?.logprobs?.content?.map((entry) => entry.logprob);
  const { usage } = completion;
  return {
    text: choice.message.content ?? '',
    ...(extra?.token_ids && { tokenIds: extra.token_ids }),
    ...(logProbs && { logProbs }),
    ...(usage && { usage: { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens } }),
    ...(choice.finish_reason && { finishReason: choice.finish_reason }),
  };
}

/** OpenAI, vLLM and SGLang speak of the context length; llama.cpp of its size; TGI of `inputs` tokens. */
const CONTEXT_WORDS =
  /context[ _](length|window|size)|max_model_len|prompt is too long|`inputs` tokens \+|max_tokens must be at least 1, got -/i;

/** True for the refusals of OpenAI (code), vLLM, SGLang, llama.cpp and others (words) of a too long conversation. */
function isContextFull(error: APIError): boolean {
  if (error.status !== 400 && error.status !== 413 && error.status !== 422) return false;
  return error.code === 'context_length_exceeded' || CONTEXT_WORDS.test(error.message);
}

function classify(error: unknown, model: string, endpoint: Endpoint): typeof CONTEXT_FULL {
  if (error instanceof Failure) throw error;
  if (error instanceof APIUserAbortError) {
    throw unavailable(model, endpoint, `did not answer within ${endpoint.replyTimeoutMs / 1000} s`);
  }
  if (error instanceof APIConnectionError) throw unavailable(model, endpoint, `cannot be reached: ${reason(error)}`);
  // Not an answer of the API: a body that is no JSON, a proxy's page.
  if (!(error instanceof APIError) || error.status === undefined) {
    throw unavailable(model, endpoint, `gave no usable answer: ${reason(error)}`);
  }
  if (isContextFull(error)) return CONTEXT_FULL;
  const request = error.requestID ? `, request ${error.requestID}` : '';
  const said = `${withoutKey(error.message, endpoint)}${request}`;
  if ([408, 409, 429].includes(error.status) || error.status >= 500) {
    throw unavailable(model, endpoint, `answered ${said}`, retryAfterMs(error));
  }
  throw new Failure(
    'PolicyRefused',
    `${model} at ${place(endpoint)} refused: ${said}; check model, url and OPENAI_API_KEY of the worker`,
  );
}

function unavailable(model: string, endpoint: Endpoint, what: string, retryAfter?: number): Failure {
  return new Failure('PolicyUnavailable', `${model} at ${place(endpoint)} ${what}`, retryAfter);
}

/** Providers repeat a wrong key in their refusal, whole or in part. */
function withoutKey(text: string, { apiKey }: Endpoint): string {
  return (apiKey === null ? text : text.replaceAll(apiKey, '***')).replace(/\bsk-[\w*-]+/g, '***');
}

/** The URL without what may be a credential. */
function place(endpoint: Endpoint): string {
  const { origin, pathname } = new URL(endpoint.url);
  return origin + pathname;
}

/** The innermost cause: `fetch failed` says little, `ECONNREFUSED` below it all. */
function reason(error: unknown): string {
  const { cause, code, message } = error as { cause?: unknown; code?: unknown; message?: unknown };
  if (typeof cause === 'object' && cause !== null) return reason(cause);
  return String(code ?? message ?? error);
}

/** `retry-after-ms`, or `retry-after` in seconds or as a date. */
function retryAfterMs(error: APIError): number | undefined {
  const exact = Number(error.headers?.get('retry-after-ms') ?? Number.NaN);
  if (exact > 0) return exact;
  const text = error.headers?.get('retry-after');
  if (!text) return undefined;
  const wait = Number.isNaN(Number(text)) ? Date.parse(text) - Date.now() : Number(text) * 1000;
  return wait > 0 ? wait : undefined;
}
