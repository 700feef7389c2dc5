/** The stages that are one activity each: what is prepared, trained, chosen and reported. */
import type { StageInput } from './messages';
import { control, controlBulk, sandbox, trainer } from './proxies';
import type { StageResult } from './rollouts';
import { whileServed } from './served';
import { runAsStage } from './stage';

export async function tasks(input: StageInput): Promise<StageResult> {
  return singleStage(input, () => sandbox.prepareTasks({ stage: input.stage, sandbox: input.settings.sandbox }));
}

export async function model(input: StageInput): Promise<StageResult> {
  return singleStage(input, () => controlBulk.prepareModel(input.stage));
}

export async function pairs(input: StageInput): Promise<StageResult> {
  return singleStage(input, () => controlBulk.makePairs(input.stage));
}

export async function reference(input: StageInput): Promise<StageResult> {
  return singleStage(input, () => trainer.scoreReference({ stage: input.stage, device: input.settings.device }));
}

export async function train(input: StageInput): Promise<StageResult> {
  return singleStage(input, () => trainer.trainModel({ stage: input.stage, device: input.settings.device }));
}

export async function verify(input: StageInput): Promise<StageResult> {
  return singleStage(input, () => sandbox.verifyRollouts(input.stage));
}

export async function select(input: StageInput): Promise<StageResult> {
  return singleStage(input, () => controlBulk.selectCandidates(input.stage));
}

export async function report(input: StageInput): Promise<StageResult> {
  return singleStage(input, () => controlBulk.makeReport(input.stage));
}

function singleStage(input: StageInput, work: () => Promise<void>): Promise<StageResult> {
  return runAsStage(input, async () => {
    const opened = await control.openStage({ stage: input.stage, shardSize: input.settings.shardSize });
    if (opened.sealed) return { stage: input.stage, counts: opened.counts };
    await (opened.model === undefined ? work() : whileServed(opened.model, input, work));
    return { stage: input.stage, counts: await controlBulk.sealStage(input.stage) };
  });
}
