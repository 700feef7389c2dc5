/** The one place that turns a verifier's train stage into a verifier. */
import { Failure } from '../../core/failures';
import type { Endpoint } from '../policy/openai';
import { openLlmVerifier } from './llm';
import { hasOnnx, openOnnxVerifier, readFacts } from './onnx';
import { openTokenizer } from './tokenizer';
import type { Verifier } from './verifier';

export interface OpenVerifierInput {
  /** Of the train stage: `verifier.json`, `model/`, and `verifier.onnx` unless the model is large. */
  folder: string;
  /** Where the model is served, under its stage id. Used only where there is no ONNX file. */
  server?: { model: string; endpoint: Endpoint; templateArguments?: Record<string, unknown> };
}

export async function openVerifier({ folder, server }: OpenVerifierInput): Promise<Verifier> {
  if (hasOnnx(folder)) return openOnnxVerifier(folder);
  if (!server) {
    throw new Failure(
      'ConfigInvalid',
      `${folder}: the verifier is too large for an ONNX file (summary.json says more), and nothing serves it; ` +
        'serve its model and give its address',
    );
  }
  const { maxTokens } = await readFacts(folder);
  const tokenizer = await openTokenizer(`${folder}/model`);
  return openLlmVerifier({ ...server, budget: tokenizer.budget(maxTokens ?? Infinity) });
}
