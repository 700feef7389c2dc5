/**
 * Plays one task once: the agent loop over journal, policy and sandbox. Every reply is in the journal before it is
 * acted on and every observation before the next reply, so whoever plays after a crash goes on at that very place.
 *
 * Ends are values (`Exit`); only infrastructure throws, and the activity's next attempt resumes. Not covered: grading
 * (grade.ts), and what Temporal retries (config/timeouts.ts).
 */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Committed, type Journal, type JournalState, openJournal, readCommitted } from '../adapters/journal';
import { CONTEXT_FULL, type Policy } from '../adapters/policy/policy';
import { sandboxPort } from '../adapters/sandbox-port';
import type { Sandbox, SandboxAdapter, SandboxLimits } from '../adapters/sandbox/sandbox';
import { appendTiming } from '../adapters/timing';
import { isFormatError, parseAction } from '../core/action';
import { Failure, type FailureType, isFailure } from '../core/failures';
import { type RolloutId, rolloutName } from '../core/ids';
import { FINISHED } from '../core/observation';
import { conversation, formatErrorText, openingMessages, type Prompt } from '../core/prompt';
import { seedFor } from '../core/random';
import type { Task } from '../core/task';
import { runTool, type ToolResult } from '../core/tools/run';
import type { Action, Exit, RolloutLimits, Trajectory } from '../core/trajectory';
import { observationDigest, restoreSandbox } from './restore-sandbox';

export interface PlayInput {
  id: RolloutId;
  /** Full key of the stage; all seeds derive from it. */
  stageKey: string;
  task: Task;
  /** Absolute folder that the task's bundle is relative to. */
  tasksFolder: string;
  policy: Policy;
  prompt: Prompt;
  limits: RolloutLimits;
  sandboxLimits: SandboxLimits;
}

export interface PlayDeps {
  /** Folder of all stages. */
  store: string;
  /** In order of preference; the first that can hold the task is taken. */
  sandboxes: readonly SandboxAdapter[];
  /** Same text for all attempts of one activity execution: attempts without progress are counted by it. */
  execution: string;
  heartbeat: (detail: { step: number }) => void;
  signal: AbortSignal;
}

/** Between steps a reply or a command may take minutes: this often the heartbeat says that we live. */
const HEARTBEAT_MS = 5_000;

/** Returns the sealed trajectory and where it lies; at once where an earlier attempt finished. */
export async function playRollout(input: PlayInput, deps: PlayDeps): Promise<Committed> {
  const rollout = join(deps.store, rolloutName(input.id));
  const adapter = chooseSandbox(input.task, deps.sandboxes);
  for (;;) {
    const committed = await readCommitted(rollout);
    if (committed) {
      // Left behind where the process died after sealing.
      await adapter.remove(sandboxId(input.id, committed.attempt));
      return committed;
    }
    await using journal = await openJournal(rollout, deps.execution);
    const beat = () => deps.heartbeat({ step: journal.state.steps.length });
    const timer = setInterval(beat, HEARTBEAT_MS);
    await using timing = startTiming(rollout, journal);
    try {
      await playAttempt(input, deps, adapter, journal, beat);
    } catch (error) {
      timing.failure = error instanceof Error ? error.name : String(error);
      await leave(journal, error, deps.signal);
      throw error;
    } finally {
      clearInterval(timer);
    }
  }
}

/** Plays until the trajectory is sealed, or a mismatch is on record. */
async function playAttempt(
  input: PlayInput,
  deps: PlayDeps,
  adapter: SandboxAdapter,
  journal: Journal,
  beat: () => void,
): Promise<void> {
  const { id, task, policy, limits } = input;
  const { state } = journal;
  const opening = openingMessages(input.prompt, task);
  if (!state.end) {
    const perform = (action: Action, sandbox: Sandbox) =>
      runTool(action, sandboxPort(sandbox, deps.signal), { commandTimeoutMs: limits.commandTimeoutMs });
    await using sandbox = await restoreSandbox({
      journal,
      adapter,
      open: {
        id: sandboxId(id, journal.attempt),
        task,
        tasksFolder: input.tasksFolder,
        limits: input.sandboxLimits,
        signal: deps.signal,
      },
      perform,
      onStep: beat,
    });
    if (!sandbox) return giveUpAfterTwo(journal);
    for (;;) {
      beat();
      deps.signal.throwIfAborted();
      const step = state.steps.length;
      let exit = reachedExit(state, limits);
      if (!exit && !state.pending) {
        const seed = seedFor(input.stageKey, task.id, id.sample, step);
        const messages = conversation(opening, state.steps, limits);
        const [reply, ms] = await timed(() => policy.ask({ messages, seed, signal: deps.signal }));
        if (reply === CONTEXT_FULL) exit = contextExit(input, step);
        else await journal.append({ type: 'reply', step, reply, ms });
      }
      if (exit) {
        await journal.append({ type: 'end', exit, patch: await sandbox.diff() });
        break;
      }
      const action = parseAction(state.pending!.text);
      const [result, ms] = await timed(async () =>
        isFormatError(action) ? formatErrorResult(formatErrorText(input.prompt, action)) : perform(action, sandbox),
      );
      await journal.append({
        type: 'observation',
        step,
        action: isFormatError(action) ? null : action,
        observation: result.observation,
        exitCode: result.exitCode,
        timedOut: result.timedOut,
        digest: observationDigest(result),
        ms,
      });
    }
  }
  await journal.seal(toTrajectory(input, opening, state));
}

/** Why the rollout is over after these steps; null where it goes on. In the order in which spec §2.2 checks. */
export function reachedExit(
  { steps, activeMs }: Pick<JournalState, 'steps' | 'activeMs'>,
  limits: RolloutLimits,
): Exit | null {
  const last = steps.at(-1);
  if (!last) return null;
  if (last.action && last.observation === FINISHED) return 'submitted';
  if (steps.length - 1 - steps.findLastIndex((step) => step.action !== null) >= limits.maxFormatErrors) {
    return 'formatLimit';
  }
  const { usage } = last.reply;
  if (usage && usage.promptTokens + usage.completionTokens >= limits.maxTokens) return 'tokenLimit';
  if (steps.length >= limits.maxSteps) return 'stepLimit';
  if (activeMs >= limits.maxTimeMs) return 'timeLimit';
  return null;
}

/** A conversation outgrows the context; a prompt that already does says nothing about the policy. */
function contextExit({ policy, task }: PlayInput, step: number): Exit {
  if (step > 0) return 'contextLimit';
  throw new Failure(
    'ConfigInvalid',
    `the context of ${policy.ref.model} is too small for the prompt of task ${task.id}: use a model with a longer ` +
      'context or a shorter prompt',
  );
}

function sandboxId(id: RolloutId, attempt: number): string {
  return `${rolloutName(id)}/a${attempt}`;
}

function chooseSandbox(task: Task, adapters: readonly SandboxAdapter[]): SandboxAdapter {
  const adapter = adapters.find((candidate) => candidate.holds(task));
  if (adapter) return adapter;
  throw new Failure('TaskBroken', `${task.id}: no sandbox of this worker can hold it; tasks with an image need Docker`);
}

function formatErrorResult(observation: string): ToolResult {
  return { observation, exitCode: null, timedOut: false, finished: false };
}

/** One mismatch is played anew from step 0; after a second one the sandbox cannot be trusted to repeat anything. */
function giveUpAfterTwo(journal: Journal): void {
  if (journal.attempt === 1) return;
  throw new Failure(
    'RolloutStuck',
    `${journal.folder}: its recorded actions gave other output when executed again, in ${journal.attempt} attempts; ` +
      'the task is not deterministic enough to survive a lost sandbox',
  );
}

const OUTSIDE: readonly FailureType[] = ['PolicyUnavailable', 'PolicyRefused', 'SandboxUnavailable'];

/** Notes that the attempt stopped for a reason outside the rollout, so that waiting does not count as being stuck. */
async function leave(journal: Journal, error: unknown, signal: AbortSignal): Promise<void> {
  const failure = OUTSIDE.find((type) => isFailure(error, type));
  const reason = failure ?? (signal.aborted ? 'cancelled' : undefined);
  if (reason === undefined || journal.state.end || journal.state.mismatch) return;
  try {
    await journal.append({ type: 'left', reason });
  } catch (fenced) {
    if (!isFailure(fenced, 'JournalFenced')) throw fenced;
  }
}

function toTrajectory(input: PlayInput, opening: Trajectory['prompt'], { steps, end }: JournalState): Trajectory {
  const { id, task, policy } = input;
  return {
    version: 1,
    id: rolloutName(id),
    task: task.id,
    sample: id.sample,
    policy: policy.ref,
    seed: seedFor(input.stageKey, task.id, id.sample),
    prompt: opening,
    steps,
    exit: end!.exit,
    patch: end!.patch,
  };
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  const result = await work();
  return [result, Math.round(performance.now() - start)];
}

/** Appends one line to the rollout's `timing.jsonl` when this process is done with the attempt; outside every digest. */
function startTiming(rollout: string, journal: Journal) {
  const started = new Date().toISOString();
  const firstStep = journal.state.steps.length;
  return {
    failure: null as string | null,
    async [Symbol.asyncDispose](): Promise<void> {
      const line = {
        attempt: journal.attempt,
        host: hostname(),
        pid: process.pid,
        started,
        finished: new Date().toISOString(),
        firstStep,
        steps: journal.state.steps.length,
        activeMs: journal.state.activeMs,
        exit: journal.state.end?.exit ?? null,
        failure: this.failure,
      };
      await appendTiming(rollout, line);
    },
  };
}
