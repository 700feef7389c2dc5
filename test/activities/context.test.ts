/** Models whose context is too small for what a configuration asks of it: refused while planning, with what would fit. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { resolvePlan } from '../../activities/experiment';
import { writeModel } from '../fixtures/model-folder';
import { temporaryHome } from '../support/processes';

/** A model of 512 tokens of context with a tokenizer of its own. */
const FIXTURE = path.join(__dirname, '..', 'fixtures', 'verifier', 'model');

const { home, remove } = temporaryHome();
afterAll(remove);

const hub = { type: 'hub', repository: 'someone/small', revision: 'a'.repeat(40) };

interface Asked {
  model?: object;
  maxTokens: number;
  maxNewTokens: number;
  prompt?: 'full' | 'tiny';
  serve?: object;
  /** The policy is trained from the model. */
  trained?: boolean;
}

function plan({ model = { type: 'folder', path: FIXTURE }, maxTokens, maxNewTokens, ...asked }: Asked) {
  const { prompt = 'tiny', serve = { type: 'embedded' }, trained = false } = asked;
  const policy = { type: 'model', model: trained ? 'sft' : 'base', sampling: { maxNewTokens } };
  const config = {
    ...{ prompt, serve, limits: { maxTokens }, models: { base: model } },
    tasks: { few: { source: { type: 'pocket' } } },
    collect: { teacher: { tasks: 'few', policy: { type: 'scripted', script: 'teacher' } } },
    train: { sft: { model: 'base', data: 'teacher', method: { type: 'sft' } } },
    evaluate: { arm: { tasks: 'few', policy } },
  };
  return resolvePlan({ config }, 'x');
}

test.each<[string, Asked]>([
  ['limits, prompt and reply that fit', { maxTokens: 512, maxNewTokens: 300 }],
  [
    'a context that the model does not name',
    { model: { type: 'folder', path: '' }, maxTokens: 1e9, maxNewTokens: 1e6 },
  ],
  ['a model of a hub, which is not here yet', { model: hub, maxTokens: 1e9, maxNewTokens: 1e6 }],
  ['another server, whose context is its own', { serve: { type: 'vllm' }, maxTokens: 1e9, maxNewTokens: 1e6 }],
])('%s: planned', async (_, asked) => {
  const unnamed = { type: 'folder', path: writeModel(path.join(home, 'unnamed')) };
  const model = asked.model && 'path' in asked.model ? unnamed : asked.model;
  await expect(plan({ ...asked, ...(model && { model }) })).resolves.toMatchObject({ plan: { experiment: 'x' } });
});

test.each<[string, Asked, string]>([
  [
    'limits beyond the context',
    { maxTokens: 513, maxNewTokens: 10 },
    'limits.maxTokens: 513 is more than the context of models.base, 512 tokens',
  ],
  [
    'limits beyond the context of the model that it was trained from',
    { maxTokens: 513, maxNewTokens: 10, trained: true },
    'set it to 512 or less',
  ],
  [
    'a reply as long as the context',
    { maxTokens: 512, maxNewTokens: 512 },
    'evaluate.arm.policy.sampling.maxNewTokens: 512, after the prompt "tiny" with its ',
  ],
  [
    'a prompt longer than the context',
    { maxTokens: 512, maxNewTokens: 1, prompt: 'full' },
    'set `prompt` to a shorter one, or take a model with a longer context',
  ],
])('%s: refused', async (_, asked, message) => {
  const planned = plan(asked);
  await expect(planned).rejects.toMatchObject({ name: 'ConfigInvalid' });
  await expect(planned).rejects.toThrow(message);
});

test('the bound in the message is where it stops being refused', async () => {
  const refusal: unknown = await plan({ maxTokens: 512, maxNewTokens: 512 }).catch((error: unknown) => error);
  const below = Number(/set it below (\d+)/.exec((refusal as Error).message)![1]);
  await expect(plan({ maxTokens: 512, maxNewTokens: below + 1 })).rejects.toThrow('does not fit');
  await expect(plan({ maxTokens: 512, maxNewTokens: below })).resolves.toBeDefined();
});

test('a tokenizer that only Python reads is not counted with', async () => {
  const config = readFileSync(path.join(FIXTURE, 'config.json'), 'utf8');
  const folder = writeModel(path.join(home, 'python'), { 'config.json': config });
  await expect(
    plan({ model: { type: 'folder', path: folder }, maxTokens: 512, maxNewTokens: 500 }),
  ).resolves.toBeDefined();
});
