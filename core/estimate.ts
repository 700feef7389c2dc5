/**
 * What a plan will cost before it runs: rollouts, tokens, and the time that a simulated schedule of its stages takes.
 * Every stage is an amount of work (core-seconds) with a largest width (cores it can use); stages that are ready share
 * the cores, one training program and one model server run at a time. Work per rollout and per token comes from rates
 * measured on one kind of machine (`RATES`), so the time is good for machines like it and for experiments of small
 * models; on a GPU cluster the counts hold, the time does not.
 */
import { inputsNamed, isPreference, type Plan, type RolloutsStageConfig, type Stage, type StageConfigs } from './plan';

/** Core-seconds per unit of work, tokens per rollout; measured with the shipped tiny model (docs/LOG.md). */
export interface Rates {
  /** Drawing, bundling and checking one pocket task. */
  task: number;
  /** One rollout with its grading: of a script, of a served model (its share of the server included). */
  scriptedRollout: number;
  modelRollout: number;
  /** Regression and reproduction runs of one candidate. */
  score: number;
  /** One conversation read by the verifier. */
  verify: number;
  /** Starting a program of the trainer, until its first update; of the server, until it answers. */
  start: number;
  /** Forward and backward, per token of a conversation. */
  trainedToken: number;
  /** Forward only. */
  scoredToken: number;
  /** Everything else of a stage: opening, sealing, its workflow. */
  stage: number;
  /** Sampled tokens of one rollout; tokens of its whole conversation. */
  sampledTokens: number;
  conversationTokens: number;
  /** Share of a teacher's rollouts that SFT keeps where it keeps the resolved ones. */
  resolved: number;
}

/** Measured on two cores of a cloud machine with the demo (docs/LOG.md). */
export const RATES: Rates = {
  task: 1,
  scriptedRollout: 0.4,
  modelRollout: 0.5,
  score: 0.1,
  verify: 0.06,
  start: 4,
  trainedToken: 1 / 4000,
  scoredToken: 1 / 8000,
  stage: 0.5,
  sampledTokens: 100,
  conversationTokens: 300,
  resolved: 0.7,
};

export interface Estimate {
  /** Rollouts still to play; null where only the data set knows how many tasks there are. */
  rollouts: number | null;
  sampledTokens: number;
  /** Tokens that pass forward and backward. */
  trainedTokens: number;
  seconds: number;
  sealed: number;
  stages: number;
}

interface Work {
  id: string;
  inputs: string[];
  /** Core-seconds. */
  left: number;
  /** Most cores it can use. */
  width: number;
  /** What only one stage may hold at a time; stages that serve the same model share it. */
  holds: { slot: 'train' | 'serve'; what: string } | null;
}

/** Tasks of a stage's task set as far as its declaration says. */
export function plannedTasks(stage: Stage, plan: Plan): number | null {
  const config = find(plan, stage.inputs['tasks'] ?? stage.id).config as StageConfigs['tasks'];
  return config.limit ?? config.ids?.length ?? null;
}

/** Rollouts of a stage; null where only the data set knows, 0 for stages that play none. */
export function plannedRollouts(stage: Stage, plan: Plan): number | null {
  if (stage.kind !== 'collect' && stage.kind !== 'evaluate') return 0;
  const tasks = plannedTasks(stage, plan);
  return tasks === null ? null : tasks * (stage.config as RolloutsStageConfig).samples;
}

/** @param cores of the machine that runs everything. */
export function estimatePlan(plan: Plan, sealed: (id: string) => boolean, rates: Rates, cores: number): Estimate {
  const open = plan.stages.filter(({ id }) => !sealed(id));
  const counts = open.map((stage) => plannedRollouts(stage, plan));
  const ofModels = open.filter((stage) => 'model' in stage.inputs && isPlayed(stage));
  const works = open.map((stage) => workOf(stage, plan, rates));
  return {
    rollouts: counts.includes(null) ? null : counts.reduce<number>((sum, count) => sum + count!, 0),
    sampledTokens: ofModels.reduce((sum, stage) => sum + (plannedRollouts(stage, plan) ?? 0) * rates.sampledTokens, 0),
    trainedTokens: open.reduce((sum, stage) => sum + trainedTokens(stage, plan, rates), 0),
    seconds: simulate(works, cores),
    sealed: plan.stages.length - open.length,
    stages: plan.stages.length,
  };
}

const isPlayed = (stage: Stage) => stage.kind === 'collect' || stage.kind === 'evaluate';

function find(plan: Plan, id: string): Stage {
  return plan.stages.find((stage) => stage.id === id)!;
}

/** Conversations that a stage's inputs hold: of every rollout, or of the pairs at most two each. */
function conversations(stage: Stage, plan: Plan): number {
  if (stage.kind === 'pairs') {
    const rollouts = inputsNamed(stage, 'rollouts').map((id) => find(plan, id));
    const pairs = (plannedTasks(rollouts[0]!, plan) ?? 0) * (stage.config as StageConfigs['pairs']).maxPairsPerTask;
    return Math.min(
      2 * pairs,
      rollouts.reduce((sum, input) => sum + (plannedRollouts(input, plan) ?? 0), 0),
    );
  }
  const pairs = stage.inputs['pairs'];
  if (pairs !== undefined) return conversations(find(plan, pairs), plan);
  const rollouts = inputsNamed(stage, 'rollouts').map((id) => find(plan, id));
  return rollouts.reduce((sum, input) => sum + (plannedRollouts(input, plan) ?? 0), 0);
}

function trainedTokens(stage: Stage, plan: Plan, rates: Rates): number {
  if (stage.kind !== 'train') return 0;
  const { method, epochs } = stage.config as StageConfigs['train'];
  const pairs = stage.inputs['pairs'];
  const rows = isPreference(method)
    ? 2 *
      (plannedTasks(find(plan, inputsNamed(find(plan, pairs!), 'rollouts')[0]!), plan) ?? 0) *
      (find(plan, pairs!).config as StageConfigs['pairs']).maxPairsPerTask
    : conversations(stage, plan) * (method.type === 'sft' && method.keep === 'resolved' ? rates.resolved : 1);
  return rows * epochs * rates.conversationTokens;
}

function workOf(stage: Stage, plan: Plan, rates: Rates): Work {
  const { id, kind } = stage;
  const rollouts = (of: Stage) => plannedRollouts(of, plan) ?? 0;
  const played = stage.inputs['rollouts'] === undefined ? 0 : rollouts(find(plan, stage.inputs['rollouts']));
  const model = stage.inputs['model'];
  const work = (left: number, width: number, holds: Work['holds'] = null): Work => ({
    ...{ id, width, holds },
    inputs: Object.values(stage.inputs),
    left: left + rates.stage,
  });
  switch (kind) {
    case 'tasks':
      return work((plannedTasks(stage, plan) ?? 0) * rates.task, 2);
    case 'collect':
    case 'evaluate':
      if (model === undefined) return work(rollouts(stage) * rates.scriptedRollout, Infinity);
      return work(rates.start + rollouts(stage) * rates.modelRollout, Infinity, { slot: 'serve', what: model });
    case 'score':
      return work(played * rates.score, Infinity);
    case 'verify':
      return work(played * rates.verify, 1);
    case 'reference': {
      const tokens = conversations(stage, plan) * rates.conversationTokens;
      return work(rates.start + tokens * rates.scoredToken, 1, { slot: 'train', what: id });
    }
    case 'train': {
      const tokens = trainedTokens(stage, plan, rates);
      return work(rates.start + tokens * rates.trainedToken, 1, { slot: 'train', what: id });
    }
    default:
      return work(0, 1);
  }
}

/** Seconds until the last stage is done, when ready stages share the cores evenly up to their width. */
function simulate(works: Work[], cores: number): number {
  const waiting = new Set(works.map(({ id }) => id));
  let seconds = 0;
  while (waiting.size > 0) {
    const slots = new Map<string, string>();
    const running = works.filter((work) => {
      if (!waiting.has(work.id) || work.inputs.some((input) => waiting.has(input))) return false;
      if (work.holds === null) return true;
      const holder = slots.get(work.holds.slot) ?? work.holds.what;
      slots.set(work.holds.slot, holder);
      return holder === work.holds.what;
    });
    const shares = share(running, cores);
    const step = Math.min(...running.map((work, i) => work.left / shares[i]!));
    running.forEach((work, i) => {
      work.left -= step * shares[i]!;
      if (work.left < 1e-9) waiting.delete(work.id);
    });
    seconds += step;
  }
  return seconds;
}

/** Cores of each: equal shares, what a narrow one cannot use goes to the others. */
function share(works: Work[], cores: number): number[] {
  const shares = works.map(() => 0);
  const order = works.map((_, i) => i).toSorted((a, b) => works[a]!.width - works[b]!.width);
  let free = cores;
  order.forEach((i, rank) => {
    shares[i] = Math.min(works[i]!.width, free / (order.length - rank));
    free -= shares[i]!;
  });
  return shares;
}
