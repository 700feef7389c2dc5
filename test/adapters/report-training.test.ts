/** The parts of the report on how models came to be, read from sealed stages. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildReport, writeReport } from '../../activities/report';
import { StageStore } from '../../adapters/store/stages';
import { linearFit } from '../../core/estimators';
import type { PreferencePair } from '../../core/preference';
import type { ReferenceRecord, Report } from '../../core/report';
import { summaryText } from '../../cli/summary';
import { type SealedExperiment, sealExperiment } from '../fixtures/sealed-experiment';

const REPEATS = 2;
let home: string;
let experiment: SealedExperiment;
let report: Report;

beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'report-training-'));
  experiment = await sealExperiment(home, { tasks: 12, samples: 4, repeats: REPEATS });
  report = await buildReport(experiment);
});
afterAll(() => rm(home, { recursive: true, force: true }));

const stageOf = (name: string) => experiment.plan.stages.find((stage) => stage.name === name)!;
const training = (name: string) => report.trainings.find((entry) => entry.name === name)!;
async function lines<T>(stage: string, file: string): Promise<T[]> {
  const text = await readFile(path.join(experiment.storeFolder, stageOf(stage).id, file), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}

test('one row per arm in the order of the configuration, with where its model came from', () => {
  expect(
    report.methods.map(({ arm, method, trainedFrom, repeats }) => [arm, method, trainedFrom, repeats.sealed]),
  ).toEqual([
    ['origin', 'untrained', null, REPEATS],
    ['sft', 'sft', 'origin', REPEATS],
    ['dpo', 'dpo', 'sft', REPEATS],
    ['entropo-dpo', 'entropo-dpo', 'sft', REPEATS],
    ['search-8', 'script', null, REPEATS],
    ['library', 'script', null, REPEATS],
  ]);
});

test('the questions follow from what was trained from what', () => {
  expect(report.answers.map(({ question }) => question)).toEqual(['sft', 'preference', 'entropy', 'selection']);
  const asked = report.comparisons.filter(({ question }) => question !== null);
  expect(asked.map(({ question, first, second, differs }) => [question, second, first, differs])).toEqual([
    ['sft', 'sft', 'origin', []],
    ['preference', 'dpo', 'sft', []],
    ['preference', 'entropo-dpo', 'sft', []],
    ['entropy', 'entropo-dpo', 'dpo', []],
  ]);
});

test('a curve keeps the mean of every update in at most a hundred points', async () => {
  const rows = await lines<{ update: number; loss: number }>('train:dpo', 'metrics.jsonl');
  const { curve } = training('dpo');
  expect(curve.length).toBeLessThanOrEqual(100);
  expect(curve[0]!.from).toBe(1);
  expect(curve.at(-1)!.to).toBe(rows.length);
  const weighted = curve.reduce((sum, { from, to, loss }) => sum + loss! * (to - from + 1), 0) / rows.length;
  expect(weighted).toBeCloseTo(rows.reduce((sum, { loss }) => sum + loss, 0) / rows.length, 5);
  expect(training('sft').curve[0]).toMatchObject({ margin: null, entropy: null });
});

test('a training that saturates is warned of with what to change, one that does not is not', () => {
  expect(training('entropo-dpo').warnings).toEqual([expect.stringMatching(/^28 % of the rows.*entropyRatio/)]);
  expect(training('dpo').warnings).toEqual([]);
});

test('the length ablation is the least squares line over the pairs that the reference holds', async () => {
  const reference = await lines<ReferenceRecord>('reference:sft:pooled', 'reference.jsonl');
  const known = new Map(reference.map((row) => [row.id, row]));
  const pairs = await lines<PreferencePair>('pairs:pooled', 'pairs.jsonl');
  const deltas = pairs.flatMap(({ chosen, rejected }) => {
    const [a, b] = [known.get(chosen), known.get(rejected)];
    return a && b ? [{ x: a.tokens - b.tokens, y: a.logProb - b.logProb }] : [];
  });
  const { slope, r2 } = linearFit(deltas);
  const { alpha, beta, length } = training('entropo-dpo');
  expect(length).toMatchObject({
    pairs: deltas.length,
    missing: pairs.length - deltas.length,
    slope: expect.closeTo(slope!, 5) as number,
    r2: expect.closeTo(r2!, 5) as number,
  });
  expect(length!.missing).toBeGreaterThan(0);
  expect([alpha, beta]).toEqual([0.3, 0.1]);
  const shift = deltas.reduce((sum, { y }) => sum + 0.2 * y, 0) / deltas.length;
  expect(length!.shift.mean).toBeCloseTo(shift, 5);
  expect(training('dpo').length!.shift.mean).toBeCloseTo(0, 12);
  expect(training('sft').length).toBeNull();
});

test('entropy of the reference is that of all its tokens', async () => {
  const rows = await lines<ReferenceRecord>('reference:sft:pooled', 'reference.jsonl');
  const sum = (of: 'entropy' | 'tokens') => rows.reduce((total, row) => total + row[of], 0);
  expect(training('dpo').referenceEntropy).toBeCloseTo(sum('entropy') / sum('tokens'), 5);
});

test('models have the digest of their folder: equal files give an equal one', async () => {
  expect(report.models.map(({ name, files }) => [name, files])).toEqual([
    ['origin', 2],
    ['sft', 2],
    ['dpo', 2],
    ['entropo-dpo', 2],
    ['judge', 2],
  ]);
  const again = await buildReport(experiment);
  expect(again.models).toEqual(report.models);
  expect(new Set(report.models.map(({ sha256 }) => sha256)).size).toBe(report.models.length);
});

test('the verifier is reported on tasks set aside and on every arm', () => {
  expect(training('judge').heldout).toMatchObject({ count: 60, yes: 27, auc: 0.83 });
  const { verifier, rollouts } = report.arms.find(({ name }) => name === 'sft')!;
  expect(verifier!.scored + verifier!.unscored).toBe(rollouts);
  expect(verifier!.unscored).toBeGreaterThan(0);
  expect(verifier!.auc).toBeGreaterThan(0.5);
});

test('times are those of each stage, and only outside of what is sealed', async () => {
  const { stages, storeFolder } = { ...experiment.plan, storeFolder: experiment.storeFolder };
  expect(report.times).toHaveLength(stages.length - 1);
  expect(report.times![0]).toEqual({
    name: 'tasks:train',
    stage: stageOf('tasks:train').id,
    seconds: 7.25,
    openings: 1,
    peakMemoryMb: null,
  });
  const sealed = await buildReport({ plan: experiment.plan, storeFolder, sealed: true });
  expect(sealed).toEqual({ ...report, times: null });
});

test('tokens are counted where they are sampled and where they are trained', () => {
  const tokens = Object.fromEntries(
    report.stages.map(({ name, tokensSampled, tokensTrained }) => [name, [tokensSampled, tokensTrained]]),
  );
  expect(tokens['train:sft']).toEqual([null, 192_000]);
  expect(tokens['evaluate:sft']).toEqual([expect.any(Number), null]);
  expect(tokens['evaluate:search-8']).toEqual([null, null]);
});

test('both forms show the same tables', async () => {
  const folder = path.join(home, 'runs/a');
  await writeReport(report, folder, new StageStore(home).root);
  const [html, md] = await Promise.all(
    ['html', 'md'].map((kind) => readFile(path.join(folder, `report.${kind}`), 'utf8')),
  );
  const rowsOf = (page: string, row: RegExp) => [...page.matchAll(row)].length;
  expect(rowsOf(html!, /<th scope="row">/g)).toBeGreaterThan(100);
  expect(rowsOf(md!, /^\| (?!---)/gm)).toBe(rowsOf(html!, /<th scope="row">/g) + rowsOf(html!, /<thead>/g));
  expect(html).toContain('Margin by update');
});

test('the terminal gets the table and the answers in at most twenty lines', () => {
  const text = summaryText(report);
  expect(text.split('\n').length).toBeLessThanOrEqual(14);
  for (const { arm } of report.methods) expect(text).toMatch(new RegExp(`^${arm} `, 'm'));
  for (const { title } of report.answers) expect(text).toContain(title);
});
