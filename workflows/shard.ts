/**
 * A shard: up to 500 rollouts of a few tasks (all samples of a task in the same shard), played through a fixed number
 * of lanes. Only counts come back; records are files. The lanes bound pending work, the workers' slots real work.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { policyRefused, type RolloutCounts, setPaused, type ShardInput, shardProgress } from './messages';
import { control, sandbox } from './proxies';
import { settleOrCancel } from './settle';

export async function shard(input: ShardInput): Promise<RolloutCounts> {
  let paused = input.paused;
  const counts: RolloutCounts = { total: 0, done: 0, failed: 0, resolved: 0, running: 0 };
  setHandler(shardProgress, () => ({ ...counts, paused }));
  setHandler(setPaused, (reason) => {
    paused = reason;
  });

  const { activity, units } = await control.openShard({
    stage: input.stage,
    shard: input.shard,
    shardSize: input.shardSize,
  });
  counts.total = units.length;
  let next = 0;

  const play = async (unit: (typeof units)[number]): Promise<void> => {
    try {
      const unitInput = { ...unit, stage: input.stage, sandbox: input.sandbox };
      const { resolved } =
        activity === 'scoreTask'
          ? await sandbox.scoreTask(unitInput)
          : await sandbox.rollout({ ...unitInput, sample: unit.sample ?? 0 });
      counts.done += 1;
      counts.resolved += resolved ? 1 : 0;
    } catch (error) {
      if (isCancellation(error)) throw error;
      const { type, message } = causeOf(error);
      if (type === 'PolicyRefused') {
        paused = message;
        await tellStage(message);
        await condition(() => paused === null);
        return play(unit);
      }
      // It would meet every rollout of the stage alike: a prompt too long for the model, a model that cannot be served.
      if (type === 'ConfigInvalid') throw ApplicationFailure.nonRetryable(message, type);
      await control.recordFailure({ stage: input.stage, ...unit, type, message });
      counts.done += 1;
      counts.failed += 1;
    }
  };
  const lane = async (): Promise<void> => {
    while (next < units.length) {
      await condition(() => paused === null);
      if (next >= units.length) return;
      const unit = units[next++]!;
      counts.running += 1;
      await play(unit);
      counts.running -= 1;
    }
  };
  await settleOrCancel(Array.from({ length: Math.min(input.lanes, units.length) }, () => lane));
  return counts;
}

function causeOf(error: unknown): { type: string; message: string } {
  const cause = error instanceof ActivityFailure && error.cause ? error.cause : error;
  const type =
    cause instanceof ApplicationFailure ? (cause.type ?? 'Error') : cause instanceof Error ? cause.name : 'Error';
  return { type, message: cause instanceof Error ? cause.message : String(cause) };
}

async function tellStage(message: string): Promise<void> {
  const parent = workflowInfo().parent;
  if (parent) await getExternalWorkflowHandle(parent.workflowId).signal(policyRefused, message);
}
