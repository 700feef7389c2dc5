/**
 * Prompts: strict templates in, the messages a policy sees out. An unknown variable throws.
 *
 * What a policy is shown at step t follows from the record alone: the opening messages, then for each earlier step the
 * raw reply and the observation. Every user message carries the steps-remaining line that it had when it was the last
 * one (the source adds it to its stored history, for good), so a conversation only ever grows at its end and the text
 * of step t can be rebuilt from a trajectory. The line itself is not stored: `softSteps - t` decides it.
 *
 * `compat` keeps the rebuilt reply of the source in place of the raw one. Condensing of old observations is not covered.
 */
import Handlebars from 'handlebars';
import { type FormatError, replyCompat, type Thoughts } from './action';
import { MISSING_CALL, stepsRemaining } from './observation';
import type { Task } from './task';
import type { Message, RolloutLimits, Step } from './trajectory';

/** Templates, from config/prompts/*.yaml. */
export interface Prompt {
  /** Variables: `workdir`. */
  system: string;
  /** Variables: `statement` (the issue), `workdir`. */
  task: string;
  /** Variables: `reminder` (the fixed text that published models know), `unclosed` (a call was begun, not ended). */
  formatError: string;
}

/** The verifier's side of a prompt file (verifier-input.ts). */
export interface JudgePrompt {
  /** No variables. */
  system: string;
  /**
   * Variables: `statement`, `steps` (all of them, one after the other), `patch` (without files that it creates) and
   * `changedLines` (of that patch, with their sign).
   */
  user: string;
  /** One step. Variables: `index` from 0, `reply`, `observation`. */
  step: string;
  /** Stands for an observation that was left out to save tokens; no template. */
  condensed: string;
}

/** Fills a template. Values are inserted as they are; a variable that is not given throws, also as a condition. */
export function render(template: string, variables: Record<string, unknown>): string {
  const parsed = Handlebars.parse(template);
  new KnownNames(new Set([...Object.keys(variables), 'if'])).accept(parsed);
  return Handlebars.compile(parsed, { strict: true, noEscape: true, knownHelpersOnly: true })(variables);
}

/** Handlebars' strict mode lets unknown names pass as arguments and finds inherited ones. */
class KnownNames extends Handlebars.Visitor {
  constructor(private readonly names: ReadonlySet<string>) {
    super();
  }

  override PathExpression({ parts, original }: hbs.AST.PathExpression): void {
    if (!this.names.has(parts[0] ?? '')) throw new Error(`unknown variable ${original}`);
  }
}

/** System and user message: `prompt` of a trajectory, without the steps-remaining line. */
export function openingMessages(prompt: Prompt, task: Pick<Task, 'statement' | 'workdir'>): Message[] {
  const { statement, workdir } = task;
  return [
    { role: 'system', content: render(prompt.system, { workdir }) },
    { role: 'user', content: render(prompt.task, { statement, workdir }) },
  ];
}

/** The observation of a step whose reply held no usable call. */
export function formatErrorText(prompt: Prompt, { formatError }: FormatError): string {
  return render(prompt.formatError, { reminder: MISSING_CALL, unclosed: formatError === 'unclosedCall' });
}

export interface ConversationOptions {
  /** Rebuild the assistant's messages as the source does; default: the raw reply. */
  compat?: Thoughts;
}

/** What the policy is shown before its reply to step `steps.length`. */
export function conversation(
  opening: readonly Message[],
  steps: readonly Pick<Step, 'reply' | 'observation'>[],
  { softSteps }: Pick<RolloutLimits, 'softSteps'>,
  { compat }: ConversationOptions = {},
): Message[] {
  const turns = steps.flatMap(({ reply, observation }): Message[] => [
    { role: 'assistant', content: compat ? replyCompat(reply.text, compat) : reply.text },
    { role: 'user', content: observation },
  ]);
  let done = 0;
  return [...opening, ...turns].map(({ role, content }) =>
    role === 'user' ? { role, content: `${content}\n${stepsRemaining(softSteps - done++)}` } : { role, content },
  );
}
