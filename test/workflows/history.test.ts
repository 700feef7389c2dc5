/**
 * What a history costs and holds: events per rollout, size of payloads, no text of prompts or tasks, no key. A rollout
 * whose end coincides with no other's costs 6 events, a stage with one shard 38 besides; ends that coincide share 3.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { createActivities } from '../../activities';
import type { Task } from '../../core/task';
import { startPolicyServer } from '../fixtures/policy-server';
import { fewTasks } from '../support/few-tasks';
import { FakePipeline } from '../support/fake-pipeline';
import { untrained } from '../support/untrained';
import { fakeActivities, startExperiment, startWorkflowEnv } from '../support/workflow-env';

const PAYLOAD_LIMIT = 64 * 1024;

interface Event {
  [attributes: string]: unknown;
}

/** Histories of all workflows below an experiment, by workflow id; shards are found by the events of their stages. */
async function historiesOf(client: Client, ...ids: string[]): Promise<Record<string, Event[]>> {
  const found: Record<string, Event[]> = {};
  for (const id of ids) {
    const history = historyToJSON(await client.workflow.getHandle(id).fetchHistory());
    found[id] = (JSON.parse(history) as { events: Event[] }).events;
    const children = found[id].flatMap(({ childWorkflowExecutionStartedEventAttributes: started }) =>
      started ? [(started as { workflowExecution: { workflowId: string } }).workflowExecution.workflowId] : [],
    );
    Object.assign(found, await historiesOf(client, ...children));
  }
  return found;
}

/** Decoded payloads of any depth. */
function payloadsIn(value: unknown): Buffer[] {
  if (typeof value !== 'object' || value === null) return [];
  const { metadata, data } = value as { metadata?: unknown; data?: unknown };
  if (metadata !== undefined && typeof data === 'string') return [Buffer.from(data, 'base64')];
  return Object.values(value).flatMap(payloadsIn);
}

test('200 rollouts cost at most 6 events each, in stage and shard together, and no payload is large', async () => {
  const rollouts = 200;
  const pipeline = new FakePipeline();
  pipeline.declare('budget', [{ id: 'budget-collect', kind: 'collect', units: rollouts }], {
    lanes: 16,
    shardSize: 400,
  });
  const env = await startWorkflowEnv(fakeActivities(pipeline));
  try {
    await (await startExperiment(env.client, 'budget')).result();
    const histories = await historiesOf(env.client, 'budget-collect');
    expect(Object.keys(histories)).toEqual(['budget-collect', 'budget-collect/shard-0']);
    const events = Object.values(histories).flat();
    expect(events.length).toBeLessThanOrEqual(6 * rollouts);
    const payloads = payloadsIn(events);
    expect(payloads.length).toBeGreaterThan(rollouts);
    expect(Math.max(...payloads.map(({ length }) => length))).toBeLessThan(PAYLOAD_LIMIT);
  } finally {
    await env.stop();
  }
});

test('a real run leaves no prompt, no reply, no text of a task and no key with the server', async () => {
  const policy = await startPolicyServer();
  const key = 'sk-canary-3f1c';
  process.env.OPENAI_API_KEY = key;
  const env = await startWorkflowEnv((home, client) => createActivities({ home, client }));
  try {
    const config = {
      ...untrained(),
      tasks: { heldout: await fewTasks(env.home) },
      collect: { teacher: { tasks: 'heldout', policy: { type: 'scripted', script: 'teacher' } } },
      evaluate: {
        model: { tasks: 'heldout', samples: 2, policy: { type: 'openai', model: 'scripted', url: policy.url } },
      },
    };
    await (await startExperiment(env.client, 'canary', { config })).result();
    expect(policy.requests.length).toBeGreaterThan(4);
    const stages = readdirSync(path.join(env.home, 'store'));
    const histories = await historiesOf(env.client, 'canary', ...stages);
    expect(Object.keys(histories).length).toBeGreaterThan(stages.length + 1);

    const tasks = stages.find((stage) => stage.startsWith('tasks-'))!;
    const lines = readFileSync(path.join(env.home, 'store', tasks, 'tasks.jsonl'), 'utf8')
      .trim()
      .split('\n');
    const statements = lines.map((line) => (JSON.parse(line) as Task).statement);
    const texts = [key, '<function=', 'You mend the repository', ...statements.flatMap((text) => text.split('\n'))];

    const payloads = Object.values(histories).flatMap(payloadsIn);
    expect(Math.max(...payloads.map(({ length }) => length))).toBeLessThan(PAYLOAD_LIMIT);
    const kept = [JSON.stringify(histories), ...payloads.map(String), ...databaseOf(env.home)].join('\n');
    expect(kept).toContain(tasks);
    const words = texts.map((text) => text.trim()).filter((text) => text.length > 8);
    expect(words.length).toBeGreaterThan(5);
    expect(words.filter((text) => kept.includes(text))).toEqual([]);
  } finally {
    delete process.env.OPENAI_API_KEY;
    await env.stop();
    await policy.close();
  }
});

/** The dev server's files, as text: heartbeats and whatever else a history does not show. */
function databaseOf(home: string): string[] {
  const folder = path.join(home, 'runs', '.temporal');
  return readdirSync(folder)
    .filter((file) => file.startsWith('temporal.db'))
    .map((file) => readFileSync(path.join(folder, file), 'latin1'));
}
