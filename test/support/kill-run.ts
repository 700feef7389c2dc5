/**
 * An experiment in real processes, left alone or killed: each victim dies by SIGKILL when something of the run itself is
 * due (the n-th reply, the n-th grade, the n-th seal, a checkpoint). Worker and Temporal server are started again here;
 * a trainer or a model server is the worker's business.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setInterval } from 'node:timers/promises';
import { WorkflowFailedError } from '@temporalio/client';
import { isAlive, type ProcessIdentity } from '../../adapters/process';
import { connect, plainTarget } from '../../adapters/temporal/connection';
import { type DevServer, startDevServer } from '../../adapters/temporal/server';
import { startWorker, type WorkerHandle } from './processes';
import { manifests, openRollouts, sealedAt } from './stages';

export type Victim = 'worker' | 'server' | 'trainer' | 'modelServer';

export interface Kill {
  victim: Victim;
  /** Looked at again and again; the victim is killed when it is true and the victim lives. */
  due: (home: string) => boolean;
}

export interface KillRecord {
  victim: Victim;
  /** Rollouts begun and not sealed, as the dead process left them. */
  open: string[];
  /** Stages not sealed yet. */
  unsealed: number;
  sealed: Record<string, number>;
}

export interface RunRecord {
  manifests: Record<string, string>;
  sealedAt: Record<string, number>;
  kills: KillRecord[];
}

/** Runs the configuration to its end, in a home folder of its own. */
export async function runKilled(home: string, config: object, kills: readonly Kill[]): Promise<RunRecord> {
  const runs = path.join(home, 'runs');
  let server: DevServer = await startDevServer({ runsFolder: runs });
  const temporal = await connect(plainTarget(server.address));
  const workerEnv = { ENTROPO_HOME: home, TEMPORAL_ADDRESS: server.address };
  let worker: WorkerHandle = startWorker(workerEnv);
  const records: KillRecord[] = [];

  const kill = async (victim: Victim): Promise<boolean> => {
    if (victim === 'worker') {
      worker.kill('SIGKILL');
      await worker.exit;
    } else if (victim === 'server') {
      process.kill(-server.pid, 'SIGKILL');
      while (isAlive(server)) await new Promise(setImmediate);
    } else {
      const [program] = programs(home, victim);
      if (!program) return false;
      process.kill(-program.pid, 'SIGKILL');
    }
    const sealed = sealedAt(home);
    const unsealed = stagesIn(home) - Object.keys(sealed).length;
    records.push({ victim, open: openRollouts(home), unsealed, sealed });
    if (victim === 'worker') {
      worker = startWorker(workerEnv);
      await worker.ready;
    }
    if (victim === 'server') server = await startDevServer({ runsFolder: runs });
    return true;
  };

  try {
    await worker.ready;
    await temporal.client.workflow.start('experiment', {
      workflowId: 'kill',
      taskQueue: 'control',
      args: [{ config }],
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
    const result = { settled: false };
    const ended = (async () => {
      for (;;) {
        try {
          return await temporal.client.workflow.getHandle('kill').result();
        } catch (error) {
          if (error instanceof WorkflowFailedError) throw error;
        }
      }
    })().finally(() => (result.settled = true));

    const left = [...kills];
    for await (const _ of setInterval(15)) {
      if (result.settled) break;
      const due = left.findIndex((candidate) => candidate.due(home));
      if (due >= 0 && (await kill(left[due]!.victim))) left.splice(due, 1);
    }
    await ended;
    return { manifests: manifests(home), sealedAt: sealedAt(home), kills: records };
  } finally {
    worker.kill('SIGTERM');
    await worker.exit;
    await temporal.close();
    await server.stop();
  }
}

/** Living trainers or model servers, by the records that they leave (adapters/program.ts). */
export function programs(home: string, victim: 'trainer' | 'modelServer'): ProcessIdentity[] {
  const records =
    victim === 'trainer'
      ? filesNamed(path.join(home, 'store'), 'process.json')
      : entries(path.join(home, 'runs', '.servers')).filter((file) => file.endsWith('.json'));
  return records.map(readIdentity).filter((identity) => identity !== null && isAlive(identity)) as ProcessIdentity[];
}

/** Files of that name anywhere below `store/`. */
export function countFiles(home: string, name: string): number {
  return filesNamed(path.join(home, 'store'), name).length;
}

function filesNamed(folder: string, name: string): string[] {
  return filesBelow(folder).filter((file) => path.basename(file) === name);
}

/** Full paths; none where the folder is not there, or where one below it goes just now: the next look finds the others. */
export function filesBelow(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true }).map((file) => path.join(folder, String(file)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function entries(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).map((name) => path.join(folder, name)) : [];
}

/** Null where the file has just gone. */
function readIdentity(file: string): ProcessIdentity | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity;
  } catch {
    return null;
  }
}

function stagesIn(home: string): number {
  return readdirSync(path.join(home, 'store')).length;
}
