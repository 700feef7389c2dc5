/** Differences between arms on the same tasks, second minus first, paired by task. */
import { pairedDifferences } from '../estimators';
import type { ComputedArm } from './arm';
import type { Relation } from './lineage';
import { figure, type Interval, type PerTask } from './rollouts';
import type { Comparison } from './types';

/** First those that a question asks for, then every other two arms, in the order of the plan. */
export function compareArms(
  arms: readonly ComputedArm[],
  relations: readonly Relation[],
  interval: Interval,
): Comparison[] {
  const byName = new Map(arms.map((computed) => [computed.arm.name, computed]));
  const asked = relations.flatMap(({ question, first, second, differs }) => {
    const [a, b] = [byName.get(first), byName.get(second)];
    return a && b ? [comparison(a, b, { question, differs }, interval)] : [];
  });
  const related = new Set(relations.flatMap(({ first, second }) => [`${first} ${second}`, `${second} ${first}`]));
  const others = arms.flatMap((first, index) =>
    arms
      .slice(index + 1)
      .filter(({ arm }) => arm.tasks === first.arm.tasks && !related.has(`${first.arm.name} ${arm.name}`))
      .map((second) => comparison(first, second, { question: null, differs: [] }, interval)),
  );
  return [...asked, ...others];
}

function comparison(
  first: ComputedArm,
  second: ComputedArm,
  why: Pick<Comparison, 'question' | 'differs'>,
  interval: Interval,
): Comparison {
  const sources = [...first.arm.stages, ...second.arm.stages].map((stage) => `${stage}/results.jsonl`);
  const difference = (a: PerTask, b: PerTask, source: string[]) => figure(interval(pairedDifferences(b, a)), source);
  return {
    ...why,
    first: first.arm.name,
    second: second.arm.name,
    passAt1: difference(first.values.passAt1, second.values.passAt1, sources),
    passAtN: difference(first.values.passAtN, second.values.passAtN, sources),
    selected: first.values.selected.flatMap(({ selector, values, source }) => {
      const other = second.values.selected.find((entry) => entry.selector === selector);
      if (!other) return [];
      return [{ selector, difference: difference(values, other.values, [...source, ...other.source]) }];
    }),
  };
}
