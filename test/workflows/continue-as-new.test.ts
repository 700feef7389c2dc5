/** Long histories continue as new: counts, holders and the next shard go over, no rollout and no server is lost. */
import { serverName } from '../../core/ids';
import type { RolloutsProgress, ServerProgress } from '../../workflows/messages';
import { FakePipeline } from '../support/fake-pipeline';
import { startShortHistories } from '../support/short-histories';
import { fakeActivities, startExperiment, startWorkflowEnv, until, type WorkflowEnv } from '../support/workflow-env';

const pipeline = new FakePipeline();
let env: WorkflowEnv;

beforeAll(async () => {
  env = await startWorkflowEnv(fakeActivities(pipeline), () => startShortHistories(40));
});
afterAll(() => env.stop());

test('a long stage continues as new, still held by both of its experiments', async () => {
  const units = 12;
  for (const id of ['long', 'other']) {
    pipeline.declare(id, [{ id: 'long-collect', kind: 'collect', units }], { shardSize: 1 });
  }
  const last = pipeline.hold(`rollout long-collect/u${units - 1}`);
  const handle = await startExperiment(env.client, 'long');
  const other = await startExperiment(env.client, 'other');
  const stage = env.client.workflow.getHandle('long-collect');
  const { runId: first } = await until(
    () => stage.describe(),
    ({ status }) => status.name === 'RUNNING',
  );
  await last.reached;
  const { runId } = await stage.describe();
  expect(runId).not.toBe(first);
  await other.executeUpdate('pause');
  expect(await stage.query<RolloutsProgress>('progress')).toMatchObject({ paused: null });
  await handle.executeUpdate('pause');
  expect(await stage.query<RolloutsProgress>('progress')).toMatchObject({
    counts: { total: units, resolved: expect.any(Number) },
    paused: 'paused by request',
    shards: expect.arrayContaining([`long-collect/shard-${units - 1}`]),
  });
  await handle.executeUpdate('resume');
  await other.executeUpdate('resume');
  last.release();
  expect(await Promise.all([handle.result(), other.result()])).toMatchObject([{ sealed: 1 }, { sealed: 1 }]);
  expect(await stage.query<RolloutsProgress>('progress')).toMatchObject({
    counts: { total: units, done: units, failed: 0, resolved: units },
  });
  const begun = pipeline.log.filter((line) => line.startsWith('rollout long-collect/'));
  expect(begun.toSorted()).toEqual(Array.from({ length: units }, (_, n) => `rollout long-collect/u${n}`).toSorted());
  expect(pipeline.count('seal long-collect')).toBe(1);
});

test('a long stage holds its model server from run to run', async () => {
  const stage = { id: 'served-collect', kind: 'collect' as const, units: 8, model: 'model-held' };
  pipeline.declare('served', [stage], { shardSize: 1, idleStopMs: 1 });
  const last = pipeline.hold('rollout served-collect/u7');
  const handle = await startExperiment(env.client, 'served');
  await last.reached;
  const { raw } = await env.client.workflow.getHandle('served-collect').describe();
  expect(raw.workflowExecutionInfo?.firstRunId).not.toBe(raw.workflowExecutionInfo?.execution?.runId);
  expect(pipeline.count('start model-held')).toBe(1);
  last.release();
  expect(await handle.result()).toMatchObject({ sealed: 1 });
  await env.client.workflow.getHandle(serverName('model-held')).result();
  expect(pipeline.count('start model-held')).toBe(1);
});

test('a model server with a long history goes over to another run with all of its holders', async () => {
  const settings = { serve: { type: 'embedded', slots: 1 }, device: 'cpu', idleStopMs: 1 };
  const workflowId = serverName('model-long');
  const server = env.client.workflow.getHandle(workflowId);
  const holders = Array.from({ length: 20 }, (_, n) => `holder-${n}`);
  const runs = new Set<string>();
  for (const holder of holders) {
    await env.client.workflow.signalWithStart('modelServer', {
      ...{ workflowId, taskQueue: 'control', args: [{ model: 'model-long', settings }] },
      ...{ signal: 'acquire', signalArgs: [holder] },
    });
    await until(
      () => server.query<ServerProgress>('server'),
      (progress) => progress.holders.includes(holder),
    );
    runs.add((await server.describe()).runId);
  }
  expect(runs.size).toBeGreaterThan(1);
  const progress = await until(
    () => server.query<ServerProgress>('server'),
    ({ state }) => state === 'serving',
  );
  expect(progress.holders).toEqual(holders);
  expect(pipeline.count('start model-long')).toBe(pipeline.count('stop model-long') + 1);
  for (const holder of holders) await server.signal('release', holder);
  await server.result();
  expect(pipeline.count('stop model-long')).toBe(pipeline.count('start model-long'));
});
