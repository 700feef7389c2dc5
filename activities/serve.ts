/**
 * Runs the server of one model and tells the workflow `modelServer` its address, for as long as that workflow wants it.
 * A server that ends is started again by the next attempt, at another port. Holders that ended without a word (a stage
 * that was terminated) are taken off the workflow's list from here: a query costs it no history.
 */
import path from 'node:path';
import { Context } from '@temporalio/activity';
import { type Client, type WorkflowHandle, WorkflowNotFoundError } from '@temporalio/client';
import type { DeviceSlots } from '../adapters/devices';
import { type RunningServer, type ServerInput, startServer } from '../adapters/serving';
import type { StageStore } from '../adapters/store/stages';
import { Failure, isFailure } from '../core/failures';
import type { ModelServerInput, ServerProgress, ServeSettings } from '../workflows/messages';

/** A cancellation comes back with a heartbeat: this often, because another model may wait for the slot. */
const HEARTBEAT_MS = 500;
const HOLDERS_CHECK_MS = 60_000;
/** Starts in a row that ended before the server answered; more would hide the reason from whoever waits. */
const MOST_FAILED_STARTS = 3;

interface Progress {
  failedStarts: number;
  /** It has answered before: what is wrong now may mend itself. */
  served?: boolean;
}

export function createServeActivities(store: StageStore, client: Client, slots: DeviceSlots | null) {
  return {
    async serve({ model, settings }: ModelServerInput): Promise<void> {
      const context = Context.current();
      const progress: Progress = (context.info.heartbeatDetails as Progress | undefined) ?? { failedStarts: 0 };
      const beat = () => context.heartbeat(progress);
      const beats = setInterval(beat, HEARTBEAT_MS);
      const { workflowId, runId } = context.info.workflowExecution!;
      const workflow = client.workflow.getHandle(workflowId, runId);
      const checks = setInterval(() => void dropEnded(workflow), HOLDERS_CHECK_MS);
      const runs = path.join(store.home, 'runs', '.servers');
      const use = slots ? slots.use.bind(slots) : <T>(work: (none: Record<string, string>) => Promise<T>) => work({});
      try {
        if (context.info.attempt > 1) await workflow.signal('serving', null);
        await dropEnded(workflow);
        await use(async (variables) => {
          const input: ServerInput = {
            ...{ model, folder: modelFolder(model), device: settings.device, variables },
            ...{ record: path.join(runs, `${model}.json`), log: path.join(runs, `${model}.log`) },
            signal: context.cancellationSignal,
          };
          const server = await startCounted(
            () => startServer(settings.serve, input),
            input,
            settings.serve.type,
            progress,
          );
          await serveUntilOver(server, workflow, model);
        });
      } finally {
        clearInterval(beats);
        clearInterval(checks);
        beat(); // the newest count goes with the failure
      }
    },
  };

  function modelFolder(model: string): string {
    if (store.sealed(model)) return path.join(store.folder(model), 'model');
    throw new Failure('ConfigInvalid', `${model}: there is no such sealed stage in ${store.root}`);
  }

  async function dropEnded(workflow: WorkflowHandle): Promise<void> {
    try {
      const { holders } = await workflow.query<ServerProgress>('server');
      for (const holder of holders) if (!(await isRunning(holder))) await workflow.signal('release', holder);
    } catch {
      // Temporal does not answer, or the workflow has just ended: the next check will do.
    }
  }

  async function isRunning(id: string): Promise<boolean> {
    try {
      return (await client.workflow.getHandle(id).describe()).status.name === 'RUNNING';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  }
}

export type ServeActivities = ReturnType<typeof createServeActivities>;

/** What someone else serves is not ours to start again: once it has answered it is waited for, however long it is away. */
async function startCounted(
  start: () => Promise<RunningServer>,
  { model }: ServerInput,
  type: ServeSettings['serve']['type'],
  progress: Progress,
) {
  try {
    const server = await start();
    Object.assign(progress, { failedStarts: 0, served: true });
    return server;
  } catch (error) {
    if (!isFailure(error, 'ServerLost')) throw error;
    progress.failedStarts += 1;
    const awaited = type === 'url' && progress.served === true;
    if (awaited || progress.failedStarts < MOST_FAILED_STARTS) {
      throw new Failure('ServerLost', `${model}: ${error.message}`);
    }
    throw new Failure(
      'ConfigInvalid',
      `${model} cannot be served: ${MOST_FAILED_STARTS} starts failed: ${error.message}`,
    );
  }
}

async function serveUntilOver(server: RunningServer, workflow: WorkflowHandle, model: string): Promise<void> {
  try {
    await workflow.signal('serving', server.url);
    const why = await Promise.race([server.ended, Context.current().cancelled]);
    throw new Failure('ServerLost', `the server of ${model} is gone: ${why}`);
  } finally {
    await server.stop();
  }
}
