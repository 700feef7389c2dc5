/** Stages that make models: what a failed one stops, who is asked for a GPU, and a program under a real worker. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { WorkflowFailedError, WorkflowHandle } from '@temporalio/client';
import { rootCause } from '@temporalio/common';
import { createActivities } from '../../activities';
import { StageStore } from '../../adapters/store/stages';
import { QUEUES } from '../../config/queues';
import { Failure } from '../../core/failures';
import { declared, sealRollouts } from '../fixtures/graded-rollouts';
import { FakePipeline, type FakeStage } from '../support/fake-pipeline';
import { fakeActivities, stageStates, startExperiment, startWorkflowEnv, until } from '../support/workflow-env';
import type { WorkflowEnv } from '../support/workflow-env';

const failureOf = async (handle: WorkflowHandle): Promise<string> => {
  const error: unknown = await handle.result().catch((thrown: unknown) => thrown);
  return rootCause((error as WorkflowFailedError).cause) ?? '';
};

describe('with activities that the test declares', () => {
  const pipeline = new FakePipeline();
  let env: WorkflowEnv;
  beforeAll(async () => {
    env = await startWorkflowEnv(fakeActivities(pipeline));
  });
  afterAll(() => env.stop());

  /** The way of a preference arm, each stage named after the experiment. */
  const arm = (name: string): FakeStage[] => [
    { id: `${name}-model`, kind: 'model' },
    { id: `${name}-collect`, kind: 'collect', units: 2 },
    { id: `${name}-pairs`, kind: 'pairs', inputs: [`${name}-collect`] },
    { id: `${name}-reference`, kind: 'reference', inputs: [`${name}-model`, `${name}-pairs`] },
    { id: `${name}-dpo`, kind: 'train', inputs: [`${name}-model`, `${name}-pairs`, `${name}-reference`] },
    { id: `${name}-kto`, kind: 'train', inputs: [`${name}-model`, `${name}-pairs`, `${name}-reference`] },
  ];

  test('a model is prepared, rollouts are paired, the reference is scored once, and both arms are trained', async () => {
    pipeline.declare('arms', arm('arms'));
    expect(await (await startExperiment(env.client, 'arms')).result()).toMatchObject({ reused: 0, sealed: 6 });
    const calls = pipeline.log.filter((line) => /^(model|pairs|reference|train|gpu)/.test(line));
    expect(calls.toSorted()).toEqual([
      'model arms-model',
      'pairs arms-pairs',
      'reference arms-reference',
      'train arms-dpo',
      'train arms-kto',
    ]);
    expect(pipeline.log.indexOf('train arms-dpo')).toBeGreaterThan(pipeline.log.indexOf('seal arms-reference'));
  });

  test.each([
    ['dpo', 'train', 'TrainerDiverged', 'loss is nan at update 5', ['dpo'], []],
    ['pairs', 'pairs', 'DataUnusable', 'no pair is left', ['pairs'], ['reference', 'dpo', 'kto']],
  ] as const)(
    'where %s fails only what needs it waits, and the next start runs just that again',
    async (stage, call, type, message, failed, blocked) => {
      const name = `half-${stage}`;
      pipeline.declare(name, arm(name));
      pipeline.fail(`${call} ${name}-${stage}`, new Failure(type, message));
      const first = await startExperiment(env.client, name);
      expect(await failureOf(first)).toContain(`${name}-${stage} (${name}-${stage}): ${message}`);
      const states = await stageStates(first);
      const inState = (state: string) =>
        Object.keys(states)
          .filter((id) => states[id] === state)
          .map((id) => id.slice(name.length + 1));
      expect(inState('failed')).toEqual(failed);
      expect(inState('blocked')).toEqual(blocked);

      const before = pipeline.log.length;
      await (await startExperiment(env.client, name)).result();
      const again = pipeline.log.slice(before).filter((line) => line.startsWith('open '));
      expect(again.toSorted()).toEqual([...failed, ...blocked].map((id) => `open ${name}-${id}`).toSorted());
    },
  );

  test('a crashed program is started again by the retry policy', async () => {
    pipeline.declare('crash', [{ id: 'crash-train', kind: 'train' }]);
    pipeline.fail('train crash-train', new Failure('TrainerCrashed', 'exit code 1'));
    await (await startExperiment(env.client, 'crash')).result();
    expect(pipeline.count('train crash-train')).toBe(2);
  });

  test('where a GPU is asked for and absent nothing starts', async () => {
    pipeline.declare('gpu', [{ id: 'gpu-tasks', kind: 'tasks' }, ...arm('gpu')], { device: 'gpu' });
    pipeline.fail('gpu', new Failure('ConfigInvalid', 'device: gpu: there is none'));
    expect(await failureOf(await startExperiment(env.client, 'gpu'))).toBe('device: gpu: there is none');
    expect(pipeline.log.filter((line) => line.includes('gpu-'))).toEqual([]);
  });

  test('who has trained already, or trains nothing, needs no GPU', async () => {
    const before = pipeline.count('gpu');
    pipeline.declare('trained', [{ id: 'trained-sft', kind: 'train' }], { device: 'gpu' });
    pipeline.sealed.add('trained-sft');
    await (await startExperiment(env.client, 'trained')).result();
    pipeline.declare('untrained', [{ id: 'untrained-tasks', kind: 'tasks' }], { device: 'gpu' });
    await (await startExperiment(env.client, 'untrained')).result();
    expect(pipeline.count('gpu')).toBe(before);
  });
});

describe('with a program under a real worker', () => {
  const STAND_IN = path.join(__dirname, '..', 'fixtures', 'stand-in-trainer.cjs');
  const SETTINGS = {
    ...{ sandbox: 'auto', lanes: 1, shardSize: 1, device: 'cpu', idleStopMs: 0 },
    serve: { type: 'embedded', slots: 1 },
  };
  let behaviour: object;
  let env: WorkflowEnv;
  let store: StageStore;
  beforeAll(async () => {
    env = await startWorkflowEnv((home, client) =>
      createActivities({
        ...{ home, client },
        command: (program, spec) => [process.execPath, STAND_IN, program, spec, JSON.stringify(behaviour)],
      }),
    );
    store = new StageStore(env.home);
    await sealRollouts(store, 'collect-1', [{ task: 't1', sample: 0, resolved: true }]);
  });
  afterAll(() => env.stop());

  async function startTraining(stage: string): Promise<WorkflowHandle> {
    const inputs = { model: 'model-1', 'rollouts-0': 'collect-1' };
    await store.declare(declared('train', stage, { method: { type: 'sft', keep: 'all' } }, inputs));
    return env.client.workflow.signalWithStart('train', {
      ...{ workflowId: stage, taskQueue: QUEUES.control, args: [{ stage, settings: SETTINGS }] },
      ...{ signal: 'join', signalArgs: ['test', false] },
    });
  }

  const log = (stage: string) => path.join(store.folder(stage), '.work', 'program.log');
  const updates = (stage: string): number => {
    const file = path.join(store.folder(stage), 'metrics.jsonl');
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
  };
  const hanging = (stage: string) =>
    until(
      () => Promise.resolve(updates(stage)),
      (done) => done === 3,
    );

  test('a worker that stops leaves a checkpoint, and the next one trains on from it', async () => {
    behaviour = { hangAt: 3 };
    const handle = await startTraining('train-1');
    await hanging('train-1');
    behaviour = {};
    await env.restartWorker();
    expect(await handle.result()).toEqual({ stage: 'train-1', counts: { rows: 2, dropped: 1, updates: 6 } });
    expect(readFileSync(log('train-1'), 'utf8').match(/started train at \d/g)).toEqual([
      'started train at 0',
      'started train at 3',
    ]);
  });

  test('a stage that nobody needs any more stops its program, which leaves a checkpoint', async () => {
    behaviour = { hangAt: 3 };
    const handle = await startTraining('train-2');
    await hanging('train-2');
    await handle.signal('leave', 'test');
    expect(await failureOf(handle)).toContain('no experiment waits for this stage any more');
    const folder = path.join(store.folder('train-2'), '.work');
    expect(JSON.parse(readFileSync(path.join(folder, 'update.json'), 'utf8'))).toEqual({ update: 3 });
    expect(existsSync(path.join(folder, 'process.json'))).toBe(false);
  });

  test('a diverged training ends its stage at once, and another start begins anew', async () => {
    behaviour = { divergeAt: 3 };
    expect(await failureOf(await startTraining('train-3'))).toBe('train-3: loss is nan at update 3');
    behaviour = {};
    await (await startTraining('train-3')).result();
    expect(readFileSync(log('train-3'), 'utf8').match(/started train at \d/g)).toEqual([
      'started train at 0',
      'started train at 0',
    ]);
    expect(store.sealed('train-3')).toBe(true);
  });
});
