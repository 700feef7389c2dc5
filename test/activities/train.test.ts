/** The stages that run a program: what it is given, how it ends, and what the next attempt finds. */
import { existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { createStageActivities } from '../../activities/stages';
import { scoreReference, trainModel, type TrainerDeps } from '../../activities/train';
import { DeviceSlots } from '../../adapters/devices';
import { identify, isAlive } from '../../adapters/process';
import { StageStore } from '../../adapters/store/stages';
import type { TrainerProgress } from '../../adapters/trainer';
import { promptSha256 } from '../../config/prompts';
import type { Failure } from '../../core/failures';
import { declared, type GivenRollout, sealRollouts, sealTasks } from '../fixtures/graded-rollouts';
import { temporaryHome } from '../support/processes';

const STAND_IN = path.join(__dirname, '..', 'fixtures', 'stand-in-trainer.cjs');
const SETTINGS = {
  ...{ seed: 5, epochs: 1, batchSize: 2, microBatchTokens: 512, learningRate: 0.001, warmup: 0.1 },
  ...{ cutoff: 1000, overlong: 'drop', checkpointUpdates: 2 },
};
const ROLLOUTS: GivenRollout[] = [
  { task: 't1', sample: 0, resolved: true, tokenIds: [7, 2] },
  { task: 't1', sample: 1, resolved: false },
  { task: 't2', sample: 0, resolved: false, exit: 'stepLimit' },
  { task: 't2', sample: 1, resolved: true, replies: [] },
];

let store: StageStore;
let remove: () => void;
let abort: AbortController;
let beats: (TrainerProgress | undefined)[];
beforeEach(async () => {
  const temporary = temporaryHome();
  remove = temporary.remove;
  store = new StageStore(temporary.home);
  abort = new AbortController();
  beats = [];
  await sealRollouts(store, 'collect-1', ROLLOUTS);
});
afterEach(() => remove());

interface Behaviour {
  updates?: number;
  hangAt?: number;
  crashAt?: number;
  divergeAt?: number;
  leaveAt?: number;
}

function depsFor(behaviour: Behaviour, heartbeat: TrainerDeps['heartbeat'] = () => {}): TrainerDeps {
  return {
    ...{ store, slots: new DeviceSlots([]), signal: abort.signal },
    command: (program, spec) => [process.execPath, STAND_IN, program, spec, JSON.stringify(behaviour)],
    heartbeat: (progress) => {
      beats.push(progress && { ...progress });
      heartbeat(progress);
    },
  };
}

async function declareSft(keep = 'finished'): Promise<void> {
  const inputs = { model: 'model-1', 'rollouts-0': 'collect-1' };
  await store.declare(declared('train', 'train-1', { ...SETTINGS, method: { type: 'sft', keep } }, inputs));
}

const train = (behaviour: Behaviour = {}, heartbeat?: TrainerDeps['heartbeat']) =>
  trainModel({ stage: 'train-1', device: 'cpu' }, depsFor(behaviour, heartbeat));

const file = (name: string, stage = 'train-1') => path.join(store.folder(stage), name);
const lines = (name: string, stage?: string) =>
  readFileSync(file(name, stage), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const json = (name: string, stage?: string) => JSON.parse(readFileSync(file(name, stage), 'utf8')) as unknown;
const failureOf = (work: Promise<unknown>): Promise<Failure> =>
  work.then(
    () => Promise.reject(new Error('did not fail')),
    (error: Failure) => error,
  );

test('the program finds specification and data on disk, and what it leaves is sealed without its working files', async () => {
  await declareSft();
  await train();
  expect(json('.work/spec.json')).toEqual({
    ...{ stage: 'train-1', out: store.folder('train-1'), device: 'cpu', threads: 1 },
    ...{ ...SETTINGS, method: { type: 'sft', keep: 'finished' }, lora: null, reference: null },
    model: path.join(store.folder('model-1'), 'model'),
    data: file('conversations.jsonl'),
  });
  expect(lines('conversations.jsonl').map(({ id }) => id)).toEqual(['collect-1/t1/r00', 'collect-1/t1/r01']);
  const [{ messages }] = lines('conversations.jsonl') as [{ messages: { tokenIds?: number[] }[] }];
  expect(messages.at(-1)!.tokenIds).toEqual([7, 2]);
  expect(await createStageActivities(store).sealStage('train-1')).toEqual({ rows: 2, dropped: 1, updates: 6 });
  expect(Object.keys((await store.manifest('train-1'))!.files)).toEqual([
    'conversations.jsonl',
    'metrics.jsonl',
    'model/config.json',
    'stage.json',
    'summary.json',
  ]);
});

test('heartbeats tell update and newest checkpoint, and the times stand outside the digest', async () => {
  await declareSft();
  await train({ updates: 3 });
  expect(beats.at(-1)).toMatchObject({ update: 3, updates: 3, checkpoint: 2, loss: 1 / 3, tokensPerSecond: 90 });
  const time = lines('timing.jsonl').at(-1)!;
  expect(time).toMatchObject({
    ...{ event: 'program', program: 'train', ending: 'done', update: 3 },
    ...{ tokensPerSecond: 90, seconds: expect.any(Number), host: expect.any(String) },
  });
});

test('the peak of main memory is that of the program while it ran', async () => {
  await declareSft();
  const reason = new Error('seen enough');
  await failureOf(train({ hangAt: 3 }, (progress) => progress?.update === 3 && abort.abort(reason)));
  const { peakMemoryMb } = lines('timing.jsonl').at(-1)! as { peakMemoryMb: number | null };
  expect(typeof peakMemoryMb === 'number').toBe(process.platform === 'linux');
});

test.each([
  ['finished', ['collect-1/t1/r00', 'collect-1/t1/r01']],
  ['resolved', ['collect-1/t1/r00']],
  ['all', ['collect-1/t1/r00', 'collect-1/t1/r01', 'collect-1/t2/r00']],
])('sft keeps %s trajectories that hold a reply', async (keep, kept) => {
  await declareSft(keep);
  await train({ updates: 1 });
  expect(lines('conversations.jsonl').map(({ id }) => id)).toEqual(kept);
});

test('with nothing to keep the stage fails and says what to change', async () => {
  await sealRollouts(store, 'collect-2', [{ task: 't1', sample: 0, resolved: false }]);
  const inputs = { model: 'model-1', 'rollouts-0': 'collect-2' };
  const config = { ...SETTINGS, method: { type: 'sft', keep: 'resolved' } };
  await store.declare(declared('train', 'train-1', config, inputs));
  const failure = await failureOf(train());
  expect(failure.name).toBe('DataUnusable');
  expect(failure.message).toContain('train-1: none of 1 collected rollouts is resolved');
  expect(existsSync(file('conversations.jsonl'))).toBe(false);
});

describe('a verifier', () => {
  const model = path.join(__dirname, '..', 'fixtures', 'verifier');
  const declareVerifier = async (rollouts: string) => {
    await sealTasks(store, ['t1', 't2']);
    symlinkSync(model, store.folder('model-1'));
    const config = {
      ...SETTINGS,
      method: { type: 'verifier', heldout: 0.2 },
      prompt: { name: 'tiny', sha256: promptSha256('tiny') },
    };
    await store.declare(declared('train', 'train-1', config, { model: 'model-1', 'rollouts-0': rollouts }));
  };

  test('learns from every graded rollout, as a judge sees it', async () => {
    await declareVerifier('collect-1');
    await train({ updates: 1 });
    const rows = lines('conversations.jsonl') as { id: string; messages: { content: string }[] }[];
    expect(rows.map(({ id, messages }) => [id, messages.at(-1)!.content])).toEqual([
      ['collect-1/t1/r00', '<judgement>YES</judgement>'],
      ['collect-1/t1/r01', '<judgement>NO</judgement>'],
      ['collect-1/t2/r00', '<judgement>NO</judgement>'],
      ['collect-1/t2/r01', '<judgement>YES</judgement>'],
    ]);
    expect(json('data.json')).toMatchObject({ rows: 4, resolved: 2, tasks: 2 });
    expect(json('.work/spec.json')).toMatchObject({ data: file('conversations.jsonl'), reference: null });
    expect(json('.work/spec.json')).not.toHaveProperty('prompt');
  });

  test('fails before its program starts where all rollouts ended alike', async () => {
    await sealRollouts(store, 'collect-2', [{ task: 't1', sample: 0, resolved: false }]);
    await declareVerifier('collect-2');
    expect((await failureOf(train())).name).toBe('DataUnusable');
    expect(existsSync(file('.work/program.log'))).toBe(false);
  });
});

test('a preference method is pointed at pairs and reference', async () => {
  const inputs = { model: 'model-1', pairs: 'pairs-1', reference: 'reference-1' };
  const method = { type: 'entropo-dpo', beta: 0.1, ftx: 0, entropyRatio: 1.1 };
  await store.declare(declared('train', 'train-1', { ...SETTINGS, method, lora: { rank: 8, alpha: 16 } }, inputs));
  await train();
  expect(json('.work/spec.json')).toMatchObject({
    ...{ method, lora: { rank: 8, alpha: 16 } },
    data: store.folder('pairs-1'),
    reference: path.join(store.folder('reference-1'), 'reference.jsonl'),
  });
  expect(existsSync(file('conversations.jsonl'))).toBe(false);
});

test('a reference pass is such a program too', async () => {
  const inputs = { model: 'train-0', pairs: 'pairs-1' };
  const config = { cutoff: 1000, overlong: 'drop', microBatchTokens: 512 };
  await store.declare(declared('reference', 'reference-1', config, inputs));
  await scoreReference({ stage: 'reference-1', device: 'auto' }, depsFor({}));
  expect(json('.work/spec.json', 'reference-1')).toEqual({
    ...{ stage: 'reference-1', out: store.folder('reference-1'), device: 'auto', threads: 1, ...config },
    ...{ model: path.join(store.folder('train-0'), 'model'), data: store.folder('pairs-1') },
  });
  expect(await createStageActivities(store).sealStage('reference-1')).toEqual({ reference: 1 });
});

test('a crash is retried with the last words, from the newest checkpoint', async () => {
  await declareSft();
  const failure = await failureOf(train({ crashAt: 5 }));
  expect([failure.name, failure.retryable]).toEqual(['TrainerCrashed', true]);
  expect(failure.message).toMatch(
    /^train-1: .* ended with exit code 1; its last words .*RuntimeError: the disk is full$/s,
  );
  await train();
  expect(readFileSync(file('.work/program.log'), 'utf8')).toContain('started train at 4\n');
  expect(lines('timing.jsonl').map(({ ending }) => ending)).toEqual(['TrainerCrashed', 'done']);
});

test('ten crashes on the spot end the stage, and its checkpoint stays; getting farther or opening it anew counts afresh', async () => {
  await declareSft();
  const crash = (crashAt: number) => failureOf(train({ crashAt }));
  await crash(3);
  const names = [];
  for (let run = 1; run <= 10; run++) names.push((await crash(5)).name);
  expect(names).toEqual([...Array.from({ length: 9 }, () => 'TrainerCrashed'), 'TrainerStuck']);
  const stuck = await crash(5);
  expect(stuck).toMatchObject({ name: 'TrainerStuck', retryable: false });
  expect(stuck.message).toMatch(/the disk is full\n10 runs crashed in a row, .* goes on from the newest checkpoint$/s);
  expect(json('.work/update.json')).toEqual({ update: 4 });
  await createStageActivities(store).openStage({ stage: 'train-1', shardSize: 1 });
  expect((await crash(5)).name).toBe('TrainerCrashed');
});

test('cancelled, the program leaves a checkpoint first, and the attempt after goes on from it', async () => {
  await declareSft();
  const reason = new Error('cancelled');
  const cancelAtThree: TrainerDeps['heartbeat'] = (progress) => {
    if (progress?.update === 3) abort.abort(reason);
  };
  expect(await failureOf(train({ hangAt: 3 }, cancelAtThree))).toBe(reason);
  expect(json('.work/update.json')).toEqual({ update: 3 });
  expect(beats.at(-1)?.checkpoint).toBe(3);
  expect(existsSync(file('.work/process.json'))).toBe(false);
  abort = new AbortController();
  await train();
  expect(readFileSync(file('.work/program.log'), 'utf8')).toContain('started train at 3\n');
});

test('cancelled before it starts, nothing starts', async () => {
  await declareSft();
  abort.abort(new Error('cancelled'));
  await expect(train()).rejects.toThrow('cancelled');
  expect(existsSync(file('.work/program.log'))).toBe(false);
});

test('a program that someone else asked to stop is started again', async () => {
  await declareSft();
  const failure = await failureOf(train({ leaveAt: 3 }));
  expect([failure.name, failure.retryable]).toEqual(['TrainerCrashed', true]);
  expect(failure.message).toContain('was asked to stop by someone else; it goes on from its checkpoint');
});

test('a program that an earlier attempt left running is ended before another starts', async () => {
  await declareSft();
  const hanging: { reached: () => void } = { reached: () => {} };
  const reached = new Promise<void>((resolve) => (hanging.reached = resolve));
  const first = failureOf(train({ hangAt: 3 }, (progress) => progress?.update === 3 && hanging.reached()));
  await reached;
  const left = json('.work/process.json') as { pid: number; start: string };
  expect(identify(left.pid)).toEqual(left);
  await train();
  expect(isAlive(left)).toBe(false);
  expect((await first).message).toContain('was ended by SIGKILL (out of memory?)');
  expect(readFileSync(file('.work/program.log'), 'utf8')).toContain('started train at 2\n');
});

test('divergence is not retried, and another start begins at the first update', async () => {
  await declareSft();
  const failure = await failureOf(train({ divergeAt: 5 }));
  expect([failure.name, failure.retryable]).toEqual(['TrainerDiverged', false]);
  expect(failure.message).toBe('train-1: loss is nan at update 5');
  expect(readdirSync(store.folder('train-1')).toSorted()).toEqual(['.work', 'stage.json', 'timing.jsonl']);
  expect(readdirSync(file('.work'))).toEqual(['program.log']);
  await train();
  expect(readFileSync(file('.work/program.log'), 'utf8').match(/started train at \d+/g)).toEqual([
    'started train at 0',
    'started train at 0',
  ]);
});
