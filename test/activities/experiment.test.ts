/** Resolving an experiment: what its models are enters the plan, and one that cannot be used is refused before anything starts. */
import path from 'node:path';
import { resolvePlan } from '../../activities/experiment';
import { checkModelFolder, modelSha256, TINY_MODEL } from '../../adapters/models';
import { writeModel } from '../fixtures/model-folder';
import { temporaryHome } from '../support/processes';

let home: string;
let remove: () => void;
beforeEach(() => ({ home, remove } = temporaryHome()));
afterEach(() => remove());

const plan = (model: object) =>
  resolvePlan({ config: { tasks: { few: { source: { type: 'pocket' } } }, models: { base: model } } }, 'x');

const stageOf = async (model: object) => {
  const { plan: planned } = await plan(model);
  return planned.stages.find(({ name }) => name === 'model:base')!;
};

test('a folder enters the plan with its digest: other weights are another stage', async () => {
  const folder = writeModel(path.join(home, 'model'));
  const sha256 = await modelSha256(await checkModelFolder(folder));
  const stage = await stageOf({ type: 'folder', path: folder });
  expect(stage.config).toEqual({ source: { type: 'folder', path: folder, sha256 } });
  expect((await stageOf({ type: 'folder', path: folder, sha256 })).id).toBe(stage.id);
  writeModel(folder, { 'model.safetensors': 'other weights' });
  expect((await stageOf({ type: 'folder', path: folder })).id).not.toBe(stage.id);
});

test('the model of this repository enters the plan with its digest', async () => {
  const { config } = await stageOf({ type: 'tiny' });
  expect(config).toEqual({ source: { type: 'tiny', sha256: await modelSha256(await checkModelFolder(TINY_MODEL)) } });
});

test('a model of a hub enters the plan as its commit; nothing is fetched for that', async () => {
  const source = { type: 'hub', repository: 'someone/small', revision: 'a'.repeat(40) };
  expect((await stageOf(source)).config).toEqual({ source });
});

test.each([
  ['no folder', {}, '', 'models.base.path: '],
  [
    'no causal language model',
    { 'config.json': '{"architectures":["BertModel"]}' },
    'model',
    'no causal language model',
  ],
  ['no chat template', { 'tokenizer_config.json': '{}' }, 'model', 'its tokenizer has no chat template'],
])('where there is %s the message names the path in the configuration', async (_, changes, name, message) => {
  writeModel(path.join(home, 'model'), changes);
  const folder = path.join(home, name === '' ? 'none' : name);
  const planned = plan({ type: 'folder', path: folder });
  await expect(planned).rejects.toMatchObject({ name: 'ConfigInvalid' });
  await expect(planned).rejects.toThrow(`models.base.path: ${folder}: `);
  await expect(planned).rejects.toThrow(message);
});

test('a digest that is given must be that of the folder', async () => {
  const folder = writeModel(path.join(home, 'model'));
  const sha256 = await modelSha256(await checkModelFolder(folder));
  await expect(plan({ type: 'folder', path: folder, sha256: 'f'.repeat(64) })).rejects.toThrow(
    `models.base.sha256: ${folder} has sha256 ${sha256}`,
  );
});
