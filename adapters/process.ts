/** Identity of processes on this host: an id alone may belong to a later process, an id with its start does not. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface ProcessIdentity {
  pid: number;
  /** When it started, in the system's own words (clock ticks since boot on Linux, a date elsewhere): only to compare. */
  start: string;
}

/** Null where no such process lives; one that has ended and waits for its parent counts as dead. */
export function identify(pid: number): ProcessIdentity | null {
  try {
    if (process.platform === 'linux') {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // After the name in brackets, which may itself hold spaces and brackets: the state is first, the start twentieth.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' ? null : { pid, start: fields[19]! };
    }
    const start = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    return start ? { pid, start } : null;
  } catch {
    return null;
  }
}

/** True while that very process lives. */
export function isAlive({ pid, start }: ProcessIdentity): boolean {
  const living = identify(pid);
  return living !== null && living.start === start;
}

/** Most memory that the process itself has held so far, in megabytes; null where the system does not say (Linux does). */
export function peakMemoryMb(pid: number): number | null {
  try {
    const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return kilobytes === undefined ? null : Math.round(Number(kilobytes) / 1024);
  } catch {
    return null;
  }
}

/** Sends the signal to the process's whole group; false where it is gone. */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
