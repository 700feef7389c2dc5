/**
 * A worker process: `npm run worker -- --roles control,sandbox`. SIGTERM or SIGINT: takes no new work, gives running
 * activities the grace to end, then stops them (their journals let another worker go on), and exits 0. A second
 * signal, or activities that do not stop, end the process hard.
 */
import { Command } from 'commander';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createActivities, sandboxFolder } from '../activities';
import { visibleDevices } from '../adapters/devices';
import { requireDiskSpace } from '../adapters/disk';
import { openSandboxAdapters } from '../adapters/sandbox';
import { connect } from '../adapters/temporal/connection';
import { ensureSearchAttributes } from '../adapters/temporal/search-attributes';
import { findTarget } from '../adapters/temporal/target';
import { failed } from '../cli/exit';
import { homeFolders } from '../config/env';
import { Failure } from '../core/failures';
import { workflowBundle } from './bundle';
import { activityInterceptors } from './interceptors';
import { RunningActivities } from './orphans';
import { reapSandboxes } from './reap';
import { parseRoles, roleOptions, ROLES } from './roles';

const RESCAN_MS = 5_000;

interface WorkerArguments {
  roles: string;
  slots?: string;
  grace: string;
  withParent?: boolean;
}

async function run(options: WorkerArguments): Promise<void> {
  const roles = parseRoles(options.roles);
  const grace = secondsOf(options.grace);
  const { home, runs, store } = homeFolders();
  await requireDiskSpace(home);
  const target = await findTarget(runs, { start: true });
  const temporal = await connect(target);
  const { client } = temporal;
  await ensureSearchAttributes(temporal);

  const running = new RunningActivities(runs);
  if (roles.includes('sandbox')) {
    const { all } = await openSandboxAdapters({ cacheFolder: sandboxFolder(home), mode: 'auto' });
    if (running.alone()) await reapSandboxes({ adapters: all, store });
  }
  await running.reportOrphans(client);
  // Again and again: a worker that we found draining may die before it is done.
  const rescan = setInterval(() => void running.reportOrphans(client), RESCAN_MS);
  const devices = visibleDevices();
  const activities = createActivities({ home, client, devices });
  const capacity = { devices, ...(options.slots !== undefined && { slots: Number(options.slots) }) };
  const connection = await NativeConnection.connect(target.options);
  const bundle = roles.includes('control') ? { workflowBundle: { codePath: await workflowBundle() } } : {};
  const workers = await Promise.all(
    roles.map((role) =>
      Worker.create({
        connection,
        namespace: target.namespace,
        maxHeartbeatThrottleInterval: '5s',
        ...roleOptions(role, capacity),
        ...(role === 'control' ? bundle : {}),
        activities: activities[role],
        interceptors: { activity: [activityInterceptors(running)] },
        // Only rollouts end soon: stages, trainings and servers go on with the next worker.
        shutdownGraceTime: (role === 'sandbox' ? grace : Math.min(grace, 1)) * 1000,
        shutdownForceTime: (grace + 20) * 1000,
      }),
    ),
  );
  if (options.withParent) stopWithParent(workers);
  process.stdout.write(`worker ready: ${roles.join(', ')} at ${target.address}\n`);
  await Promise.all(workers.map((worker) => worker.run()));
  clearInterval(rescan);
  running.close();
  await connection.close();
  await temporal.close();
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds >= 0) return seconds;
  throw new Failure('ConfigInvalid', `--grace ${text}: write a number of seconds`);
}

/** The parent holds our standard input open; when it ends, however it ended, so do we. */
function stopWithParent(workers: Worker[]): void {
  // Its pipes end with it: what we still say on the way out goes nowhere.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  process.stdin.resume();
  process.stdin.once('end', () => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
  });
}

const program = new Command('worker')
  .description('Polls the task queues of its roles until SIGTERM.')
  .option('--roles <list>', `comma-separated: ${ROLES.join(', ')}`, ROLES.join(','))
  .option('--slots <n>', 'sandboxes at once (default: four per core)')
  .option('--grace <seconds>', 'time for running work to end after SIGTERM', '20')
  .option('--with-parent', 'stop when standard input ends')
  .action(run);

program.parseAsync().then(
  () => process.exit(0),
  (error: unknown) => process.exit(failed(error)),
);
