import { resolveConfig } from '../../config/load';
import type { ExperimentInput } from '../../config/schema';
import { estimatePlan, plannedRollouts, type Rates } from '../../core/estimate';
import { planExperiment } from '../../core/plan';

/** Round numbers: a script's rollout takes one core-second, a model's two, a token of training a hundredth. */
const RATES: Rates = {
  ...{ task: 0, scriptedRollout: 1, modelRollout: 2, score: 0, verify: 0, start: 0, stage: 0 },
  ...{ trainedToken: 0.01, scoredToken: 0.001, sampledTokens: 50, conversationTokens: 100, resolved: 0.5 },
};

const scripted = (limit: number | undefined): ExperimentInput => ({
  tasks: { heldout: { source: { type: 'pocket' }, split: 'heldout', ...(limit && { limit }) } },
  evaluate: {
    a: { tasks: 'heldout', policy: { type: 'scripted', script: 'search', tries: 2 }, samples: 4 },
    b: { tasks: 'heldout', policy: { type: 'scripted', script: 'search', tries: 3 }, samples: 4 },
  },
});
const trained: ExperimentInput = {
  tasks: { train: { source: { type: 'pocket' }, limit: 10 } },
  models: { origin: { type: 'tiny' } },
  collect: {
    teacher: { tasks: 'train', policy: { type: 'scripted', script: 'teacher' }, samples: 2 },
    student: { tasks: 'train', policy: { type: 'model', model: 'sft' }, samples: 3 },
  },
  preferences: { pooled: { from: ['teacher', 'student'], maxPairsPerTask: 1 } },
  train: {
    sft: { model: 'origin', data: 'teacher', method: { type: 'sft' }, epochs: 2 },
    dpo: { model: 'sft', data: 'pooled', method: { type: 'dpo' } },
  },
};
const planOf = (config: ExperimentInput) => planExperiment('exp', resolveConfig(config, 'test'), 'digest');
const of = (config: ExperimentInput, cores: number, sealed: string[] = []) =>
  estimatePlan(planOf(config), (id) => sealed.includes(id), RATES, cores);

it('counts rollouts of what is not sealed', () => {
  const { stages } = planOf(scripted(5));
  expect(of(scripted(5), 1)).toMatchObject({ rollouts: 40, sealed: 0, stages: stages.length });
  const done = stages.filter(({ name }) => name === 'evaluate:a').map(({ id }) => id);
  expect(of(scripted(5), 1, done)).toMatchObject({ rollouts: 20, sealed: 1 });
});

it('does not guess how many tasks a data set has', () => {
  expect(of(scripted(undefined), 1).rollouts).toBeNull();
});

it('shares the cores among stages that play at once', () => {
  expect(of(scripted(5), 1).seconds).toBeCloseTo(40);
  expect(of(scripted(5), 2).seconds).toBeCloseTo(20);
});

it('counts tokens of sampling and training, epochs included', () => {
  // SFT: 20 conversations twice; DPO: 10 pairs of two.
  expect(of(trained, 2)).toMatchObject({ rollouts: 50, sampledTokens: 30 * 50, trainedTokens: (40 + 20) * 100 });
  const sft = { ...trained.train!['sft']!, method: { type: 'sft' as const, keep: 'resolved' as const } };
  const kept = { ...trained, train: { ...trained.train, sft } };
  expect(of(kept, 2)).toMatchObject({ trainedTokens: (20 + 20) * 100 });
});

it('gives a training program one core and lets what needs it wait', () => {
  // Teacher 20 on two cores, SFT 40 on one, student 60 on two, reference 20 x 100 x .001, DPO 20.
  expect(of(trained, 2).seconds).toBeCloseTo(10 + 40 + 30 + 2 + 20);
});

it('runs one model server at a time', () => {
  const evaluate = Object.fromEntries(
    ['origin', 'sft'].map((model) => [
      model,
      { tasks: 'train', policy: { type: 'model' as const, model }, samples: 1 },
    ]),
  );
  const both = { ...trained, evaluate };
  const models = planOf(both).stages.filter(({ kind }) => kind === 'model' || kind === 'train' || kind === 'collect');
  const open = of(both, 2, [...models.map(({ id }) => id)]);
  // Two evaluations of 10 rollouts, one after the other on both cores, beside reference (2); DPO is sealed.
  expect(open.seconds).toBeCloseTo((20 + 20 + 2) / 2);
});

it('counts no rollouts for stages that play none', () => {
  const plan = planOf(scripted(5));
  expect(plan.stages.filter((stage) => plannedRollouts(stage, plan) !== 0).map(({ kind }) => kind)).toEqual([
    'evaluate',
    'evaluate',
  ]);
});

it('takes no time when everything is sealed', () => {
  const ids = planOf(scripted(5)).stages.map(({ id }) => id);
  expect(of(scripted(5), 1, ids)).toMatchObject({ rollouts: 0, seconds: 0 });
});
