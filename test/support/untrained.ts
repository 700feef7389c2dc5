/** The smoke experiment without models: a teacher's rollouts and a search's, on the same few tasks. */
import { readConfig } from '../../config/load';
import type { ExperimentInput } from '../../config/schema';

export function untrained(): ExperimentInput {
  const { prompt, limits, lanes, tasks, collect } = readConfig('smoke') as ExperimentInput;
  const search = { type: 'scripted' as const, script: 'search' as const, tries: 8 };
  return {
    ...{ title: 'Without models', prompt, limits, lanes, tasks },
    collect: { teacher: collect!['teacher']! },
    evaluate: { 'search-8': { tasks: 'heldout', policy: search, samples: 4 } },
  };
}
