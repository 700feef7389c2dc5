/** The experiment as a DAG of stages: what starts when, what a failure stops, what a rerun does. */
import type { WorkflowFailedError } from '@temporalio/client';
import { rootCause } from '@temporalio/common';
import { readStatus } from '../../cli/progress';
import { Failure } from '../../core/failures';
import type { ExperimentProgress } from '../../workflows/messages';
import { FakePipeline } from '../support/fake-pipeline';
import {
  fakeActivities,
  signals,
  stageStates,
  startExperiment,
  startWorkflowEnv,
  until,
  type WorkflowEnv,
} from '../support/workflow-env';

const pipeline = new FakePipeline();
let env: WorkflowEnv;

beforeAll(async () => {
  env = await startWorkflowEnv(fakeActivities(pipeline));
});
afterAll(() => env.stop());

const messageOf = (error: unknown): string => rootCause((error as WorkflowFailedError).cause) ?? '';

test('independent stages run at the same time, and a stage starts only when its inputs are sealed', async () => {
  pipeline.declare('diamond', [
    { id: 'dia-tasks-a', kind: 'tasks' },
    { id: 'dia-tasks-b', kind: 'tasks' },
    { id: 'dia-select', kind: 'select', inputs: ['dia-tasks-a', 'dia-tasks-b'] },
  ]);
  const a = pipeline.hold('tasks dia-tasks-a');
  const b = pipeline.hold('tasks dia-tasks-b');
  const seal = pipeline.hold('seal dia-tasks-b');
  const handle = await startExperiment(env.client, 'diamond');
  await Promise.all([a.reached, b.reached]);
  b.release();
  a.release();
  await seal.reached;
  await until(
    () => stageStates(handle),
    (states) => states['dia-tasks-a'] === 'sealed',
  );
  expect(await stageStates(handle)).toEqual({
    'dia-tasks-a': 'sealed',
    'dia-tasks-b': 'running',
    'dia-select': 'waiting',
  });
  seal.release();
  expect(await handle.result()).toEqual({
    experiment: 'diamond',
    reused: 0,
    sealed: 3,
    report: 'runs/diamond/report.html',
  });
  const order = pipeline.log.filter((line) => line.includes('dia-') || line === 'publish diamond');
  expect(order.indexOf('open dia-select')).toBeGreaterThan(order.indexOf('seal dia-tasks-b'));
  expect(order.at(-1)).toBe('publish diamond');
});

test('a sealed stage is skipped', async () => {
  pipeline.declare('skip', [
    { id: 'skip-tasks', kind: 'tasks' },
    { id: 'skip-report', kind: 'report', inputs: ['skip-tasks'] },
  ]);
  pipeline.sealed.add('skip-tasks');
  const handle = await startExperiment(env.client, 'skip');
  expect(await handle.result()).toMatchObject({ reused: 1, sealed: 1 });
  // A large model is read to plan, and every record to report: hours, as long as someone says that he lives.
  const { events } = await handle.fetchHistory();
  const scheduled = events!.flatMap(({ activityTaskScheduledEventAttributes: found }) => found ?? []);
  for (const name of ['resolveExperiment', 'publishReport']) {
    const { startToCloseTimeout, heartbeatTimeout } = scheduled.find(
      ({ activityType }) => activityType!.name === name,
    )!;
    expect([Number(startToCloseTimeout!.seconds), Number(heartbeatTimeout!.seconds)]).toEqual([12 * 3600, 60]);
  }
  expect(pipeline.log.filter((line) => line.includes('skip-tasks'))).toEqual([]);
  await expect(env.client.workflow.getHandle('skip-tasks').describe()).rejects.toThrow('not found');
});

test('a failed stage stops its descendants only, and a rerun takes up exactly there', async () => {
  const stages = [
    { id: 'half-good', kind: 'tasks' as const },
    { id: 'half-bad', kind: 'tasks' as const },
    { id: 'half-collect', kind: 'collect' as const, inputs: ['half-good'], units: 2 },
    { id: 'half-select', kind: 'select' as const, inputs: ['half-bad'] },
    { id: 'half-report', kind: 'report' as const, inputs: ['half-select', 'half-collect'] },
  ];
  pipeline.declare('half', stages);
  pipeline.fail('tasks half-bad', new Failure('StageUnusable', 'rows.jsonl gives no usable task'));
  const first = await startExperiment(env.client, 'half');
  const error: unknown = await first.result().catch((thrown: unknown) => thrown);
  expect(messageOf(error)).toBe(
    'half-bad (half-bad): rows.jsonl gives no usable task\n' +
      'Sealed stages are kept: mend the cause and start the experiment again.',
  );
  const { stages: ended } = await first.query<ExperimentProgress>('progress');
  expect(ended.map(({ id, state, message }) => ({ id, state, message }))).toEqual([
    { id: 'half-good', state: 'sealed' },
    { id: 'half-bad', state: 'failed', message: 'rows.jsonl gives no usable task' },
    { id: 'half-collect', state: 'sealed' },
    { id: 'half-select', state: 'blocked', message: 'waits for half-bad' },
    { id: 'half-report', state: 'blocked', message: 'waits for half-select' },
  ]);

  const before = pipeline.log.length;
  const second = await startExperiment(env.client, 'half');
  expect(await second.result()).toMatchObject({ reused: 2, sealed: 3 });
  expect(pipeline.log.slice(before)).toEqual([
    ...['open half-bad', 'tasks half-bad', 'seal half-bad'],
    ...['open half-select', 'select half-select', 'seal half-select'],
    ...['open half-report', 'report half-report', 'seal half-report', 'publish half'],
  ]);
});

test('a stage that is tried again says why', async () => {
  const message = 'someone/small at huggingface.co: fetch failed; check the network';
  pipeline.declare('retry', [{ id: 'retry-model', kind: 'model' }]);
  pipeline.fail('model retry-model', new Failure('ModelUnavailable', message));
  const again = pipeline.hold('model retry-model');
  const handle = await startExperiment(env.client, 'retry');
  await again.reached;
  const { stages } = await readStatus(env.client, 'retry');
  expect(stages).toMatchObject([{ name: 'retry-model', state: 'running', retrying: message }]);
  again.release();
  await handle.result();
  expect(await readStatus(env.client, 'retry')).toMatchObject({ stages: [{ state: 'sealed', retrying: null }] });
});

test('two experiments that need the same stage share one run of it', async () => {
  const shared = { id: 'shared-collect', kind: 'collect' as const, units: 2 };
  for (const name of ['one', 'two']) {
    pipeline.declare(`share-${name}`, [shared, { id: `shared-report-${name}`, kind: 'report', inputs: [shared.id] }]);
  }
  const rollout = pipeline.hold('rollout shared-collect/u0');
  const one = await startExperiment(env.client, 'share-one');
  await rollout.reached;
  const { runId } = await env.client.workflow.getHandle(shared.id).describe();
  const two = await startExperiment(env.client, 'share-two');
  await until(
    () => signals(env.client, shared.id),
    (received) => received.includes('join share-two'),
  );
  rollout.release();
  expect(await Promise.all([one.result(), two.result()])).toMatchObject([
    { experiment: 'share-one', sealed: 2 },
    { experiment: 'share-two', sealed: 2 },
  ]);
  expect((await env.client.workflow.getHandle(shared.id).describe()).runId).toBe(runId);
  expect(pipeline.count('rollout shared-collect/u0')).toBe(1);
  expect(pipeline.count('seal shared-collect')).toBe(1);
});
