/** Model servers as processes: readiness, health, every way to end, and what is left of them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { openAiPolicy } from '../../adapters/policy/openai';
import { identify } from '../../adapters/process';
import { type RunningServer, startServer } from '../../adapters/serving';
import { untilSilent } from '../../adapters/serving/answer';
import { commandLine } from '../../adapters/serving/http';
import type { ServerInput } from '../../adapters/serving/server';
import { PROJECT_ROOT } from '../../config/env';
import type { RunSettings } from '../../core/plan';
import { MODEL, serverInput, standIn } from '../fixtures/serving-input';
import { temporaryHome } from '../support/processes';

let home: string;
let remove: () => void;
let running: RunningServer[] = [];

beforeEach(() => ({ home, remove } = temporaryHome()));
afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  running = [];
  remove();
});

async function start(serve: RunSettings['serve'], changes: Partial<ServerInput> = {}): Promise<RunningServer> {
  const server = await startServer(serve, serverInput(home, changes));
  running.push(server);
  return server;
}

const log = () => readFileSync(path.join(home, 'server.log'), 'utf8');
const answers = (url: string) =>
  fetch(`${url}/models`).then(
    ({ ok }) => ok,
    () => false,
  );
const recordedPid = () => (JSON.parse(readFileSync(path.join(home, 'server.json'), 'utf8')) as { pid: number }).pid;

/** Settles when the process is gone, however long that takes. */
async function gone(pid: number): Promise<void> {
  while (identify(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
}

test.each(['vllm', 'sglang'] as const)(
  '%s: answers once it has loaded, serves a policy, and stops when told',
  async (type) => {
    const server = await start(standIn(type, ['--loads', '3']), { variables: { CUDA_VISIBLE_DEVICES: '5' } });
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    expect(log()).toContain(`loading ${home}/model with CUDA_VISIBLE_DEVICES=5`);
    const sampling = { temperature: 1, topP: 1, maxNewTokens: 10 };
    const config = { type: 'openai', model: MODEL, sampling, logProbs: true } as const;
    const policy = openAiPolicy(config, { url: server.url, apiKey: null, replyTimeoutMs: 5_000, name: 'student' });
    const messages = [{ role: 'user' as const, content: 'who?' }];
    expect(await policy.ask({ messages, seed: 1 })).toMatchObject({ text: `I am ${MODEL}` });
    const pid = recordedPid();
    await server.stop();
    expect(log()).toContain('leaving');
    expect(await answers(server.url)).toBe(false);
    expect(identify(pid)).toBeNull();
    expect(existsSync(path.join(home, 'server.json'))).toBe(false);
  },
);

test('vLLM takes the folder by position, SGLang by option; own arguments come last', () => {
  const input = serverInput('/home');
  const place = ['--served-model-name', MODEL, '--host', '127.0.0.1', '--port', '81'];
  const args = ['--tensor-parallel-size', '4'];
  const startTimeout = 1;
  expect(commandLine({ type: 'vllm', args, startTimeout }, input, 81)).toEqual(
    ['vllm', 'serve', '/home/model', ...place, ...args], // prettier-ignore
  );
  expect(commandLine({ type: 'sglang', args, startTimeout }, input, 81)).toEqual(
    ['python3', '-m', 'sglang.launch_server', '--model-path', '/home/model', ...place, ...args], // prettier-ignore
  );
});

test.each<[string, string[], { name: string; message: RegExp }]>([
  [
    'ends before it answers',
    ['--says', 'CUDA out of memory', '--exits', '1'],
    {
      name: 'ServerLost',
      message: /^vllm ended with exit code 1: CUDA out of memory \(all of it: .*server\.log\)$/,
    },
  ],
  ['is deaf', ['--deaf'], { name: 'ServerLost', message: /^vllm did not answer within 0\.5 s/ }],
])('a server that %s fails its start, and nothing of it is left', async (_, args, failure) => {
  const startTimeout = args.includes('--deaf') ? 500 : 30_000;
  const starting = start(standIn('vllm', args, startTimeout));
  await expect(starting).rejects.toMatchObject({ name: failure.name, message: expect.stringMatching(failure.message) });
  expect(existsSync(path.join(home, 'server.json'))).toBe(false);
});

test('a command that is not there is refused with the remedy', async () => {
  const starting = start({ type: 'vllm', command: ['/no/such/vllm'], args: [], startTimeout: 30_000 });
  await expect(starting).rejects.toMatchObject({
    name: 'ConfigInvalid',
    message: expect.stringMatching(/\/no\/such\/vllm.*install it, or set serve\.command/),
  });
});

test('a start that is cancelled ends the server', async () => {
  const abort = new AbortController();
  const starting = start(standIn('vllm', ['--loads', '1000000']), { signal: abort.signal });
  while (!existsSync(path.join(home, 'server.json'))) await new Promise((resolve) => setTimeout(resolve, 10));
  const pid = recordedPid();
  abort.abort(new Error('cancelled'));
  await expect(starting).rejects.toThrow('cancelled');
  expect(identify(pid)).toBeNull();
});

test('a server that ends by itself says how, and takes its children with it', async () => {
  const child = path.join(home, 'child');
  const server = await start(standIn('sglang', ['--child', child]));
  await fetch(new URL('/quit', server.url), { method: 'POST' }).catch(() => undefined);
  expect(await server.ended).toMatch(/sglang ended with exit code 3/);
  await gone(Number(readFileSync(child, 'utf8')));
});

test('no sign of health five times in a row is the end of a server; fewer are not', async () => {
  const looks = [true, false, false, false, false, true, false, false, false, false, false, true];
  const signal = new AbortController().signal;
  const look = () => Promise.resolve(looks.shift()!);
  expect(await untilSilent(signal, look, 0)).toBe('gave no sign of health 5 times in a row');
  expect(looks).toEqual([true]);
});

test('what serves goes when its worker is killed with -9', async () => {
  const file = path.join(PROJECT_ROOT, 'test', 'fixtures', 'serving-process.ts');
  const env = { ...process.env, OPENAI_API_KEY: 'sk-canary' };
  const worker = spawn(process.execPath, ['--import', 'tsx', file, home], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [url] = (await once(createInterface({ input: worker.stdout }), 'line')) as [string];
  expect(await answers(url)).toBe(true);
  const pid = recordedPid();
  worker.kill('SIGKILL');
  await gone(pid);
  expect(await answers(url)).toBe(false);
  expect(log()).toContain('leaving');
  expect(log()).not.toContain('secret');
});

test('the server that a killed worker left is ended before the next one starts', async () => {
  const first = await start(standIn('vllm'));
  const pid = recordedPid();
  const second = await start(standIn('vllm'));
  expect(identify(pid)).toBeNull();
  expect(await first.ended).toMatch(/was ended by SIGKILL/);
  expect(await answers(second.url)).toBe(true);
});

test('models served elsewhere are joined under the name of their stage, and named where they are missing', async () => {
  const { url } = await start(standIn('vllm'));
  const joined = await start({ type: 'url', url: `${url}/` });
  expect(joined.url).toBe(url);
  await expect(start({ type: 'url', url }, { model: 'train-other' })).rejects.toMatchObject({
    name: 'ConfigInvalid',
    message: `${url} does not offer train-other but ${MODEL}: serve ${home}/model there by that name`,
  });
  await expect(start({ type: 'url', url: 'http://127.0.0.1:1/v1' })).rejects.toMatchObject({ name: 'ServerLost' });
});
