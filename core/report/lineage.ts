/**
 * What each arm evaluates and which arms the plan relates: one whose model was trained from another's, and one trained
 * with the entropy term beside one without. Two arms are related only where nothing but the model differs between them.
 */
import type { ExperimentConfig, MethodConfig, PolicyConfig } from '../../config/schema';
import { canonicalJson } from '../artifact';
import { policyName, type Stage, type TrainStageConfig } from '../plan';
import type { StageData } from './data';
import type { Method, Question } from './types';

export interface Lineage {
  method: Method;
  /** Equal text: same tasks, N, and sampling settings. */
  setting: string;
  /** Stage that made the model; null for scripts and endpoints. */
  model: Stage | null;
}

/** One per configured arm. */
export function lineagesOf(config: ExperimentConfig, stages: readonly StageData[]): Lineage[] {
  return Object.entries(config.evaluate).map(([arm, { policy, samples }]) => {
    const names = Array.from({ length: config.repeats }, (_, repeat) => evaluateName(arm, repeat + 1));
    const planned = stages.filter(({ stage }) => names.includes(stage.name));
    const inputs = planned[0]?.stage.inputs ?? {};
    const model = stages.find(({ stage }) => stage.id === inputs.model)?.stage ?? null;
    return {
      method: {
        arm,
        model: policyName(policy),
        ...madeBy(policy, model, stages),
        stage: model?.id ?? null,
        samples,
        repeats: { planned: names.length, sealed: planned.filter(({ manifest }) => manifest !== null).length },
      },
      setting: canonicalJson([inputs.tasks ?? null, samples, { ...policy, model: null }]),
      model,
    };
  });
}

/** Name of an arm's evaluate stage; `repeat` from 1. */
export function evaluateName(arm: string, repeat: number): string {
  return `evaluate:${arm}${repeat === 1 ? '' : `.${repeat}`}`;
}

/** `train:sft` -> `sft`. */
export function shortName({ name, kind }: Pick<Stage, 'name' | 'kind'>): string {
  return name.startsWith(`${kind}:`) ? name.slice(kind.length + 1) : name;
}

export function trainConfig(stage: Stage): TrainStageConfig {
  return stage.config as TrainStageConfig;
}

function madeBy(
  policy: PolicyConfig,
  model: Stage | null,
  stages: readonly StageData[],
): Pick<Method, 'method' | 'trainedFrom'> {
  if (policy.type === 'scripted') return { method: 'script', trainedFrom: null };
  if (policy.type === 'openai') return { method: 'endpoint', trainedFrom: null };
  if (model?.kind !== 'train') return { method: 'untrained', trainedFrom: null };
  const base = stages.find(({ stage }) => stage.id === model.inputs.model)?.stage;
  return { method: trainConfig(model).method.type, trainedFrom: base ? shortName(base) : null };
}

export interface Relation {
  question: Question;
  first: string;
  second: string;
  differs: string[];
}

/** In the order in which they are asked. */
export function relationsOf(lineages: readonly Lineage[]): Relation[] {
  const relations = lineages.flatMap((second) =>
    lineages.flatMap((first): Relation[] => {
      if (!first.model || second.model?.kind !== 'train' || first.setting !== second.setting) return [];
      const names = { first: first.method.arm, second: second.method.arm };
      if (second.model.inputs.model === first.model.id) {
        const question = second.method.method === 'sft' ? 'sft' : 'preference';
        return [{ question, ...names, differs: [] }];
      }
      return withoutEntropy(second.model, first.model)
        ? [{ question: 'entropy', ...names, differs: differences(first.model, second.model) }]
        : [];
    }),
  );
  const order: Question[] = ['sft', 'preference', 'entropy'];
  return relations.toSorted((a, b) => order.indexOf(a.question) - order.indexOf(b.question));
}

/** `other` was trained by the same method without the entropy term, on the same inputs. */
function withoutEntropy(stage: Stage, other: Stage): boolean {
  return (
    other.kind === 'train' &&
    trainConfig(stage).method.type === `entropo-${trainConfig(other).method.type}` &&
    canonicalJson(stage.inputs) === canonicalJson(other.inputs)
  );
}

/** What else is set otherwise, beside the entropy term itself. */
function differences(a: Stage, b: Stage): string[] {
  const flat = (stage: Stage): Record<string, unknown> => {
    const { method, ...rest } = trainConfig(stage);
    const {
      type: _,
      entropyRatio: __,
      alpha: ___,
      form: ____,
      ...common
    } = method as Partial<Record<'entropyRatio' | 'alpha' | 'form', unknown>> & MethodConfig;
    return { ...rest, ...common };
  };
  const [left, right] = [flat(a), flat(b)];
  const same = (key: string) => canonicalJson([left[key] ?? null]) === canonicalJson([right[key] ?? null]);
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].filter((key) => !same(key)).toSorted();
}
