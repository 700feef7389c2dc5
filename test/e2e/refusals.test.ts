/** What cannot be used is refused before anything starts: exit code 2, a message that names place and remedy. */
import { createServer, type Server } from 'node:net';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { AddressInfo } from 'node:net';
import { writeModel } from '../fixtures/model-folder';
import { entropo, temporaryHome } from '../support/processes';

const { home, remove } = temporaryHome();
afterAll(remove);

const config = path.join(home, 'experiment.yaml');
const write = (text: string) => writeFileSync(config, text);
const tasks = 'tasks: { heldout: { source: { type: pocket }, split: heldout, limit: 1 } }';

/** An experiment that trains the model of a folder. @param changes to its files, null leaves one out. */
function training(changes: Record<string, string | null> | null, method = '{ type: dpo }', more = ''): string {
  const folder = path.join(home, 'model');
  rmSync(folder, { recursive: true, force: true });
  if (changes) writeModel(folder, changes);
  return `${tasks}
models: { base: { type: folder, path: ${folder} } }
collect: { teacher: { tasks: heldout, policy: { type: scripted, script: teacher } } }
preferences: { pooled: { from: [teacher] } }
train: { arm: { model: base, data: pooled, method: ${method} } }
evaluate: { arm: { tasks: heldout, policy: { type: model, model: arm } } }
${more}`;
}

const SMALL_CONTEXT = '{"architectures":["Qwen3ForCausalLM"],"max_position_embeddings":2048}';
const demo = () => ['demo', '--config', config];

let taken: Server;
let port: number;
beforeAll(async () => {
  taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  port = (taken.address() as AddressInfo).port;
});
afterAll(() => new Promise((resolve) => taken.close(resolve)));

const refusals: [
  string,
  { yaml?: string | (() => string); args: () => string[]; env?: () => Record<string, string>; message: RegExp },
][] = [
  [
    'an unknown key',
    {
      yaml: `${tasks}\nsampels: 3\nseeds: 1`,
      args: () => ['plan', config],
      message: /seeds: unknown key; did you mean "seed"\?/,
    },
  ],
  ['a wrong type', { yaml: `${tasks}\nlanes: many`, args: () => ['start', config], message: /lanes: / }],
  ['a missing file', { args: () => ['demo', '--config', 'nowhere.yaml'], message: /nowhere\.yaml: no such file/ }],
  ['a broken override', { args: () => ['start', 'smoke', 'seed'], message: /write key=value/ }],
  [
    'no sandbox available',
    {
      args: () => ['demo', '--config', 'smoke', 'sandbox=docker'],
      env: () => ({ DOCKER_HOST: 'unix:///nowhere/docker.sock' }),
      message: /SandboxUnavailable: .*docker/i,
    },
  ],
  [
    'a port that is taken',
    { args: () => ['demo', '--config', 'smoke', '--port', String(port)], message: /port \d+ .* is taken/ },
  ],
  [
    'an unreachable Temporal service',
    {
      args: () => ['demo', '--config', 'smoke'],
      env: () => ({ TEMPORAL_ADDRESS: `127.0.0.1:1` }),
      message: /Temporal does not answer at 127\.0\.0\.1:1/,
    },
  ],
  [
    'a disk that is nearly full',
    {
      args: () => ['demo', '--config', 'smoke'],
      env: () => ({ ENTROPO_MIN_FREE_MB: '999999999' }),
      message: /the disk is nearly full/,
    },
  ],
  [
    'a model folder that is not there',
    { yaml: () => training(null), args: demo, message: /models\.base\.path: .*model: there is no such folder; give/ },
  ],
  [
    'a model that is no causal language model',
    {
      yaml: () => training({ 'config.json': '{"architectures":["BertForSequenceClassification"]}' }),
      args: demo,
      message: /models\.base\.path: .*BertForSequenceClassification, which is no causal language model; give one/,
    },
  ],
  [
    'a model without weights',
    {
      yaml: () => training({ 'model.safetensors': null }),
      args: demo,
      message: /base\.path: .*holds no weights .*; fetch/,
    },
  ],
  [
    'a tokenizer without chat template',
    {
      yaml: () => training({ 'tokenizer_config.json': '{}' }),
      args: demo,
      message: /models\.base\.path: .*no chat template.*; take the instruction-tuned model/,
    },
  ],
  [
    'a context that is too small',
    {
      yaml: () => training({ 'config.json': SMALL_CONTEXT }),
      args: demo,
      message:
        /limits\.maxTokens: 65536 is more than the context of models\.base, 2048 tokens .*; set it to 2048 or less/,
    },
  ],
  [
    'alpha and ratio at once',
    {
      yaml: () => training({}, '{ type: entropo-dpo, alpha: 0.11, entropyRatio: 1.1 }'),
      args: demo,
      message: /train\.arm\.method\.entropyRatio: give either entropyRatio .* or alpha; both are there/,
    },
  ],
  [
    'a GPU where there is none',
    {
      yaml: () => training({}, undefined, 'device: gpu'),
      args: demo,
      env: () => ({ CUDA_VISIBLE_DEVICES: '-1' }),
      message: /device: gpu: .* show no GPU here; set device to cpu or auto/,
    },
  ],
  ['no service at all', { args: () => ['status', 'x'], message: /no Temporal service: .*npm run worker/ }],
  ['a record that is not there', { args: () => ['show', 'collect-000000000000'], message: /no such record/ }],
  ['an unknown command', { args: () => ['strat', 'smoke'], message: /unknown command 'strat'/ }],
];

test.each(refusals)('%s', async (_, { yaml, args, env, message }) => {
  if (yaml) write(typeof yaml === 'string' ? yaml : yaml());
  const { code, stderr } = await entropo(args(), { ENTROPO_HOME: path.join(home, 'records'), ...env?.() });
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
  expect(existsSync(path.join(home, 'records', 'store'))).toBe(false);
});
