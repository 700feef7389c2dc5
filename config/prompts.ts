/** Reads the prompts below config/prompts: strict templates, validated and tried out before anything uses them. */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { canonicalJson, sha256Hex } from '../core/artifact';
import { Failure } from '../core/failures';
import type { PromptRef } from '../core/plan';
import { formatErrorText, type JudgePrompt, openingMessages, type Prompt } from '../core/prompt';
import { judgeConversation } from '../core/verifier-input';

const FOLDER = path.join(__dirname, 'prompts');

const text = z.string().min(1);
const promptSchema = z.strictObject({
  system: text,
  task: text,
  formatError: text,
  judge: z.strictObject({ system: text, user: text, step: text, condensed: text }),
});

/** A prompt file: what a policy is shown, and what a verifier of its trajectories is. */
export interface PromptFile extends Prompt {
  judge: JudgePrompt;
}

/** Names of the shipped prompts. */
export function shippedPrompts(): string[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'));
  return files.map((file) => path.basename(file, '.yaml')).toSorted();
}

/** Throws `ConfigInvalid` for a name that is not shipped and for a file that is not a prompt. */
export function loadPrompt(name: string): PromptFile {
  const shipped = shippedPrompts();
  if (shipped.includes(name)) return parsePrompt(readFileSync(path.join(FOLDER, `${name}.yaml`), 'utf8'), name);
  throw new Failure('ConfigInvalid', `prompt ${name}: there is none; shipped: ${shipped.join(', ')}`);
}

/** `origin` names the prompt in messages. Every template is filled once, so an unknown variable shows here. */
export function parsePrompt(yaml: string, origin: string): PromptFile {
  try {
    const prompt = promptSchema.parse(parse(yaml));
    openingMessages(prompt, { statement: 'statement', workdir: '/testbed' });
    formatErrorText(prompt, { formatError: 'noCall' });
    formatErrorText(prompt, { formatError: 'unclosedCall' });
    const judged = { statement: 'statement', steps: [{ reply: 'reply', observation: 'observation' }], patch: '' };
    judgeConversation(judged, prompt.judge, { maxTokens: 1e6, reservedTokens: 0, count: (text) => text.length });
    return prompt;
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new Failure('ConfigInvalid', `prompt ${origin}: ${reason}`);
  }
}

/** Digest of a shipped prompt's texts, hex: part of the key of every stage that shows them to a policy or verifier. */
export function promptSha256(name: string): string {
  return digestOf(loadPrompt(name));
}

/** The prompt that is in a stage's key. Throws `ConfigInvalid` where its text has changed since: that is another stage. */
export function plannedPrompt({ name, sha256 }: PromptRef): PromptFile {
  const prompt = loadPrompt(name);
  if (digestOf(prompt) === sha256) return prompt;
  throw new Failure(
    'ConfigInvalid',
    `prompt ${name}: its text has changed since this experiment was started; start it again, or put the text back`,
  );
}

function digestOf(prompt: PromptFile): string {
  return sha256Hex(canonicalJson(prompt));
}
