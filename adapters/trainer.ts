/**
 * The programs of `trainer/` (Python): where their interpreter is, what they may see of our environment, and one run of
 * one of them from start to exit, with its failures in our words.
 *
 * Not covered: what goes into a run's folder (activities/train.ts), servers (adapters/serving).
 */
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { env, PROJECT_ROOT } from '../config/env';
import { Failure, FAILURES, type FailureType } from '../core/failures';
import type { RunSettings } from '../core/plan';
import { peakMemoryMb } from './process';
import { type ProgramEnd, startProgram } from './program';

/** Between SIGTERM and SIGKILL: time for a checkpoint. */
export const STOP_GRACE_MS = 60_000;

/** Exit codes of the programs. */
const RESUMABLE = 75;
const TOLD = 65;

/** Command of a program of `trainer/`, to be run in the project's folder. Throws `ConfigInvalid` without Python. */
export function trainerCommand(program: string, ...args: string[]): [string, ...string[]] {
  return [pythonPath(), '-m', `trainer.${program}`, ...args];
}

export function pythonPath(given = env('ENTROPO_PYTHON'), root = PROJECT_ROOT): string {
  if (process.platform === 'win32') {
    throw new Failure('ConfigInvalid', 'training and serving need Linux or macOS; run this worker there, or in WSL');
  }
  const python = given ?? path.join(root, '.venv', 'bin', 'python');
  if (existsSync(python)) return python;
  const remedy = given === undefined ? 'run `npm run setup`' : 'set ENTROPO_PYTHON to an interpreter, or unset it';
  throw new Failure('ConfigInvalid', `${python}: there is no Python for training and serving; ${remedy}`);
}

/** Names of secrets, ours or anybody's. */
const SECRET = /^(TEMPORAL|OPENAI)_|(^|_)(API_?KEY|ACCESS_?KEY|KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)(_|$)/i;

export function withoutSecrets(own: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(own).filter(([name]) => !SECRET.test(name)));
}

/**
 * What a program of `trainer/` sees: our environment without secrets, and nothing that reaches for the network.
 * @param variables that show it its device (devices.ts); without one it runs on the CPU, on one core: the others play
 * rollouts.
 */
export function trainerEnvironment(
  device: RunSettings['device'],
  variables: Record<string, string>,
  own: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  const onCpu = device === 'cpu' || variables.CUDA_VISIBLE_DEVICES === undefined;
  return {
    ...withoutSecrets(own),
    ...(onCpu ? { OMP_NUM_THREADS: '1', CUDA_VISIBLE_DEVICES: '' } : variables),
    PYTHONPATH: PROJECT_ROOT,
    // Whatever is set outside: without byte code every start compiles 2,600 modules anew, and takes twice as long.
    PYTHONDONTWRITEBYTECODE: '',
    HF_HUB_OFFLINE: '1',
    TOKENIZERS_PARALLELISM: 'false',
  };
}

/** How far a program is: the newest of what it said. */
export interface TrainerProgress {
  update: number;
  updates: number;
  /** Of the newest checkpoint; null before the first. */
  checkpoint: number | null;
  loss?: number;
  tokensPerSecond?: number;
  /** Of main memory, so far; a device's is not in it. */
  peakMemoryMb?: number;
}

export interface TrainerRun {
  command: readonly [string, ...string[]];
  env: NodeJS.ProcessEnv;
  /** Folder for the program's record and log; `name` tells messages whose it is. */
  work: string;
  name: string;
  onProgress: (progress: TrainerProgress) => void;
  signal: AbortSignal;
}

/**
 * Runs the program to its end. Throws the signal's reason after a graceful stop, the failure that the program named, or
 * `TrainerCrashed` with its last words.
 */
export async function runTrainer(run: TrainerRun): Promise<void> {
  const { command, name, work, signal } = run;
  const log = path.join(work, 'program.log');
  const progress: TrainerProgress = { update: 0, updates: 0, checkpoint: null };
  let told: Record<string, unknown> | null = null;
  let done = false;
  const onLine = (line: Record<string, unknown>, pid: number) => {
    if (line.event === 'error') told = line;
    if (line.event === 'done') done = true;
    if (line.event === 'checkpoint') progress.checkpoint = Number(line.update);
    if (line.event === 'progress') {
      const { event: _, ...numbers } = line;
      Object.assign(progress, numbers);
    }
    const peak = peakMemoryMb(pid);
    if (peak !== null) progress.peakMemoryMb = peak;
    run.onProgress(progress);
  };

  signal.throwIfAborted();
  const record = path.join(work, 'process.json');
  const program = await startProgram({ command, cwd: PROJECT_ROOT, env: run.env, record, log, onLine });
  const stop = () => void program.stop(STOP_GRACE_MS).catch(() => undefined);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    const end = await program.ended;
    if (end.code === 0 && done) return;
    signal.throwIfAborted();
    if (end.code === TOLD && told) throw failureOf(name, told);
    throw new Failure('TrainerCrashed', `${name}: ${path.basename(command[0])} ${inWords(end)}${await lastWords(log)}`);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function failureOf(name: string, told: Record<string, unknown>): Failure {
  const type = String(told.type);
  const known: FailureType = type in FAILURES ? (type as FailureType) : 'TrainerCrashed';
  return new Failure(known, `${name}: ${String(told.message)}`);
}

function inWords({ code, signal }: ProgramEnd): string {
  if (signal) return `was ended by ${signal}${signal === 'SIGKILL' ? ' (out of memory?)' : ''}`;
  if (code === RESUMABLE) return 'was asked to stop by someone else; it goes on from its checkpoint';
  return `ended with exit code ${code}`;
}

const LAST_BYTES = 4_000;
const LAST_LINES = 12;

async function lastWords(log: string): Promise<string> {
  const file = await open(log);
  try {
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(LAST_BYTES),
      0,
      LAST_BYTES,
      Math.max(0, size - LAST_BYTES),
    );
    const lines = buffer.subarray(0, bytesRead).toString('utf8').trim().split('\n');
    return lines[0] === ''
      ? `; it said nothing (${log})`
      : `; its last words (${log}):\n${lines.slice(-LAST_LINES).join('\n')}`;
  } finally {
    await file.close();
  }
}
