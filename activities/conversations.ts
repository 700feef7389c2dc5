/** Trajectories as a trainer reads them: one conversation a line, exactly as the policy was shown it. */
import { SealedStage } from '../adapters/report/sealed-stage';
import type { StageStore } from '../adapters/store/stages';
import { canonicalJson, sha256Hex } from '../core/artifact';
import type { RolloutsStageConfig } from '../core/plan';
import { conversation } from '../core/prompt';
import type { Exit, Message, RolloutSummary, Trajectory } from '../core/trajectory';
import { rolloutLimits } from './limits';

/** A line of `conversations.jsonl`. */
export interface Conversation {
  /** Rollout id. */
  id: string;
  task: string;
  resolved: boolean;
  exit: Exit;
  /** Ends with the policy's last reply. */
  messages: ConversationMessage[];
}

export interface ConversationMessage extends Message {
  /** Of a reply: the tokens as sampled, end-of-turn included, where the server gave them. */
  tokenIds?: number[];
}

/** Null where the policy never replied: there is nothing to learn from. */
export function toConversation(trajectory: Trajectory, resolved: boolean, softSteps: number): Conversation | null {
  const { id, task, exit, prompt, steps } = trajectory;
  if (steps.length === 0) return null;
  const shown: ConversationMessage[] = conversation(prompt, steps, { softSteps }).slice(0, -1);
  for (const [index, { reply }] of steps.entries()) {
    if (reply.tokenIds) shown[prompt.length + 2 * index]!.tokenIds = reply.tokenIds;
  }
  return { id, task, resolved, exit, messages: shown };
}

/** Equal for conversations with equal text, whoever wrote them. */
export function textDigest({ messages }: Conversation): string {
  return sha256Hex(canonicalJson(messages.map(({ role, content }) => [role, content])));
}

/** The graded rollouts of a sealed collect or evaluate stage. Infrastructure failures are not among them. */
export class RolloutSource {
  private constructor(
    private readonly stage: SealedStage,
    private readonly softSteps: number,
  ) {}

  static async open(store: StageStore, id: string): Promise<RolloutSource> {
    const { config } = await store.read<'collect'>(id);
    const { softSteps } = rolloutLimits((config as RolloutsStageConfig).limits);
    return new RolloutSource(await SealedStage.open(store.folder(id)), softSteps);
  }

  /** In the order of the tasks, then by sample. */
  summaries(): AsyncGenerator<RolloutSummary> {
    return this.stage.lines<RolloutSummary>('results.jsonl');
  }

  async read({ task, sample, resolved }: RolloutSummary): Promise<Conversation | null> {
    return toConversation(await this.stage.trajectory(task, sample), resolved, this.softSteps);
  }
}
