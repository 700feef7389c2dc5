/**
 * The checks behind `entropo doctor`: what this machine has, what is missing and what to do about it. Reads only; starts
 * no server. A configured Temporal service is asked; without one, the CLI that starts a dev server has to be there.
 */
import colors from 'picocolors';
import { visibleDevices } from '../adapters/devices';
import { freeMegabytes, MIN_FREE_MB } from '../adapters/disk';
import type { SandboxAdapter } from '../adapters/sandbox/sandbox';
import { configuredTarget, connect, plainTarget, type TemporalConnection } from '../adapters/temporal/connection';
import { missingSearchAttributes } from '../adapters/temporal/search-attributes';
import { findDevServer } from '../adapters/temporal/server';
import { lookUpTool, requireTool } from '../adapters/tools';
import { pythonPath } from '../adapters/trainer';
import { env, PROJECT_ROOT } from '../config/env';
import { pocketImages } from './docker-image';
import { findPrerequisites } from './setup/prerequisites.cjs';
import { describePython, pythonCurrent } from './setup/python.cjs';

export interface Check {
  name: string;
  /** `missing` stops an experiment; `warn` limits it. */
  status: 'ok' | 'warn' | 'missing';
  /** What was found. */
  found: string;
  /** What to do; absent where all is well. */
  remedy?: string;
}

export interface DoctorInput {
  /** Folder that holds store/ and runs/. */
  home: string;
  runs: string;
  sandboxes: readonly SandboxAdapter[];
  /** One more check, such as a step of one task against a model's endpoint. */
  model?: () => Promise<Check>;
}

/** Below this a real experiment (thousands of trajectories, checkpoints) will not fit. */
const ROOMY_MB = 5_000;
/** A history that is gone before someone looks on Monday. */
const LEAST_RETENTION_DAYS = 3;

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

function checkPrerequisites(): Check[] {
  return findPrerequisites().map(({ title, version, least, remedy, ok }) => ({
    name: title,
    found: version ?? 'none',
    ...(ok ? { status: 'ok' } : { status: 'missing', remedy: `${least} or newer is needed. ${remedy}` }),
  }));
}

async function checkDisk(home: string): Promise<Check> {
  const free = await freeMegabytes(home);
  const found = `${(free / 1000).toFixed(1)} GB free in ${home}`;
  if (free >= ROOMY_MB) return { name: 'Disk', status: 'ok', found };
  const remedy = 'Free some, or set ENTROPO_HOME to a folder on another disk.';
  return { name: 'Disk', status: free < MIN_FREE_MB ? 'missing' : 'warn', found, remedy };
}

/** One sandbox adapter that opens is enough; the others limit which tasks can run. */
async function checkSandboxes(adapters: readonly SandboxAdapter[]): Promise<Check[]> {
  const reasons = await Promise.all(adapters.map((adapter) => adapter.unavailable()));
  const anyWorks = reasons.includes(null);
  return adapters.map(({ kind }, i) => {
    const reason = reasons[i];
    const name = `Sandbox ${kind}`;
    if (!reason) return { name, status: 'ok', found: 'works' };
    return { name, status: anyWorks ? 'warn' : 'missing', found: 'does not work', remedy: reason };
  });
}

/** Without it models are neither trained nor served; scripted policies and endpoints elsewhere work. */
function checkTrainer(): Check[] {
  const devices = visibleDevices();
  const gpu: Check = {
    name: 'GPU',
    status: 'ok',
    found: devices.length > 0 ? devices.join(', ') : 'none: the CPU is used',
  };
  const name = 'Trainer';
  try {
    const python = pythonPath();
    if (env('ENTROPO_PYTHON') !== undefined) return [{ name, status: 'ok', found: `packages of ${python}` }, gpu];
    if (pythonCurrent(PROJECT_ROOT)) return [{ name, status: 'ok', found: describePython(PROJECT_ROOT) }, gpu];
    const remedy = 'Run `npm run setup` to install what trainer/requirements.txt pins.';
    return [{ name, status: 'warn', found: 'packages are not those of the lock file', remedy }, gpu];
  } catch (error) {
    return [{ name, status: 'missing', found: 'no Python environment', remedy: messageOf(error) }, gpu];
  }
}

/** Nothing to say where no engine answers: the sandbox line says it. */
async function checkImage(): Promise<Check[]> {
  const tags = await pocketImages();
  if (tags === null) return [];
  const name = 'Docker image';
  if (tags.length > 0) return [{ name, status: 'ok', found: tags.join(', ') }];
  return [
    { name, status: 'warn', found: 'not built', remedy: '`npm run setup` builds it; else the first sandbox does.' },
  ];
}

/** Runs one check of the service; an error becomes a check with the given status. */
async function ask(
  name: string,
  otherwise: { status: 'warn' | 'missing'; remedy: string },
  question: () => Promise<Omit<Check, 'name'>>,
): Promise<Check> {
  try {
    return { name, ...(await question()) };
  } catch (error) {
    return { name, status: otherwise.status, found: messageOf(error), remedy: otherwise.remedy };
  }
}

function checkService(target: TemporalConnection): Promise<Check[]> {
  const { connection, namespace } = target;
  const { workflowService } = connection;
  return connection.withDeadline(Date.now() + 15_000, () =>
    Promise.all([
      ask('Temporal version', { status: 'warn', remedy: 'Grant this user read access.' }, async () => {
        const { serverVersion } = await workflowService.getSystemInfo({});
        return { status: 'ok', found: `${serverVersion || 'unknown'} at ${target.address}` };
      }),
      ask('Temporal retention', { status: 'warn', remedy: 'Grant this user read access.' }, async () => {
        const { config } = await workflowService.describeNamespace({ namespace });
        const days = Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) / 86_400;
        const found = `${Number(days.toFixed(1))} days in namespace "${namespace}"`;
        if (days >= LEAST_RETENTION_DAYS) return { status: 'ok', found };
        const command = `temporal operator namespace update --namespace ${namespace} --retention 30d`;
        return { status: 'warn', found, remedy: `Histories vanish early; reports stay. Raise it: \`${command}\`.` };
      }),
      ask('Temporal search attributes', { status: 'warn', remedy: 'A worker registers them if it may.' }, async () => {
        const missing = await missingSearchAttributes(target);
        if (missing.length === 0) return { status: 'ok', found: 'registered' };
        const remedy = 'A worker registers them when it starts, if it may; else an operator has to.';
        return { status: 'warn', found: `not registered: ${missing.join(', ')}`, remedy };
      }),
      ask('Temporal permissions', { status: 'missing', remedy: 'Use a key or certificate that may.' }, async () => {
        await workflowService.listWorkflowExecutions({ namespace, pageSize: 1 });
        return { status: 'ok', found: `may list workflows of "${namespace}"` };
      }),
    ]),
  );
}

async function checkTemporal(runs: string): Promise<Check[]> {
  try {
    const live = await findDevServer(runs);
    const target = configuredTarget() ?? (live && plainTarget(live.address));
    if (!target) {
      const { version } = requireTool('temporal');
      return [{ name: 'Temporal', status: 'ok', found: `CLI ${version}; a dev server is started when needed` }];
    }
    const connection = await connect(target);
    try {
      return await checkService(connection);
    } finally {
      await connection.close();
    }
  } catch (error) {
    const tool = lookUpTool('temporal');
    const found = tool ? `CLI ${tool.version}, no service` : 'neither a service nor the CLI';
    return [{ name: 'Temporal', status: 'missing', found, remedy: messageOf(error) }];
  }
}

/** Runs every check. The order is that of the lines printed. */
export async function doctor({ home, runs, sandboxes, model }: DoctorInput): Promise<Check[]> {
  const [disk, opened, image, temporal] = await Promise.all([
    checkDisk(home),
    checkSandboxes(sandboxes),
    checkImage(),
    checkTemporal(runs),
  ]);
  return [
    ...checkPrerequisites(),
    ...checkTrainer(),
    disk,
    ...opened,
    ...image,
    ...temporal,
    ...(model ? [await model()] : []),
  ];
}

const MARKS = { ok: colors.green('ok     '), warn: colors.yellow('warn   '), missing: colors.red('missing') };

/** For people: one line a check, the remedy below it. For scripts: `{ok, checks}`. */
export function formatChecks(checks: readonly Check[], { json }: { json: boolean }): string {
  if (json) return JSON.stringify({ ok: !anyMissing(checks), checks }, null, 2);
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks
    .map(({ name, status, found, remedy }) => {
      const line = `${MARKS[status]}  ${name.padEnd(width)}  ${found}`;
      return remedy ? `${line}\n         ${remedy.replaceAll('\n', '\n         ')}` : line;
    })
    .join('\n');
}

/** True when the exit code has to be 1. */
export function anyMissing(checks: readonly Check[]): boolean {
  return checks.some(({ status }) => status === 'missing');
}
