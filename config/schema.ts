/**
 * An experiment's configuration: one YAML file, kept short by its defaults. Unknown keys are refused with their path
 * and the nearest valid name (load.ts). The resolved configuration is stored with the run.
 */
import ms from 'ms';
import { z } from 'zod';
import { DEFAULT_SANDBOX_LIMITS } from '../adapters/sandbox/sandbox';
import { duration, name } from './fields';
import { model, preferences, serve, train } from './training';

/** Where tasks come from. The tag picks the kind of row; it is never guessed from an image name. */
const source = z.discriminatedUnion('type', [
  /** Small generated bug-fix tasks in the R2E-Gym row format (docs/formats.md). */
  z.strictObject({ type: z.literal('pocket'), seed: z.number().int().nonnegative().default(1) }),
  /** Mutations of a published pure-Python package, graded by its own tests. */
  z.strictObject({ type: z.literal('library'), seed: z.number().int().nonnegative().default(1) }),
  /** Rows in the R2E-Gym format, as JSON lines: a path on the worker's machine. */
  z.strictObject({
    type: z.literal('r2e'),
    path: z.string(),
    /** Digest of the file, hex; filled in when the experiment starts, checked where it is given. */
    sha256: z.string().optional(),
  }),
]);

const tasks = z.strictObject({
  source,
  /** `train` and `heldout` share no function body. */
  split: z.enum(['train', 'heldout']).default('train'),
  /** How many tasks; a seeded sample of the split. Default all. */
  limit: z.number().int().positive().optional(),
  /** Only these ids. */
  ids: z.array(z.string()).optional(),
});

/** Sampling settings sent with every call. */
const sampling = z.strictObject({
  /** Paper D.4: temperature 0.7, top-p 0.8, top-k 20. */
  temperature: z.number().min(0).default(0.7),
  topP: z.number().gt(0).max(1).default(0.8),
  topK: z.number().int().positive().optional(),
  minP: z.number().min(0).max(1).optional(),
  maxNewTokens: z.number().int().positive().default(4096),
  stop: z.array(z.string()).optional(),
});

const policy = z.union([
  z.strictObject({
    type: z.literal('model'),
    /** A name below `models` or `train`; served while its rollouts are played (`serve`). */
    model: name(),
    sampling: sampling.prefault({}),
  }),
  z.strictObject({
    type: z.literal('openai'),
    /** Model id as the endpoint names it. */
    model: z.string(),
    /** Base URL with `/v1`. Default: `OPENAI_BASE_URL` of the worker. The key is always `OPENAI_API_KEY` of the worker. */
    url: z.url().optional(),
    sampling: sampling.prefault({}),
    /** Asks for token ids and log-probabilities; refused by some providers. */
    logProbs: z.boolean().default(false),
  }),
  z.strictObject({
    type: z.literal('scripted'),
    /** Unprivileged: a seeded search over one-token edits of the file that the issue names. */
    script: z.literal('search'),
    /** Edits tried before it submits. */
    tries: z.number().int().positive(),
  }),
  z.strictObject({
    type: z.literal('scripted'),
    /** Privileged: knows the fix, errs on the way. Collection only; evaluation refuses it. */
    script: z.literal('teacher'),
    /** Share of rollouts that edit once and submit untested (training.md §8: what leaves room for selection). */
    sloppy: z.number().min(0).max(1).default(0.6),
    /** Most wrong edits before the right one. */
    wrongEdits: z.number().int().nonnegative().default(3),
  }),
]);

const rollouts = z.strictObject({
  /** A name below `tasks`. */
  tasks: name(),
  policy,
  /** Rollouts per task (N). */
  samples: z.number().int().positive().default(1),
  /** A stage with a smaller share of usable rollouts fails: the rest ended as infrastructure failures. */
  minUsable: z.number().min(0).max(1).default(0.95),
});

const limits = z.strictObject({
  /** Paper: 200 steps in evaluation, 100 in collection. */
  maxSteps: z.number().int().positive().default(100),
  /** Default: `maxSteps`. */
  softSteps: z.number().int().positive().optional(),
  /** Paper: 131,072 in evaluation, 65,536 in collection. */
  maxTokens: z.number().int().positive().default(65_536),
  maxFormatErrors: z.number().int().positive().default(5),
  commandTimeout: duration().default(90_000),
  replyTimeout: duration().default(ms('20m')),
  maxTime: duration().default(ms('2h')),
});

const sandboxLimits = z.strictObject({
  memoryMb: z.number().int().positive().default(DEFAULT_SANDBOX_LIMITS.memoryMb),
  pids: z.number().int().positive().default(DEFAULT_SANDBOX_LIMITS.pids),
  cpus: z.number().positive().default(DEFAULT_SANDBOX_LIMITS.cpus),
  diskMb: z.number().int().positive().default(DEFAULT_SANDBOX_LIMITS.diskMb),
  outputBytes: z.number().int().positive().default(DEFAULT_SANDBOX_LIMITS.outputBytes),
});

const selector = z.discriminatedUnion('type', [
  /** finished -> regression -> reproduction -> verifier -> steps (paper D.4, README; spec §5.5). */
  z.strictObject({
    type: z.literal('entropo'),
    /** `relative`: keep the best score; `absolute`: keep those that pass all. */
    regression: z.enum(['relative', 'absolute', 'off']).default('relative'),
    reproduction: z.enum(['relative', 'absolute', 'off']).default('relative'),
    /** η of the paper: candidates below it are dropped. */
    minVerifierScore: z.number().min(0).max(1).default(0.01),
    /** Paper: most for SWE-bench Verified, fewest for Lite. */
    steps: z.enum(['most', 'fewest']).default('fewest'),
  }),
  /** Highest verifier score. */
  z.strictObject({ type: z.literal('ef') }),
  /** Best regression, then best reproduction. */
  z.strictObject({ type: z.literal('eb') }),
  /** R2E-Gym: top candidates by verifier, then regression, reproduction, verifier. */
  z.strictObject({
    type: z.literal('r2e-hybrid'),
    /** `script`: floor(K/2), at least 1; `notebook`: max(3, floor(K/2)) (spec §5.3, §5.4). */
    top: z.enum(['script', 'notebook']).default('notebook'),
  }),
]);

export const experimentSchema = z.strictObject({
  /** One line for people; shown in plan and report. */
  title: z.string().default(''),
  /** Decides every random number of the experiment. */
  seed: z.number().int().nonnegative().default(1),
  /** `auto`: for each task the cheapest adapter here that can hold it. */
  sandbox: z.enum(['auto', 'docker', 'bubblewrap']).default('auto'),
  sandboxLimits: sandboxLimits.prefault({}),
  /** Where models train and are served. `auto`: a GPU where there is one. `gpu`: refuses to start without one. */
  device: z.enum(['auto', 'cpu', 'gpu']).default('auto'),
  serve: serve.prefault({ type: 'embedded' }),
  /** A model server without rollouts to answer stops after this time. */
  idleStop: duration().default(30_000),
  /** Prompt file below config/prompts: `full`, or `tiny` for models of a few million parameters. */
  prompt: z.enum(['full', 'tiny']).default('full'),
  limits: limits.prefault({}),
  /** Rollouts in flight at once per stage; the workers' slots bound what really runs. */
  lanes: z.number().int().positive().default(16),
  /** Most rollouts in one shard; all samples of a task are in the same shard. */
  shardSize: z.number().int().positive().max(500).default(400),
  tasks: z.record(name(), tasks),
  models: z.record(name(), model).default({}),
  train: z.record(name(), train).default({}),
  preferences: z.record(name(), preferences).default({}),
  collect: z.record(name(), rollouts).default({}),
  evaluate: z.record(name(), rollouts).default({}),
  /** Evaluations per arm, each with a seed of its own; the report gives mean and standard deviation. Paper: 3. */
  repeats: z.number().int().positive().default(1),
  /** A name below `train` with method `verifier`: scores every evaluated rollout. */
  verifier: name().optional(),
  /** One selection per entry and evaluated arm. The first is the one the report puts first. */
  select: z.record(name(), selector).prefault({ entropo: { type: 'entropo' } }),
  report: z
    .strictObject({
      /** Bootstrap resamples over tasks for every interval. */
      resamples: z.number().int().min(100).default(1000),
      /** Coverage of the intervals. */
      confidence: z.number().gt(0).lt(1).default(0.95),
    })
    .prefault({}),
});

/** As written: defaults may be left out. */
export type ExperimentInput = z.input<typeof experimentSchema>;
/** As resolved: every value present, durations in milliseconds. */
export type ExperimentConfig = z.output<typeof experimentSchema>;
export type TasksConfig = ExperimentConfig['tasks'][string];
export type PolicyConfig = ExperimentConfig['evaluate'][string]['policy'];
export type SelectorConfig = ExperimentConfig['select'][string];
export type ModelConfig = ExperimentConfig['models'][string];
export type TrainConfig = ExperimentConfig['train'][string];
export type MethodConfig = TrainConfig['method'];
