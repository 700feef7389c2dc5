/** What the verifier did to an arm's candidates. Here, and here only, its scores meet the hidden grades. */
import { areaUnderCurve } from '../estimators';
import type { RepeatData } from './data';
import { round } from './rollouts';
import type { ArmVerifier } from './types';

/** Pooled over tasks and repeats. Null where no verify stage of the arm is sealed. */
export function armVerifier(repeats: readonly RepeatData[]): ArmVerifier | null {
  const judged = repeats.filter(({ verdicts }) => verdicts !== null);
  if (judged.length === 0) return null;
  const rows = judged.flatMap(({ rollouts, verdicts }) =>
    rollouts.map(({ id, resolved }) => ({
      score: verdicts!.records.get(id)?.verifierScore ?? null,
      positive: resolved,
    })),
  );
  const scored = rows.flatMap(({ score, positive }) => (score === null ? [] : [{ score, positive }]));
  return {
    scored: scored.length,
    unscored: rows.length - scored.length,
    auc: round(areaUnderCurve(scored)),
    removed: removedBy(judged),
    source: judged.flatMap(({ stage, verdicts, selections }) => [
      `${verdicts!.stage}/verdicts.jsonl`,
      `${stage}/results.jsonl`,
      ...selections.map((selection) => `${selection.stage}/selections.jsonl`),
    ]),
  };
}

/** Of each rule that has a smallest score, the candidates that its recorded selections dropped for it. */
function removedBy(repeats: readonly RepeatData[]): ArmVerifier['removed'] {
  const bySelector = new Map<string, ArmVerifier['removed'][number]>();
  for (const { rollouts, selections } of repeats) {
    const resolved = new Set(rollouts.filter((rollout) => rollout.resolved).map(({ id }) => id));
    for (const { name, rule, records } of selections) {
      if (rule.type !== 'entropo') continue;
      const { minVerifierScore } = rule;
      const entry = bySelector.get(name) ?? { selector: name, minVerifierScore, candidates: 0, resolved: 0 };
      bySelector.set(name, entry);
      const steps = records.flatMap(({ steps: all }) => all.filter(({ filter }) => filter === 'verifier'));
      const dropped = steps.flatMap((step) => step.dropped);
      entry.candidates += dropped.length;
      entry.resolved += dropped.filter(({ id }) => resolved.has(id)).length;
    }
  }
  return [...bySelector.values()];
}
