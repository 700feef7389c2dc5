/**
 * What must hold after every kind of process of a full experiment was killed while at work. Sampling depends on which
 * requests share a batch, so the whole run is not repeated byte by byte; training from equal sealed inputs is: SFT
 * against a quiet run, a preference stage against itself, run again under fire from the same inputs.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { readConfig } from '../../config/load';
import type { ExperimentInput } from '../../config/schema';
import type { Stage } from '../../core/plan';
import { random, seedFor } from '../../core/random';
import { sandboxesOf } from './kill-check';
import { countFiles, filesBelow, type Kill, programs, runKilled } from './kill-run';
import { temporaryHome } from './processes';

const PREFERENCE = 'train:entropo-dpo';

/** Declares one test per seed; SFT is trained quietly once. */
export function describeTrainingKills(seeds: readonly number[]): void {
  const quietHome = temporaryHome();
  const config = readConfig('smoke') as ExperimentInput;
  const smoke: ExperimentInput = { ...config, serve: { type: 'embedded', logRequests: true } };
  let quietSft: string;

  beforeAll(async () => {
    const { collect, train, evaluate: _, preferences: __, verifier: ___, ...rest } = smoke;
    const sftOnly = { ...rest, collect: { teacher: collect!['teacher'] }, train: { sft: train!['sft'] } };
    await runKilled(quietHome.home, sftOnly, []);
    quietSft = weights(quietHome.home, 'train:sft');
  }, 300_000);
  afterAll(() => quietHome.remove());

  test.each(seeds)(
    'worker, trainer, model server and Temporal server killed at seeded events (seed %i): the experiment completes',
    async (seed) => {
      const { home, remove } = temporaryHome();
      const killed = await runKilled(home, smoke, seededKills(seed));
      expect(killed.kills.map(({ victim }) => victim).toSorted()).toEqual([
        'modelServer',
        'server',
        'trainer',
        'worker',
      ]);
      for (const { unsealed } of killed.kills) expect(unsealed).toBeGreaterThan(0);
      for (const { sealed } of killed.kills) expect(killed.sealedAt).toMatchObject(sealed);
      expect(weights(home, 'train:sft')).toBe(quietSft);
      // A kill may repeat the model call of each rollout that was open then; a step's seed names its call.
      const asked = requestSeeds(home);
      const open = killed.kills.flatMap((kill) => kill.open);
      expect(asked.length - new Set(asked).size).toBeLessThanOrEqual(open.length);
      expect(asked.length).toBeGreaterThan(100);

      // The preference stage again, from the same sealed inputs, its trainer killed.
      const before = weights(home, PREFERENCE);
      const stage = stageNamed(home, PREFERENCE);
      forget(home, stage.id);
      const again = await runKilled(home, smoke, [{ victim: 'trainer', due: hasCheckpoint(2) }]);
      expect(again.kills).toHaveLength(1);
      expect(weights(home, PREFERENCE)).toBe(before);

      expect(programs(home, 'trainer')).toEqual([]);
      expect(programs(home, 'modelServer')).toEqual([]);
      expect(await answering(home)).toEqual([]);
      expect(await sandboxesOf(home, Object.keys(again.manifests))).toEqual([]);
      remove();
    },
    900_000,
  );
}

function seededKills(seed: number): Kill[] {
  const draw = random(seedFor('kill-training', seed));
  const checkpoint = draw.pick([2, 4]);
  // 18 rollouts are the teacher's, 24 the student's, 24 are evaluated.
  const [played, graded, sealed] = [draw.int(20, 48), draw.int(1, 46), draw.int(1, 12)];
  return [
    { victim: 'trainer', due: hasCheckpoint(checkpoint) },
    { victim: 'modelServer', due: (home) => countFiles(home, 'trajectory.json') >= played },
    { victim: 'worker', due: (home) => countFiles(home, 'grade.json') >= graded },
    { victim: 'server', due: (home) => countFiles(home, 'manifest.json') >= sealed },
  ];
}

/** True while a stage trains that has a complete checkpoint of at least that update. */
function hasCheckpoint(update: number): (home: string) => boolean {
  const reached = (file: string) => {
    const match = /\.work\/checkpoints\/update-(\d+)\/complete$/.exec(file);
    return match !== null && Number(match[1]) >= update;
  };
  return (home) => filesBelow(path.join(home, 'store')).some(reached);
}

/** Digests of the model's files as sealed. */
function weights(home: string, name: string): string {
  const file = path.join(home, 'store', stageNamed(home, name).id, 'manifest.json');
  const { files } = JSON.parse(readFileSync(file, 'utf8')) as { files: Record<string, unknown> };
  return JSON.stringify(Object.entries(files).filter(([path]) => path.startsWith('model/')));
}

function stages(home: string): Stage[] {
  const store = path.join(home, 'store');
  return readdirSync(store).map((id) => JSON.parse(readFileSync(path.join(store, id, 'stage.json'), 'utf8')) as Stage);
}

function stageNamed(home: string, name: string): Stage {
  return stages(home).find((stage) => stage.name === name)!;
}

/** Removes the stage's result, as if it had never run; what came of it stays sealed. */
function forget(home: string, id: string): void {
  const folder = path.join(home, 'store', id);
  for (const name of readdirSync(folder)) {
    if (name !== 'stage.json') rmSync(path.join(folder, name), { recursive: true });
  }
}

function serverLogs(home: string): string[] {
  const folder = path.join(home, 'runs', '.servers');
  const names = readdirSync(folder).filter((name) => name.endsWith('.log'));
  return names.map((name) => readFileSync(path.join(folder, name), 'utf8'));
}

/** Of every request that reached a model server, also those that a kill left without an answer. */
function requestSeeds(home: string): number[] {
  return serverLogs(home).flatMap((log) =>
    [...log.matchAll(/"event": "request", "seed": (\d+)/g)].map(([, seed]) => Number(seed)),
  );
}

/** Ports that model servers said they listen on and that still answer. */
async function answering(home: string): Promise<number[]> {
  const ports = serverLogs(home).flatMap((log) => [...log.matchAll(/"port": ?(\d+)/g)].map(([, port]) => Number(port)));
  const open = await Promise.all(ports.map(opens));
  return ports.filter((_, i) => open[i]);
}

function opens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
