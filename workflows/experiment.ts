/**
 * An experiment: the declared stages, each run when its inputs are sealed, independent ones at the same time. A sealed
 * stage is skipped; a failed one stops its descendants only, and a rerun takes up exactly there.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  condition,
  isCancellation,
  patched,
  rootCause,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { experimentAttributes } from './attributes';
import {
  type ExperimentInput,
  type ExperimentProgress,
  experimentProgress,
  pause,
  resume,
  type StageProgress,
} from './messages';
import { control, controlBulk, trainer, watcher } from './proxies';
import { settleAll } from './settle';

export interface ExperimentResult {
  experiment: string;
  /** Stages that were sealed before this run began. */
  reused: number;
  sealed: number;
  /** Folder of the report, relative to the home folder. */
  report: string;
}

export async function experiment(input: ExperimentInput): Promise<ExperimentResult> {
  const progress: ExperimentProgress = { experiment: workflowInfo().workflowId, paused: false, stages: [] };
  setHandler(experimentProgress, () => progress);

  const { experiment, stages, settings } = await controlBulk.resolveExperiment(input, progress.experiment);
  upsertSearchAttributes(experimentAttributes(experiment));
  const states = new Map<string, StageProgress>();
  for (const { name, kind, id, sealed } of stages)
    states.set(id, { name, kind, id, state: sealed ? 'sealed' : 'waiting' });
  progress.stages = [...states.values()];
  const reused = progress.stages.filter(({ state }) => state === 'sealed').length;

  const trains = stages.some(({ kind, sealed }) => !sealed && (kind === 'train' || kind === 'reference'));
  if (trains && settings.device === 'gpu') await trainer.requireGpu();

  const setPaused = async (paused: boolean): Promise<ExperimentProgress> => {
    progress.paused = paused;
    const running = progress.stages.filter(({ state }) => state === 'running').map(({ id }) => id);
    await control.pauseStages({ experiment, stages: running, paused });
    return progress;
  };
  setHandler(pause, () => setPaused(true));
  setHandler(resume, () => setPaused(false));

  const settled = (id: string) => ['sealed', 'failed', 'blocked'].includes(states.get(id)!.state);
  const run = async (stage: (typeof stages)[number]): Promise<void> => {
    const state = states.get(stage.id)!;
    if (state.state === 'sealed') return;
    await condition(() => stage.inputs.every(settled));
    const broken = stage.inputs.filter((id) => states.get(id)!.state !== 'sealed');
    if (broken.length > 0) {
      Object.assign(state, {
        state: 'blocked',
        message: `waits for ${broken.map((id) => states.get(id)!.name).join(', ')}`,
      });
      return;
    }
    await condition(() => !progress.paused);
    state.state = 'running';
    try {
      await watcher.runStage({ experiment, stage: stage.id, kind: stage.kind, settings });
      state.state = 'sealed';
    } catch (error) {
      if (isCancellation(error)) throw error;
      Object.assign(state, { state: 'failed', failure: typeOf(error), message: rootCause(error) ?? 'unknown failure' });
    }
  };
  await settleAll(stages.map(run));

  const failed = progress.stages.filter(({ state }) => state === 'failed');
  // The report of a failed experiment names what failed and what did not run.
  const report = failed.length === 0 || patched('report-of-failed') ? await controlBulk.publishReport(experiment) : '';
  if (failed.length > 0) {
    const lines = failed.map(({ name, id, message }) => `${name} (${id}): ${message}`);
    const types = new Set(failed.map(({ failure }) => failure));
    throw ApplicationFailure.nonRetryable(
      `${lines.join('\n')}\nSealed stages are kept: mend the cause and start the experiment again.`,
      types.size === 1 ? [...types][0] : 'StageFailed',
    );
  }
  return { experiment, reused, sealed: progress.stages.length - reused, report };
}

function typeOf(error: unknown): string {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return (cause instanceof ApplicationFailure && cause.type) || 'StageFailed';
}
