/**
 * A verifier's exported weights: `verifier.onnx` and `verifier.json` of its train stage (trainer/verifier.py), and the
 * tokenizer of its `model/`. One thread, since rollouts and trainer have the other cores. Large models belong behind an
 * endpoint (llm.ts), and the trainer exports none.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { Failure } from '../../core/failures';
import { verdictProbability } from '../../core/verdict';
import { openSession } from './session';
import { type JudgeTokenizer, openTokenizer } from './tokenizer';
import { verdictOf, type Verifier } from './verifier';

const id = z.number().int().nonnegative();
const factsSchema = z.strictObject({
  version: z.literal(1),
  /** Ids of the tokens at which the two answers part. */
  yes: id,
  no: id,
  prefix: z.string(),
  prefixIds: z.array(id),
  /** Context of the model; null where its configuration names none. */
  maxTokens: z.number().int().positive().nullable(),
});

export type VerifierFacts = z.output<typeof factsSchema>;

/** True where the train stage's folder holds weights for `openOnnxVerifier`: large models are not exported. */
export function hasOnnx(folder: string): boolean {
  return existsSync(path.join(folder, 'verifier.onnx'));
}

/** @param folder of the verifier's train stage. Throws `ArtifactCorrupt` where its files do not belong together. */
export async function openOnnxVerifier(folder: string): Promise<Verifier> {
  const facts = await readFacts(folder);
  const tokenizer = await openTokenizer(path.join(folder, 'model'));
  const differs = differing(tokenizer, facts);
  if (differs) throw corrupt(folder, `${differs} is another by the tokenizer in model/`);
  const session = await openSession(path.join(folder, 'verifier.onnx'));
  const maxTokens = facts.maxTokens ?? Infinity;
  return {
    budget: tokenizer.budget(maxTokens),
    async judge(conversation, signal) {
      signal?.throwIfAborted();
      if (!conversation.fits) return verdictOf(conversation, null);
      const ids = tokenizer.promptIds(conversation.messages);
      if (ids.length > maxTokens) return verdictOf(conversation, null, ids.length);
      const [yes, no] = await session.run(ids);
      const top = Math.max(yes, no);
      return verdictOf(conversation, verdictProbability(yes - top, no - top), ids.length);
    },
    close: () => session.close(),
  };
}

/** `verifier.json` of a train stage. */
export async function readFacts(folder: string): Promise<VerifierFacts> {
  const facts = factsSchema.safeParse(JSON.parse(await readFile(path.join(folder, 'verifier.json'), 'utf8')));
  if (!facts.success) throw corrupt(folder, z.prettifyError(facts.error));
  return facts.data;
}

function differing(tokenizer: JudgeTokenizer, facts: VerifierFacts): string | undefined {
  if (tokenizer.prefixIds.join() !== facts.prefixIds.join()) return `the token sequence of ${facts.prefix}`;
  if (tokenizer.yes !== facts.yes) return 'the token of YES';
  return tokenizer.no === facts.no ? undefined : 'the token of NO';
}

function corrupt(folder: string, why: string): Failure {
  return new Failure(
    'ArtifactCorrupt',
    `${folder}/verifier.json: ${why}; move the verifier's stage away, so that it is trained again`,
  );
}
