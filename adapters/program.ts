/**
 * A long-lived child program: a trainer or a model server. It runs in its own process group, says what it does as JSON
 * lines on standard output, logs to a file, and holds our end of its standard input: when that closes, however we
 * ended, it stops by itself. Its identity is on disk before it works, so that whoever comes after a crash finds it and
 * ends it first.
 *
 * Not covered: what the lines mean (activities/train.ts, adapters/serving).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, closeSync } from 'node:fs';
import { appendFile, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { identify, isAlive, type ProcessIdentity, signalGroup } from './process';
import { writeSealed } from './store/sealed';

export interface ProgramInput {
  command: readonly [string, ...string[]];
  cwd: string;
  env: NodeJS.ProcessEnv;
  /** File that holds the identity of the running program; one per stage or server on this host. */
  record: string;
  /** Standard error and lines that are not JSON are appended here. */
  log: string;
  onLine: (line: Record<string, unknown>, pid: number) => void;
}

export interface ProgramEnd {
  /** Null where a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Program {
  pid: number;
  /** Settles when the program has ended and all its lines were read. */
  ended: Promise<ProgramEnd>;
  /** SIGTERM, and SIGKILL to its whole group after the grace. */
  stop(graceMs: number): Promise<ProgramEnd>;
}

/** Ends what an earlier attempt left running under the same record, then starts the program. */
export async function startProgram(input: ProgramInput): Promise<Program> {
  await endRecorded(input.record);
  mkdirSync(path.dirname(input.log), { recursive: true });
  const log = openSync(input.log, 'a');
  const [command, ...args] = input.command;
  const child = spawn(command, args, {
    cwd: input.cwd,
    env: input.env,
    detached: true,
    stdio: ['pipe', 'pipe', log],
  });
  closeSync(log);
  // Before anything is waited for: it may have ended by then.
  const reading = readLines(child, input);
  reading.catch(() => undefined);
  await once(child, 'spawn');
  const identity = JSON.stringify(identify(child.pid!) ?? { pid: child.pid, start: '' });
  try {
    await writeSealed(input.record, identity);
  } catch (error) {
    signalGroup(child.pid!, 'SIGKILL'); // nobody who comes later could find it
    await reading;
    throw error;
  }
  const ended = reading.then(async (end) => {
    await forget(input.record, identity);
    return end;
  });
  return {
    pid: child.pid!,
    ended,
    async stop(graceMs) {
      signalGroup(child.pid!, 'SIGTERM');
      const timer = setTimeout(() => signalGroup(child.pid!, 'SIGKILL'), graceMs);
      try {
        return await ended;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** Kills the program that the record names, if it still lives; true where it did. */
export async function endRecorded(record: string): Promise<boolean> {
  if (!existsSync(record)) return false;
  const older = JSON.parse(await readFile(record, 'utf8')) as ProcessIdentity;
  const living = isAlive(older);
  if (living) {
    signalGroup(older.pid, 'SIGKILL');
    while (isAlive(older)) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await rm(record, { force: true });
  return living;
}

/** A newer program may have taken our place. */
async function forget(record: string, identity: string): Promise<void> {
  if ((await readFile(record, 'utf8').catch(() => '')) === identity) await rm(record, { force: true });
}

async function readLines(child: ChildProcess, { log, onLine }: ProgramInput): Promise<ProgramEnd> {
  const exit = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  for await (const line of createInterface({ input: child.stdout! })) {
    const parsed = parseLine(line);
    if (parsed) onLine(parsed, child.pid!);
    else await appendFile(log, `${line}\n`);
  }
  const [code, signal] = await exit;
  return { code, signal };
}

function parseLine(line: string): Record<string, unknown> | null {
  if (!line.startsWith('{')) return null;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return null;
  }
}
