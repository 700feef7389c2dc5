/** Typed activity proxies, one per queue and kind of work. */
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { ControlActivities, SandboxActivities, ServeActivities, TrainActivities } from '../activities';
import { QUEUES } from '../config/queues';
import type { RunSettings } from '../core/plan';
import { bulk, quick, sandboxed, serving, training, watch } from '../config/timeouts';

export const control = proxyActivities<ControlActivities>({ taskQueue: QUEUES.control, ...quick });
export const controlBulk = proxyActivities<ControlActivities>({ taskQueue: QUEUES.control, ...bulk });
/** Cancelling waits for the activity, which lets the stage go before it ends. */
export const watcher = proxyActivities<ControlActivities>({
  taskQueue: QUEUES.control,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  ...watch,
});
export const sandbox = proxyActivities<SandboxActivities>({
  taskQueue: QUEUES.sandbox,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  ...sandboxed,
});
/** Cancelling waits for the program's last checkpoint. */
export const trainer = proxyActivities<TrainActivities>({
  taskQueue: QUEUES.gpuTrain,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  ...training,
});
/** Served by someone else it needs no device, so it takes none of their slots. Cancelling waits until the server is gone. */
export function server(type: RunSettings['serve']['type']) {
  return proxyActivities<ServeActivities>({
    taskQueue: type === 'url' ? QUEUES.control : QUEUES.gpuServe,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    ...serving,
  });
}
