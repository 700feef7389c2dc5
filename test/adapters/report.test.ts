import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildReport, writeReport } from '../../activities/report';
import { selectStage } from '../../activities/select';
import { drawChart } from '../../adapters/report/chart';
import { SealedStage } from '../../adapters/report/sealed-stage';
import { fileSha256 } from '../../adapters/store/stages';
import type { Report } from '../../core/report';
import type { SelectionRecord } from '../../core/selection';
import { type SealedExperiment, sealExperiment } from '../fixtures/sealed-experiment';

const HOSTILE = `</title><script>alert("x")</script><img src=x onerror=alert(1)> {{constructor}} | [a](javascript:1)\u2028`;

let home: string;
let experiment: SealedExperiment;
let report: Report;

beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'report-'));
  experiment = await sealExperiment(home, { tasks: 12, samples: 8, hostile: HOSTILE, title: `Title ${HOSTILE}` });
  report = await buildReport(experiment);
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function files(folder: string): Promise<Record<'json' | 'md' | 'html', string>> {
  await writeReport(report, folder, experiment.storeFolder);
  const read = (kind: string) => readFile(path.join(folder, `report.${kind}`), 'utf8');
  return { json: await read('json'), md: await read('md'), html: await read('html') };
}

const stageOf = (name: string) => experiment.plan.stages.find((stage) => stage.name === name)!.id;
const lines = async (stage: string, file: string): Promise<SelectionRecord[]> => {
  const all: SelectionRecord[] = [];
  const sealed = await SealedStage.open(path.join(experiment.storeFolder, stage));
  for await (const line of sealed.lines<SelectionRecord>(file)) all.push(line);
  return all;
};

test('recomputed from the sealed files, all three forms equal themselves byte for byte', async () => {
  const first = await files(path.join(home, 'runs/a'));
  report = await buildReport(experiment);
  expect(await files(path.join(home, 'runs/a'))).toEqual(first);
  expect(JSON.parse(first.json)).toEqual(report);
});

test('every figure names sealed files that exist', async () => {
  const sources = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'source' && Array.isArray(inner)) (inner as string[]).forEach((file) => sources.add(file));
      else visit(inner);
    }
  };
  visit(report);
  expect(sources.size).toBeGreaterThan(10);
  for (const source of sources) {
    const [stage, file] = source.split(/\/(.*)/) as [string, string];
    const sealed = await SealedStage.open(path.join(experiment.storeFolder, stage));
    expect([source, file === 'manifest.json' || sealed.has(file)]).toEqual([source, true]);
  }
});

test('every link of the page and of the tables leads to a file', async () => {
  const folder = path.join(home, 'runs/b');
  const { html, md } = await files(folder);
  const links = [...html.matchAll(/href="([^"]+)"/g), ...md.matchAll(/\]\((\.\.[^)]+)\)/g)].map(([, href]) => href!);
  expect(links.length).toBeGreaterThan(100);
  for (const link of new Set(links)) {
    const target = path.join(folder, decodeURIComponent(link.replaceAll('&#x3D;', '=')));
    const found = await readFile(target).catch((error: NodeJS.ErrnoException) => error.code);
    expect([link, found === 'ENOENT']).toEqual([link, false]);
  }
});

test('hostile texts stay texts, in the page and in the tables', async () => {
  const { html, md } = await files(path.join(home, 'runs/c'));
  expect(html).not.toMatch(/<script|<img|onerror=a/);
  expect(html).toContain('&lt;script&gt;');
  const [fence] = /^```+yaml$[^]*?^```+$/m.exec(md)!;
  expect(fence).toContain('title:');
  expect(md.replace(fence, '')).not.toMatch(/<script|<img|[^\\]\[a\]\(javascript/);
});

test('a text that holds a fence does not end the configuration’s', async () => {
  const other = { ...report, config: { ...report.config, title: 'x\n```\n# free' } };
  await writeReport(other, path.join(home, 'runs/e'), experiment.storeFolder);
  const md = await readFile(path.join(home, 'runs/e/report.md'), 'utf8');
  expect(md).toMatch(/^````yaml$[^]*^ *```$[^]*^````$/m);
});

test('a text in a chart is escaped', () => {
  const svg = drawChart({
    id: 'x',
    label: `"><script>`,
    width: 200,
    height: 100,
    option: { title: { text: '<script>alert(1)</script>' } },
  });
  expect(svg).not.toContain('<script');
  expect(svg).toContain('&lt;script&gt;');
});

test('the page needs no script and no network, and its ids are unique', async () => {
  const { html } = await files(path.join(home, 'runs/d'));
  expect(html).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
  const addresses = html.replaceAll(/ xmlns(:xlink)?="[^"]*"/g, '').match(/(https?:)?\/\/[a-z][^\s"<]*/gi);
  expect(addresses).toBeNull();
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
});

test('an infrastructure failure is unknown: in no share, and counted', () => {
  const arm = report.arms.find(({ name }) => name === 'sft')!;
  expect(arm.failures).toEqual({ SandboxLost: 1 });
  expect(arm.rollouts).toBe(12 * 8 - 1);
  expect(arm.results.passAt1.tasks).toBe(12);
});

test('curves begin at a random one of N and end at what was selected', () => {
  for (const { passAtK, results, selectors, samples } of report.arms) {
    expect(passAtK.points).toHaveLength(samples);
    expect(passAtK.points[0]!.value).toBe(results.passAt1.value);
    expect(passAtK.points.at(-1)!.value).toBe(results.passAtN.value);
    selectors.forEach(({ bestAtK }, index) => {
      expect(bestAtK.points[0]!.value).toBe(results.passAt1.value);
      expect(bestAtK.points.at(-1)!.value).toBe(results.selected[index]!.resolved.value);
    });
  }
});

test('library tasks stand apart and support no claim', () => {
  const library = report.arms.find(({ name }) => name === 'library')!;
  expect(library.library).toBe(true);
  const texts = report.answers.flatMap(({ text, claims }) => [text, ...claims.map((claim) => claim.text)]);
  expect(texts.length).toBeGreaterThan(10);
  expect(texts.filter((text) => text.includes('library'))).toEqual([]);
});

test('the predictions file holds the chosen patch of every task, under one model name', async () => {
  const stage = stageOf('select:sft:entropo');
  const selections = await lines(stage, 'selections.jsonl');
  const file = path.join(experiment.storeFolder, stage, 'predictions.json');
  const predictions = JSON.parse(await readFile(file, 'utf8')) as Record<string, string>[];
  expect(predictions.map(({ instance_id }) => instance_id)).toEqual(selections.map(({ task }) => task));
  expect(new Set(predictions.map(({ model_name_or_path }) => model_name_or_path))).toEqual(new Set(['sft+entropo']));
  const evaluate = await SealedStage.open(path.join(experiment.storeFolder, stageOf('evaluate:sft')));
  const { task, chosen } = selections[3]!;
  const { patch } = await evaluate.trajectory(task, Number(/\d+$/.exec(chosen!)![0]));
  expect(predictions[3]!.model_patch).toBe(patch);
});

test('selections do not change when hidden grades do', async () => {
  const other = await mkdtemp(path.join(tmpdir(), 'report-grades-'));
  try {
    const { plan, storeFolder } = await sealExperiment(other, { tasks: 3, samples: 4 });
    const select = plan.stages.find(({ name }) => name === 'select:sft:entropo')!;
    const before = await readFile(path.join(storeFolder, select.id, 'selections.jsonl'), 'utf8');
    const results = path.join(storeFolder, select.inputs.rollouts!, 'results.jsonl');
    const flipped = (await readFile(results, 'utf8')).replaceAll(
      /"resolved":(true|false)/g,
      (_, value) => `"resolved":${value !== 'true'}`,
    );
    await writeFile(results, flipped);
    await resealed(path.dirname(results), 'results.jsonl');

    const { selector } = select.config as { selector: SelectionRecord['selector'] };
    await selectStage({
      evaluateFolder: path.dirname(results),
      scoreFolder: path.join(storeFolder, select.inputs.scores!),
      verdictFolder: path.join(storeFolder, select.inputs.verdicts!),
      selector,
      armName: 'sft',
      outFolder: path.join(other, 'again'),
    });
    expect(await readFile(path.join(other, 'again/selections.jsonl'), 'utf8')).toBe(before);
  } finally {
    await rm(other, { recursive: true, force: true });
  }
});

describe('a broken store', () => {
  let other: string;
  let broken: SealedExperiment;
  beforeEach(async () => {
    other = await mkdtemp(path.join(tmpdir(), 'report-broken-'));
    broken = await sealExperiment(other, { tasks: 2, samples: 2 });
  });
  afterEach(() => rm(other, { recursive: true, force: true }));

  const folderOf = (name: string) =>
    path.join(broken.storeFolder, broken.plan.stages.find((stage) => stage.name === name)!.id);
  const unseal = (name: string) => rm(path.join(folderOf(name), 'manifest.json'));

  test('a changed sealed file is refused with its path and both hashes', async () => {
    const file = path.join(folderOf('evaluate:sft'), 'results.jsonl');
    await writeFile(file, (await readFile(file, 'utf8')).replace('"steps":', '"steps" :'));
    await expect(buildReport(broken)).rejects.toMatchObject({
      name: 'ArtifactCorrupt',
      message: expect.stringMatching(/results\.jsonl: sha256 is [0-9a-f]{64}, sealed as [0-9a-f]{64}/) as string,
    });
  });

  test.each(['summary.json', 'metrics.jsonl'])('so is a changed %s of a training', async (name) => {
    const file = path.join(folderOf('train:dpo'), name);
    await writeFile(file, (await readFile(file, 'utf8')).replace(':', ' :'));
    await expect(buildReport(broken)).rejects.toMatchObject({ name: 'ArtifactCorrupt' });
  });

  test('a failed stage is named with what it said, its descendants as blocked, and the rest is reported', async () => {
    const lost = ['train:dpo', 'evaluate:dpo', 'score:dpo', 'verify:dpo', 'select:dpo:entropo', 'select:dpo:eb'];
    for (const name of lost) await unseal(name);
    const message = `TrainerDiverged: update 7 <b>${HOSTILE}</b>`;
    await writeFile(path.join(folderOf('train:dpo'), 'failure.json'), JSON.stringify({ message }));

    const partial = await buildReport(broken);
    expect(partial.unfinished.map(({ name, state, message: why }) => [name, state, why])).toEqual([
      ['train:dpo', 'failed', message],
      ['evaluate:dpo', 'blocked', 'waits for train:dpo'],
      ['score:dpo', 'blocked', 'waits for evaluate:dpo'],
      ['verify:dpo', 'blocked', 'waits for evaluate:dpo'],
      ['select:dpo:entropo', 'blocked', 'waits for evaluate:dpo, score:dpo, verify:dpo'],
      ['select:dpo:eb', 'blocked', 'waits for evaluate:dpo, score:dpo, verify:dpo'],
    ]);
    expect(partial.arms.map(({ name }) => name)).toEqual(['origin', 'sft', 'entropo-dpo', 'search-8', 'library']);
    expect(partial.methods.map(({ arm, repeats }) => [arm, repeats.sealed])).toContainEqual(['dpo', 0]);
    expect(partial.trainings.map(({ name }) => name)).toEqual(['sft', 'entropo-dpo', 'judge']);
    expect(partial.answers.find(({ question }) => question === 'entropy')!.text).toBe('Not run: entropo-dpo over dpo.');

    await writeReport(partial, path.join(other, 'runs/x'), broken.storeFolder);
    const [html, md] = await Promise.all(
      ['html', 'md'].map((kind) => readFile(path.join(other, `runs/x/report.${kind}`), 'utf8')),
    );
    for (const page of [html!, md!]) {
      expect(page).toContain('train:dpo failed: TrainerDiverged: update 7 &lt;b&gt;');
      expect(page).toContain('6 stages of ');
      expect(page).toContain('not run');
      expect(page).toContain('not sealed: in no figure');
      expect(page).not.toContain('<script');
    }
  });

  test('nothing sealed at all is a report of what did not run', async () => {
    await rm(broken.storeFolder, { recursive: true });
    const empty = await buildReport(broken);
    expect(empty.unfinished).toHaveLength(empty.stages.length);
    expect(empty.unfinished[0]).toMatchObject({ name: 'tasks:train', state: 'not run' });
    await writeReport(empty, path.join(other, 'runs/x'), broken.storeFolder);
    expect(await readFile(path.join(other, 'runs/x/report.md'), 'utf8')).toContain('not run');
  });
});

/** Writes the file's digest into the manifest, as its stage would have sealed it. */
async function resealed(folder: string, file: string): Promise<void> {
  const manifestFile = path.join(folder, 'manifest.json');
  const manifest = JSON.parse(await readFile(manifestFile, 'utf8')) as { files: Record<string, { sha256: string }> };
  manifest.files[file]!.sha256 = await fileSha256(path.join(folder, file));
  await writeFile(manifestFile, JSON.stringify(manifest));
}
