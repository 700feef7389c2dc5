/** Work that needs one of our models served. */
import { CancellationScope, getExternalWorkflowHandle } from '@temporalio/workflow';
import { serverName } from '../core/ids';
import { release, type StageInput } from './messages';
import { watcher } from './proxies';

/**
 * Holds the server of the model for the stage while it works.
 * @param goesOn true after the work where the stage's next run goes on with it, and so keeps the server.
 */
export async function whileServed(
  model: string,
  { stage, settings }: StageInput,
  work: () => Promise<void>,
  goesOn: () => boolean = () => false,
): Promise<void> {
  const { serve, device, idleStopMs } = settings;
  let handedOver = false;
  try {
    await watcher.acquireServer({ model, holder: stage, settings: { serve, device, idleStopMs } });
    await work();
    handedOver = goesOn();
  } finally {
    if (!handedOver) await CancellationScope.nonCancellable(() => leaveServer(model, stage));
  }
}

/** A server that has failed is gone already. */
async function leaveServer(model: string, stage: string): Promise<void> {
  const leaving = getExternalWorkflowHandle(serverName(model)).signal(release, stage);
  await leaving.catch(() => undefined);
}
