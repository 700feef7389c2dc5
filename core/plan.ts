/**
 * A configuration as a declared DAG of stages: a pure function, printable before anything runs. Each stage's key, and
 * with it its folder and workflow id, is known here (artifact.ts). Adding a stage kind is one entry of `STAGE_KINDS`,
 * one workflow and its activities.
 */
import type { ExperimentConfig, MethodConfig, ModelConfig, PolicyConfig, TrainConfig } from '../config/schema';
import { stageKey } from './artifact';
import { stageId } from './ids';

/** Version of the code of each stage kind: bumped by hand when equal input would give other bytes. */
export const STAGE_KINDS = {
  tasks: 1,
  /** An ordinary model folder, checked and at hand: below `model/`, as in every stage that makes weights. */
  model: 1,
  collect: 2,
  /** Preference pairs and KTO labels out of collected rollouts. */
  pairs: 1,
  /** Log-probabilities of the pairs' conversations under the reference model. */
  reference: 1,
  train: 1,
  evaluate: 1,
  score: 2,
  /** Verifier scores of evaluated rollouts. */
  verify: 1,
  select: 2,
  report: 2,
} as const;

export type StageKind = keyof typeof STAGE_KINDS;

export interface Stage {
  /** Unique within the experiment and made for people: `evaluate:search-8`; its second repeat `evaluate:search-8.2`. */
  name: string;
  kind: StageKind;
  /** Folder below `store/` and workflow id. */
  id: string;
  key: string;
  /** Role of the input -> id of the stage that makes it. */
  inputs: Record<string, string>;
  /** What the stage does, without what its inputs say. */
  config: StageConfig;
}

/** A shipped prompt and the digest of its text: another text is another stage. */
export interface PromptRef {
  name: string;
  sha256: string;
}

export interface RolloutsStageConfig {
  seed: number;
  policy: PolicyConfig;
  prompt: PromptRef;
  limits: ExperimentConfig['limits'];
  sandboxLimits: ExperimentConfig['sandboxLimits'];
  samples: number;
  minUsable: number;
}

/** The config of each stage kind, exactly as it enters the stage key; its inputs by role. */
export interface StageConfigs {
  tasks: { seed: number } & ExperimentConfig['tasks'][string];
  model: { source: ModelConfig };
  /** Inputs: `tasks`, and `model` where the policy is one of ours. */
  collect: RolloutsStageConfig;
  /** Inputs: `rollouts-0`, `rollouts-1`, … in the order of the configuration. */
  pairs: { seed: number; maxPairsPerTask: number };
  /** Inputs: `model`, `pairs`. */
  reference: Pick<TrainConfig, 'cutoff' | 'overlong' | 'microBatchTokens'>;
  /** Inputs: `model`, and `rollouts-0`, … (sft, verifier) or `pairs` and `reference` (preference methods). */
  train: TrainStageConfig;
  /** Inputs as for `collect`. */
  evaluate: RolloutsStageConfig;
  /** Inputs: `tasks`, `rollouts`. */
  score: { sandboxLimits: ExperimentConfig['sandboxLimits'] };
  /** Inputs: `tasks`, `rollouts`, `verifier` (a train stage). */
  verify: { prompt: PromptRef };
  /** Inputs: `tasks`, `rollouts`, `scores`, and `verdicts` (a verify stage) where there is a verifier. */
  select: { arm: string; selector: ExperimentConfig['select'][string] };
  /** The whole configuration, since the report shows it. */
  report: { config: ExperimentConfig };
}
export type StageConfig = StageConfigs[StageKind];

export interface TrainStageConfig extends Omit<TrainConfig, 'model' | 'data'> {
  seed: number;
  /** Holds the judge's prompt; for the verifier only. */
  prompt?: PromptRef;
}

export interface Plan {
  experiment: string;
  title: string;
  /** In an order in which every stage follows its inputs. */
  stages: Stage[];
}

/** How the stages run here: not part of any key, since it is meant to change no result. */
export interface RunSettings {
  sandbox: ExperimentConfig['sandbox'];
  lanes: number;
  shardSize: number;
  device: ExperimentConfig['device'];
  serve: ExperimentConfig['serve'];
  idleStopMs: number;
}

type Inputs = Record<string, Stage>;

/**
 * @param promptSha256 of the text of `config.prompt`.
 * Throws `RangeError` naming the path when a name is not declared, is of the wrong kind, or needs itself.
 */
export function planExperiment(experiment: string, config: ExperimentConfig, promptSha256: string): Plan {
  return new Planner(experiment, config, { name: config.prompt, sha256: promptSha256 }).plan();
}

/** Declares each stage once, its inputs before it. */
class Planner {
  private readonly stages: Stage[] = [];
  private readonly known = new Map<string, Stage>();
  private readonly open: string[] = [];

  constructor(
    private readonly experiment: string,
    private readonly config: ExperimentConfig,
    private readonly prompt: PromptRef,
  ) {}

  plan(): Plan {
    const { tasks, models, collect, preferences, train, evaluate, select, repeats, verifier } = this.config;
    for (const name of Object.keys(models)) {
      if (name in train) throw new RangeError(`train.${name}: models.${name} has the same name; rename one of them`);
    }
    for (const name of Object.keys(tasks)) this.tasks('tasks', name);
    for (const name of Object.keys(models)) this.model('models', name);
    for (const name of Object.keys(collect)) this.collect('collect', name);
    for (const name of Object.keys(preferences)) this.pairs('preferences', name);
    for (const name of Object.keys(train)) this.train('train', name);
    if (verifier !== undefined && train[verifier]?.method.type !== 'verifier') {
      throw new RangeError(`verifier: no verifier named "${verifier}" below train (method: { type: verifier })`);
    }
    for (const arm of Object.keys(evaluate)) {
      for (let repeat = 0; repeat < repeats; repeat++) this.evaluate(arm, repeat, Object.keys(select));
    }
    const inputs = Object.fromEntries(this.stages.map((stage) => [stage.name, stage]));
    this.add('report', 'report', { config: this.config }, inputs);
    return { experiment: this.experiment, title: this.config.title, stages: this.stages };
  }

  private tasks(path: string, name: string): Stage {
    const tasks = declared(this.config.tasks, `${path}.tasks`, 'tasks', name);
    return this.once(`tasks:${name}`, () => this.add('tasks', name, { seed: this.config.seed, ...tasks }, {}));
  }

  /** Weights by name: shipped, fetched or trained. */
  private model(path: string, name: string): Stage {
    const { models, train } = this.config;
    if (name in train) {
      if (train[name]!.method.type === 'verifier') throw new RangeError(`${path}: "${name}" is a verifier, no policy`);
      return this.train(path, name);
    }
    const source = declared(models, path, 'models or trained models', name, Object.keys(train));
    return this.once(`model:${name}`, () => this.add('model', name, { source }, {}));
  }

  private collect(path: string, name: string): Stage {
    const rollouts = declared(this.config.collect, path, 'rollouts (collect)', name);
    const at = `collect.${name}`;
    return this.once(at, () =>
      this.add('collect', name, this.rolloutsConfig(rollouts, 0), this.inputsOf(at, rollouts)),
    );
  }

  private pairs(path: string, name: string): Stage {
    const { from, maxPairsPerTask } = declared(this.config.preferences, path, 'preferences', name);
    const at = `preferences.${name}`;
    return this.once(at, () => {
      if (new Set(from.map((collect) => this.config.collect[collect]?.tasks)).size > 1) {
        throw new RangeError(`${at}.from: ${from.join(', ')} play different tasks; pairs need the same ones`);
      }
      return this.add('pairs', name, { seed: this.config.seed, maxPairsPerTask }, this.rollouts(`${at}.from`, from));
    });
  }

  private train(path: string, name: string): Stage {
    const { model, data, ...rest } = declared(this.config.train, path, 'trained models', name);
    const at = `train.${name}`;
    return this.once(at, () => {
      const base = this.model(`${at}.model`, model);
      const config: TrainStageConfig = { seed: this.config.seed, ...rest };
      if (!isPreference(rest.method)) {
        if (rest.method.type === 'verifier') config.prompt = this.prompt;
        return this.add('train', name, config, { model: base, ...this.rollouts(`${at}.data`, data) });
      }
      if (data.length > 1) throw new RangeError(`${at}.data: ${rest.method.type} takes one name below preferences`);
      const pairs = this.pairs(`${at}.data`, data[0]!);
      const { cutoff, overlong, microBatchTokens } = rest;
      const reference = this.once(`reference:${base.id}:${pairs.id}:${cutoff}:${overlong}:${microBatchTokens}`, () =>
        this.add('reference', `${model}:${data[0]!}`, { cutoff, overlong, microBatchTokens }, { model: base, pairs }),
      );
      return this.add('train', name, config, { model: base, pairs, reference });
    });
  }

  private evaluate(arm: string, repeat: number, rules: readonly string[]): void {
    const { evaluate, select, verifier, sandboxLimits } = this.config;
    const rollouts = evaluate[arm]!;
    const at = `evaluate.${arm}`;
    if (isPrivileged(rollouts.policy)) {
      throw new RangeError(`${at}.policy: a privileged policy knows the fix; it may only collect`);
    }
    const name = repeat === 0 ? arm : `${arm}.${repeat + 1}`;
    const { tasks, ...model } = this.inputsOf(at, rollouts);
    const rolled = this.add('evaluate', name, this.rolloutsConfig(rollouts, repeat), { tasks: tasks!, ...model });
    const inputs = { tasks: tasks!, rollouts: rolled };
    const scores = this.add('score', name, { sandboxLimits }, inputs);
    const verdicts: Inputs =
      verifier === undefined
        ? {}
        : {
            verdicts: this.add(
              'verify',
              name,
              { prompt: this.prompt },
              { ...inputs, verifier: this.train('verifier', verifier) },
            ),
          };
    for (const rule of rules) {
      this.add('select', `${name}:${rule}`, { arm, selector: select[rule]! }, { ...inputs, scores, ...verdicts });
    }
  }

  private rollouts(path: string, names: readonly string[]): Inputs {
    return Object.fromEntries(names.map((name, index) => [`rollouts-${index}`, this.collect(path, name)]));
  }

  private inputsOf(at: string, { tasks, policy }: ExperimentConfig['collect'][string]): Inputs {
    const model: Inputs = policy.type === 'model' ? { model: this.model(`${at}.policy.model`, policy.model) } : {};
    return { tasks: this.tasks(at, tasks), ...model };
  }

  private rolloutsConfig(rollouts: ExperimentConfig['collect'][string], repeat: number): RolloutsStageConfig {
    const { seed, limits, sandboxLimits } = this.config;
    const { policy, samples, minUsable } = rollouts;
    return { seed: seed + repeat, policy, prompt: this.prompt, limits, sandboxLimits, samples, minUsable };
  }

  private once(name: string, make: () => Stage): Stage {
    const known = this.known.get(name);
    if (known) return known;
    if (this.open.includes(name)) throw new RangeError(`${name}: needs itself (${[...this.open, name].join(' -> ')})`);
    this.open.push(name);
    const stage = make();
    this.open.pop();
    this.known.set(name, stage);
    return stage;
  }

  private add<K extends StageKind>(kind: K, name: string, config: StageConfigs[K], inputs: Inputs): Stage {
    const keys = Object.fromEntries(Object.entries(inputs).map(([role, stage]) => [role, stage.key]));
    const key = stageKey({ kind, codeVersion: STAGE_KINDS[kind], config, inputs: keys });
    const ids = Object.fromEntries(Object.entries(inputs).map(([role, stage]) => [role, stage.id]));
    const stage: Stage = { name: `${kind}:${name}`, kind, id: stageId(kind, key), key, inputs: ids, config };
    this.stages.push(stage);
    return stage;
  }
}

/** The entry of that name, or a `RangeError` that lists the names there are. */
function declared<T>(entries: Record<string, T>, path: string, what: string, name: string, more: string[] = []): T {
  const entry = entries[name];
  if (entry !== undefined) return entry;
  const names = [...Object.keys(entries), ...more].join(', ') || 'none';
  throw new RangeError(`${path}: no ${what} named "${name}"; declared: ${names}`);
}

/** True for the methods that learn from pairs or labels and need a reference. */
export function isPreference(method: MethodConfig): boolean {
  return method.type !== 'sft' && method.type !== 'verifier';
}

/** Ids of a stage's inputs whose role is `prefix` or `prefix-N`, in order. */
export function inputsNamed(stage: Pick<Stage, 'inputs'>, prefix: string): string[] {
  return Object.keys(stage.inputs)
    .filter((role) => role === prefix || role.startsWith(`${prefix}-`))
    .toSorted((a, b) => Number(a.slice(prefix.length + 1)) - Number(b.slice(prefix.length + 1)))
    .map((role) => stage.inputs[role]!);
}

/** True for a policy that was told the fix: it may collect, never be evaluated. */
export function isPrivileged(policy: PolicyConfig): boolean {
  return policy.type === 'scripted' && policy.script === 'teacher';
}

/** True for stages that play or score task by task, in shards. */
export function isSharded(kind: StageKind): boolean {
  return kind === 'collect' || kind === 'evaluate' || kind === 'score';
}

/** True for stages that train a model or are played by one that is served meanwhile. */
export function needsDevice(stage: Pick<Stage, 'inputs'>): boolean {
  return 'model' in stage.inputs;
}

/** How a policy is called in records and search attributes. */
export function policyName(policy: PolicyConfig): string {
  if (policy.type !== 'scripted') return policy.model;
  return policy.script === 'search' ? `search-${policy.tries}` : policy.script;
}
