/** Plays and grades one task here, without Temporal: for looking at a policy, and for `doctor --model`. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { sandboxFolder } from '../activities';
import { rolloutLimits } from '../activities/limits';
import { gradePatch } from '../activities/grade';
import { playRollout } from '../activities/rollout';
import { prepareTasks } from '../activities/tasks';
import { readJournal } from '../adapters/journal';
import { createPolicy } from '../adapters/policy';
import { openSandboxAdapters } from '../adapters/sandbox';
import { TaskSet } from '../adapters/store/task-set';
import { homeFolders } from '../config/env';
import { resolveConfig } from '../config/load';
import { loadPrompt, promptSha256 } from '../config/prompts';
import type { ExperimentInput } from '../config/schema';
import { rolloutName } from '../core/ids';
import { planExperiment, policyName, type StageConfigs } from '../core/plan';
import { seedFor } from '../core/random';
import type { Grade } from '../core/task';
import type { Step, Trajectory } from '../core/trajectory';

export interface Played {
  trajectory: Trajectory;
  grade: Grade;
}

export interface PlayOne {
  /** A task id; absent: the first of the set. */
  task: string | undefined;
  /** An experiment of one task set `one` and one collect stage `one`. */
  config: ExperimentInput;
  onStep: (step: Step) => void;
}

/** A configuration that plays tasks of one source with one policy. */
export function oneConfig(input: {
  source: 'pocket' | 'library';
  split: 'train' | 'heldout';
  task: string | undefined;
  policy: NonNullable<ExperimentInput['collect']>[string]['policy'];
  rest: Omit<ExperimentInput, 'tasks' | 'collect'>;
}): ExperimentInput {
  const { source, split, task, policy, rest } = input;
  const tasks = { source: { type: source }, split, ...(task === undefined ? { limit: 1 } : { ids: [task] }) };
  return { ...rest, tasks: { one: tasks }, collect: { one: { tasks: 'one', policy } } };
}

export async function playOne({ task: id, config, onStep }: PlayOne): Promise<Played> {
  const resolved = resolveConfig(config, 'rollout');
  const plan = planExperiment('rollout', resolved, promptSha256(resolved.prompt));
  const tasksStage = plan.stages.find(({ kind }) => kind === 'tasks')!;
  const stage = plan.stages.find(({ kind }) => kind === 'collect')!;
  const { policy, limits, sandboxLimits, prompt } = stage.config as StageConfigs['collect'];
  const { home, runs } = homeFolders();
  await mkdir(runs, { recursive: true });
  const store = await mkdtemp(path.join(runs, '.rollout-'));
  const ended = new AbortController();
  const interrupt = () => ended.abort(new Error('interrupted'));
  process.once('SIGINT', interrupt);
  try {
    const sandboxes = await openSandboxAdapters({ cacheFolder: sandboxFolder(home), mode: resolved.sandbox });
    const folder = path.join(store, 'tasks');
    await prepareTasks({
      config: tasksStage.config as StageConfigs['tasks'],
      seed: resolved.seed,
      folder,
      cacheFolder: path.join(runs, '.cache'),
      open: ({ task, ...place }) => sandboxes.sandboxFor(task).open({ task, limits: sandboxLimits, ...place }),
      heartbeat: () => {},
      signal: ended.signal,
    });
    const set = await TaskSet.open(folder);
    const task = await set.get(id ?? set.ids[0]!);
    const rollout = { stage: stage.id, task: task.id, sample: 0 };
    const shown = new StepPrinter(path.join(store, rolloutName(rollout), 'a1', 'journal.jsonl'), onStep);
    const { trajectory } = await playRollout(
      {
        id: rollout,
        stageKey: stage.key,
        task,
        tasksFolder: set.folder,
        policy: createPolicy(policy, {
          name: policyName(policy),
          task,
          rolloutSeed: seedFor(stage.key, task.id, 0),
          replyTimeoutMs: limits.replyTimeout,
        }),
        prompt: loadPrompt(prompt.name),
        limits: rolloutLimits(limits),
        sandboxLimits,
      },
      { store, sandboxes: sandboxes.all, execution: 'cli', heartbeat: () => shown.update(), signal: ended.signal },
    );
    shown.update();
    const open = (id: string) =>
      sandboxes.sandboxFor(task).open({ id, task, tasksFolder: set.folder, limits: sandboxLimits });
    return { trajectory, grade: await gradePatch({ task, patch: trajectory.patch, open, id: 'grade' }) };
  } finally {
    process.off('SIGINT', interrupt);
    await rm(store, { recursive: true, force: true });
  }
}

/** Hands on each step of a journal once, as it appears. */
class StepPrinter {
  private shown = 0;

  constructor(
    private readonly journal: string,
    private readonly onStep: (step: Step) => void,
  ) {}

  update(): void {
    if (!existsSync(this.journal)) return;
    const { steps } = readJournal(readFileSync(this.journal), this.journal);
    for (const step of steps.slice(this.shown)) this.onStep(step);
    this.shown = steps.length;
  }
}
