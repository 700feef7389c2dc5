/** start, status, wait, pause, resume, cancel: an experiment through its workflow. */
import { WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { ApplicationFailure, rootCause } from '@temporalio/common';
import path from 'node:path';
import colors from 'picocolors';
import { resolvePlan, runFolder } from '../../activities/experiment';
import { connect, type TemporalConnection } from '../../adapters/temporal/connection';
import { findTarget } from '../../adapters/temporal/target';
import { homeFolders } from '../../config/env';
import { readConfig } from '../../config/load';
import { QUEUES } from '../../config/queues';
import { Failure, FAILURES, type FailureType } from '../../core/failures';
import type { ExperimentInput } from '../../workflows/messages';
import type { ExperimentResult } from '../../workflows/experiment';
import { type ExperimentStatus, readStatus } from '../progress';
import { ProgressBars } from '../progress-bars';

const POLL_MS = 1_000;

export interface StartOptions {
  id?: string;
  wait?: boolean;
  json?: boolean;
}

/** The configuration travels inline: the worker cannot see the caller's files. Validated here first. */
export async function experimentInput(config: string, overrides: string[], id: string): Promise<ExperimentInput> {
  const raw = readConfig(config) as Record<string, unknown>;
  await resolvePlan({ config: raw, overrides }, id);
  return { config: raw, overrides };
}

export function defaultId(config: string): string {
  return path.basename(config).replace(/\.ya?ml$/, '');
}

/** Starts the experiment, or returns the run that is open. A finished one runs again and skips what is sealed. */
export async function startExperiment(
  { client }: TemporalConnection,
  input: ExperimentInput,
  id: string,
): Promise<void> {
  await client.workflow.start('experiment', {
    workflowId: id,
    taskQueue: QUEUES.control,
    args: [input],
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    workflowIdConflictPolicy: 'USE_EXISTING',
  });
}

export async function start(config: string, overrides: string[], options: StartOptions): Promise<void> {
  const id = options.id ?? defaultId(config);
  const input = await experimentInput(config, overrides, id);
  await withTemporal(async (temporal) => {
    await startExperiment(temporal, input, id);
    if (options.wait) return waitFor(temporal, id, options.json ?? false);
    if (options.json) print({ experiment: id });
    else process.stdout.write(`started ${id}; watch it with: entropo wait ${id}\n`);
  });
}

export async function status(id: string, options: { json?: boolean }): Promise<void> {
  await withTemporal(async ({ client }) => {
    const found = await known(id, readStatus(client, id));
    if (options.json) return print(found);
    process.stdout.write(`${statusAsText(found)}\n`);
  });
}

export async function wait(id: string, options: { json?: boolean }): Promise<void> {
  await withTemporal((temporal) => waitFor(temporal, id, options.json ?? false));
}

export async function pause(id: string): Promise<void> {
  await withTemporal(({ client }) => known(id, client.workflow.getHandle(id).executeUpdate('pause')));
  process.stdout.write(`${id} is paused: running rollouts finish, no new one starts; entropo resume ${id} goes on\n`);
}

export async function resume(id: string): Promise<void> {
  await withTemporal(({ client }) => known(id, client.workflow.getHandle(id).executeUpdate('resume')));
  process.stdout.write(`${id} goes on\n`);
}

export async function cancel(id: string): Promise<void> {
  await withTemporal(({ client }) => known(id, client.workflow.getHandle(id).cancel()));
  process.stdout.write(`${id} is being cancelled; what is sealed is kept\n`);
}

/** Shows progress until the experiment ends. Throws the failure that its stages share, `StageUnusable` where they differ. */
export async function followExperiment(
  temporal: TemporalConnection,
  id: string,
  onLost: () => Promise<void> = async () => {},
): Promise<ExperimentResult> {
  const bars = new ProgressBars();
  const result = { settled: false };
  const ended = untilEnd(temporal, id, onLost).finally(() => (result.settled = true));
  try {
    while (!result.settled) {
      const status = await readStatus(temporal.client, id).catch(() => null);
      if (status) bars.show(status);
      await Promise.race([ended.catch(() => undefined), new Promise((resolve) => setTimeout(resolve, POLL_MS))]);
    }
    const status = await readStatus(temporal.client, id).catch(() => null);
    if (status) bars.show(status);
    return await ended;
  } finally {
    bars.stop();
  }
}

/** Waits through a server that is gone for a while. */
async function untilEnd(
  { client }: TemporalConnection,
  id: string,
  onLost: () => Promise<void>,
): Promise<ExperimentResult> {
  for (;;) {
    try {
      return (await client.workflow.getHandle(id).result()) as ExperimentResult;
    } catch (error) {
      if (error instanceof WorkflowFailedError) throw failureOf(error);
      if (error instanceof WorkflowNotFoundError) throw unknownExperiment(id);
      await onLost();
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

function failureOf({ cause, message }: WorkflowFailedError): Failure {
  const type = (cause instanceof ApplicationFailure && cause.type) || undefined;
  const known = type !== undefined && type in FAILURES ? (type as FailureType) : 'StageUnusable';
  return new Failure(known, rootCause(cause) ?? message);
}

async function waitFor(temporal: TemporalConnection, id: string, json: boolean): Promise<void> {
  const bars = json ? untilEnd(temporal, id, async () => {}) : followExperiment(temporal, id);
  const result = await bars;
  if (json) return print(result);
  process.stdout.write(`${colors.green('done')}: ${path.join(runFolder(homeFolders().home, id), 'report.html')}\n`);
}

function statusAsText({ experiment, state, paused, stages }: ExperimentStatus): string {
  const lines = stages.map(({ name, state, message, counts, training, paused, retrying }) => {
    const played = counts ? ` ${counts.done}/${counts.total}, ${counts.resolved} resolved` : '';
    const done = training ? ` ${training.update}/${training.updates} updates` : played;
    const note = [paused, retrying, message].filter(Boolean).join('; ');
    return `  ${state.padEnd(8)} ${name.padEnd(28)}${done}${note ? ` (${note})` : ''}`;
  });
  return [`${experiment}: ${state.toLowerCase()}${paused ? ', paused' : ''}`, ...lines].join('\n');
}

export async function withTemporal<T>(work: (temporal: TemporalConnection) => Promise<T>): Promise<T> {
  const temporal = await connect(await findTarget(homeFolders().runs, { start: false }));
  try {
    return await work(temporal);
  } finally {
    await temporal.close();
  }
}

function known<T>(id: string, promise: Promise<T>): Promise<T> {
  return promise.catch((error: unknown) => {
    throw error instanceof WorkflowNotFoundError ? unknownExperiment(id) : error;
  });
}

function unknownExperiment(id: string): Failure {
  return new Failure(
    'ConfigInvalid',
    `${id}: Temporal knows no experiment of that id; its report may still be there: entropo report ${id}`,
  );
}

export function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
