/**
 * The report of an experiment: a pure function of what its sealed files say. What a figure means stands with its type
 * (report/types.ts) and with its estimator (estimators.ts); reading and drawing are in adapters/report.
 */
import { bootstrap, countBy } from './estimators';
import { armOf } from './report/arm';
import { answersOf } from './report/claims';
import { compareArms } from './report/comparisons';
import type { ReportData } from './report/data';
import { lineagesOf, relationsOf } from './report/lineage';
import { collectionOf } from './report/rollouts';
import { modelsOf, trainingOf } from './report/training';
import type { Report } from './report/types';
import { unfinishedOf } from './report/unfinished';

export type * from './report/data';
export type * from './report/training-types';
export type * from './report/types';

export const LIBRARY_NOTE =
  'These tasks are mutations of code that nobody here wrote: they prove that the plumbing works on real code, not what a policy can do.';

export function computeReport(data: ReportData): Report {
  const interval = bootstrap(data.bootstrap);
  const { resamples, confidence } = data.bootstrap;
  const lineages = lineagesOf(data.config, data.stages);
  const relations = relationsOf(lineages);
  const arms = data.arms.map((arm) => armOf(arm, interval));
  const comparisons = compareArms(arms, relations, interval);
  return {
    version: 2,
    title: data.title,
    seed: data.seed,
    config: data.config,
    intervals: { resamples, confidence },
    unfinished: unfinishedOf(data.stages),
    answers: answersOf(arms, relations, comparisons, confidence),
    methods: lineages.map(({ method }) => method),
    arms: arms.map(({ arm }) => arm),
    comparisons,
    trainings: data.trainings.map((training) => trainingOf(training, data.stages)),
    models: modelsOf(data.stages),
    collections: data.collections.map((collection) => collectionOf(collection, interval)),
    tasks: data.tasks.map(({ name, stage, tasks, excluded }) => ({
      name,
      selected: tasks.length,
      groups: countBy(tasks.map(({ group }) => group)),
      excluded,
      source: [`${stage}/tasks.jsonl`, `${stage}/excluded.jsonl`],
    })),
    stages: data.stages.map(({ stage: { name, kind, id, key }, manifest, tokensSampled, tokensTrained }) => ({
      name,
      kind,
      id,
      key,
      counts: manifest?.counts ?? null,
      tokensSampled,
      tokensTrained,
    })),
    times: data.times,
  };
}
