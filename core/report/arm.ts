/** One evaluated arm: its figures over all its tasks and over each group of them, its repeats gathered. */
import { bestAtK, pairedDifferences, passAtK } from '../estimators';
import { candidateOf, selectionOrder } from '../selection';
import type { RolloutSummary } from '../trajectory';
import type { ArmData, RepeatData } from './data';
import { diversityOf, stepHistogram } from './diversity';
import { correctness, figure, type Interval, measure, outcomesOf, overRepeats, type PerTask } from './rollouts';
import { rolloutsByTask, rounded } from './rollouts';
import type { Arm, Curve, Results, SelectorReport } from './types';
import { armVerifier } from './verifier';

type SelectionData = RepeatData['selections'][number];

/** What a comparison of two arms pairs: each task's mean over the repeats. */
export interface ArmValues {
  passAt1: PerTask;
  passAtN: PerTask;
  selected: { selector: string; values: PerTask; source: string[] }[];
}

export interface ComputedArm {
  arm: Arm;
  values: ArmValues;
}

export function armOf(data: ArmData, interval: Interval): ComputedArm {
  const { name, tasks, samples, repeats } = data;
  const perTask = repeats.map(rolloutsByTask);
  const results = repeats.map(({ stage }) => `${stage}/results.jsonl`);
  const passAt = (k: (graded: number) => number): PerTask[] =>
    perTask.map((groups) =>
      groups.map((rollouts) => {
        const resolved = rollouts.filter((rollout) => rollout.resolved).length;
        return rollouts.length === 0 ? null : passAtK(rollouts.length, resolved, k(rollouts.length));
      }),
    );
  const curve = (at: (k: number) => PerTask[], source: string[]): Curve => ({
    points: Array.from({ length: samples }, (_, index) => ({
      k: index + 1,
      ...rounded(interval(overRepeats(at(index + 1)))),
    })),
    source,
  });

  const one = passAt(() => 1);
  const all = passAt((graded) => graded);
  const rules = selectorsOf(repeats).map((selector) => {
    const made = repeats.flatMap((repeat, index) => {
      const selection = repeat.selections.find((entry) => entry.name === selector);
      return selection ? [{ repeat, selection, groups: perTask[index]!, one: one[index]! }] : [];
    });
    return {
      selector,
      made,
      chosen: made.map(({ repeat, selection }) => chosenCorrectness(repeat, selection)),
      source: made.flatMap(({ repeat, selection }) => [
        `${selection.stage}/selections.jsonl`,
        `${repeat.stage}/results.jsonl`,
      ]),
    };
  });

  const resultsOf = (includes: (task: number) => boolean): Results => {
    const of = (values: PerTask) => values.filter((_, task) => includes(task));
    const paired = (a: PerTask[], b: PerTask[]) =>
      interval(of(overRepeats(a.map((values, index) => pairedDifferences(values, b[index]!)))));
    return {
      passAt1: measure(one.map(of), interval, results),
      passAtN: measure(all.map(of), interval, results),
      headroom: figure(paired(all, one), results),
      selected: rules.map(({ selector, made, chosen, source }) => {
        const random = made.map((entry) => entry.one);
        return {
          selector,
          resolved: measure(chosen.map(of), interval, source),
          gain: figure(paired(chosen, random), source),
        };
      }),
    };
  };

  const selectorReport = ({ selector, made }: (typeof rules)[number]): SelectorReport => {
    const best = made.map(({ repeat, selection, groups }) =>
      groups.map((rollouts) => bestPerK(repeat, rollouts, selection)),
    );
    const source = made.flatMap(({ repeat }) => [
      `${repeat.stage}/results.jsonl`,
      `${repeat.scores?.stage}/scores.jsonl`,
      ...(repeat.verdicts ? [`${repeat.verdicts.stage}/verdicts.jsonl`] : []),
    ]);
    return {
      name: selector,
      stages: made.map(({ selection }) => selection.stage),
      rule: made[0]!.selection.rule,
      bestAtK: curve(
        (k) => best.map((lists) => lists.map((list) => list[Math.min(k, list.length) - 1] ?? null)),
        source,
      ),
      selections: made.flatMap(({ repeat, selection }) => selectionRows(repeat, selection)),
    };
  };

  const groups = [...new Set(tasks.tasks.map(({ group }) => group))].toSorted();
  const arm: Arm = {
    name,
    stages: repeats.map(({ stage }) => stage),
    tasks: tasks.name,
    library: tasks.tasks.some(({ dataset }) => dataset === 'library'),
    samples,
    ...outcomesOf(repeats),
    passAtK: curve((k) => passAt((graded) => Math.min(k, graded)), results),
    results: resultsOf(() => true),
    groups: groups.map((group) => ({ group, ...resultsOf((task) => tasks.tasks[task]!.group === group) })),
    selectors: rules.map(selectorReport),
    verifier: armVerifier(repeats),
    diversity: diversityOf(repeats, interval),
    steps: stepHistogram(repeats.flatMap(({ rollouts }) => rollouts.map(({ steps }) => steps))),
  };
  const selected = rules.map(({ selector, chosen, source }) => ({ selector, values: overRepeats(chosen), source }));
  return { arm, values: { passAt1: overRepeats(one), passAtN: overRepeats(all), selected } };
}

/** Names in the order of the configuration. */
function selectorsOf(repeats: readonly RepeatData[]): string[] {
  return [...new Set(repeats.flatMap(({ selections }) => selections.map(({ name }) => name)))];
}

/** Best@k of one task, index k - 1; as long as the task has graded rollouts. */
function bestPerK({ scores, verdicts }: RepeatData, rollouts: RolloutSummary[], { rule }: SelectionData): number[] {
  const candidates = rollouts.map((rollout) =>
    candidateOf(rollout, scores?.records.get(rollout.id), verdicts?.records.get(rollout.id)),
  );
  return bestAtK({ ...selectionOrder(candidates, rule), correct: rollouts.map(correctness) });
}

/** Correctness of each task's recorded choice; null where nothing could be chosen. */
function chosenCorrectness(repeat: RepeatData, selection: SelectionData): PerTask {
  const rows = new Map(selectionRows(repeat, selection).map(({ task, resolved }) => [task, resolved]));
  return repeat.tasks.tasks.map(({ id }) => {
    const resolved = rows.get(id) ?? null;
    return resolved === null ? null : Number(resolved);
  });
}

function selectionRows(data: RepeatData, { records }: SelectionData): SelectorReport['selections'] {
  const resolvedOf = new Map(data.rollouts.map(({ id, resolved }) => [id, resolved]));
  const groupOf = new Map(data.tasks.tasks.map(({ id, group }) => [id, group]));
  return records.map(({ task, chosen, reason }) => ({
    repeat: data.repeat,
    task,
    group: groupOf.get(task) ?? '',
    chosen,
    resolved: chosen === null ? null : (resolvedOf.get(chosen) ?? null),
    reason,
  }));
}
