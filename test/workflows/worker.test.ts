/** The worker as a process: what it refuses, how it drains, and what it does about activities of a killed one. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import ms, { type StringValue } from 'ms';
import { connect, plainTarget, type TemporalConnection } from '../../adapters/temporal/connection';
import { type DevServer, startDevServer } from '../../adapters/temporal/server';
import { PROJECT_ROOT } from '../../config/env';
import { watch } from '../../config/timeouts';
import type { ExperimentProgress } from '../../workflows/messages';
import { cleanEnv, finished, startWorker, temporaryHome } from '../support/processes';
import { fewTasks } from '../support/few-tasks';
import { signals, startExperiment, until } from '../support/workflow-env';

const { home, remove } = temporaryHome();
let server: DevServer;
let temporal: TemporalConnection;
let tasks: object;

beforeAll(async () => {
  tasks = await fewTasks(home);
  server = await startDevServer({ runsFolder: path.join(home, 'runs') });
  temporal = await connect(plainTarget(server.address));
});
afterAll(async () => {
  await temporal.close();
  await server.stop();
  remove();
});

const env = () => ({ ENTROPO_HOME: home, TEMPORAL_ADDRESS: server.address });

/** The one activity of this type that the workflow waits for. */
async function pending(handle: WorkflowHandle, type: string) {
  const { raw } = await handle.describe();
  return raw.pendingActivities?.find(({ activityType }) => activityType?.name === type) ?? null;
}

/** Ids of the stages that run, once one does. */
async function running(handle: WorkflowHandle): Promise<string[]> {
  const { stages } = await until(
    () => handle.query<ExperimentProgress>('progress'),
    (progress) => progress.stages.some(({ state }) => state === 'running'),
  );
  return stages.filter(({ state }) => state === 'running').map(({ id }) => id);
}

const STARTED = 2; // temporal.api.enums.v1.PendingActivityState

test.each([
  [
    'an unknown role',
    ['--roles', 'control,gpu'],
    {},
    'unknown role gpu; known: control, sandbox, gpu-train, gpu-serve',
  ],
  [
    'a Temporal that does not answer',
    [],
    { TEMPORAL_ADDRESS: '127.0.0.1:1' },
    'Temporal does not answer at 127.0.0.1:1',
  ],
])('%s ends it with exit code 2 and the remedy', async (_, args, variables, message) => {
  const main = path.join(PROJECT_ROOT, 'workers', 'main.ts');
  const worker = spawn(process.execPath, ['--import', 'tsx', main, ...args], {
    cwd: PROJECT_ROOT,
    env: cleanEnv({ ...env(), ...variables }),
  });
  const { code, stdout, stderr } = await finished(worker);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(`ConfigInvalid: `);
  expect(stderr).toContain(message);
});

test('a worker killed with -9 leaves activities that the next one has retried at once', async () => {
  const first = startWorker(env(), ['--roles', 'control']);
  const handle = await startExperiment(temporal.client, 'killed', { config: { tasks: { some: tasks } } });
  const [stage] = await running(handle);
  // No worker of the sandbox role: the stage waits, and so does the activity that watches it.
  await until(
    () => signals(temporal.client, stage!),
    (received) => received.length > 0,
  );
  first.kill('SIGKILL');
  expect(await first.exit).toBe('SIGKILL');
  const killedAt = Date.now();

  const second = startWorker(env(), ['--roles', 'control', '--grace', '0']);
  const retried = await until(
    () => pending(handle, 'runStage'),
    (activity) => activity?.attempt === 2 && activity.state === STARTED,
  );
  expect(retried!.lastFailure).toMatchObject({ applicationFailureInfo: { type: 'WorkerLost' } });
  const heartbeatTimeoutMs = ms(watch.heartbeatTimeout as StringValue);
  expect(Date.now() - killedAt).toBeLessThan(heartbeatTimeoutMs / 2);
  second.kill('SIGTERM');
  expect(await second.exit).toBe(0);
  for (const id of ['killed', stage!]) await temporal.client.workflow.getHandle(id).terminate();
});

test('on SIGTERM running work ends and is kept, what only waits is handed on, and the exit code is 0', async () => {
  const control = startWorker(env(), ['--roles', 'control', '--grace', '0']);
  const sandbox = startWorker(env(), ['--roles', 'sandbox', '--grace', '50']);
  const handle = await startExperiment(temporal.client, 'drained', { config: { seed: 2, tasks: { some: tasks } } });
  const [stage] = await running(handle);
  const stageHandle = temporal.client.workflow.getHandle(stage!);
  await until(
    () => pending(stageHandle, 'prepareTasks'),
    (activity) => activity?.state === STARTED,
  );
  sandbox.kill('SIGTERM');
  control.kill('SIGTERM');
  expect(await Promise.all([sandbox.exit, control.exit])).toEqual([0, 0]);
  expect(await pending(stageHandle, 'prepareTasks')).toBeNull();
  expect(await pending(handle, 'runStage')).toMatchObject({ attempt: 2 });
  expect(await signals(temporal.client, stage!)).toEqual(['join drained']);

  const next = startWorker(env(), ['--roles', 'control', '--grace', '0']);
  expect(await handle.result()).toMatchObject({ reused: 0, sealed: 2 });
  const { events } = await stageHandle.fetchHistory();
  const attempts = events!.flatMap(({ activityTaskStartedEventAttributes: started }) => started?.attempt ?? []);
  expect(attempts.every((attempt) => attempt === 1)).toBe(true);
  next.kill('SIGTERM');
  expect(await next.exit).toBe(0);
});
