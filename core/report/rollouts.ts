/** What every stage of rollouts reports, and the numbers' common form. */
import { type bootstrap, countBy, deviation, type Estimate, mean } from '../estimators';
import type { RolloutSummary } from '../trajectory';
import type { RolloutsData } from './data';
import type { Collection, Figure, Measure, Outcomes } from './types';

export type Interval = ReturnType<typeof bootstrap>;

/** A value per task, null where unknown; aligned with the tasks of the stage. */
export type PerTask = (number | null)[];

export function correctness({ resolved }: RolloutSummary): number {
  return resolved ? 1 : 0;
}

/** Six decimals: what another machine's last bit cannot change. Null stays null, and what is not finite becomes it. */
export function round(value: number | null | undefined): number | null {
  if (value === null || value === undefined || !Number.isFinite(value)) return null;
  return Math.round(value * 1e6) / 1e6;
}

export function rounded({ value, low, high, tasks }: Estimate): Estimate {
  return { value: round(value), low: round(low), high: round(high), tasks };
}

export function figure(estimate: Estimate, source: string[]): Figure {
  return { ...rounded(estimate), source };
}

/** Mean of the known ones; null where none is. */
export function knownMean(values: readonly (number | null)[]): number | null {
  return mean(values.filter((value) => value !== null));
}

/** Each task's mean over the repeats that know it. */
export function overRepeats(repeats: readonly PerTask[]): PerTask {
  const [first] = repeats;
  if (!first || repeats.length === 1) return first ?? [];
  return first.map((_, task) => knownMean(repeats.map((values) => values[task] ?? null)));
}

/** @param repeats one list a repeat. */
export function measure(repeats: readonly PerTask[], interval: Interval, source: string[]): Measure {
  const gathered = figure(interval(overRepeats(repeats)), source);
  if (repeats.length === 1) return { ...gathered, repeats: null };
  const values = repeats.map(knownMean);
  const known = values.filter((value) => value !== null);
  return {
    ...gathered,
    repeats: { values: values.map(round), mean: round(mean(known)), deviation: round(deviation(known)) },
  };
}

/** The graded rollouts of each task, in the order of the tasks; empty where none is. */
export function rolloutsByTask({ tasks, rollouts }: RolloutsData): RolloutSummary[][] {
  const groups = new Map<string, RolloutSummary[]>(tasks.tasks.map(({ id }) => [id, []]));
  for (const rollout of rollouts) groups.get(rollout.task)?.push(rollout);
  return [...groups.values()];
}

/** Of one stage, or of all repeats of an arm. */
export function outcomesOf(stages: readonly RolloutsData[]): Outcomes {
  const rollouts = stages.flatMap((stage) => stage.rollouts);
  const failures = stages.flatMap((stage) => stage.failures);
  const all = rollouts.length + failures.length;
  return {
    rollouts: rollouts.length,
    failures: countBy(failures.map(({ type }) => type)),
    usable: all === 0 ? null : round(rollouts.length / all),
    exits: countBy(rollouts.map(({ exit }) => exit)),
    source: stages.flatMap(({ stage }) => [`${stage}/results.jsonl`, `${stage}/failures.jsonl`]),
  };
}

export function collectionOf(data: RolloutsData, interval: Interval): Collection {
  const perTask = rolloutsByTask(data).map((rollouts) => mean(rollouts.map(correctness)));
  return {
    name: data.name,
    stage: data.stage,
    ...outcomesOf([data]),
    resolved: figure(interval(perTask), [`${data.stage}/results.jsonl`]),
  };
}
