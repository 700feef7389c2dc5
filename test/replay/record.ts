/**
 * Records the histories that `replay.test.ts` replays: `npx tsx test/replay/record.ts [SCENARIO…]`. Run it after a change of the
 * workflows that is not guarded by `patched`, when no such history can be open anywhere any more. All payloads are those
 * of the fake pipeline; names of machines, processes and paths are taken out.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { Failure } from '../../core/failures';
import { serverName } from '../../core/ids';
import type { RunSettings } from '../../core/plan';
import { FakePipeline, type FakeStage } from '../support/fake-pipeline';
import { startShortHistories } from '../support/short-histories';
import { fakeActivities, signals, startExperiment, startWorkflowEnv, until } from '../support/workflow-env';

export const HISTORIES = path.join(__dirname, 'histories');

const pipeline = new FakePipeline();

/** Declares and starts an experiment named like its scenario. */
function begin(client: Client, scenario: string, stages: FakeStage[], settings: Partial<RunSettings> = {}) {
  pipeline.declare(scenario, stages, settings);
  return startExperiment(client, scenario);
}

/** Runs the scenario and returns the ids of the workflows to record. */
type Scenario = (client: Client) => Promise<string[]>;

const scenarios: Record<string, Scenario> = {
  async complete(client) {
    const stages: FakeStage[] = [
      { id: 'tasks-1', kind: 'tasks' },
      { id: 'collect-1', kind: 'collect', inputs: ['tasks-1'], units: 3 },
      { id: 'evaluate-1', kind: 'evaluate', inputs: ['tasks-1'], units: 3 },
      { id: 'score-1', kind: 'score', inputs: ['evaluate-1'], units: 2 },
      { id: 'select-1', kind: 'select', inputs: ['score-1'] },
      { id: 'report-1', kind: 'report', inputs: ['select-1', 'collect-1'] },
    ];
    await (await begin(client, 'complete', stages, { lanes: 2 })).result();
    return ['complete', ...stages.map(({ id }) => id), 'evaluate-1/shard-0', 'score-1/shard-0'];
  },

  async failed(client) {
    pipeline.fail('rollout collect-2/u0', new Failure('RolloutStuck', 'three attempts added no record'));
    pipeline.fail('seal collect-2', new Failure('StageUnusable', 'collect-2: 1 of 2 rollouts are usable'));
    const stages: FakeStage[] = [
      { id: 'collect-2', kind: 'collect', units: 2 },
      { id: 'report-2', kind: 'report', inputs: ['collect-2'] },
    ];
    const handle = await begin(client, 'failed', stages);
    await handle.result().catch(() => undefined);
    return ['failed', 'collect-2', 'collect-2/shard-0'];
  },

  async reused(client) {
    pipeline.sealed.add('collect-3');
    // Sealed by another experiment after this one was resolved: the stage itself finds out.
    const tasks = pipeline.hold('tasks tasks-3');
    const stages: FakeStage[] = [
      { id: 'collect-3', kind: 'collect', units: 2 },
      { id: 'tasks-3', kind: 'tasks' },
      { id: 'score-3', kind: 'score', inputs: ['tasks-3', 'collect-3'], units: 2 },
    ];
    const handle = await begin(client, 'reused', stages);
    await tasks.reached;
    pipeline.sealed.add('score-3');
    tasks.release();
    await handle.result();
    return ['reused', 'score-3'];
  },

  async cancelled(client) {
    const rollout = pipeline.hold('rollout evaluate-4/u1');
    const stages: FakeStage[] = [
      { id: 'evaluate-4', kind: 'evaluate', units: 4 },
      { id: 'report-4', kind: 'report', inputs: ['evaluate-4'] },
    ];
    const handle = await begin(client, 'cancelled', stages, { lanes: 2 });
    await rollout.reached;
    await handle.cancel();
    for (const id of ['cancelled', 'evaluate-4']) {
      await client.workflow
        .getHandle(id)
        .result()
        .catch(() => undefined);
    }
    return ['cancelled', 'evaluate-4', 'evaluate-4/shard-0'];
  },

  async paused(client) {
    const rollout = pipeline.hold('rollout collect-5/u0');
    const handle = await begin(client, 'paused', [{ id: 'collect-5', kind: 'collect', units: 4 }], { lanes: 1 });
    await rollout.reached;
    await handle.executeUpdate('pause');
    await until(
      () => signals(client, 'collect-5/shard-0'),
      (received) => received.length === 1,
    );
    rollout.release();
    await handle.executeUpdate('resume');
    await handle.result();
    return ['paused', 'collect-5', 'collect-5/shard-0'];
  },

  async refused(client) {
    pipeline.fail('rollout evaluate-6/u0', new Failure('PolicyRefused', 'the policy answered 401: set OPENAI_API_KEY'));
    const handle = await begin(client, 'refused', [{ id: 'evaluate-6', kind: 'evaluate', units: 4 }], { lanes: 2 });
    await until(
      () => signals(client, 'evaluate-6/shard-0'),
      (received) => received.length === 1,
    );
    await handle.executeUpdate('resume');
    await handle.result();
    return ['refused', 'evaluate-6', 'evaluate-6/shard-0'];
  },

  async trained(client) {
    pipeline.fail('train train-8', new Failure('TrainerCrashed', 'train-8: ended with exit code 1'));
    const stages: FakeStage[] = [
      { id: 'model-8', kind: 'model' },
      { id: 'pairs-8', kind: 'pairs' },
      { id: 'reference-8', kind: 'reference', inputs: ['model-8', 'pairs-8'] },
      { id: 'train-8', kind: 'train', inputs: ['model-8', 'pairs-8', 'reference-8'] },
    ];
    await (await begin(client, 'trained', stages, { device: 'gpu' })).result();
    return ['trained', ...stages.map(({ id }) => id)];
  },

  async judged(client) {
    pipeline.sealed.add('train-10');
    const stages: FakeStage[] = [
      { id: 'train-10', kind: 'train' },
      { id: 'verify-10', kind: 'verify', inputs: ['train-10'] },
      { id: 'verify-11', kind: 'verify', inputs: ['train-10'], model: 'train-10' },
    ];
    await (await begin(client, 'judged', stages)).result();
    return ['judged', 'verify-10', 'verify-11'];
  },

  async diverged(client) {
    pipeline.fail('train train-9', new Failure('TrainerDiverged', 'train-9: loss is nan at update 5'));
    const stages: FakeStage[] = [
      { id: 'train-9', kind: 'train' },
      { id: 'reference-9', kind: 'reference', inputs: ['train-9'] },
    ];
    const handle = await begin(client, 'diverged', stages);
    await handle.result().catch(() => undefined);
    return ['diverged', 'train-9'];
  },

  async served(client) {
    pipeline.fail('start model-10', new Failure('ServerLost', 'vllm ended with exit code 1'));
    const stages: FakeStage[] = [{ id: 'evaluate-10', kind: 'evaluate', units: 3, model: 'model-10' }];
    await (await begin(client, 'served', stages, { idleStopMs: 10 })).result();
    const server = serverName('model-10');
    await client.workflow.getHandle(server).result();
    return ['served', 'evaluate-10', server];
  },

  async unserved(client) {
    pipeline.fail('start model-11', new Failure('ConfigInvalid', 'model-11: the tokenizer has no chat template'));
    const stages: FakeStage[] = [{ id: 'collect-11', kind: 'collect', units: 2, model: 'model-11' }];
    const handle = await begin(client, 'unserved', stages);
    await handle.result().catch(() => undefined);
    return ['unserved', 'collect-11', serverName('model-11')];
  },

  async outgrown(client) {
    const message = 'the context of model-12 is too small for the prompt of task u0';
    pipeline.fail('rollout collect-12/u0', new Failure('ConfigInvalid', message));
    const other = pipeline.hold('rollout collect-12/u1');
    const stages: FakeStage[] = [{ id: 'collect-12', kind: 'collect', units: 4, model: 'model-12' }];
    const handle = await begin(client, 'outgrown', stages, { lanes: 2, shardSize: 2, idleStopMs: 10 });
    await other.reached;
    await handle.result().catch(() => undefined);
    return ['outgrown', 'collect-12', 'collect-12/shard-0'];
  },

  async held(client) {
    const stage = { id: 'collect-13', kind: 'collect' as const, units: 30, model: 'model-13' };
    const last = pipeline.hold('rollout collect-13/u29');
    const server = client.workflow.getHandle(serverName('model-13'));
    const handle = await begin(client, 'held', [stage], { shardSize: 1, idleStopMs: 10 });
    const runId = await runningId(client, stage.id);
    const served = await runningId(client, server.workflowId);
    await last.reached;
    for (const _ of Array.from({ length: 12 })) {
      await server.signal('acquire', stage.id);
      await server.query('server');
    }
    last.release();
    await handle.result();
    await server.result();
    await record(client, 'held', stage.id, runId);
    await record(client, 'held', server.workflowId, served);
    return ['held', stage.id, server.workflowId];
  },

  async long(client) {
    const stage = { id: 'collect-7', kind: 'collect' as const, units: 12 };
    const last = pipeline.hold('rollout collect-7/u11');
    const handle = await begin(client, 'long', [stage], { shardSize: 1 });
    const runId = await runningId(client, stage.id);
    await last.reached;
    last.release();
    await handle.result();
    await record(client, 'long', stage.id, runId);
    return ['long', stage.id];
  },
};

/** The workflow's run, as soon as there is one. */
async function runningId(client: Client, id: string): Promise<string> {
  const { runId } = await until(
    () => client.workflow.getHandle(id).describe(),
    () => true,
  );
  return runId;
}

/** Names of the scenarios on the command line, or all of them. */
function wanted(names: string[]): string[] {
  const unknown = names.filter((name) => !(name in scenarios));
  if (unknown.length > 0)
    throw new Error(`no scenario ${unknown.join(', ')}; there are ${Object.keys(scenarios).join(', ')}`);
  return names.length > 0 ? names : Object.keys(scenarios);
}

/** Writes one history; a first run of a workflow that continued as new is named by `runId`. */
async function record(client: Client, scenario: string, id: string, runId?: string): Promise<void> {
  const text = historyToJSON(await client.workflow.getHandle(id, runId).fetchHistory());
  const { events } = JSON.parse(text) as { events: object[] };
  const name = [scenario, id.replace('/', '-'), ...(runId ? ['first'] : [])].join('.');
  const lines = events.map((event) => JSON.stringify(event, scrub));
  writeFileSync(path.join(HISTORIES, `${name}.json`), `{"events":[\n${lines.join(',\n')}\n]}\n`);
}

/** Without what names this machine: identities are `pid@host`, also within names of sticky queues. */
function scrub(key: string, value: unknown): unknown {
  if (key === 'stackTrace') return undefined;
  return typeof value === 'string' ? value.replaceAll(IDENTITY, 'worker') : value;
}

const IDENTITY = /\d+@[\w.-]+/g;

async function main(): Promise<void> {
  const names = wanted(process.argv.slice(2));
  mkdirSync(HISTORIES, { recursive: true });
  for (const file of readdirSync(HISTORIES))
    if (names.includes(file.split('.')[0]!)) rmSync(path.join(HISTORIES, file));
  const env = await startWorkflowEnv(fakeActivities(pipeline), () => startShortHistories(40));
  try {
    for (const scenario of names) {
      for (const id of await scenarios[scenario]!(env.client)) await record(env.client, scenario, id);
    }
  } finally {
    await env.stop();
  }
}

if (require.main === module) {
  main().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
