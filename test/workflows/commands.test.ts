/** Experiments as the `temporal` CLI starts, finds, asks and ends them, with the real control activities. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { WorkflowFailedError } from '@temporalio/client';
import type { ActivityFailure } from '@temporalio/common';
import { createActivities } from '../../activities';
import { requireTool } from '../../adapters/tools';
import { readConfig } from '../../config/load';
import type { ExperimentProgress } from '../../workflows/messages';
import { untrained } from '../support/untrained';
import { signals, startExperiment, startWorkflowEnv, until, type WorkflowEnv } from '../support/workflow-env';

const run = promisify(execFile);
let env: WorkflowEnv;

beforeAll(async () => {
  // No worker of the sandbox role: whatever starts, waits.
  env = await startWorkflowEnv((home, client) => ({ control: createActivities({ home, client }).control }));
});
afterAll(() => env.stop());

/** What the CLI prints, and its exit code. */
async function temporal(...args: string[]): Promise<{ code: number; out: string }> {
  const words = [...args, '--address', env.address];
  return run(requireTool('temporal').path, words).then(
    ({ stdout }) => ({ code: 0, out: stdout }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      out: error.stdout + error.stderr,
    }),
  );
}

const smoke = readConfig('smoke') as Record<string, unknown>;

const shape = /the input of an experiment is \{"config": NAME or \{\.\.\.\}, "overrides": \["key=value"\]\}/;

describe('an input that cannot be used fails the experiment at once', () => {
  test.each<[string, string, RegExp]>([
    ['null', 'null', shape],
    ['a string', '"smoke"', shape],
    ['a list', '[]', shape],
    ['no configuration', '{}', shape],
    ['a configuration that is a number', '{"config": 5}', shape],
    ['a configuration that is null', '{"config": null}', shape],
    ['overrides that are no list', '{"config": "smoke", "overrides": "seed=2"}', shape],
    ['overrides that are no text', '{"config": "smoke", "overrides": [1]}', shape],
    ['a key besides', '{"config": "smoke", "override": ["seed=2"]}', shape],
    ['an unknown name', '{"config": "smoky"}', /smoky: no such file, and no shipped configuration has that name/],
    ['an unknown key', JSON.stringify({ config: { ...smoke, lane: 4 } }), /lane: unknown key; did you mean "lanes"\?/],
    ['a wrong type', JSON.stringify({ config: { ...smoke, seed: 'one' } }), /seed: .*expected number/],
    [
      'tasks that are not declared',
      '{"config": "smoke", "overrides": ["collect.teacher.tasks=other"]}',
      /no tasks named "other"/,
    ],
    ['a folder', '{"config": "."}', /cannot be read/],
    ['an override that is no YAML', '{"config": "smoke", "overrides": ["seed=[1"]}', /the value is not valid YAML/],
    ['an override without a value', '{"config": "smoke", "overrides": ["seed"]}', /override "seed": write key=value/],
  ])('%s', async (_, input, message) => {
    const handle = await startExperiment(env.client, 'invalid', JSON.parse(input));
    const error = (await handle.result().catch((thrown: unknown) => thrown)) as WorkflowFailedError;
    const { cause } = error.cause as ActivityFailure;
    expect(cause).toMatchObject({ type: 'ConfigInvalid', nonRetryable: true, message: expect.stringMatching(message) });
    expect(existsSync(path.join(env.home, 'store'))).toBe(false);
  });
});

test('the temporal CLI shows why an input cannot be used', async () => {
  const start = ['--type', 'experiment', '--task-queue', 'control', '--workflow-id', 'invalid'];
  const { code, out } = await temporal('workflow', 'execute', ...start, '--input', 'null');
  expect({ code, out }).toEqual({ code: 1, out: expect.stringMatching(shape) });
});

test('started, found, asked, paused, resumed and cancelled by the temporal CLI, also under an id with colons', async () => {
  const id = 'nightly-2030-01-01T02:00:00Z';
  const of = ['--workflow-id', id];
  const input = JSON.stringify({ config: untrained(), overrides: ['seed=7'] });
  const start = ['--type', 'experiment', '--task-queue', 'control', '--input', input];
  expect((await temporal('workflow', 'start', ...of, ...start)).code).toBe(0);

  const query = ['workflow', 'query', ...of, '--name', 'progress', '--output', 'json'];
  const asked = await until(
    async () => progressIn((await temporal(...query)).out),
    ({ stages }) => stages.filter(({ state }) => state === 'running').length === 2,
  );
  expect(asked).toMatchObject({ experiment: id, paused: false });
  const tasks = asked.stages.filter(({ kind }) => kind === 'tasks').map((stage) => stage.id);

  const list = ['workflow', 'list', '--query', `ExperimentId="${id}"`, '--output', 'json'];
  const found = await until(
    async () => JSON.parse((await temporal(...list)).out) as { execution: { workflowId: string } }[],
    (listed) => listed.length === 3,
  );
  expect(found.map(({ execution }) => execution.workflowId).toSorted()).toEqual([id, ...tasks].toSorted());
  const byStage = ['workflow', 'count', '--query', `Stage="${tasks[0]}"`, '--output', 'json'];
  expect(JSON.parse((await temporal(...byStage)).out)).toMatchObject({ count: '1' });

  const update = async (name: string) => {
    const { out } = await temporal('workflow', 'update', 'execute', ...of, '--name', name, '--output', 'json');
    return (JSON.parse(out) as { result: ExperimentProgress }).result;
  };
  expect(await update('pause')).toMatchObject({ paused: true });
  for (const stage of tasks) expect(await signals(env.client, stage)).toEqual([`join ${id}`, `pauseStage ${id}`]);
  expect(await update('resume')).toMatchObject({ paused: false });

  expect((await temporal('workflow', 'cancel', ...of)).code).toBe(0);
  const ended = await temporal('workflow', 'result', ...of, '--output', 'json');
  expect(ended).toMatchObject({ code: 1, out: expect.stringContaining('CANCELED') });
  for (const stage of tasks) expect((await signals(env.client, stage)).at(-1)).toBe(`leave ${id}`);
  expect(readdirSync(path.join(env.home, 'runs')).includes('nightly-2030-01-01T02%3A00%3A00Z')).toBe(true);
});

/** The CLI prints an empty list as null. */
function progressIn(out: string): ExperimentProgress {
  const { queryResult } = JSON.parse(out) as { queryResult: ExperimentProgress[] };
  const [progress] = queryResult;
  return { ...progress!, stages: progress!.stages ?? [] };
}
