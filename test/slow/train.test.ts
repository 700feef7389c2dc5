/**
 * The real programs under their activities: from a model folder and rollouts to trained weights, which a stop in the
 * middle does not change by one bit. Needs the Python of the set-up.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { prepareModel } from '../../activities/models';
import { makePairs } from '../../activities/pairs';
import { createStageActivities } from '../../activities/stages';
import { scoreReference, trainModel, type TrainerDeps } from '../../activities/train';
import { DeviceSlots } from '../../adapters/devices';
import { StageStore } from '../../adapters/store/stages';
import { pythonPath, trainerCommand } from '../../adapters/trainer';
import { PROJECT_ROOT } from '../../config/env';
import { declared, type GivenRollout, sealRollouts } from '../fixtures/graded-rollouts';
import { temporaryHome } from '../support/processes';

const SAVE = `
import sys
from trainer.tests.tiny import tiny_model, tiny_tokenizer
tiny_model(seed=1).save_pretrained(sys.argv[1])
tiny_tokenizer("chatml").save_pretrained(sys.argv[1])
`;
const SETTINGS = {
  ...{ seed: 5, epochs: 2, batchSize: 2, microBatchTokens: 2048, learningRate: 0.01, warmup: 0.1 },
  ...{ cutoff: 2000, overlong: 'drop', checkpointUpdates: 2 },
};
const ROLLOUTS: GivenRollout[] = Array.from({ length: 8 }, (_, index) => ({
  ...{ task: `t${index % 2}`, sample: Math.floor(index / 2), resolved: index < 4 },
  replies: ['def f(x):', `    return x + ${index}`],
}));

const { home, remove } = temporaryHome();
const store = new StageStore(home);
const stages = createStageActivities(store);
afterAll(remove);

const weights = (stage: string) => readFileSync(path.join(store.folder(stage), 'model', 'model.safetensors'));
const metrics = (stage: string) => readFileSync(path.join(store.folder(stage), 'metrics.jsonl'), 'utf8');
const { signal } = new AbortController();
const effort = { heartbeat: () => {}, signal };

function deps(stop: AbortSignal = signal, heartbeat: TrainerDeps['heartbeat'] = () => {}): TrainerDeps {
  const command: TrainerDeps['command'] = (program, spec) => trainerCommand(program, spec);
  return { store, slots: new DeviceSlots([]), command, heartbeat, signal: stop };
}

test('model, SFT, pairs, reference and DPO: each stage starts from what the one before sealed; a stop changes no bit', async () => {
  const folder = path.join(home, 'given');
  execFileSync(pythonPath(), ['-c', SAVE, folder], { cwd: PROJECT_ROOT, stdio: 'ignore' });
  await store.declare(declared('model', 'model-1', { source: { type: 'folder', path: folder } }));
  await prepareModel(store, 'model-1', effort);
  await stages.sealStage('model-1');
  await sealRollouts(store, 'collect-1', ROLLOUTS);

  const sft = { ...SETTINGS, method: { type: 'sft', keep: 'all' } };
  const from = { model: 'model-1', 'rollouts-0': 'collect-1' };
  for (const id of ['train-quiet', 'train-stopped']) await store.declare(declared('train', id, sft, from));
  await trainModel({ stage: 'train-quiet', device: 'cpu' }, deps());
  const abort = new AbortController();
  const stopAtThree: TrainerDeps['heartbeat'] = (progress) => {
    if ((progress?.update ?? 0) >= 3) abort.abort(new Error('stopped'));
  };
  await trainModel({ stage: 'train-stopped', device: 'cpu' }, deps(abort.signal, stopAtThree)).catch(() => {});
  await trainModel({ stage: 'train-stopped', device: 'cpu' }, deps());
  expect(weights('train-stopped').equals(weights('train-quiet'))).toBe(true);
  expect(metrics('train-stopped')).toBe(metrics('train-quiet'));
  expect(await stages.sealStage('train-quiet')).toMatchObject({ rows: 8, dropped: 0, updates: 8 });
  expect(weights('train-quiet').equals(weights('model-1'))).toBe(false);

  await store.declare(declared('pairs', 'pairs-1', { seed: 1, maxPairsPerTask: 4 }, { 'rollouts-0': 'collect-1' }));
  await makePairs(store, 'pairs-1', signal);
  expect(await stages.sealStage('pairs-1')).toMatchObject({ pairs: 8, labels: 8, mixed: 2 });
  const learner = { model: 'train-quiet', pairs: 'pairs-1' };
  const { cutoff, overlong, microBatchTokens } = SETTINGS;
  await store.declare(declared('reference', 'reference-1', { cutoff, overlong, microBatchTokens }, learner));
  await scoreReference({ stage: 'reference-1', device: 'cpu' }, deps());
  expect(await stages.sealStage('reference-1')).toEqual({ reference: 8 });
  const dpo = { ...SETTINGS, method: { type: 'entropo-dpo', beta: 0.1, ftx: 0, entropyRatio: 1.1 } };
  await store.declare(declared('train', 'train-dpo', dpo, { ...learner, reference: 'reference-1' }));
  await trainModel({ stage: 'train-dpo', device: 'cpu' }, deps());
  expect(await stages.sealStage('train-dpo')).toMatchObject({ updates: 8 });
  expect(weights('train-dpo').equals(weights('train-quiet'))).toBe(false);
}, 600_000);
