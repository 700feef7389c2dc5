/**
 * Workflows on a real dev server with real workers of all roles in this process: the bundle, the interceptors and the
 * options of `workers/`, over activities that the test gives. One per test file; tests tell their runs apart by id.
 */
import path from 'node:path';
import { type Client, type WorkflowHandle, WorkflowNotFoundError } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import {
  DefaultLogger,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker';
import { connect, grpcCode, plainTarget, type TemporalConnection } from '../../adapters/temporal/connection';
import { startDevServer } from '../../adapters/temporal/server';
import { QUEUES } from '../../config/queues';
import { workflowBundle as bundlePath } from '../../workers/bundle';
import { activityInterceptors } from '../../workers/interceptors';
import { RunningActivities } from '../../workers/orphans';
import { type Role, roleOptions } from '../../workers/roles';
import type { ExperimentProgress } from '../../workflows/messages';
import type { FakeActivities, FakePipeline } from './fake-pipeline';
import { temporaryHome } from './processes';

export interface WorkflowEnv extends TemporalConnection {
  home: string;
  /** Ends the worker without any grace and starts another. */
  restartWorker(): Promise<void>;
  stop(): Promise<void>;
}

/** By role; a role without activities has no worker. */
type ActivitySets = { control: object } & Partial<Record<Role, object>>;

export type Activities = (home: string, client: Client) => ActivitySets;

export interface TestServer {
  address: string;
  stop(): Promise<void>;
}

/** A server of its own, by default the one that users get, and a worker on it. */
export async function startWorkflowEnv(
  activities: Activities,
  startServer = (home: string): Promise<TestServer> => startDevServer({ runsFolder: path.join(home, 'runs') }),
): Promise<WorkflowEnv> {
  const { home, remove } = temporaryHome();
  const server = await startServer(home);
  const temporal = await connect(plainTarget(server.address));
  const start = () => startWorkers(temporal, home, activities(home, temporal.client));
  let stopWorker = await start();
  const restartWorker = async () => {
    await stopWorker();
    stopWorker = await start();
  };
  const stop = async () => {
    try {
      await stopWorker();
      await temporal.close();
    } finally {
      await server.stop();
      remove();
    }
  };
  return { ...temporal, home, restartWorker, stop };
}

/** Polls the queues of the roles that have activities until the returned function is called. */
async function startWorkers(
  { address, namespace }: { address: string; namespace: string },
  home: string,
  activities: ActivitySets,
): Promise<() => Promise<void>> {
  quietRuntime();
  const connection = await NativeConnection.connect({ address });
  const running = new RunningActivities(path.join(home, 'runs'));
  const create = (role: Role, options: Partial<WorkerOptions>) =>
    Worker.create({
      ...{ connection, namespace, shutdownForceTime: '5s', ...roleOptions(role), ...options },
      ...{ maxHeartbeatThrottleInterval: '100ms', interceptors: { activity: [activityInterceptors(running)] } },
    } as WorkerOptions);
  const workflowBundle = { codePath: await bundlePath() };
  const workers: Worker[] = [];
  for (const [role, set] of Object.entries(activities) as [Role, object][]) {
    workers.push(await create(role, { activities: set, ...(role === 'control' && { workflowBundle }) }));
  }
  const runs = workers.map((worker) => worker.run());
  return async () => {
    for (const worker of workers) worker.shutdown();
    await Promise.all(runs);
    running.close();
    await connection.close();
  };
}

/** A worker's activities over a pipeline that the test declares. */
export function fakeActivities(pipeline: FakePipeline) {
  return (home: string, client: Client): FakeActivities => pipeline.activities(home, client);
}

let installed = false;

/** Warnings about failing activities and workflows are what these tests provoke. */
export function quietRuntime(): void {
  if (installed) return;
  installed = true;
  const filter = makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' });
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter } } });
}

export function startExperiment(client: Client, id: string, input: unknown = { config: id }): Promise<WorkflowHandle> {
  return client.workflow.start('experiment', { workflowId: id, taskQueue: QUEUES.control, args: [input] });
}

/** Stage id -> state, as the query tells it. */
export async function stageStates(handle: WorkflowHandle): Promise<Record<string, string>> {
  const { stages } = await handle.query<ExperimentProgress>('progress');
  return Object.fromEntries(stages.map(({ id, state }) => [id, state]));
}

/** Signals that the workflow's last run has received: `join share-one`. */
export async function signals(client: Client, workflow: string): Promise<string[]> {
  const { events } = await client.workflow.getHandle(workflow).fetchHistory();
  return (events ?? []).flatMap(({ workflowExecutionSignaledEventAttributes: signal }) => {
    if (!signal) return [];
    return [`${signal.signalName} ${String(defaultPayloadConverter.fromPayload(signal.input!.payloads![0]!))}`];
  });
}

/** Asks again until the answer is as wanted; a workflow that has not started yet gives none. */
export async function until<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  for (const deadline = Date.now() + 30_000; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const answer = await ask().catch(noneYet);
    if (answer !== NONE && wanted(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`never as wanted; the last answer: ${JSON.stringify(answer)}`);
  }
}

const NONE = Symbol('no answer');
/** gRPC's code of what is not there. */
const NOT_FOUND = 5;

function noneYet(error: unknown): typeof NONE {
  if (error instanceof WorkflowNotFoundError || grpcCode(error) === NOT_FOUND) return NONE;
  throw error;
}
