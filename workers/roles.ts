/** Worker roles: which queue a role polls, and how much it does at once. One process may hold several. */
import os from 'node:os';
import type { WorkerOptions } from '@temporalio/worker';
import { QUEUES } from '../config/queues';
import { Failure } from '../core/failures';

export const ROLES = ['control', 'sandbox', 'gpu-train', 'gpu-serve'] as const;
export type Role = (typeof ROLES)[number];

export function parseRoles(text: string): Role[] {
  const roles = text.split(',').map((role) => role.trim());
  const unknown = roles.filter((role) => !ROLES.includes(role as Role));
  if (unknown.length > 0 || roles.length === 0) {
    throw new Failure(
      'ConfigInvalid',
      `--roles ${text}: unknown role ${unknown.join(', ')}; known: ${ROLES.join(', ')}`,
    );
  }
  return [...new Set(roles)] as Role[];
}

export interface Capacity {
  /**
   * Sandboxes at once on this host. Default four per core: most of a rollout waits for its policy, and a scripted
   * policy's sandbox commands are shorter than their set-up.
   */
  slots?: number;
  /** Names of this host's devices (adapters/devices.ts). */
  devices?: readonly string[];
}

export function roleOptions(
  role: Role,
  { slots = 4 * os.availableParallelism(), devices = [] }: Capacity = {},
): Partial<WorkerOptions> & { taskQueue: string } {
  switch (role) {
    case 'control':
      return {
        taskQueue: QUEUES.control,
        maxCachedWorkflows: 300, // a cached workflow costs about 130 KB
        maxConcurrentWorkflowTaskExecutions: 40,
        // Most of them wait for a stage or a server and cost nothing; with as many waiting, no stage could open.
        maxConcurrentActivityTaskExecutions: 2000,
      };
    case 'sandbox':
      return { taskQueue: QUEUES.sandbox, maxConcurrentActivityTaskExecutions: slots };
    default:
      // One program per device, or one on the CPU. A cancellation comes with a heartbeat, and others wait for the device.
      return {
        taskQueue: role,
        maxConcurrentActivityTaskExecutions: Math.max(1, devices.length),
        maxHeartbeatThrottleInterval: '1s',
      };
  }
}
