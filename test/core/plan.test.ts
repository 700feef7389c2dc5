import fc from 'fast-check';
import { resolveConfig } from '../../config/load';
import type { ExperimentInput } from '../../config/schema';
import { needsDevice, planExperiment, type Stage } from '../../core/plan';

const base: ExperimentInput = {
  tasks: {
    train: { source: { type: 'pocket' }, split: 'train', limit: 3 },
    heldout: { source: { type: 'pocket' }, split: 'heldout', limit: 2 },
  },
  collect: { teacher: { tasks: 'train', policy: { type: 'scripted', script: 'teacher' } } },
  evaluate: {
    few: { tasks: 'heldout', policy: { type: 'scripted', script: 'search', tries: 2 }, samples: 4 },
    many: { tasks: 'heldout', policy: { type: 'scripted', script: 'search', tries: 8 }, samples: 4 },
  },
  select: { entropo: { type: 'entropo' }, eb: { type: 'eb' } },
};
const plan = (config: ExperimentInput = base, experiment = 'exp') =>
  planExperiment(experiment, resolveConfig(config, 'test'), 'digest');
const named = (name: string, config?: ExperimentInput): Stage =>
  plan(config).stages.find((stage) => stage.name === name)!;

it('declares every stage after its inputs', () => {
  const { stages } = plan();
  expect(stages.map(({ name }) => name)).toEqual([
    'tasks:train',
    'tasks:heldout',
    'collect:teacher',
    ...['few', 'many'].flatMap((arm) => [
      `evaluate:${arm}`,
      `score:${arm}`,
      `select:${arm}:entropo`,
      `select:${arm}:eb`,
    ]),
    'report:report',
  ]);
  stages.forEach((stage, index) => {
    const before = stages.slice(0, index).map(({ id }) => id);
    expect(before).toEqual(expect.arrayContaining(Object.values(stage.inputs)));
  });
});

it('gives equal configurations equal keys, whatever the experiment is called', () => {
  const keys = (experiment: string) =>
    plan(base, experiment)
      .stages.filter(({ kind }) => kind !== 'report')
      .map(({ key }) => key);
  expect(keys('one')).toEqual(keys('two'));
});

const changes: [string, ExperimentInput, string[]][] = [
  ['the seed', { ...base, seed: 2 }, ['tasks:train', 'collect:teacher', 'evaluate:few', 'score:few', 'select:few:eb']],
  ['a limit of steps', { ...base, limits: { maxSteps: 5 } }, ['collect:teacher', 'evaluate:few', 'select:few:eb']],
  [
    'a selector',
    { ...base, select: { entropo: { type: 'entropo', steps: 'most' }, eb: { type: 'eb' } } },
    ['select:few:entropo'],
  ],
];
test.each(changes)('changing %s changes the keys of what depends on it', (_, config, changed) => {
  for (const name of changed) expect(named(name, config).key).not.toBe(named(name).key);
});

const same: [string, ExperimentInput, string[]][] = [
  ['lanes and shards', { ...base, lanes: 3, shardSize: 7 }, ['evaluate:few', 'select:few:eb']],
  ['the sandbox', { ...base, sandbox: 'docker' }, ['evaluate:few']],
  ['a selector', { ...base, select: { eb: { type: 'eb' } } }, ['evaluate:few', 'score:few', 'select:few:eb']],
  ['another arm', { ...base, evaluate: { few: base.evaluate!.few! } }, ['evaluate:few', 'collect:teacher']],
];
test.each(same)('changing %s leaves the keys of what does not depend on it', (_, config, kept) => {
  for (const name of kept) expect(named(name, config).key).toBe(named(name).key);
});

it('refuses tasks that are not declared, with the path', () => {
  const evaluate = { few: { ...base.evaluate!.few!, tasks: 'hold' } };
  expect(() => plan({ ...base, evaluate })).toThrow(
    'evaluate.few.tasks: no tasks named "hold"; declared: train, heldout',
  );
});

it('refuses to evaluate a privileged policy', () => {
  const evaluate = { cheat: { tasks: 'heldout', policy: { type: 'scripted' as const, script: 'teacher' as const } } };
  expect(() => plan({ ...base, evaluate })).toThrow(/evaluate\.cheat\.policy: a privileged policy/);
});

it('never gives two stages one id', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 1, max: 9 }), (seed, samples) => {
      const evaluate = { few: { ...base.evaluate!.few!, samples }, many: { ...base.evaluate!.many!, samples } };
      const ids = plan({ ...base, seed, evaluate }).stages.map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
    }),
    { numRuns: 30 },
  );
});

it('gives another prompt text another key', () => {
  const keyWith = (digest: string) =>
    planExperiment('exp', resolveConfig(base, 'test'), digest).stages.find(({ kind }) => kind === 'evaluate')!.key;
  expect(keyWith('one')).not.toBe(keyWith('two'));
});

describe('a full experiment', () => {
  const trained: ExperimentInput = {
    ...base,
    models: { origin: { type: 'tiny' } },
    collect: {
      ...base.collect,
      student: { tasks: 'train', policy: { type: 'model', model: 'sft' }, samples: 4 },
    },
    preferences: { pooled: { from: ['student', 'teacher'] } },
    train: {
      sft: { model: 'origin', data: 'teacher', method: { type: 'sft' } },
      dpo: { model: 'sft', data: 'pooled', method: { type: 'dpo' } },
      'entropo-dpo': { model: 'sft', data: 'pooled', method: { type: 'entropo-dpo', entropyRatio: 2 } },
      judge: { model: 'origin', data: ['student', 'teacher'], method: { type: 'verifier' } },
    },
    verifier: 'judge',
    evaluate: {
      origin: { tasks: 'heldout', policy: { type: 'model', model: 'origin' }, samples: 4 },
      'entropo-dpo': { tasks: 'heldout', policy: { type: 'model', model: 'entropo-dpo' }, samples: 4 },
    },
  };
  const inputNames = (name: string, config = trained) => {
    const { stages } = plan(config);
    const { inputs } = stages.find((stage) => stage.name === name)!;
    return Object.fromEntries(
      Object.entries(inputs).map(([role, id]) => [role, stages.find((stage) => stage.id === id)!.name]),
    );
  };

  it('declares every stage after its inputs', () => {
    const { stages } = plan(trained);
    stages.forEach((stage, index) => {
      const before = stages.slice(0, index).map(({ id }) => id);
      expect(before).toEqual(expect.arrayContaining(Object.values(stage.inputs)));
    });
  });

  it('starts the preference methods from the SFT model and gives both arms one reference pass', () => {
    const inputs = { model: 'train:sft', pairs: 'pairs:pooled', reference: 'reference:sft:pooled' };
    expect(inputNames('train:dpo')).toEqual(inputs);
    expect(inputNames('train:entropo-dpo')).toEqual(inputs);
    expect(plan(trained).stages.filter(({ kind }) => kind === 'reference')).toHaveLength(1);
  });

  it('pools rollouts in the order of the configuration', () => {
    expect(inputNames('pairs:pooled')).toEqual({ 'rollouts-0': 'collect:student', 'rollouts-1': 'collect:teacher' });
  });

  it('scores evaluated rollouts by the verifier and hands its verdicts to selection', () => {
    expect(inputNames('verify:origin')).toMatchObject({ rollouts: 'evaluate:origin', verifier: 'train:judge' });
    expect(inputNames('select:origin:eb')).toMatchObject({ scores: 'score:origin', verdicts: 'verify:origin' });
  });

  it('needs a device where a model is trained or played, and nowhere else', () => {
    const needing = plan(trained).stages.filter(needsDevice);
    expect(needing.map(({ name }) => name).toSorted()).toEqual([
      ...['collect:student', 'evaluate:entropo-dpo', 'evaluate:origin', 'reference:sft:pooled'],
      ...['train:dpo', 'train:entropo-dpo', 'train:judge', 'train:sft'],
    ]);
    expect(plan().stages.some(needsDevice)).toBe(false);
  });

  it('shares everything before the arms in a sweep over the entropy ratio', () => {
    const other = structuredClone(trained);
    other.train!['entropo-dpo']!.method = { type: 'entropo-dpo', entropyRatio: 3 };
    const changed = plan(trained).stages.filter(({ id }) => !plan(other).stages.some((stage) => stage.id === id));
    expect(changed.map(({ name }) => name)).toEqual([
      'train:entropo-dpo',
      ...['evaluate', 'score', 'verify'].map((kind) => `${kind}:entropo-dpo`),
      'select:entropo-dpo:entropo',
      'select:entropo-dpo:eb',
      'report:report',
    ]);
  });

  it('repeats an evaluation with a seed of its own', () => {
    const config = { ...trained, repeats: 3 };
    const evaluations = plan(config).stages.filter(({ name }) => name.startsWith('evaluate:origin'));
    expect(evaluations.map(({ name }) => name)).toEqual(['evaluate:origin', 'evaluate:origin.2', 'evaluate:origin.3']);
    expect(evaluations.map(({ config }) => (config as { seed: number }).seed)).toEqual([1, 2, 3]);
    expect(named('evaluate:origin', config).key).toBe(named('evaluate:origin', trained).key);
  });

  const refusals: [string, (config: ExperimentInput) => void, string][] = [
    [
      'a model that is not declared',
      (config) => (config.train!['sft']!.model = 'orign'),
      'train.sft.model: no models or trained models named "orign"; declared: origin, sft, dpo, entropo-dpo, judge',
    ],
    [
      'a model that needs itself',
      (config) => (config.train!['sft']!.data = ['student']),
      'collect.student: needs itself (collect.student -> train.sft -> collect.student)',
    ],
    [
      'a verifier as policy',
      (config) => (config.evaluate!['origin']!.policy = { type: 'model', model: 'judge' }),
      'evaluate.origin.policy.model: "judge" is a verifier, no policy',
    ],
    ['a verifier that is a policy', (config) => (config.verifier = 'sft'), 'verifier: no verifier named "sft"'],
    [
      'pairs over different tasks',
      (config) => (config.collect!['student']!.tasks = 'heldout'),
      'preferences.pooled.from: student, teacher play different tasks; pairs need the same ones',
    ],
    [
      'rollouts as preferences',
      (config) => (config.train!['dpo']!.data = 'teacher'),
      'train.dpo.data: no preferences named "teacher"; declared: pooled',
    ],
    [
      'one name for two models',
      (config) => (config.models!['sft'] = { type: 'tiny' }),
      'train.sft: models.sft has the same name; rename one of them',
    ],
  ];
  it.each(refusals)('refuses %s, with the path', (_, change, message) => {
    const config = structuredClone(trained);
    change(config);
    expect(() => plan(config)).toThrow(message);
  });
});
