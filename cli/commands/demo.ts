/**
 * demo: a whole experiment on this machine. Starts what is missing (dev server, worker), shows progress, prints where
 * the report is. Ctrl-C or kill -9 at any moment; run again, it goes on where it was.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import path from 'node:path';
import colors from 'picocolors';
import { resolvePlan, runFolder } from '../../activities/experiment';
import { requireGpu } from '../../adapters/devices';
import { requireDiskSpace } from '../../adapters/disk';
import { StageStore } from '../../adapters/store/stages';
import { configuredTarget, connect, plainTarget } from '../../adapters/temporal/connection';
import { type DevServer, startDevServer } from '../../adapters/temporal/server';
import { requireSandbox } from '../../adapters/sandbox';
import { homeFolders, PROJECT_ROOT } from '../../config/env';
import { printSummary } from '../summary';
import { Failure } from '../../core/failures';
import { needsDevice } from '../../core/plan';
import { defaultId, experimentInput, followExperiment, startExperiment } from './experiment';

export async function demo(
  overrides: string[],
  options: { config: string; id?: string; port?: string },
): Promise<void> {
  const id = options.id ?? defaultId(options.config);
  const input = await experimentInput(options.config, overrides, id);
  const { home, runs } = homeFolders();
  await requireDiskSpace(home);
  const { config, plan } = await resolvePlan(input, id);
  await requireSandbox(config.sandbox);
  const store = new StageStore(home);
  const open = plan.stages.filter((stage) => !store.sealed(stage.id));
  if (config.device === 'gpu' && open.some(needsDevice)) requireGpu();

  const started = Date.now();
  const configured = configuredTarget();
  let server: DevServer | null = configured
    ? null
    : await startDevServer({ runsFolder: runs, ...portOf(options.port) });
  const target = configured ?? plainTarget(server!.address);
  const temporal = await connect(target);
  const worker = new WorkerProcess(target.address, path.join(runFolder(home, id), 'worker.log'));
  const stop = async () => {
    await worker.stop();
    await temporal.close();
    await server?.stop();
  };
  const interrupted = () => {
    process.stderr.write(`\nstopping; what is done is kept, run the same command again to go on\n`);
    void stop().finally(() => process.exit(130));
  };
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  try {
    process.stdout.write(
      `${colors.bold(id)}: ${server ? `Temporal UI at ${server.ui}` : `Temporal at ${target.address}`}\n`,
    );
    await startExperiment(temporal, input, id);
    await followExperiment(temporal, id, async () => {
      if (server) server = await startDevServer({ runsFolder: runs });
    });
    printSummary(runFolder(home, id), (Date.now() - started) / 1000);
  } finally {
    await stop();
  }
}

function portOf(text: string | undefined): { port?: number } {
  if (text === undefined) return {};
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return { port };
  throw new Failure('ConfigInvalid', `--port ${text}: not a port; write a number from 1 to 65535`);
}

/** A worker with every role, started again when it dies. It ends with us, however we end. */
class WorkerProcess {
  private child: ChildProcess;
  private stopping = false;

  constructor(
    private readonly address: string,
    private readonly logFile: string,
  ) {
    mkdirSync(path.dirname(logFile), { recursive: true });
    this.child = this.spawn();
  }

  private spawn(): ChildProcess {
    const log = createWriteStream(this.logFile, { flags: 'a' });
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', path.join(PROJECT_ROOT, 'workers', 'main.ts'), '--with-parent', '--grace', '2'],
      {
        cwd: PROJECT_ROOT,
        env: { ...process.env, TEMPORAL_ADDRESS: this.address },
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
      },
    );
    child.stdout!.pipe(log);
    child.stderr!.pipe(log);
    child.once('exit', (code) => {
      if (this.stopping) return;
      process.stderr.write(`the worker ended (exit code ${code}), starting another; log: ${this.logFile}\n`);
      setTimeout(() => {
        if (!this.stopping) this.child = this.spawn();
      }, 1_000);
    });
    return child;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGTERM');
    await ended;
  }
}
