/** Rollouts of a random tiny model at the embedded server, through every real part: workflows, activities, PyTorch. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { WorkflowFailedError } from '@temporalio/client';
import { rootCause } from '@temporalio/common';
import { createActivities } from '../../activities';
import { startServer } from '../../adapters/serving';
import { PROJECT_ROOT } from '../../config/env';
import type { Trajectory } from '../../core/trajectory';
import { serverName } from '../../core/ids';
import { serverInput } from '../fixtures/serving-input';
import { fewTasks } from '../support/few-tasks';
import { describeWithPython, PYTHON } from '../support/python';
import { startExperiment, startWorkflowEnv, type WorkflowEnv } from '../support/workflow-env';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await startWorkflowEnv((home, client) => createActivities({ home, client }));
});
afterAll(() => env.stop());

/** A folder of a model with random weights and 2,048 tokens of context. */
function randomModel(): string {
  const folder = path.join(env.home, 'random-model');
  const program =
    'import sys, pathlib; from trainer.tests.tiny import tiny_folder; tiny_folder(pathlib.Path(sys.argv[1]))';
  execFileSync(PYTHON, ['-c', program, folder], { cwd: PROJECT_ROOT, stdio: 'ignore' });
  return folder;
}

async function experimentOf(model: string, maxNewTokens: number) {
  const sampling = { temperature: 1, topP: 1, maxNewTokens };
  const policy = { type: 'model', model: 'student', sampling };
  return {
    ...{ seed: 1, prompt: 'tiny', idleStop: '10m', device: 'cpu', serve: { type: 'embedded', slots: 4 } },
    limits: { maxSteps: 2, maxTokens: 2000, replyTimeout: '1m' },
    tasks: { heldout: await fewTasks(env.home) },
    models: { student: { type: 'folder', path: model } },
    evaluate: { student: { tasks: 'heldout', samples: 2, policy } },
  };
}

describeWithPython('the embedded server', () => {
  test('plays the rollouts of a stage and leaves nothing behind; a prompt too long for it stops the stage', async () => {
    const model = randomModel();
    await (await startExperiment(env.client, 'plays', { config: await experimentOf(model, 8) })).result();
    const store = path.join(env.home, 'store');
    const stages = readdirSync(store);
    const evaluated = stages.find((stage) => stage.startsWith('evaluate-'))!;
    const served = stages.find((stage) => stage.startsWith('model-'))!;
    const lines = readFileSync(path.join(store, evaluated, 'results.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(lines).toHaveLength(4);
    for (const { id } of lines.map((line) => JSON.parse(line) as { id: string })) {
      const trajectory = JSON.parse(readFileSync(path.join(store, id, 'a1', 'trajectory.json'), 'utf8')) as Trajectory;
      expect(trajectory.policy).toMatchObject({ model: served });
      const { usage, tokenIds, logProbs } = trajectory.steps[0]!.reply;
      expect(tokenIds).toHaveLength(usage!.completionTokens);
      expect(logProbs).toHaveLength(usage!.completionTokens);
    }

    const refusal = async (experiment: string, maxNewTokens: number) => {
      const config = await experimentOf(model, maxNewTokens);
      const handle = await startExperiment(env.client, experiment, { config });
      return handle.result().then(
        () => '',
        (error: WorkflowFailedError) => rootCause(error.cause),
      );
    };
    // Too long without any issue, it is refused while planning; with its issue only, by the server.
    const planned = await refusal('too-long', 2047);
    const [, bound] = /does not fit into .* set it below (\d+)/.exec(planned!)!;
    expect(await refusal('too-long-with-issue', Number(bound))).toMatch(
      new RegExp(`the context of ${served} is too small for the prompt of task \\S+: use a model`),
    );

    const server = env.client.workflow.getHandle(serverName(served));
    await server.cancel();
    await expect(server.result()).rejects.toThrow('cancelled');
    expect(readdirSync(path.join(env.home, 'runs', '.servers'))).toEqual([`${served}.log`]);
  }, 480_000);

  test('it refuses a folder without a model in its own words', async () => {
    const starting = startServer({ type: 'embedded', slots: 1 }, serverInput(env.home));
    await expect(starting).rejects.toMatchObject({ name: 'ConfigInvalid', message: expect.stringContaining(env.home) });
  }, 240_000);
});
