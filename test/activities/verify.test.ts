import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { selectCandidates, selectStage } from '../../activities/select';
import { verifyRollouts, type VerifyDeps, writeVerifierData } from '../../activities/verify';
import { fileSha256, StageStore } from '../../adapters/store/stages';
import { scriptedVerifier } from '../../adapters/verifier/verifier';
import { loadPrompt } from '../../config/prompts';
import { Failure } from '../../core/failures';
import type { Stage } from '../../core/plan';
import type { SelectionRecord, VerdictRecord } from '../../core/selection';
import type { RolloutSummary } from '../../core/trajectory';
import type { JudgeConversation } from '../../core/verifier-input';
import { sealExperiment } from '../fixtures/sealed-experiment';

const MODEL = path.join(__dirname, '..', 'fixtures', 'verifier', 'model');

let made: string;
let stages: readonly Stage[];
beforeAll(async () => {
  made = mkdtempSync(path.join(tmpdir(), 'verify-made-'));
  stages = (await sealExperiment(made, { tasks: 3, samples: 4, hostile: '{{breaks}}' })).plan.stages;
  for (const stage of stages) await new StageStore(made).declare(stage);
});
afterAll(() => rmSync(made, { recursive: true }));

let home: string;
let store: StageStore;
let deps: VerifyDeps;
let beats: number;
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'verify-'));
  cpSync(made, home, { recursive: true });
  store = new StageStore(home);
  beats = 0;
  deps = {
    store,
    prompt: loadPrompt('tiny').judge,
    heartbeat: () => (beats += 1),
    signal: new AbortController().signal,
  };
});
afterEach(() => rmSync(home, { recursive: true }));

const named = (name: string) => stages.find((stage) => stage.name === name)!;
const lines = <T>(file: string) =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as T);
const resultsOf = (stage: string) => lines<RolloutSummary>(path.join(store.folder(stage), 'results.jsonl'));

/** Changes a sealed file and its manifest. */
async function rewrite(stage: string, file: string, change: (text: string) => string): Promise<void> {
  const place = path.join(store.folder(stage), file);
  writeFileSync(place, change(readFileSync(place, 'utf8')));
  const manifest = (await store.manifest(stage))!;
  manifest.files[file]!.sha256 = await fileSha256(place);
  writeFileSync(path.join(store.folder(stage), 'manifest.json'), JSON.stringify(manifest));
}

describe('training data', () => {
  const data = (rollouts: string[], cutoff = 10_000) => ({
    stage: 'train-1',
    rollouts,
    model: MODEL,
    cutoff,
    file: path.join(home, 'conversations.jsonl'),
  });
  interface Row {
    id: string;
    task: string;
    resolved: boolean;
    exit: string;
    messages: { role: string; content: string }[];
  }

  test('is a judge’s conversation a graded rollout, answered by its grade', async () => {
    const rollouts = ['collect:student', 'collect:teacher'].map((name) => named(name).id);
    const told = await writeVerifierData(data(rollouts), deps);
    const rows = lines<Row>(path.join(home, 'conversations.jsonl'));
    const graded = rollouts.flatMap(resultsOf);
    expect(rows.map(({ id, task, resolved, exit }) => [id, task, resolved, exit])).toEqual(
      graded.map(({ id, task, resolved, exit }) => [id, task, resolved, exit]),
    );
    for (const { messages, resolved } of rows) {
      expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant']);
      expect(messages[1]!.content).toContain('{{breaks}}');
      expect(messages[2]!.content).toBe(`<judgement>${resolved ? 'YES' : 'NO'}</judgement>`);
    }
    expect(told).toMatchObject({
      rows: graded.length,
      resolved: graded.filter(({ resolved }) => resolved).length,
      tasks: 3,
      condensedRows: 0,
      overlong: 0,
    });
    expect(beats).toBe(graded.length);
  });

  test('counts what does not fit, and leaves it to the trainer', async () => {
    const told = await writeVerifierData(data([named('collect:student').id], 20), deps);
    expect(told.overlong).toBe(told.rows);
    expect(lines(path.join(home, 'conversations.jsonl'))).toHaveLength(told.rows);
  });

  test('of one class is refused with its counts and a remedy, and leaves no file', async () => {
    const { id } = named('collect:student');
    await rewrite(id, 'results.jsonl', (text) => text.replaceAll('"resolved":true', '"resolved":false'));
    const count = resultsOf(id).length;
    await expect(writeVerifierData(data([id]), deps)).rejects.toMatchObject({
      name: 'DataUnusable',
      message: expect.stringMatching(
        new RegExp(`of ${count} graded ones 0 are resolved and ${count} not; collect more`),
      ) as string,
    });
    expect(existsSync(path.join(home, 'conversations.jsonl'))).toBe(false);
  });
});

describe('verdicts', () => {
  const verify = () => named('verify:sft');
  const file = () => path.join(store.folder(verify().id), 'verdicts.jsonl');
  const rollouts = () => resultsOf(verify().inputs.rollouts!);
  /** Another number for another text. */
  const byText = ({ messages }: JudgeConversation) => (messages[1].content.length % 97) / 97;
  beforeEach(() => rmSync(file()));

  test('are one for each graded rollout, in the order of the results; unscored is null', async () => {
    const verifier = scriptedVerifier((conversation) => {
      const score = byText(conversation);
      return score > 0.5 ? null : score;
    });
    const told = await verifyRollouts({ stage: verify().id, verifier }, deps);
    const verdicts = lines<VerdictRecord>(file());
    expect(verdicts.map(({ id, task, sample }) => [id, task, sample])).toEqual(
      rollouts().map(({ id, task, sample }) => [id, task, sample]),
    );
    const unscored = verdicts.filter(({ verifierScore }) => verifierScore === null).length;
    expect(unscored).toBeGreaterThan(0);
    expect(unscored).toBeLessThan(verdicts.length);
    expect(told).toEqual({ rollouts: verdicts.length, unscored });
    for (const { tokens, condensedTokens } of verdicts) expect([tokens > 10, condensedTokens]).toEqual([true, 0]);
  });

  test('of an attempt that ended are taken up, task by task, and the bytes are those of a quiet run', async () => {
    await verifyRollouts({ stage: verify().id, verifier: scriptedVerifier(byText) }, deps);
    const quiet = readFileSync(file(), 'utf8');
    rmSync(path.join(store.folder(verify().id), '.work'), { recursive: true });
    rmSync(file());

    let left = 5;
    const dying = scriptedVerifier((conversation) => {
      if (left-- === 0) throw new Failure('PolicyUnavailable', 'gone');
      return byText(conversation);
    });
    await expect(verifyRollouts({ stage: verify().id, verifier: dying }, deps)).rejects.toMatchObject({
      name: 'PolicyUnavailable',
    });
    expect(existsSync(file())).toBe(false);

    let again = 0;
    const counted = scriptedVerifier((conversation) => {
      again += 1;
      return byText(conversation);
    });
    const told = await verifyRollouts({ stage: verify().id, verifier: counted }, deps);
    expect(again).toBeGreaterThan(0);
    expect(again).toBeLessThan(told.rollouts);
    expect(readFileSync(file(), 'utf8')).toBe(quiet);
  });

  test('of equal conversations are asked for once', async () => {
    let calls = 0;
    const deaf = {
      ...deps,
      prompt: { ...deps.prompt, user: '{{statement}}' },
    };
    const verifier = scriptedVerifier(() => {
      calls += 1;
      return 0.5;
    });
    await verifyRollouts({ stage: verify().id, verifier }, deaf);
    expect(calls).toBe(3);
  });

  test('show no grade to the verifier: flipped grades change no conversation', async () => {
    const seen = async () => {
      const texts: string[] = [];
      const verifier = scriptedVerifier(({ messages }) => {
        texts.push(...messages.map(({ content }) => content));
        return 0.5;
      });
      await verifyRollouts({ stage: verify().id, verifier }, deps);
      rmSync(path.join(store.folder(verify().id), '.work'), { recursive: true });
      return texts.toSorted();
    };
    const before = await seen();
    await rewrite(verify().inputs.rollouts!, 'results.jsonl', (text) =>
      text.replaceAll(/"resolved":(true|false)/g, (_, value) => `"resolved":${value !== 'true'}`),
    );
    expect(await seen()).toEqual(before);
  });
});

test('selection follows the verdicts, and does without where there is no verify stage', async () => {
  const select = named('select:sft:entropo');
  const chosenBy = async (verdictFolder: string | undefined) => {
    const outFolder = path.join(home, 'out');
    await selectStage({
      evaluateFolder: store.folder(select.inputs.rollouts!),
      scoreFolder: store.folder(select.inputs.scores!),
      verdictFolder,
      selector: { type: 'ef' },
      armName: 'sft',
      outFolder,
    });
    return lines<SelectionRecord>(path.join(outFolder, 'selections.jsonl'));
  };
  const verify = store.folder(select.inputs.verdicts!);
  const favourite = 2;
  const results = resultsOf(select.inputs.rollouts!);
  const verdicts = results.map(({ id, task, sample }) => ({
    ...{ id, task, sample, tokens: 1, condensedTokens: 0 },
    verifierScore: sample === favourite ? 0.9 : 0.1,
  }));
  await rewrite(select.inputs.verdicts!, 'verdicts.jsonl', () =>
    verdicts.map((verdict) => `${JSON.stringify(verdict)}\n`).join(''),
  );

  const withPatch = results.filter(({ patchLines, sample }) => patchLines > 0 && sample === favourite);
  const chosen = await chosenBy(verify);
  for (const { id, task } of withPatch) {
    expect(chosen.find((selection) => selection.task === task)!.chosen).toBe(id);
  }
  expect(withPatch.length).toBeGreaterThan(0);
  const without = await chosenBy(undefined);
  const skipped = (of: SelectionRecord[]) => of.map(({ steps }) => steps.find((s) => s.filter === 'verifier')!.skipped);
  expect(skipped(without)).not.toContain(null);

  await selectCandidates(store, select.id);
  const declared = lines<SelectionRecord>(path.join(store.folder(select.id), 'selections.jsonl'));
  expect(skipped(declared)).toEqual([null, null, null]);
});
