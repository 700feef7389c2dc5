/**
 * The server of one model, for as long as somebody holds it. Its id is `<model>/server`, so stages and experiments that
 * need the same model share one server. When the last holder has left and `idleStopMs` have passed, the server is stopped
 * and its slot is free for another model; who comes meanwhile has it started again.
 *
 * Not covered: holders that ended without leaving (activities/serve.ts drops them).
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { acquire, type ModelServerInput, release, type ServerProgress, serverProgress, serving } from './messages';
import { server } from './proxies';

export async function modelServer(input: ModelServerInput): Promise<void> {
  const { model, settings } = input;
  const holders = new Set(input.holders);
  const progress: ServerProgress = { url: null, state: 'waiting', holders: [] };
  setHandler(serverProgress, () => ({ ...progress, holders: [...holders] }));
  setHandler(acquire, (holder) => void holders.add(holder));
  setHandler(release, (holder) => void holders.delete(holder));
  setHandler(serving, (url) => {
    if (progress.state === 'stopping') return;
    progress.url = url;
    progress.state = url === null ? 'waiting' : 'serving';
  });

  // A history too long ends with the server: the next run starts it anew for the same holders.
  const long = () => workflowInfo().continueAsNewSuggested;
  const unneeded = async () => {
    do await condition(() => holders.size === 0 || long());
    while (!long() && (await condition(() => holders.size > 0, settings.idleStopMs)));
  };
  await condition(() => holders.size > 0);
  while (holders.size > 0) {
    progress.state = 'waiting';
    const scope = new CancellationScope();
    const served = scope.run(() => server(settings.serve.type).serve({ model, settings }));
    let stopped = false;
    const stop = () => {
      stopped = true;
      Object.assign(progress, { url: null, state: 'stopping' });
      scope.cancel();
    };
    unneeded().then(stop, () => undefined); // rejects when the workflow is cancelled, and with it the server
    try {
      await served;
    } catch (error) {
      if (!stopped || !isCancellation(error)) throw error;
    }
    if (holders.size > 0 && long()) {
      await condition(allHandlersFinished);
      await continueAsNew<typeof modelServer>({ ...input, holders: [...holders] });
    }
  }
}
