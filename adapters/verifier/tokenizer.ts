/**
 * The tokenizer and chat template of a Hugging Face folder, as far as a judge needs them: how many tokens a text has,
 * and the ids of a conversation up to the verdict token. It cuts where training did (trainer/conversations.py): prompt
 * and answer are tokenized apart, and what the template puts before an answer, such as an empty think block, is prompt.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Template } from '@huggingface/jinja';
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { Failure } from '../../core/failures';
import type { Message } from '../../core/trajectory';
import { judgementText } from '../../core/verdict';
import type { JudgeBudget } from '../../core/verifier-input';

const token = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]).nullish();

const configSchema = z.looseObject({
  chat_template: z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).optional(),
  bos_token: token,
  eos_token: token,
  pad_token: token,
  unk_token: token,
});

export interface JudgeTokenizer {
  count(text: string): number;
  budget(maxTokens: number): JudgeBudget;
  /** Everything before the verdict token. */
  promptIds(messages: readonly Message[]): number[];
  /** Ids of the two verdict tokens, and of what both answers begin with before them. */
  yes: number;
  no: number;
  prefixIds: number[];
}

/** @param folder of the model. Throws `ConfigInvalid` naming the file that is missing or of no use. */
export async function openTokenizer(folder: string): Promise<JudgeTokenizer> {
  const config = configSchema.safeParse(await readJson(folder, 'tokenizer_config.json'));
  if (!config.success) throw unusable(folder, 'tokenizer_config.json', z.prettifyError(config.error));
  const template = await readTemplate(folder, config.data);
  const tokenizer = loadTokenizer(folder, await readJson(folder, 'tokenizer.json'), config.data);
  const encode = (text: string): number[] => tokenizer.encode(text, { add_special_tokens: false }).ids;
  const { bos_token, eos_token, pad_token, unk_token } = config.data;
  const special = Object.fromEntries(
    Object.entries({ bos_token, eos_token, pad_token, unk_token }).map(([name, value]) => [name, value ?? '']),
  );

  const answers = [judgementText(true), judgementText(false)] as const;
  const [yesIds, noIds] = [encode(answers[0]), encode(answers[1])];
  const shared = yesIds.findIndex((id, index) => id !== noIds[index]);

  const promptText = (messages: readonly Message[]): string => {
    const whole = template.render({
      ...special,
      messages: [...messages, { role: 'assistant', content: answers[0] }],
      add_generation_prompt: false,
    });
    const start = whole.lastIndexOf(answers[0]);
    if (start < 0) throw unusable(folder, 'chat template', 'it leaves out or rewrites the last message');
    return whole.slice(0, start);
  };
  const empty: Message[] = [
    { role: 'system', content: '' },
    { role: 'user', content: '' },
  ];
  const overhead = encode(promptText(empty)).length + Math.max(yesIds.length, noIds.length) + END_TOKENS;

  const count = (text: string) => encode(text).length;
  return {
    count,
    budget: (maxTokens) => ({ maxTokens, reservedTokens: overhead, count }),
    promptIds: (messages) => [...encode(promptText(messages)), ...yesIds.slice(0, shared)],
    yes: yesIds[shared]!,
    no: noIds[shared]!,
    prefixIds: yesIds.slice(0, shared),
  };
}

const contextSchema = z.looseObject({
  max_position_embeddings: z.number().positive().optional(),
  text_config: z.looseObject({ max_position_embeddings: z.number().positive().optional() }).optional(),
});

/** Most tokens that the model of a folder takes, by its config.json; Infinity where that names none. */
export async function contextLength(folder: string): Promise<number> {
  const config = contextSchema.safeParse(await readJson(folder, 'config.json'));
  if (!config.success) throw unusable(folder, 'config.json', z.prettifyError(config.error));
  return config.data.max_position_embeddings ?? config.data.text_config?.max_position_embeddings ?? Infinity;
}

/** What follows an answer, and merges at the seams between a template's words and a message's. */
const END_TOKENS = 16;

async function readTemplate(folder: string, config: z.output<typeof configSchema>): Promise<Template> {
  const file = path.join(folder, 'chat_template.jinja');
  const { chat_template: inConfig } = config;
  const named = typeof inConfig === 'string' ? inConfig : inConfig?.find(({ name }) => name === 'default')?.template;
  const text = existsSync(file) ? await readFile(file, 'utf8') : named;
  if (text === undefined) throw unusable(folder, 'chat_template.jinja', 'there is no chat template');
  try {
    return new Template(text);
  } catch (error) {
    throw unusable(folder, 'chat template', (error as Error).message);
  }
}

function loadTokenizer(folder: string, json: unknown, config: object): Tokenizer {
  try {
    return new Tokenizer(json as object, config);
  } catch (error) {
    throw unusable(folder, 'tokenizer.json', (error as Error).message);
  }
}

async function readJson(folder: string, name: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path.join(folder, name), 'utf8')) as unknown;
  } catch (error) {
    throw unusable(folder, name, (error as Error).message);
  }
}

function unusable(folder: string, what: string, why: string): Failure {
  return new Failure(
    'ConfigInvalid',
    `${folder}: its ${what} cannot be used by the verifier: ${why.split('\n')[0]}; take a model whose folder holds ` +
      'tokenizer.json and a chat template',
  );
}
