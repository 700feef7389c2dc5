/**
 * What must hold after worker and Temporal server were killed, against the same run left alone. The policy is a script
 * behind an endpoint in the test's own process, so the whole run repeats byte by byte and every call is counted.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { sandboxCandidates } from '../../adapters/sandbox';
import type { SandboxAdapter } from '../../adapters/sandbox/sandbox';
import { readConfig } from '../../config/load';
import type { ExperimentInput } from '../../config/schema';
import { random, seedFor } from '../../core/random';
import { startPolicyServer } from '../fixtures/policy-server';
import { countFiles, type Kill, runKilled, type RunRecord } from './kill-run';
import { temporaryHome } from './processes';

const FILES = { grade: 'grade.json', seal: 'manifest.json' } as const;
type Event = 'reply' | keyof typeof FILES;
const EVENTS: Event[] = ['reply', 'grade', 'seal'];

/** The rollouts of `smoke`, played by that endpoint in place of its models. */
function rolloutsOnly(url: string): ExperimentInput {
  const { tasks, limits, prompt, lanes, collect } = readConfig('smoke') as ExperimentInput;
  const policy = { type: 'openai' as const, model: 'scripted', url };
  return {
    ...{ tasks: { ...tasks, heldout: { ...tasks['heldout']!, limit: 4 } }, limits, prompt, lanes },
    collect: { teacher: { ...collect!['teacher']!, samples: 1 } },
    evaluate: { model: { tasks: 'heldout', policy, samples: 4 } },
  };
}

/** Declares one test per seed; the quiet run is made once. */
export function describeKills(seeds: readonly number[]): void {
  const quietHome = temporaryHome();
  let policy: Awaited<ReturnType<typeof startPolicyServer>>;
  let quiet: RunRecord & { calls: string[] };
  const log = path.join(quietHome.home, 'calls.log');
  const calls = () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : []);

  const run = async (home: string, kills: (callsSoFar: () => number) => Kill[]) => {
    const before = calls().length;
    const record = await runKilled(
      home,
      rolloutsOnly(policy.url),
      kills(() => calls().length - before),
    );
    return { ...record, calls: calls().slice(before) };
  };
  /** Each victim once per kind of event, spread over the run. */
  const seededKills = (seed: number, callsSoFar: () => number): Kill[] => {
    const draw = random(seedFor('kill', seed));
    const total = (event: Event) => (event === 'reply' ? quiet.calls.length : countFiles(quietHome.home, FILES[event]));
    return (['worker', 'server'] as const).flatMap((victim) =>
      EVENTS.map((event) => {
        const count = draw.int(1, Math.max(1, Math.floor(total(event) * 0.7)));
        const due = (home: string) => (event === 'reply' ? callsSoFar() : countFiles(home, FILES[event])) >= count;
        return { victim, due };
      }),
    );
  };

  beforeAll(async () => {
    appendFileSync(log, '');
    policy = await startPolicyServer({ log, delayMs: 60 });
    quiet = await run(quietHome.home, () => []);
  }, 180_000);
  afterAll(async () => {
    await policy.close();
    quietHome.remove();
  });

  test.each(seeds)(
    'worker and server, each killed three times at seeded events (seed %i), leave the same bytes',
    async (seed) => {
      const { home, remove } = temporaryHome();
      const killed = await run(home, (callsSoFar) => seededKills(seed, callsSoFar));

      expect(killed.kills).toHaveLength(6);
      for (const kill of killed.kills) expect(kill.unsealed).toBeGreaterThan(0);
      expect(killed.kills.filter(({ open }) => open.length > 0).length).toBeGreaterThan(0);

      expect(killed.manifests).toEqual(quiet.manifests);
      // No stage that was sealed at a kill ran again.
      for (const { sealed } of killed.kills) expect(killed.sealedAt).toMatchObject(sealed);

      const distinct = new Set(killed.calls);
      expect(distinct).toEqual(new Set(quiet.calls));
      const inFlight = killed.kills.filter(({ victim }) => victim === 'worker').flatMap(({ open }) => open);
      expect(killed.calls.length - distinct.size).toBeLessThanOrEqual(inFlight.length);

      expect(await sandboxesOf(home, Object.keys(quiet.manifests))).toEqual([]);
      remove();
    },
    240_000,
  );
}

/** Sandboxes of these stages that still lie in that home folder or in the Docker engine. */
export async function sandboxesOf(home: string, stages: readonly string[]): Promise<string[]> {
  const cache = path.join(home, 'runs', '.sandboxes');
  const list = async (adapter: SandboxAdapter) => ((await adapter.unavailable()) === null ? adapter.list() : []);
  const left = await Promise.all(sandboxCandidates(cache).map(list));
  return left.flat().filter((id) => stages.some((stage) => id.includes(stage)));
}
