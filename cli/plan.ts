/** Prints the declared DAG before anything runs: text, mermaid or JSON, with what is sealed already. */
import colors from 'picocolors';
import { type Estimate, plannedRollouts } from '../core/estimate';
import type { Plan, Stage } from '../core/plan';
import { clock } from './progress-bars';

export function planAsText(plan: Plan, sealed: (id: string) => boolean): string {
  return plan.stages
    .map((stage) => {
      const mark = sealed(stage.id) ? colors.green('sealed ') : 'to run ';
      const count = plannedRollouts(stage, plan);
      const rollouts = count === 0 ? '' : ` · ${count ?? 'all'} rollouts`;
      const inputs = [...new Set(Object.values(stage.inputs))].map((id) => nameOf(plan, id));
      const from =
        inputs.length === 0
          ? ''
          : colors.dim(` ← ${inputs.length > 4 ? `${inputs.length} stages` : inputs.join(', ')}`);
      return `${mark} ${stage.name.padEnd(28)} ${colors.dim(stage.id)}${rollouts}${from}`;
    })
    .join('\n');
}

export function estimateAsText(estimate: Estimate): string {
  const { rollouts, sampledTokens, trainedTokens, seconds, sealed, stages } = estimate;
  const done = `${sealed} of ${stages} stages are sealed`;
  if (rollouts === null) return `${done}; how many rollouts are left, only the data set knows (no limit is set)`;
  if (sealed === stages) return `${done}; nothing is left to do`;
  const thousands = (count: number) => (count < 1000 ? String(Math.round(count)) : `${Math.round(count / 1000)}k`);
  const tokens = `${thousands(sampledTokens)} tokens to sample, ${thousands(trainedTokens)} to train on`;
  return `${done}; left: ${rollouts} rollouts, ${tokens}, about ${clock(seconds)} on a machine like this one`;
}

export function planAsMermaid(plan: Plan, sealed: (id: string) => boolean): string {
  const node = (stage: Stage) => `  ${mermaidId(stage.id)}["${stage.name}"]${sealed(stage.id) ? ':::sealed' : ''}`;
  const edges = plan.stages.flatMap((stage) =>
    [...new Set(Object.values(stage.inputs))].map((id) => `  ${mermaidId(id)} --> ${mermaidId(stage.id)}`),
  );
  return ['flowchart LR', ...plan.stages.map(node), ...edges, '  classDef sealed fill:#cde8cf,stroke:#3a7d44'].join(
    '\n',
  );
}

function nameOf(plan: Plan, id: string): string {
  return plan.stages.find((stage) => stage.id === id)?.name ?? id;
}

function mermaidId(id: string): string {
  return id.replaceAll('-', '_');
}
