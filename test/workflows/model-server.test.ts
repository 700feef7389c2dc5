/** The server of a model: who holds it, when it stops and starts again, and what becomes of those who wait for it. */
import { serverName } from '../../core/ids';
import type { RunSettings } from '../../core/plan';
import { FakePipeline } from '../support/fake-pipeline';
import { fakeActivities, signals, startExperiment, startWorkflowEnv, type WorkflowEnv } from '../support/workflow-env';

const pipeline = new FakePipeline();
let env: WorkflowEnv;

beforeAll(async () => {
  env = await startWorkflowEnv(fakeActivities(pipeline));
});
afterAll(() => env.stop());

const serverOf = (model: string) => env.client.workflow.getHandle(serverName(model));

/** Starts an experiment named like its one stage, played by the model. */
function startPlayedBy(model: string, stage: string, units = 3, settings: Partial<RunSettings> = {}) {
  pipeline.declare(`${stage}-experiment`, [{ id: stage, kind: 'evaluate', units, model }], {
    idleStopMs: 50,
    ...settings,
  });
  return startExperiment(env.client, `${stage}-experiment`);
}

test('a stage has its model served from before its first rollout to after its last, then the server stops', async () => {
  const handle = await startPlayedBy('model-one', 'one');
  expect(await handle.result()).toMatchObject({ sealed: 1 });
  await serverOf('model-one').result();
  const log = pipeline.log.filter((line) => /one/.test(line) && !line.startsWith('publish'));
  expect(log.slice(0, 2)).toEqual(['open one', 'start model-one']);
  expect(log.at(-2)).toBe('seal one');
  expect(log.at(-1)).toBe('stop model-one');
  expect(await signals(env.client, serverName('model-one'))).toEqual([
    'acquire one',
    expect.stringContaining('serving http://'),
    'release one',
  ]);
});
