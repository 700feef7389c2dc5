/**
 * The context of a model, against what a configuration asks of it: limits beyond it can never be reached, and a prompt
 * that leaves no room for a reply ends every rollout at its first step. Refused while planning, before anything runs.
 *
 * Not covered: models of a hub, which are not here yet, and a task whose own text is too long (rollout.ts refuses both
 * at the first step); servers other than the embedded one, whose context is theirs to set (`--max-model-len`).
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { TINY_MODEL } from '../adapters/models';
import { contextLength } from '../adapters/verifier/tokenizer';
import { loadPrompt } from '../config/prompts';
import type { ExperimentConfig } from '../config/schema';
import { Failure } from '../core/failures';
import type { Plan, RolloutsStageConfig, Stage, StageConfigs } from '../core/plan';
import { conversation, openingMessages } from '../core/prompt';

/** Throws `ConfigInvalid` naming the value, the model's context and what would fit. */
export async function requireContexts({ stages }: Plan, { serve }: Pick<ExperimentConfig, 'serve'>): Promise<void> {
  if (serve.type !== 'embedded') return;
  for (const stage of stages) {
    if (stage.kind !== 'collect' && stage.kind !== 'evaluate') continue;
    const model = originOf(stage, stages);
    if (model) await requireContext(stage, model);
  }
}

interface LocalModel {
  /** Its name below `models`. */
  name: string;
  folder: string;
}

/** The model folder that the stage's policy began as, however often it was trained since; null where none is here. */
function originOf(stage: Stage, stages: readonly Stage[]): LocalModel | null {
  let model = stages.find(({ id }) => id === stage.inputs.model);
  while (model?.kind === 'train') model = stages.find(({ id }) => id === model!.inputs.model);
  if (!model) return null;
  const { source } = model.config as StageConfigs['model'];
  const name = model.name.slice('model:'.length);
  if (source.type === 'folder') return { name, folder: source.path };
  return source.type === 'tiny' ? { name, folder: TINY_MODEL } : null;
}

async function requireContext({ kind, name, config }: Stage, { name: model, folder }: LocalModel): Promise<void> {
  const { limits, policy, prompt } = config as RolloutsStageConfig;
  if (policy.type !== 'model') return;
  const context = await contextLength(folder);
  const room = `the context of models.${model}, ${context} tokens (max_position_embeddings in ${folder}/config.json)`;
  if (limits.maxTokens > context) {
    throw new Failure(
      'ConfigInvalid',
      `limits.maxTokens: ${limits.maxTokens} is more than ${room}; set it to ${context} or less, or take a model with ` +
        'a longer context',
    );
  }
  const { maxNewTokens } = policy.sampling;
  const tokens = await leastTokens(prompt.name, folder, context - maxNewTokens);
  if (tokens + maxNewTokens <= context) return;
  const at = `${kind}.${name.slice(kind.length + 1)}.policy.sampling.maxNewTokens`;
  const shorter = tokens < context ? `set it below ${context - tokens}` : 'set `prompt` to a shorter one';
  throw new Failure(
    'ConfigInvalid',
    `${at}: ${maxNewTokens}, after the prompt "${prompt.name}" with its ${tokens} tokens and an issue, does not fit ` +
      `into ${room}; ${shorter}, or take a model with a longer context`,
  );
}

/** Tokens of the prompt without any issue: no task's is shorter. Not counted where its bytes already fit into `room`. */
async function leastTokens(prompt: string, folder: string, room: number): Promise<number> {
  const opening = openingMessages(loadPrompt(prompt), { statement: '', workdir: '' });
  const texts = conversation(opening, [], { softSteps: 1 }).map(({ content }) => content);
  if (texts.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0) <= room) return 0;
  const count = await tokenCounter(folder);
  return texts.reduce((sum, text) => sum + count(text), 0);
}

/** Counts nothing where the folder's tokenizer is of a kind that only Python reads: its counts are known once it serves. */
async function tokenCounter(folder: string): Promise<(text: string) => number> {
  const read = async (name: string) => JSON.parse(await readFile(path.join(folder, name), 'utf8')) as object;
  try {
    const tokenizer = new Tokenizer(await read('tokenizer.json'), await read('tokenizer_config.json'));
    return (text) => tokenizer.encode(text, { add_special_tokens: false }).ids.length;
  } catch {
    return () => 0;
  }
}
