/**
 * The verifier's two stages. Its training data: every graded rollout as a judge's conversation with the answer that
 * its hidden tests gave. Its verdicts: a probability for every rollout of an evaluate stage; what cannot be scored is
 * null, never 0. Both see what a judge may see (core/verifier-input.ts); grades enter the training data only.
 */
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { SealedStage } from '../adapters/report/sealed-stage';
import { writeSealed } from '../adapters/store/sealed';
import type { StageStore } from '../adapters/store/stages';
import { TaskSet } from '../adapters/store/task-set';
import { writeLines } from '../adapters/tasks/lines';
import { contextLength, openTokenizer } from '../adapters/verifier/tokenizer';
import type { Verdict, Verifier } from '../adapters/verifier/verifier';
import { Failure } from '../core/failures';
import { fileSafe } from '../core/ids';
import type { JudgePrompt } from '../core/prompt';
import type { VerdictRecord } from '../core/selection';
import type { RolloutSummary } from '../core/trajectory';
import { judgementText } from '../core/verdict';
import { type JudgeBudget, judgeConversation, type JudgeConversation, judgeInput } from '../core/verifier-input';
import type { Conversation } from './conversations';

export interface VerifyDeps {
  store: StageStore;
  /** The judge's part of the prompt file. */
  prompt: JudgePrompt;
  heartbeat: () => void;
  signal: AbortSignal;
}

export interface VerifierDataInput {
  /** The verifier's train stage, for messages. */
  stage: string;
  /** Sealed collect stages. */
  rollouts: readonly string[];
  /** Folder of the model that is to be trained: its tokenizer counts. */
  model: string;
  /** Most tokens of a conversation; the model's own context where that is less. */
  cutoff: number;
  /** Receives the conversations; nothing lies there until all are written. */
  file: string;
}

/** What became of the rollouts. Those still over the cutoff are written too: the trainer's `overlong` decides. */
export interface VerifierData {
  rows: number;
  resolved: number;
  tasks: number;
  tokens: number;
  /** Rows with observations left out, and the tokens left out of them. */
  condensedRows: number;
  condensedTokens: number;
  overlong: number;
}

/** Writes `conversations.jsonl` of a verifier. Throws `DataUnusable` where all rollouts are of one class. */
export async function writeVerifierData(input: VerifierDataInput, deps: VerifyDeps): Promise<VerifierData> {
  const tokenizer = await openTokenizer(input.model);
  const budget = tokenizer.budget(Math.min(input.cutoff, await contextLength(input.model)));
  const told = { rows: 0, resolved: 0, tokens: 0, condensedRows: 0, condensedTokens: 0, overlong: 0 };
  const tasks = new Set<string>();
  const conversations = async function* (): AsyncGenerator<Conversation> {
    for (const stage of input.rollouts) {
      const source = await JudgedRollouts.open(stage, deps);
      for await (const summary of source.summaries()) {
        deps.heartbeat();
        const judged = await source.read(summary, budget);
        tasks.add(summary.task);
        told.rows += 1;
        told.resolved += summary.resolved ? 1 : 0;
        told.tokens += judged.tokens;
        told.condensedRows += judged.condensed > 0 ? 1 : 0;
        told.condensedTokens += judged.condensedTokens;
        told.overlong += judged.fits ? 0 : 1;
        const { id, task, resolved, exit } = summary;
        const answer = { role: 'assistant' as const, content: judgementText(resolved) };
        yield { id, task, resolved, exit, messages: [...judged.messages, answer] };
      }
    }
  };
  await writeLines(input.file, conversations(), deps.signal);
  if (told.resolved > 0 && told.resolved < told.rows) return { ...told, tasks: tasks.size };
  await rm(input.file);
  throw new Failure(
    'DataUnusable',
    `${input.stage}: a verifier learns from both kinds of rollouts, and of ${told.rows} graded ones ${told.resolved} are ` +
      `resolved and ${told.rows - told.resolved} not; collect more tasks or samples, or name rollouts of another policy ` +
      'in its `data` (a sloppy teacher and a student leave both)',
  );
}

export interface VerifyInput {
  /** A declared verify stage; inputs `tasks`, `rollouts`. */
  stage: string;
  verifier: Verifier;
}

export interface Verified {
  rollouts: number;
  unscored: number;
}

/**
 * Writes `verdicts.jsonl`, in the order of the rollouts' results. A task is done when its verdicts are on disk, so that
 * a killed attempt loses one task's; rollouts that ended as infrastructure failures have no line.
 */
export async function verifyRollouts({ stage: id, verifier }: VerifyInput, deps: VerifyDeps): Promise<Verified> {
  const { inputs } = await deps.store.read<'verify'>(id);
  const folder = deps.store.folder(id);
  const source = await JudgedRollouts.open(inputs.rollouts!, deps);
  const told: Verified = { rollouts: 0, unscored: 0 };
  const records = async function* (): AsyncGenerator<VerdictRecord> {
    for await (const rollouts of byTask(source.summaries())) {
      deps.signal.throwIfAborted();
      const file = path.join(folder, '.work', 'verdicts', `${fileSafe(rollouts[0]!.task)}.json`);
      const done = existsSync(file)
        ? (JSON.parse(await readFile(file, 'utf8')) as VerdictRecord[])
        : await verifyTask(rollouts, source, verifier, deps);
      if (!existsSync(file)) await writeSealed(file, JSON.stringify(done));
      told.rollouts += done.length;
      told.unscored += done.filter(({ verifierScore }) => verifierScore === null).length;
      yield* done;
    }
  };
  await writeLines(path.join(folder, 'verdicts.jsonl'), records(), deps.signal);
  return told;
}

/** All at once: an endpoint answers them together, a thread one after the other. Equal conversations are judged once. */
function verifyTask(
  rollouts: RolloutSummary[],
  source: JudgedRollouts,
  verifier: Verifier,
  { heartbeat, signal }: VerifyDeps,
): Promise<VerdictRecord[]> {
  const judged = new Map<string, Promise<Verdict>>();
  return Promise.all(
    rollouts.map(async (summary) => {
      const conversation = await source.read(summary, verifier.budget);
      const text = conversation.messages[1].content;
      const asked = judged.get(text) ?? verifier.judge(conversation, signal);
      judged.set(text, asked);
      const { score, tokens, condensedTokens } = await asked;
      heartbeat();
      const { id, task, sample } = summary;
      return { id, task, sample, verifierScore: score, tokens, condensedTokens };
    }),
  );
}

/** Runs of equal tasks: results come sorted by task. */
async function* byTask(summaries: AsyncIterable<RolloutSummary>): AsyncGenerator<RolloutSummary[]> {
  let current: RolloutSummary[] = [];
  for await (const summary of summaries) {
    if (current.length > 0 && current[0]!.task !== summary.task) {
      yield current;
      current = [];
    }
    current.push(summary);
  }
  if (current.length > 0) yield current;
}

/** The graded rollouts of a sealed stage as a judge sees them. */
class JudgedRollouts {
  private constructor(
    private readonly stage: SealedStage,
    private readonly tasks: TaskSet,
    private readonly prompt: JudgePrompt,
  ) {}

  static async open(id: string, { store, prompt }: VerifyDeps): Promise<JudgedRollouts> {
    const { inputs } = await store.read(id);
    const tasks = await TaskSet.open(store.folder(inputs.tasks!));
    return new JudgedRollouts(await SealedStage.open(store.folder(id)), tasks, prompt);
  }

  summaries(): AsyncGenerator<RolloutSummary> {
    return this.stage.lines<RolloutSummary>('results.jsonl');
  }

  async read({ task, sample }: RolloutSummary, budget: JudgeBudget): Promise<JudgeConversation> {
    const { statement } = await this.tasks.get(task);
    return judgeConversation(judgeInput(await this.stage.trajectory(task, sample), statement), this.prompt, budget);
  }
}
