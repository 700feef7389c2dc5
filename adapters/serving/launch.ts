/** Starts a server's program and waits until it answers; whatever goes wrong meanwhile, nothing is left running. */
import { open } from 'node:fs/promises';
import { PROJECT_ROOT } from '../../config/env';
import { Failure, FAILURES, type FailureType } from '../../core/failures';
import { signalGroup } from '../process';
import { type Program, type ProgramEnd, startProgram } from '../program';
import type { RunningServer, ServerInput } from './server';

/** Between SIGTERM and SIGKILL. */
const STOP_GRACE_MS = 10_000;
/** Exit code of a program that has printed an error event: starting it again would not help. */
const TOLD = 65;
/** The shell's word for a command that is not there. */
const MISSING = 127;

export interface Launch {
  /** What it is called in messages. */
  name: string;
  command: readonly [string, ...string[]];
  env: NodeJS.ProcessEnv;
  /** Longest wait until it answers. */
  startTimeoutMs: number;
  /** Settles with the base URL when the server answers. `told` settles with the port that the program says. */
  ready: (told: Promise<number>, signal: AbortSignal) => Promise<string>;
  /** While it runs: settles when it does not answer any more, with why in words. */
  watch?: (url: string, signal: AbortSignal) => Promise<string>;
}

export async function launch(input: ServerInput, { name, ready, watch, ...rest }: Launch): Promise<RunningServer> {
  const { record, log, signal } = input;
  let error: Failure | null = null;
  let tell: (port: number) => void = () => {};
  const told = new Promise<number>((resolve) => (tell = resolve));
  const onLine = (line: Record<string, unknown>) => {
    if (line.event === 'ready') tell(Number(line.port));
    if (line.event === 'error') error = failureOf(line);
  };
  const { command, env, startTimeoutMs } = rest;
  const program = await startOrRefuse({ command, cwd: PROJECT_ROOT, env, record, log, onLine });

  const over = new AbortController();
  const stop = async () => {
    over.abort();
    await program.stop(STOP_GRACE_MS);
  };
  const ended = program.ended.then(async (end) => {
    signalGroup(program.pid, 'SIGKILL'); // what it has left of its own children
    if (end.code === TOLD && error) throw error;
    if (end.code === MISSING) throw missing((await lastWords(log)).slice(2));
    throw new Failure('ServerLost', `${name} ${inWords(end)}${await lastWords(log)}`);
  });
  ended.catch(() => undefined);
  try {
    const timeout = AbortSignal.timeout(startTimeoutMs);
    const waiting = AbortSignal.any([signal, timeout, over.signal]);
    const url = await Promise.race([ready(told, waiting), ended, aborted(waiting)]);
    const quiet = watch?.(url, over.signal) ?? new Promise<never>(() => {});
    return { url, stop, ended: Promise.race([ended, quiet]).catch((lost: Error) => lost.message) };
  } catch (failure) {
    const words = await lastWords(log);
    await stop();
    signal.throwIfAborted();
    if (failure instanceof Failure) throw failure;
    throw new Failure('ServerLost', `${name} did not answer within ${startTimeoutMs / 1000} s${words}`);
  }
}

async function startOrRefuse(input: Parameters<typeof startProgram>[0]): Promise<Program> {
  try {
    return await startProgram(input);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EACCES') throw error;
    throw missing(message);
  }
}

function missing(message: string): Failure {
  return new Failure('ConfigInvalid', `the model server cannot be run (${message}): install it, or set serve.command`);
}

function failureOf({ type, message }: Record<string, unknown>): Failure {
  const known = typeof type === 'string' && type in FAILURES;
  return new Failure(known ? (type as FailureType) : 'ServerLost', String(message));
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = () => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

function inWords({ code, signal }: ProgramEnd): string {
  return signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
}

/** The last line of the log, and where the rest is. */
async function lastWords(log: string): Promise<string> {
  const file = await open(log, 'r');
  try {
    const { size } = await file.stat();
    const length = Math.min(size, 4096);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const line = buffer.toString('utf8').trimEnd().split('\n').at(-1)!.trim();
    return line === '' ? '' : `: ${line.slice(0, 500)} (all of it: ${log})`;
  } finally {
    await file.close();
  }
}
