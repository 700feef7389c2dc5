/** Activity options by kind of work; each number with its why. Imported by workflows: no Node, no zod. */
import type { ActivityOptions } from '@temporalio/common';
import { FAILURES, type FailureType } from '../core/failures';

const nonRetryableErrorTypes = (Object.keys(FAILURES) as FailureType[]).filter((type) => !FAILURES[type].retryable);

/** Reads and writes small files: seconds. Twenty attempts with back-off outlast a full disk being cleared. */
export const quick: ActivityOptions = {
  startToCloseTimeout: '2m',
  retry: { maximumAttempts: 20, maximumInterval: '30s', nonRetryableErrorTypes },
};

/**
 * Runs as long as its stage does, and only waits. The heartbeat timeout is how long a stage goes unwatched when a
 * worker's host is gone; a restarted worker reports its own orphans at once (workers/orphans.ts).
 */
export const watch: ActivityOptions = {
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '60s',
  retry: { maximumInterval: '30s', nonRetryableErrorTypes },
};

/** Walks every file of a stage, a model or an experiment: minutes for thousands of rollouts, or for large weights. */
export const bulk: ActivityOptions = {
  startToCloseTimeout: '12h',
  heartbeatTimeout: '60s',
  retry: { maximumAttempts: 20, maximumInterval: '1m', nonRetryableErrorTypes },
};

/**
 * Plays or scores one task. Attempts are not capped by number but by progress (`RolloutStuck`): a rollout survives any
 * number of killed workers. Hosts under load miss heartbeats for tens of seconds, hence the minute.
 */
export const sandboxed: ActivityOptions = {
  startToCloseTimeout: '24h',
  heartbeatTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '1m', nonRetryableErrorTypes },
};

/**
 * Trains, or computes reference log-probabilities: hours to days, from checkpoint to checkpoint. A program that always
 * crashes is bounded by progress (`TrainerStuck`), since any number of killed or restarted workers must not end it; the
 * thousand attempts, most of a day, bound what else may go wrong each time.
 */
export const training: ActivityOptions = {
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '1m', maximumAttempts: 1000, nonRetryableErrorTypes },
};

/** Serves a model for as long as somebody holds it. A crashed server is started again for as long as that is so. */
export const serving: ActivityOptions = {
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '30s', nonRetryableErrorTypes },
};
