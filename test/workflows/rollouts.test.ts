/** A stage of rollouts: lanes and shards, pauses, refusals, and rollouts that end as infrastructure failures. */
import { Failure } from '../../core/failures';
import type { RunSettings } from '../../core/plan';
import type { RolloutCounts, RolloutsProgress } from '../../workflows/messages';
import { FakePipeline } from '../support/fake-pipeline';
import { fakeActivities, startExperiment, startWorkflowEnv, until, type WorkflowEnv } from '../support/workflow-env';

const pipeline = new FakePipeline();
let env: WorkflowEnv;

beforeAll(async () => {
  env = await startWorkflowEnv(fakeActivities(pipeline));
});
afterAll(() => env.stop());

/** Starts an experiment of one collect stage, both of this name. */
function startStage(name: string, units: number, settings: Partial<RunSettings>) {
  pipeline.declare(`${name}-experiment`, [{ id: name, kind: 'collect', units }], settings);
  return startExperiment(env.client, `${name}-experiment`);
}

const stageProgress = (stage: string) => env.client.workflow.getHandle(stage).query<RolloutsProgress>('progress');
const shardProgress = (stage: string, shard = 0) =>
  env.client.workflow.getHandle(`${stage}/shard-${shard}`).query<RolloutCounts & { paused: string | null }>('progress');
const shardResult = (stage: string, shard = 0) =>
  env.client.workflow.getHandle(`${stage}/shard-${shard}`).result() as Promise<RolloutCounts>;
const rolloutsBegun = (stage: string) => pipeline.log.filter((line) => line.startsWith(`rollout ${stage}/`));

test('a pause holds back new rollouts while running ones finish; resume goes on', async () => {
  const first = pipeline.hold('rollout paused/u0');
  const second = pipeline.hold('rollout paused/u1');
  const handle = await startStage('paused', 6, { lanes: 2 });
  await Promise.all([first.reached, second.reached]);
  expect(await handle.executeUpdate('pause')).toMatchObject({ experiment: 'paused-experiment', paused: true });
  await until(
    () => shardProgress('paused'),
    ({ paused }) => paused === 'paused by request',
  );
  first.release();
  second.release();
  await until(
    () => shardProgress('paused'),
    ({ done }) => done === 2,
  );
  expect(await shardProgress('paused')).toMatchObject({ total: 6, done: 2, running: 0 });
  expect(rolloutsBegun('paused')).toHaveLength(2);

  expect(await handle.executeUpdate('resume')).toMatchObject({ paused: false });
  await handle.result();
  expect(await shardResult('paused')).toEqual({ total: 6, done: 6, failed: 0, resolved: 6, running: 0 });
  expect(new Set(rolloutsBegun('paused')).size).toBe(6);
});

test('a paused experiment starts no further stage', async () => {
  pipeline.declare('between', [
    { id: 'between-tasks', kind: 'tasks' },
    { id: 'between-report', kind: 'report', inputs: ['between-tasks'] },
  ]);
  const tasks = pipeline.hold('tasks between-tasks');
  const handle = await startExperiment(env.client, 'between');
  await tasks.reached;
  await handle.executeUpdate('pause');
  tasks.release();
  const { stages } = await until(
    () => handle.query<{ stages: { state: string }[] }>('progress'),
    (progress) => progress.stages[0]!.state === 'sealed',
  );
  expect(stages[1]!.state).toBe('waiting');
  expect(pipeline.count('open between-report')).toBe(0);
  await handle.executeUpdate('resume');
  expect(await handle.result()).toMatchObject({ sealed: 2 });
});

test('a refusing policy pauses its stage with the message; after resume the refused rollout is played again, once', async () => {
  const refusal = new Failure(
    'PolicyRefused',
    'https://models.example/v1 answered 401 (request req-7): set OPENAI_API_KEY',
  );
  pipeline.fail('rollout refused/u1', refusal);
  const other = pipeline.hold('rollout refused/u3');
  const handle = await startStage('refused', 6, { lanes: 2, shardSize: 3 });
  const progress = await until(
    () => stageProgress('refused'),
    ({ paused }) => paused !== null,
  );
  expect(progress).toMatchObject({ paused: refusal.message });
  for (const shard of [0, 1]) {
    await until(
      () => shardProgress('refused', shard),
      ({ paused }) => paused === refusal.message,
    );
  }
  expect(await shardProgress('refused')).toMatchObject({ paused: refusal.message, failed: 0 });
  expect(pipeline.count('rollout refused/u1')).toBe(1);

  other.release();
  await handle.executeUpdate('resume');
  await handle.result();
  expect(pipeline.count('rollout refused/u1')).toBe(2);
  expect(rolloutsBegun('refused')).toHaveLength(7);
  expect(pipeline.log.filter((line) => line.startsWith('failure refused/'))).toEqual([]);
  for (const shard of [0, 1]) {
    expect(await shardResult('refused', shard)).toEqual({ total: 3, done: 3, failed: 0, resolved: 3, running: 0 });
  }
});

test('a rollout that ends as an infrastructure failure is recorded and its shard goes on', async () => {
  pipeline.fail('rollout broken/u1', new Failure('RolloutStuck', 'three attempts added no record'));
  pipeline.fail('rollout broken/u2', new Failure('SandboxLost', 'lost its container at step 7'));
  const handle = await startStage('broken', 4, { lanes: 2 });
  expect(await handle.result()).toMatchObject({ sealed: 1 });
  expect(await shardResult('broken')).toEqual({ total: 4, done: 4, failed: 1, resolved: 3, running: 0 });
  expect(pipeline.log.filter((line) => line.startsWith('failure broken/'))).toEqual(['failure broken/u1 RolloutStuck']);
  expect(pipeline.count('rollout broken/u1')).toBe(1);
  expect(pipeline.count('rollout broken/u2')).toBe(2);
});

test('a rollout that no other would fare better than stops its stage at once, with the message', async () => {
  const message = 'the context of model-x is too small for the prompt of task pocket-1';
  const running = pipeline.hold('rollout hopeless/u3');
  const first = pipeline.hold('rollout hopeless/u0');
  pipeline.fail('rollout hopeless/u1', new Failure('ConfigInvalid', message));
  const handle = await startStage('hopeless', 8, { lanes: 1, shardSize: 3 });
  await Promise.all([running.reached, first.reached]);
  first.release();
  const cause = await handle.result().then(
    () => null,
    (error: { cause: Error }) => error.cause,
  );
  expect(cause).toMatchObject({ message: expect.stringContaining(`hopeless (hopeless): ${message}`) });
  expect(pipeline.count('cancelled rollout hopeless/u3')).toBe(1);
  expect(pipeline.log.filter((line) => /^(failure|seal) hopeless/.test(line))).toEqual([]);
  expect(rolloutsBegun('hopeless')).not.toContain('rollout hopeless/u7');
});

test('two shards are open at a time, and the next one opens when one of them ends', async () => {
  const held = [0, 2].map((unit) => pipeline.hold(`rollout window/u${unit}`));
  const third = pipeline.hold('rollout window/u4');
  const handle = await startStage('window', 10, { lanes: 2, shardSize: 2 });
  await Promise.all(held.map(({ reached }) => reached));
  expect(await stageProgress('window')).toMatchObject({
    counts: { total: 10, done: 0 },
    shards: ['window/shard-0', 'window/shard-1'],
  });
  expect(pipeline.count('open window/shard-2')).toBe(0);
  held[1]!.release();
  await third.reached;
  expect(await stageProgress('window')).toMatchObject({
    counts: { total: 10, done: 2, resolved: 2 },
    shards: ['window/shard-0', 'window/shard-2'],
  });
  held[0]!.release();
  third.release();
  await handle.result();
  expect(new Set(rolloutsBegun('window'))).toEqual(
    new Set(Array.from({ length: 10 }, (_, n) => `rollout window/u${n}`)),
  );
  expect(rolloutsBegun('window')).toHaveLength(10);
  expect(pipeline.count('seal window')).toBe(1);
  expect(await stageProgress('window')).toMatchObject({ counts: { total: 10, done: 10, resolved: 10 }, shards: [] });
});
