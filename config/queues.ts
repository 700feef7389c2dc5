/** The task queues, one per kind of resource. A worker polls those of its roles (workers/roles.ts). */
export const QUEUES = {
  /** Workflows, planning, selection, report: cheap and many. */
  control: 'control',
  /** Rollouts, grading, scoring: whatever opens a sandbox. */
  sandbox: 'sandbox',
  /** Training and reference passes: one at a time per device. */
  gpuTrain: 'gpu-train',
  /** Model servers: one at a time per device. */
  gpuServe: 'gpu-serve',
} as const;
