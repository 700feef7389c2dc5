/** Waiting for several works at once: a workflow that ends at once abandons what it still runs. */
import { CancellationScope } from '@temporalio/workflow';

/** Waits for all of them, then throws what the first threw. */
export async function settleAll(works: readonly Promise<void>[]): Promise<void> {
  for (const end of await Promise.allSettled(works)) if (end.status === 'rejected') throw end.reason;
}

/** The first that fails cancels the others; throws what it threw when all have ended. */
export async function settleOrCancel(works: readonly (() => Promise<void>)[]): Promise<void> {
  const scope = new CancellationScope();
  let first: { error: unknown } | null = null as { error: unknown } | null;
  const fail = (error: unknown) => {
    first ??= { error };
    scope.cancel();
  };
  await scope.run(() => Promise.all(works.map((work) => work().catch(fail))));
  if (first) throw first.error;
}
