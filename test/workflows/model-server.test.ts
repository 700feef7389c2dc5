/** The server of a model: who holds it, when it stops and starts again, and what becomes of those who wait for it. */
import { CancelledFailure } from '@temporalio/common';
import type { WorkflowFailedError } from '@temporalio/client';
import { Failure } from '../../core/failures';
import { serverName } from '../../core/ids';
import type { RunSettings } from '../../core/plan';
import type { ServerProgress } from '../../workflows/messages';
import { FakePipeline } from '../support/fake-pipeline';
import {
  fakeActivities,
  signals,
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

const serverOf = (model: string) => env.client.workflow.getHandle(serverName(model));
const progressOf = (model: string) => serverOf(model).query<ServerProgress>('server');
const received = (model: string) => signals(env.client, serverName(model));
const rolloutsBegun = (stage: string) => pipeline.log.filter((line) => line.startsWith(`rollout ${stage}/`));
const causeOf = (error: WorkflowFailedError) => error.cause;

/** Starts an experiment named like its one stage, played by the model. */
function startPlayedBy(model: string, stage: string, settings: Partial<RunSettings> = {}) {
  const stages = [{ id: stage, kind: 'evaluate' as const, units: 3, model }];
  pipeline.declare(`${stage}-experiment`, stages, { idleStopMs: 50, ...settings });
  return startExperiment(env.client, `${stage}-experiment`);
}

test('a model is served before the first rollout and until after the last; idle, its server stops', async () => {
  const start = pipeline.hold('start model-one');
  const rollout = pipeline.hold('rollout one/u2');
  const handle = await startPlayedBy('model-one', 'one');
  await start.reached;
  expect(await progressOf('model-one')).toEqual({ url: null, state: 'waiting', holders: ['one'] });
  expect(rolloutsBegun('one')).toEqual([]);
  start.release();
  await rollout.reached;
  expect(await progressOf('model-one')).toMatchObject({ state: 'serving', holders: ['one'] });
  rollout.release();
  expect(await handle.result()).toMatchObject({ sealed: 1 });
  await serverOf('model-one').result();
  expect(await progressOf('model-one')).toEqual({ url: null, state: 'stopping', holders: [] });
  expect(await received('model-one')).toEqual([
    'acquire one',
    expect.stringContaining('serving http://'),
    'release one',
  ]);
  expect([pipeline.count('start model-one'), pipeline.count('stop model-one')]).toEqual([1, 1]);
});

test('stages of two experiments share one server, which the first to leave does not stop', async () => {
  const rollouts = ['share-a', 'share-b'].map((stage) => pipeline.hold(`rollout ${stage}/u0`));
  const handles = [await startPlayedBy('model-two', 'share-a'), await startPlayedBy('model-two', 'share-b')];
  await Promise.all(rollouts.map(({ reached }) => reached));
  expect((await progressOf('model-two')).holders.toSorted()).toEqual(['share-a', 'share-b']);
  rollouts[0]!.release();
  await handles[0]!.result();
  expect(await progressOf('model-two')).toMatchObject({ state: 'serving', holders: ['share-b'] });
  rollouts[1]!.release();
  await handles[1]!.result();
  await serverOf('model-two').result();
  expect(pipeline.count('start model-two')).toBe(1);
});

test('a stage that comes before the idle time is over finds the server as it is', async () => {
  await (await startPlayedBy('model-warm', 'warm-a', { idleStopMs: 600_000 })).result();
  const { url } = await until(
    () => progressOf('model-warm'),
    ({ holders }) => holders.length === 0,
  );
  const rollout = pipeline.hold('rollout warm-b/u0');
  const handle = await startPlayedBy('model-warm', 'warm-b');
  await rollout.reached;
  expect(await progressOf('model-warm')).toMatchObject({ url, state: 'serving', holders: ['warm-b'] });
  rollout.release();
  await handle.result();
  expect(pipeline.count('start model-warm')).toBe(1);
  await serverOf('model-warm').cancel();
  await serverOf('model-warm').result().catch(causeOf);
  expect(pipeline.count('stop model-warm')).toBe(1);
});

test('a stage that comes while the server stops has it started again', async () => {
  const stop = pipeline.hold('stop model-late', { lingers: true });
  await (await startPlayedBy('model-late', 'late-a')).result();
  await stop.reached;
  expect(await progressOf('model-late')).toMatchObject({ url: null, state: 'stopping' });
  const { runId } = await serverOf('model-late').describe();
  const late = await startPlayedBy('model-late', 'late-b');
  await until(
    () => received('model-late'),
    (all) => all.includes('acquire late-b'),
  );
  expect(pipeline.count('start model-late')).toBe(1);
  stop.release();
  expect(await late.result()).toMatchObject({ sealed: 1 });
  await serverOf('model-late').result();
  expect(pipeline.count('start model-late')).toBe(2);
  expect((await serverOf('model-late').describe()).runId).toBe(runId);
});

test('two models share the one slot: the second is served when the first is idle', async () => {
  const first = pipeline.hold('rollout slot-a/u0');
  const one = await startPlayedBy('model-slot-a', 'slot-a');
  await first.reached;
  const two = await startPlayedBy('model-slot-b', 'slot-b');
  await until(
    () => received('model-slot-b'),
    (all) => all.length === 1,
  );
  expect(pipeline.count('start model-slot-b')).toBe(0);
  first.release();
  await Promise.all([one.result(), two.result()]);
  const order = pipeline.log.filter((line) => /^(start|stop) model-slot-/.test(line));
  expect(order.slice(0, 3)).toEqual(['start model-slot-a', 'stop model-slot-a', 'start model-slot-b']);
});

test('a server that cannot start fails the stages that wait for it, with its words; started again they try again', async () => {
  pipeline.fail(
    'start model-bad',
    new Failure('ConfigInvalid', 'store/model-bad/model: the tokenizer has no chat template'),
  );
  const handle = await startPlayedBy('model-bad', 'bad');
  const cause = await handle.result().then(() => null, causeOf);
  expect(cause).toMatchObject({
    message: expect.stringContaining('(bad): store/model-bad/model: the tokenizer has no'),
  });
  expect(rolloutsBegun('bad')).toEqual([]);
  expect(pipeline.count('start model-bad')).toBe(1);
  expect(await (await startPlayedBy('model-bad', 'bad')).result()).toMatchObject({ sealed: 1 });
});

test('a server that is lost is started again at another address', async () => {
  pipeline.fail('start model-lost', new Failure('ServerLost', 'ended with exit code 1'));
  const handle = await startPlayedBy('model-lost', 'lost');
  expect(await handle.result()).toMatchObject({ sealed: 1 });
  expect(pipeline.count('start model-lost')).toBe(2);
});

test('a cancelled experiment leaves the server, whether its stage waits or plays', async () => {
  const start = pipeline.hold('start model-left');
  const handle = await startPlayedBy('model-left', 'left');
  await start.reached;
  await handle.cancel();
  expect(await handle.result().then(() => null, causeOf)).toBeInstanceOf(CancelledFailure);
  await serverOf('model-left').result();
  expect(await received('model-left')).toEqual(['acquire left', 'release left']);

  const rollout = pipeline.hold('rollout left-playing/u0');
  const playing = await startPlayedBy('model-left', 'left-playing');
  await rollout.reached;
  await playing.cancel();
  await playing.result().catch(causeOf);
  await serverOf('model-left').result();
  expect((await received('model-left')).at(-1)).toBe('release left-playing');
  expect(rolloutsBegun('left')).toEqual([]);
});
