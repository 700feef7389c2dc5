/** The stages that are not sealed, and why: what an incomplete experiment owes its reader. */
import type { StageData } from './data';
import type { Unfinished } from './types';

export function unfinishedOf(stages: readonly StageData[]): Unfinished[] {
  const byId = new Map(stages.map((entry) => [entry.stage.id, entry]));
  return stages.flatMap(({ stage, manifest, failure }): Unfinished[] => {
    if (manifest) return [];
    const facts = { name: stage.name, stage: stage.id };
    if (failure !== null) return [{ ...facts, state: 'failed', message: failure }];
    const inputs = [...new Set(Object.values(stage.inputs))].map((id) => byId.get(id));
    const missing = inputs.filter((input) => input !== undefined && input.manifest === null);
    if (missing.length === 0)
      return [{ ...facts, state: 'not run', message: 'its inputs are there; start the experiment again' }];
    return [
      { ...facts, state: 'blocked', message: `waits for ${missing.map((input) => input!.stage.name).join(', ')}` },
    ];
  });
}
