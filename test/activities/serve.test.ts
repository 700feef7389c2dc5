/**
 * The activity that runs a server, under its workflow, with stand-ins for vLLM: lost servers, holders that vanish, and
 * how those who need a model find it. A holder must be a running workflow: here the server's own, or one that waits.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { WorkflowHandle } from '@temporalio/client';
import { DefaultLogger } from '@temporalio/worker';
import { createActivities } from '../../activities';
import { createAcquireServer, ServerLocator } from '../../activities/servers';
import { signalGroup } from '../../adapters/process';
import { StageStore } from '../../adapters/store/stages';
import { Failure } from '../../core/failures';
import { serverName } from '../../core/ids';
import type { RunSettings, Stage } from '../../core/plan';
import type { ModelServerInput, ServerProgress } from '../../workflows/messages';
import { standIn } from '../fixtures/serving-input';
import { startWorkflowEnv, until, type WorkflowEnv } from '../support/workflow-env';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await startWorkflowEnv((home, client) => createActivities({ home, client }));
});
afterAll(() => env.stop());

/** A sealed stage that made a model. */
async function sealModel(model: string): Promise<void> {
  const store = new StageStore(env.home);
  const stage = { name: model, kind: 'model', id: model, key: model, inputs: {}, config: {} } as unknown as Stage;
  await store.declare(stage);
  mkdirSync(path.join(store.folder(model), 'model'));
  writeFileSync(path.join(store.folder(model), 'model', 'config.json'), '{}');
  await store.seal(stage, {});
}

const settingsOf = (args: string[]) => ({ serve: standIn('vllm', args), device: 'cpu' as const, idleStopMs: 10 });

/** Takes the model's server as its workflow itself, or as the holder named. */
async function take(model: string, args: string[] = [], holder = serverName(model)): Promise<WorkflowHandle> {
  await env.client.workflow.signalWithStart('modelServer', {
    ...{ workflowId: serverName(model), taskQueue: 'control', args: [{ model, settings: settingsOf(args) }] },
    ...{ signal: 'acquire', signalArgs: [holder] },
  });
  return env.client.workflow.getHandle(serverName(model));
}

const leave = (server: WorkflowHandle) => server.signal('release', server.workflowId);
const progressOf = (server: WorkflowHandle) => server.query<ServerProgress>('server');
const urlOf = async (server: WorkflowHandle, not?: string) =>
  (await until(
    () => progressOf(server),
    ({ url }) => url !== null && url !== not,
  ))!.url!;
const file = (name: string) => path.join(env.home, 'runs', '.servers', name);
const acquire = (model: string, serve: RunSettings['serve']) =>
  new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') }).run(createAcquireServer(env.client), {
    ...{ model, holder: serverName(model) },
    settings: { ...settingsOf([]), serve },
  });

test('whoever needs a model finds its server, and again after it was killed with -9', async () => {
  await sealModel('model-found');
  const server = await take('model-found');
  const first = await urlOf(server);
  // Nobody answers at the old address, or somebody else who knows no such model.
  const types = ['PolicyUnavailable', 'PolicyRefused'] as const;
  const locators = types.map((type) => ({ type, locator: new ServerLocator(env.client) }));
  for (const { locator } of locators)
    expect(await locator.use('model-found', (url) => Promise.resolve(url))).toBe(first);

  const { pid } = JSON.parse(readFileSync(file('model-found.json'), 'utf8')) as { pid: number };
  signalGroup(pid, 'SIGKILL');
  const second = await urlOf(server, first);
  for (const { type, locator } of locators) {
    const refused = locator.use('model-found', (url) => Promise.reject(new Failure(type, `${url} is down`)));
    await expect(refused).rejects.toThrow(`${first} is down`);
    expect(await locator.use('model-found', (url) => Promise.resolve(url))).toBe(second);
  }
  expect((await fetch(`${second}/models`)).ok).toBe(true);

  await leave(server);
  await server.result();
  expect(existsSync(file('model-found.json'))).toBe(false);
  expect(readFileSync(file('model-found.log'), 'utf8')).toMatch(/leaving\n$/);
  await expect(fetch(`${second}/models`)).rejects.toThrow('fetch failed');
});

test('a server that ends three times before it answers is no longer tried, and says why', async () => {
  await sealModel('model-broken');
  const reason = 'model-broken cannot be served: 3 starts failed: vllm ended with exit code 1: out of memory';
  const serve = standIn('vllm', ['--says', 'out of memory', '--exits', '1']);
  await expect(acquire('model-broken', serve)).rejects.toMatchObject({
    name: 'ConfigInvalid',
    message: expect.stringContaining(reason),
  });
  expect(readFileSync(file('model-broken.log'), 'utf8').match(/out of memory/g)).toHaveLength(3);
  const use = new ServerLocator(env.client).use('model-broken', (url) => Promise.resolve(url));
  await expect(use).rejects.toMatchObject({ name: 'ConfigInvalid', message: expect.stringContaining(reason) });
});

test.each([
  ['is waited for once it has answered', true, 'ServerLost'],
  ['and never answered is given up', false, 'ConfigInvalid'],
])('a server elsewhere that does not answer %s', async (_, served, name) => {
  await sealModel(`model-elsewhere-${served}`);
  const info = { heartbeatDetails: { failedStarts: 2, served }, workflowExecution: { workflowId: 'none', runId: '' } };
  const activity = new MockActivityEnvironment(info, { logger: new DefaultLogger('ERROR') });
  const { control } = createActivities({ home: env.home, client: env.client });
  const settings = { ...settingsOf([]), serve: { type: 'url' as const, url: 'http://127.0.0.1:1/v1' } };
  const given = { model: `model-elsewhere-${served}`, settings };
  await expect(activity.run((input: ModelServerInput) => control.serve(input), given)).rejects.toMatchObject({ name });
});

test('a model that was never sealed is refused', async () => {
  await expect(acquire('model-missing', standIn('vllm'))).rejects.toMatchObject({
    name: 'ConfigInvalid',
    message: `model-missing: there is no such sealed stage in ${path.join(env.home, 'store')}`,
  });
});

test('a holder that has ended without leaving is dropped, and the server with it', async () => {
  await sealModel('model-dropped');
  const server = await take('model-dropped', ['--loads', '1000000'], 'collect-terminated');
  await server.result();
  expect(await progressOf(server)).toMatchObject({ holders: [] });
  expect(existsSync(file('model-dropped.json'))).toBe(false);
});

test('while a server loads, those who need it are told to come again; stopped by hand, to ask a person', async () => {
  await sealModel('model-loading');
  const server = await take('model-loading', ['--loads', '1000000']);
  const use = () => new ServerLocator(env.client).use('model-loading', (url) => Promise.resolve(url));
  await expect(use()).rejects.toMatchObject({ name: 'PolicyUnavailable' });
  await until(
    () => Promise.resolve(existsSync(file('model-loading.json'))),
    (there) => there,
  );
  await server.terminate('by hand');
  await expect(use()).rejects.toMatchObject({
    name: 'ConfigInvalid',
    message: 'the server of model-loading was stopped by hand; start the experiment again',
  });
  await until(
    () => Promise.resolve(existsSync(file('model-loading.json'))),
    (there) => !there,
  );
});
