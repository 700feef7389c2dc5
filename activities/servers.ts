/** Model servers as seen by those who need one: take it and wait until it answers, and find its address again. */
import { Context } from '@temporalio/activity';
import { type Client, WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, rootCause, TerminatedFailure } from '@temporalio/common';
import { QUEUES } from '../config/queues';
import { Failure, isFailure } from '../core/failures';
import { serverName } from '../core/ids';
import type { ModelServerInput, ServeSettings, ServerProgress } from '../workflows/messages';

const FIRST_LOOK_MS = 100;
/** A large model loads for minutes; a stage need not know to the tenth of a second. */
const LONGEST_PAUSE_MS = 2_000;
const HEARTBEAT_MS = 1_000;

/** Takes the server of the model for the holder; returns when it answers. Taken again it is no second holder. */
export function createAcquireServer(client: Client) {
  return async function acquireServer(input: {
    model: string;
    holder: string;
    settings: ServeSettings;
  }): Promise<void> {
    const { model, holder, settings } = input;
    const context = Context.current();
    const args: [ModelServerInput] = [{ model, settings }];
    await client.workflow.signalWithStart('modelServer', {
      ...{ workflowId: serverName(model), taskQueue: QUEUES.control, args },
      ...{ signal: 'acquire', signalArgs: [holder], staticSummary: model },
    });
    const handle = client.workflow.getHandle(serverName(model));
    const beats = setInterval(() => context.heartbeat(), HEARTBEAT_MS);
    const over = new AbortController();
    const answers = async (): Promise<void> => {
      for (let pause = FIRST_LOOK_MS; !over.signal.aborted; pause = Math.min(1.5 * pause, LONGEST_PAUSE_MS)) {
        if ((await handle.query<ServerProgress>('server')).url !== null) return;
        await context.sleep(pause);
      }
    };
    const ends = async (): Promise<never> => {
      await client.withAbortSignal(over.signal, () => handle.result());
      throw ApplicationFailure.retryable(`the server of ${model} stopped while it was taken`, 'ServerLost');
    };
    try {
      await Promise.race([answers(), ends(), context.cancelled]);
    } catch (error) {
      throw error instanceof WorkflowFailedError ? whyFailed(model, error) : error;
    } finally {
      over.abort();
      clearInterval(beats);
    }
  };
}

/** Addresses of model servers, asked of their workflows once, and again when nobody answers there any more. */
export class ServerLocator {
  private readonly known = new Map<string, string>();

  constructor(private readonly client: Client) {}

  /**
   * Works with the model's base URL. Throws `PolicyUnavailable` while its server starts, and what made it fail where
   * none will.
   */
  async use<T>(model: string, work: (url: string) => Promise<T>): Promise<T> {
    const url = this.known.get(model) ?? (await this.ask(model));
    this.known.set(model, url);
    try {
      return await work(url);
    } catch (error) {
      // Nobody answers there, or somebody else does by now, who knows no such model.
      const gone = isFailure(error, 'PolicyUnavailable') || isFailure(error, 'PolicyRefused');
      if (gone && this.known.get(model) === url) this.known.delete(model);
      throw error;
    }
  }

  private async ask(model: string): Promise<string> {
    const handle = this.client.workflow.getHandle(serverName(model));
    try {
      if ((await handle.describe()).status.name !== 'RUNNING') await handle.result();
      const { url } = await handle.query<ServerProgress>('server');
      if (url !== null) return url;
    } catch (error) {
      throw error instanceof WorkflowFailedError ? whyFailed(model, error) : error;
    }
    throw new Failure('PolicyUnavailable', `${model}: its server does not answer yet`);
  }
}

/** What a person must mend: trying again would not. */
function whyFailed(model: string, { cause, message }: WorkflowFailedError): Failure {
  const byHand = cause instanceof CancelledFailure || cause instanceof TerminatedFailure;
  const reason = byHand ? `the server of ${model} was stopped by hand; start the experiment again` : rootCause(cause);
  return new Failure('ConfigInvalid', reason ?? message);
}
