/**
 * The stages that play or score task by task: a window of shards, each a child workflow of lanes (shard.ts). Continues
 * as new when the history grows long: stops starting shards, waits for the open ones, and carries the counts over.
 */
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  executeChild,
  getExternalWorkflowHandle,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { type RolloutCounts, rolloutsProgress, setPaused, type StageInput } from './messages';
import { control, controlBulk } from './proxies';
import { whileServed } from './served';
import { settleOrCancel } from './settle';
import { shard } from './shard';
import { runAsStage } from './stage';

/** Two shards overlap, so that the tail of one does not leave lanes idle. */
const OPEN_SHARDS = 2;

export interface StageResult {
  stage: string;
  counts: Record<string, number>;
}

export async function collect(input: StageInput): Promise<StageResult> {
  return rolloutsStage(input, collect);
}

export async function evaluate(input: StageInput): Promise<StageResult> {
  return rolloutsStage(input, evaluate);
}

export async function score(input: StageInput): Promise<StageResult> {
  return rolloutsStage(input, score);
}

function rolloutsStage(input: StageInput, self: (input: StageInput) => Promise<StageResult>): Promise<StageResult> {
  return runAsStage(input, async (stage) => {
    const counts: RolloutCounts = input.resumeAt?.counts ?? { total: 0, done: 0, failed: 0, resolved: 0, running: 0 };
    const open = new Set<string>();
    setHandler(rolloutsProgress, () => ({ counts, paused: stage.paused(), shards: [...open] }));
    stage.onPaused = () => {
      for (const id of open) {
        // A shard that has just ended cannot be told; nothing is lost.
        getExternalWorkflowHandle(id)
          .signal(setPaused, stage.paused())
          .catch(() => undefined);
      }
    };

    const opened = await control.openStage({ stage: input.stage, shardSize: input.settings.shardSize });
    if (opened.sealed) return { stage: input.stage, counts: opened.counts };
    counts.total = opened.rollouts;
    let next = input.resumeAt?.shard ?? 0;
    const runShards = async (): Promise<void> => {
      while (next < opened.shards && !workflowInfo().continueAsNewSuggested) {
        await condition(() => stage.paused() === null);
        if (next >= opened.shards) return;
        const number = next++;
        const id = `${input.stage}/shard-${number}`;
        open.add(id);
        try {
          const result = await executeChild(shard, {
            workflowId: id,
            args: [{ ...input.settings, stage: input.stage, shard: number, paused: stage.paused() }],
          });
          counts.done += result.done;
          counts.failed += result.failed;
          counts.resolved += result.resolved;
        } finally {
          open.delete(id);
        }
      }
    };
    const play = () => settleOrCancel(Array.from({ length: OPEN_SHARDS }, () => runShards));
    const goesOn = () => next < opened.shards;
    await (opened.model === undefined ? play() : whileServed(opened.model, input, play, goesOn));

    if (goesOn()) {
      await condition(allHandlersFinished);
      await continueAsNew<typeof self>({ ...input, holders: stage.holders, resumeAt: { shard: next, counts } });
    }
    return { stage: input.stage, counts: await controlBulk.sealStage(input.stage) };
  });
}
