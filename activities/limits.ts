/** Limits of a rollout as its stage's configuration gives them. */
import type { RolloutsStageConfig } from '../core/plan';
import type { RolloutLimits } from '../core/trajectory';

export function rolloutLimits(limits: RolloutsStageConfig['limits']): RolloutLimits {
  return {
    maxSteps: limits.maxSteps,
    softSteps: Math.min(limits.softSteps ?? limits.maxSteps, limits.maxSteps),
    maxTokens: limits.maxTokens,
    maxFormatErrors: limits.maxFormatErrors,
    commandTimeoutMs: limits.commandTimeout,
    replyTimeoutMs: limits.replyTimeout,
    maxTimeMs: limits.maxTime,
  };
}
