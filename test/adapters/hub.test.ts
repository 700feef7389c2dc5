/** Models from a hub: what is fetched, how a fetch goes on, and what a refusal says. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fetchModel } from '../../adapters/hub';
import { checkModelFolder } from '../../adapters/models';
import { MODEL_FILES } from '../fixtures/model-folder';
import { type ModelHub, startModelHub } from '../fixtures/model-hub';
import { temporaryHome } from '../support/processes';

const MODEL = { repository: 'someone/small', revision: 'a'.repeat(40) };
const WEIGHTS = 'weights '.repeat(1000);
const FILES = {
  ...MODEL_FILES,
  'model.safetensors': WEIGHTS,
  'pytorch_model.bin': 'the same weights',
  'README.md': '# card',
};

let hub: ModelHub;
let home: string;
let remove: () => void;
beforeEach(async () => {
  ({ home, remove } = temporaryHome());
  hub = await startModelHub(MODEL.repository, MODEL.revision, FILES);
});
afterEach(async () => {
  await hub.close();
  remove();
});

let bytesSeen = 0;
function get(options: { token?: string; signal?: AbortSignal; revision?: string } = {}): Promise<void> {
  const { token, signal = new AbortController().signal, revision = MODEL.revision } = options;
  const onProgress = () => void (bytesSeen += 1);
  return fetchModel({ ...MODEL, revision }, path.join(home, 'model'), {
    ...{ onProgress, signal, endpoint: hub.url, token },
  });
}

const has = (name: string) => readFileSync(path.join(home, 'model', name), 'utf8');

test('the files of the model are fetched at the pinned commit, and nothing else', async () => {
  bytesSeen = 0;
  await get();
  expect(readdirSync(path.join(home, 'model')).toSorted()).toEqual(Object.keys(MODEL_FILES).toSorted());
  expect(has('model.safetensors')).toBe(WEIGHTS);
  await expect(checkModelFolder(path.join(home, 'model'))).resolves.toMatchObject({ architecture: 'Qwen3ForCausalLM' });
  expect(bytesSeen).toBeGreaterThan(0);
  expect(hub.tokens).toEqual(new Set([undefined]));
});

test('a file that the hub lists elsewhere than in the model’s folder is no file of it', async () => {
  await hub.close();
  hub = await startModelHub(MODEL.repository, MODEL.revision, { ...FILES, 'a/../../outside.json': '{}' });
  await get();
  expect(readdirSync(home)).toEqual(['model']);
});

test('a token is sent where there is one', async () => {
  await get({ token: 'hf_secret' });
  expect(hub.tokens).toEqual(new Set(['Bearer hf_secret']));
});

test('what is there is not fetched again', async () => {
  await get();
  const before = hub.requests.length;
  await get();
  expect(hub.requests.slice(before)).toEqual([`GET /api/models/someone/small/tree/${MODEL.revision}`]);
});

test('a file that was cut off is asked for from where it was', async () => {
  hub.cutOff('model.safetensors');
  await expect(get()).rejects.toMatchObject({ name: 'ModelUnavailable', retryable: true });
  expect(existsSync(path.join(home, 'model', 'model.safetensors'))).toBe(false);
  const had = readFileSync(path.join(home, 'model', '.model.safetensors.part')).length;
  expect(had).toBeGreaterThan(0);
  await get();
  expect(has('model.safetensors')).toBe(WEIGHTS);
  expect(hub.requests.at(-1)).not.toContain('bytes=0-');
  expect(hub.requests.join('\n')).toContain(`model.safetensors bytes=${had}-${WEIGHTS.length - 1}`);
});

test('weights that are not what the hub lists are thrown away', async () => {
  hub.corrupt('model.safetensors');
  await expect(get()).rejects.toThrow('model.safetensors: what arrived is not what the hub lists');
  await get();
  expect(has('model.safetensors')).toBe(WEIGHTS);
});

test.each([
  [401, 'ConfigInvalid', 'may not be read (401); accept the model’s terms on the hub, and set HF_TOKEN'],
  [403, 'ConfigInvalid', 'may not be read (403)'],
  [404, 'ConfigInvalid', 'there is no such model or commit; check repository and revision'],
  [503, 'ModelUnavailable', 'check the network, or set HF_ENDPOINT for the worker to a mirror'],
])('answer %i is %s', async (status, name, message) => {
  hub.refuse(status);
  const fetched = get({ token: 'hf_secret' });
  await expect(fetched).rejects.toMatchObject({ name });
  await expect(fetched).rejects.toThrow(message);
  await expect(fetched).rejects.toThrow(`someone/small@${'a'.repeat(12)} at ${hub.url}`);
  await expect(fetched).rejects.not.toThrow('hf_secret');
});

test('a commit that is not there is said so', async () => {
  await expect(get({ revision: 'b'.repeat(40) })).rejects.toThrow('there is no such model or commit');
});

test('a hub that does not answer is asked again later', async () => {
  await hub.close();
  const failed = get();
  await expect(failed).rejects.toMatchObject({ name: 'ModelUnavailable', retryable: true });
  await expect(failed).rejects.toThrow(/ECONNREFUSED.*set HF_ENDPOINT .* to a mirror \(and HF_TOKEN, where it asks/);
  hub = await startModelHub(MODEL.repository, MODEL.revision, FILES);
});

test('cancelled, it stops with the reason', async () => {
  const abort = new AbortController();
  abort.abort(new Error('cancelled'));
  await expect(get({ signal: abort.signal })).rejects.toThrow('cancelled');
});
