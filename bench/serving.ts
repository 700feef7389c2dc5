/**
 * Tokens a second of the embedded server with 16 rollouts at once, on one thread, against `transformers serve` and
 * against plain `generate` on the same batch. The measuring is Python's: bench/serving.py, which says what is asked.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { pythonPath, trainerEnvironment } from '../adapters/trainer';
import { PROJECT_ROOT } from '../config/env';
import { bar, type BenchResult } from './run';

/** Medians: tokens a second of each, and tokens of a later prompt, of which `cachedTokens` were not computed again. */
interface Measured {
  first: number;
  later: number;
  generate: number;
  /** Absent where the extra packages of `transformers serve` are not installed. */
  transformersServe?: number;
  promptTokens: number;
  cachedTokens: number;
}

export async function run(): Promise<BenchResult> {
  const { first, later, generate, transformersServe, promptTokens, cachedTokens } = await measure();
  const figures = {
    firstTokensPerSecond: first,
    laterTokensPerSecond: later,
    generateTokensPerSecond: generate,
    ratioVsGenerate: ratio(later, generate),
    ...(transformersServe !== undefined && { transformersServeTokensPerSecond: transformersServe }),
    promptTokens,
    cachedTokens,
  };
  if (transformersServe === undefined) {
    const python = 'ENTROPO_PYTHON=… of an environment that also has transformers[serving]';
    return { figures, bars: [], skipped: `transformers serve does not start here; set ${python}` };
  }
  return { figures, bars: [bar('ratio_vs_transformers_serve', ratio(later, transformersServe), 'times', 'higher', 8)] };
}

async function measure(): Promise<Measured> {
  const child = spawn(pythonPath(), [path.join(__dirname, 'serving.py')], {
    cwd: PROJECT_ROOT,
    env: trainerEnvironment('cpu', {}),
    stdio: ['ignore', 'pipe', 2],
  });
  const [printed, [code]] = await Promise.all([text(child.stdout!), once(child, 'close') as Promise<[number | null]>]);
  if (code !== 0) throw new Error(`bench/serving.py ended with exit code ${code}`);
  return JSON.parse(printed.trim().split('\n').at(-1)!) as Measured;
}

function ratio(ours: number, peer: number): number {
  return Math.round((100 * ours) / peer) / 100;
}
