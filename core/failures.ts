/**
 * The one table of infrastructure failures (docs/formats.md). Outcomes of a rollout are values (`Exit`, trajectory.ts)
 * and never appear here. An adapter classifies once, at the border; everything inside lets it throw.
 */
export const FAILURES = {
  /** A configuration, data row or command-line value that cannot be used. Nothing was started. */
  ConfigInvalid: { retryable: false },
  /** A task that cannot be set up or graded; it is listed as excluded with the reason. */
  TaskBroken: { retryable: false },
  /** No sandbox could be opened here and now. */
  SandboxUnavailable: { retryable: true },
  /** A sandbox died under a rollout; the next attempt continues from the journal. */
  SandboxLost: { retryable: true },
  /** The policy's endpoint did not answer (408, 429, 5xx, connection). */
  PolicyUnavailable: { retryable: true },
  /** The policy's endpoint refused (401, 403, 404, other 4xx): the stage pauses with the message. */
  PolicyRefused: { retryable: false },
  /**
   * A newer attempt of the same rollout holds the journal: this one must stop writing. Retryable, because "newer" is
   * who opened it last: a process believed dead that wakes late fences the live attempt, which then takes it back.
   */
  JournalFenced: { retryable: true },
  /** Three attempts of a rollout added no record to its journal. */
  RolloutStuck: { retryable: false },
  /** A sealed file whose hash differs from its manifest. */
  ArtifactCorrupt: { retryable: false },
  /** A stage with fewer usable rollouts than its declared share. */
  StageUnusable: { retryable: false },
  /** A model could not be fetched here and now. */
  ModelUnavailable: { retryable: true },
  /** No pair of a resolved and an unresolved trajectory, no label of one kind: nothing to learn from. */
  DataUnusable: { retryable: false },
  /** The training program ended without result; the next attempt goes on from its newest complete checkpoint. */
  TrainerCrashed: { retryable: true },
  /** Ten crashes in a row, none of them farther than the one before. Checkpoints stay. */
  TrainerStuck: { retryable: false },
  /** Loss or gradient is not finite; the message names update, loss and rows. */
  TrainerDiverged: { retryable: false },
  /** A model server ended or never answered; the next attempt starts another. */
  ServerLost: { retryable: true },
  /** The worker process died while it ran this activity. */
  WorkerLost: { retryable: true },
} as const;

export type FailureType = keyof typeof FAILURES;

/** An infrastructure failure. `message` says what failed, which id, and what to do. */
export class Failure extends Error {
  constructor(
    readonly type: FailureType,
    message: string,
    /** Shortest wait before the next attempt, in milliseconds, when the other side named one (`retry-after`). */
    readonly retryAfterMs?: number,
  ) {
    super(message);
    this.name = type;
  }

  get retryable(): boolean {
    return FAILURES[this.type].retryable;
  }
}

/** True for a failure of the given type, also across module realms (compares names, not classes). */
export function isFailure(error: unknown, type: FailureType): error is Failure {
  return error instanceof Error && error.name === type;
}
