import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { applyOverrides, loadConfig, readConfig, resolveConfig, shippedConfigs } from '../../config/load';
import { planExperiment } from '../../core/plan';

const tasks = { heldout: { source: { type: 'pocket' }, split: 'heldout' } };
const trained = { model: 'base', data: 'pooled' };
const search = { type: 'scripted', script: 'search', tries: 2 };

describe('shipped configurations', () => {
  test.each(shippedConfigs())('%s loads and plans', (name) => {
    const plan = planExperiment(name, loadConfig(name), 'digest');
    expect(plan.stages.at(-1)?.kind).toBe('report');
  });

  it('includes the demo and the smoke test', () => {
    expect(shippedConfigs()).toEqual(expect.arrayContaining(['demo', 'smoke']));
  });
});

describe('a configuration with a mistake', () => {
  const wrong: [string, unknown, RegExp[]][] = [
    ['an unknown key', { tasks, sampels: 2 }, [/^ {2}sampels: unknown key/m]],
    [
      'an unknown key gets the nearest name',
      { tasks, limits: { maxStep: 3 } },
      [/limits\.maxStep: unknown key; did you mean "maxSteps"\?/],
    ],
    [
      'an unknown key inside a tagged union',
      { tasks, evaluate: { a: { tasks: 'heldout', policy: { ...search, trys: 3 } } } },
      [/evaluate\.a\.policy\.trys: unknown key; did you mean "tries"\?/],
    ],
    ['a wrong type', { tasks, seed: 'one' }, [/seed: .*number/i]],
    [
      'a missing value',
      { tasks, evaluate: { a: { tasks: 'heldout', policy: { type: 'scripted', script: 'search' } } } },
      [/evaluate\.a\.policy\.tries: /],
    ],
    ['a wrong tag', { tasks: { x: { source: { type: 'pokcet' } } } }, [/tasks\.x\.source/]],
    ['a duration without unit', { tasks, limits: { maxTime: 'soon' } }, [/limits\.maxTime: not a duration: write 90s/]],
    [
      'several at once',
      { tasks, sed: 1, lanez: 2 },
      [/sed: unknown key; did you mean "seed"\?/, /lanez: unknown key; did you mean "lanes"\?/],
    ],
    [
      'alpha and ratio at once',
      { tasks, train: { arm: { ...trained, method: { type: 'entropo-dpo', alpha: 0.11, entropyRatio: 1.1 } } } },
      [/train\.arm\.method\.entropyRatio: give either entropyRatio .* or alpha; both are there/],
    ],
    [
      'neither alpha nor ratio',
      { tasks, train: { arm: { ...trained, method: { type: 'entropo-kto' } } } },
      [/train\.arm\.method\.entropyRatio: give either entropyRatio .* or alpha; neither is there/],
    ],
    ['no tasks at all', {}, [/tasks: is missing/]],
  ];
  test.each(wrong)('%s is refused with its path', (_, config, messages) => {
    const resolve = () => resolveConfig(config, 'test.yaml');
    for (const message of messages) expect(resolve).toThrow(message);
    expect(resolve).toThrow(expect.objectContaining({ name: 'ConfigInvalid' }));
  });

  it('a file that is not there names the shipped ones', () => {
    expect(() => readConfig('no-such')).toThrow(/no-such: no such file[\s\S]*shipped: .*demo/);
  });

  it('a file that is not YAML names the place', () => {
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'config-')), 'bad.yaml');
    writeFileSync(file, 'a: [1,\nb: }');
    expect(() => readConfig(file)).toThrow(/not valid YAML[\s\S]*line/);
  });
});

describe('overrides', () => {
  it('are applied in order, as YAML values', () => {
    const config = applyOverrides({ seed: 1 }, ['seed=2', 'limits.maxSteps=7', 'seed=3', 'title=a b']);
    expect(config).toEqual({ seed: 3, limits: { maxSteps: 7 }, title: 'a b' });
  });

  it('leave their input as it was', () => {
    const input = { limits: { maxSteps: 1 } };
    applyOverrides(input, ['limits.maxSteps=2']);
    expect(input.limits.maxSteps).toBe(1);
  });

  test.each(['seed', '=3', ' =3'])('"%s" is refused', (override) => {
    expect(() => applyOverrides({}, [override])).toThrow(/write key=value/);
  });

  it('through a value that is not a section is refused', () => {
    expect(() => applyOverrides({ seed: 1 }, ['seed.x=1'])).toThrow(/seed is not a section/);
  });

  it('of a configuration that is a number is refused', () => {
    expect(() => applyOverrides(7, ['seed=1'])).toThrow(/not a list of keys and values/);
  });

  it('cannot reach the prototype', () => {
    expect(() => applyOverrides({}, ['__proto__.polluted=1'])).toThrow(/__proto__/);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
