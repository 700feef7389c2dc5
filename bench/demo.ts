/**
 * The demo on this machine in a home folder of its own: seconds of each stage, seconds of the whole, peak memory of all
 * its processes together (command line, worker, Temporal server, sandboxes). The set-up is not in it.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { StageTime } from '../activities/stages';
import { PROJECT_ROOT } from '../config/env';
import type { Plan } from '../core/plan';
import { bar, type BenchResult } from './run';

/** Once installed the demo has seven minutes on two cores. */
const LIMIT_SECONDS = 420;
const SAMPLE_MS = 500;

export async function run(): Promise<BenchResult> {
  const home = mkdtempSync(path.join(tmpdir(), 'entropo-bench-'));
  try {
    const started = performance.now();
    const child = spawn(process.execPath, ['--import', 'tsx', path.join(PROJECT_ROOT, 'cli', 'main.ts'), 'demo'], {
      cwd: PROJECT_ROOT,
      env: { ...process.env, ENTROPO_HOME: home },
      stdio: ['ignore', 2, 2],
    });
    let peakMb = 0;
    const sampler = setInterval(() => (peakMb = Math.max(peakMb, memoryMb(home, child.pid!))), SAMPLE_MS);
    const [code] = (await once(child, 'exit')) as [number | null];
    clearInterval(sampler);
    if (code !== 0) throw new Error(`the demo ended with exit code ${code}`);
    const seconds = (performance.now() - started) / 1000;
    const figures = {
      totalSeconds: round(seconds),
      peakMemoryMb: Math.round(peakMb),
      stageSeconds: stageSeconds(home),
    };
    return { figures, bars: [bar('seconds', round(seconds), 's', 'lower', LIMIT_SECONDS)] };
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Seconds from a stage's first opening to its seal, by name. */
function stageSeconds(home: string): Record<string, number> {
  const plan = JSON.parse(readFileSync(path.join(home, 'runs', 'demo', 'plan.json'), 'utf8')) as Plan;
  return Object.fromEntries(
    plan.stages.map(({ name, id }) => {
      const lines = readFileSync(path.join(home, 'store', id, 'timing.jsonl'), 'utf8')
        .trim()
        .split('\n');
      const times = lines.map((line) => JSON.parse(line) as StageTime);
      const at = (event: StageTime['event']) => Date.parse(times.find((time) => time.event === event)!.at);
      return [name, round((at('sealed') - at('opened')) / 1000)];
    }),
  );
}

/** Resident memory of the process, its descendants, and the dev server of its home folder with its own. */
function memoryMb(home: string, root: number): number {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid=,rss=,args='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(.*)$/.exec(line)!)
    .map(([, pid, parent, rss, args]) => ({ pid: Number(pid), parent: Number(parent), kb: Number(rss), args: args! }));
  const counted = new Set([root, ...rows.filter(({ args }) => args.includes(home)).map(({ pid }) => pid)]);
  for (let before = 0; before < counted.size;) {
    before = counted.size;
    for (const { pid, parent } of rows) if (counted.has(parent)) counted.add(pid);
  }
  return rows.filter(({ pid }) => counted.has(pid)).reduce((sum, { kb }) => sum + kb / 1024, 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
