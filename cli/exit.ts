/** Exit codes: 0 done, 1 something failed, 2 the input, the data it leads to or this machine cannot be used. */
import colors from 'picocolors';
import { Failure, type FailureType } from '../core/failures';
import { plain } from './plain';

const UNUSABLE: readonly FailureType[] = ['ConfigInvalid', 'DataUnusable', 'SandboxUnavailable', 'TaskBroken'];

/** Prints the message for a person and returns the exit code. A bug prints its stack. */
export function failed(error: unknown): number {
  if (error instanceof Failure) {
    process.stderr.write(`${colors.red(error.type)}: ${plain(error.message)}\n`);
    return UNUSABLE.includes(error.type) ? 2 : 1;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`${text}\n`);
  return 1;
}
