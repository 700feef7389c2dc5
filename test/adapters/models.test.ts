/** Model folders: what is refused and with which words, digests, and putting one in its place. */
import { readdirSync, readFileSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { checkModelFolder, modelSha256, placeModel } from '../../adapters/models';
import { MODEL_FILES, writeModel } from '../fixtures/model-folder';
import { temporaryHome } from '../support/processes';

let home: string;
let remove: () => void;
beforeEach(() => ({ home, remove } = temporaryHome()));
afterEach(() => remove());

const NO_TEMPLATE = { 'tokenizer_config.json': '{}' };

test.each([
  ['config.json is missing', { 'config.json': null }, 'holds no config.json'],
  ['config.json is cut off', { 'config.json': '{"archi' }, 'config.json cannot be used (not JSON)'],
  ['config.json names no architecture', { 'config.json': '{}' }, 'config.json cannot be used (architectures:'],
  [
    'it is a classifier',
    { 'config.json': '{"architectures":["BertForSequenceClassification"]}' },
    'config.json names BertForSequenceClassification, which is no causal language model',
  ],
  ['it holds no weights', { 'model.safetensors': null }, 'holds no weights (model.safetensors)'],
  [
    'it holds an adapter and training state only',
    { 'model.safetensors': null, 'adapter_model.safetensors': 'weights', 'training_args.bin': 'state' },
    'holds no weights (model.safetensors); fetch them, or merge the adapter into its model',
  ],
  [
    'its weights were not pulled',
    { 'model.safetensors': 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n' },
    'model.safetensors is a pointer of Git LFS, not the weights; run `git lfs pull` there',
  ],
  [
    'a part of its weights in the older format is missing',
    { 'model.safetensors': null, 'pytorch_model.bin.index.json': '{"weight_map":{"a":"one.bin"}}' },
    'lacks one.bin of its weights (1 missing)',
  ],
  [
    'a part of its weights is missing',
    { 'model.safetensors.index.json': '{"weight_map":{"a":"model.safetensors","b":"two.safetensors"}}' },
    'lacks two.safetensors of its weights (1 missing)',
  ],
  ['it has no tokenizer', { 'tokenizer.json': null }, 'holds no tokenizer.json'],
  ['it has no tokenizer configuration', { 'tokenizer_config.json': null }, 'holds no tokenizer_config.json'],
  ['its tokenizer has no chat template', NO_TEMPLATE, 'its tokenizer has no chat template'],
])('refused where %s', async (_, changes: Record<string, string | null>, message) => {
  const folder = writeModel(path.join(home, 'model'), changes);
  const checked = checkModelFolder(folder);
  await expect(checked).rejects.toMatchObject({ name: 'ConfigInvalid' });
  await expect(checked).rejects.toThrow(`${folder}: ${message}`);
});

test('refused where there is no such folder, or a file in its place', async () => {
  await expect(checkModelFolder(path.join(home, 'none'))).rejects.toThrow(`${home}/none: there is no such folder`);
  writeFileSync(path.join(home, 'file'), '');
  await expect(checkModelFolder(path.join(home, 'file'))).rejects.toThrow('there is no such folder');
});

test.each([
  ['in the tokenizer’s configuration', {}],
  ['as a list of named ones', { 'tokenizer_config.json': '{"chat_template":[{"name":"default","template":"x"}]}' }],
  ['in a file of its own', { ...NO_TEMPLATE, 'chat_template.jinja': '{{ messages }}' }],
])('a chat template may stand %s', async (_, changes) => {
  const folder = writeModel(path.join(home, 'model'), changes);
  await expect(checkModelFolder(folder)).resolves.toMatchObject({ architecture: 'Qwen3ForCausalLM' });
});

test('an index of the older format does not matter beside the newer one', async () => {
  const index = '{"weight_map":{"a":"one.bin"}}';
  const folder = writeModel(path.join(home, 'model'), { 'pytorch_model.bin.index.json': index });
  await expect(checkModelFolder(folder)).resolves.toMatchObject({ architecture: 'Qwen3ForCausalLM' });
});

test('a model of text and images that reads text as a causal model is taken', async () => {
  const config = '{"architectures":["Gemma3ForConditionalGeneration"]}';
  const folder = writeModel(path.join(home, 'model'), { 'config.json': config });
  await expect(checkModelFolder(folder)).resolves.toMatchObject({ architecture: 'Gemma3ForConditionalGeneration' });
});

test('cards, training state and hidden files are no part of a model', async () => {
  const more = { 'README.md': '# card', 'optimizer.pt': 'state', '.gitattributes': '', '.hidden.json': '{}' };
  const { files } = await checkModelFolder(writeModel(path.join(home, 'model'), more));
  expect(files).toEqual(Object.keys(MODEL_FILES).toSorted());
});

test('the digest follows from names and contents, not from place or time', async () => {
  const digest = async (name: string, changes = {}) =>
    modelSha256(await checkModelFolder(writeModel(path.join(home, name), changes)));
  const first = await digest('a');
  writeModel(path.join(home, 'b'), { 'README.md': 'another card' });
  utimesSync(path.join(home, 'b', 'config.json'), 1, 1);
  expect(await digest('b')).toBe(first);
  expect(await digest('c', { 'model.safetensors': 'other weights' })).not.toBe(first);
  expect(await digest('d', { 'generation_config.json': '{}' })).not.toBe(first);
});

test('a placed model is the model; small files are copies, large ones links', async () => {
  const model = await checkModelFolder(writeModel(path.join(home, 'model'), { 'README.md': '# card' }));
  truncateSync(path.join(model.folder, 'model.safetensors'), 65 * 1024 * 1024);
  const into = path.join(home, 'stage', 'model');
  await placeModel(model, into);
  await placeModel(model, into);
  expect(readdirSync(into).toSorted()).toEqual(model.files);
  expect(await modelSha256(await checkModelFolder(into))).toBe(await modelSha256(model));
  const inode = (folder: string, file: string) => statSync(path.join(folder, file)).ino;
  expect(inode(into, 'model.safetensors')).toBe(inode(model.folder, 'model.safetensors'));
  expect(inode(into, 'config.json')).not.toBe(inode(model.folder, 'config.json'));
  expect(readFileSync(path.join(into, 'config.json'), 'utf8')).toBe(MODEL_FILES['config.json']);
});
