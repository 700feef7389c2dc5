/**
 * The parts of an experiment that make and serve models: where weights come from, how they are trained, and how they
 * are served. Values of the paper stand beside their defaults (spec §6.6).
 */
import { z } from 'zod';
import { duration, name } from './fields';

/** Digest over the folder's files, hex; filled in when the experiment starts, checked where it is given. */
const modelSha256 = z.string().optional();

/** An ordinary Hugging Face folder of a causal language model with a chat template. */
export const model = z.discriminatedUnion('type', [
  /** The pretrained model of this repository: 1.9 million parameters that read and edit small Python files. */
  z.strictObject({ type: z.literal('tiny'), sha256: modelSha256 }),
  z.strictObject({
    type: z.literal('folder'),
    /** On the worker's machine. */
    path: z.string(),
    sha256: modelSha256,
  }),
  /** What another experiment here has trained under that name: its folder, as it is when this experiment starts. */
  z.strictObject({ type: z.literal('trained'), experiment: z.string(), model: name() }),
  z.strictObject({
    type: z.literal('hub'),
    /** `owner/name` on the Hugging Face Hub (or the mirror in HF_ENDPOINT of the worker). */
    repository: z.string(),
    /** A commit: a branch would change under the stage's key. */
    revision: z.string().regex(/^[0-9a-f]{40}$/, 'the 40 hex digits of a commit'),
  }),
]);

/** α: the weight of the policy's own log-probability. One of the two; the ratio is the paper's unit (spec §6.5). */
const entropy = {
  /** α/β. Paper: 1.1; README of the authors: 1.05 to 1.5. */
  entropyRatio: z.number().gt(0).optional(),
  /** α itself. */
  alpha: z.number().gt(0).optional(),
};

const pair = {
  /** β: weight of the reference. LLaMA-Factory's default, which the authors use. */
  beta: z.number().gt(0).default(0.1),
  /** Weight of an SFT term on the chosen side, per token; 0 is the paper's. */
  ftx: z.number().min(0).default(0),
};

const kto = {
  ...pair,
  /** Where z comes from (training.md §1). */
  baseline: z.enum(['exact', 'mismatched', 'batch', 'sampled', 'zero']).default('batch'),
  /** Paper: not clamped, since z may be negative; TRL clamps at 0. */
  clamp: z.boolean().default(false),
  /** `auto`: sets the ratio of the classes' summed weights into [1, 4/3]. */
  desirableWeight: z.union([z.literal('auto'), z.number().gt(0)]).default('auto'),
  undesirableWeight: z.number().gt(0).default(1),
};

const method = z
  .discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('sft'),
      /** Which trajectories are learned from. */
      keep: z.enum(['finished', 'resolved', 'all']).default('finished'),
    }),
    z.strictObject({ type: z.literal('dpo'), ...pair }),
    z.strictObject({ type: z.literal('entropo-dpo'), ...pair, ...entropy }),
    z.strictObject({ type: z.literal('kto'), ...kto }),
    z.strictObject({
      type: z.literal('entropo-kto'),
      ...kto,
      ...entropy,
      /** `upstream-compat`: as coded in the authors' fork (spec §6.4); ignores `baseline` and `clamp`. */
      form: z.enum(['paper', 'upstream-compat']).default('paper'),
    }),
    /** YES or NO to "does this trajectory resolve its task": trained on rollouts and their grades. */
    z.strictObject({
      type: z.literal('verifier'),
      /** Share of tasks set aside to measure it, split by task. */
      heldout: z.number().gt(0).lt(1).default(0.2),
    }),
  ])
  .superRefine((value, context) => {
    if (!('form' in value) && value.type !== 'entropo-dpo') return;
    if ((value.alpha === undefined) === (value.entropyRatio === undefined)) {
      const given = value.alpha === undefined ? 'neither is' : 'both are';
      const message = `give either entropyRatio (α/β, the paper's unit) or alpha; ${given} there`;
      context.addIssue({ code: 'custom', message, path: ['entropyRatio'] });
    }
  });

export const train = z.strictObject({
  /** What it starts from: a name below `models` or `train`. For the preference methods also the reference. */
  model: name(),
  /** `sft`, `verifier`: names below `collect`. The preference methods: one name below `preferences`. */
  data: z.union([name().transform((only) => [only]), z.array(name()).min(1)]),
  method,
  /** Paper: 1. */
  epochs: z.number().gt(0).default(1),
  /** Conversations, or pairs, per update. Paper: 16. */
  batchSize: z.number().int().positive().default(16),
  /** Tokens that pass through the model at once: a larger batch is accumulated. Bounds memory. */
  microBatchTokens: z.number().int().positive().default(8192),
  /** Paper: 1e-5. */
  learningRate: z.number().gt(0).default(1e-5),
  /** Share of updates over which the rate rises. Paper: 0.1. */
  warmup: z.number().min(0).max(1).default(0.1),
  /** Longest conversation, tokens. Paper: 18,000. */
  cutoff: z.number().int().positive().default(18_000),
  /** What becomes of longer ones; the stage's counts say how many. */
  overlong: z.enum(['drop', 'truncate-head', 'truncate-tail', 'error']).default('drop'),
  /** Low-rank adapters, merged into the result. Absent: every weight is trained. Paper: rank 8, alpha 16. */
  lora: z
    .strictObject({ rank: z.number().int().positive().default(8), alpha: z.number().gt(0).default(16) })
    .optional(),
  /** Most time between checkpoints, in updates. */
  checkpointUpdates: z.number().int().positive().default(50),
});

/** Pairs and labels from graded rollouts. */
export const preferences = z.strictObject({
  /** Names below `collect`, all over the same tasks: rollouts of student and teacher are pooled. */
  from: z.array(name()).min(1),
  /** Most pairs of one task. */
  maxPairsPerTask: z.number().int().positive().default(4),
});

/** How models are served here. Not part of any stage's key. */
export const serve = z.discriminatedUnion('type', [
  /** Our own server on PyTorch, in `trainer/`: any Hugging Face causal language model, small ones well. */
  z.strictObject({
    type: z.literal('embedded'),
    /** Conversations held at once, each with its keys and values. */
    slots: z.number().int().positive().default(32),
    /** A line for each request in the server's log: seed, tokens of prompt and reply limit. */
    logRequests: z.boolean().exactOptional(),
  }),
  z.strictObject({
    type: z.enum(['vllm', 'sglang']),
    /** Default: `vllm serve` / `python -m sglang.launch_server`. */
    command: z.array(z.string()).min(1).optional(),
    /** Appended to the command, e.g. `--tensor-parallel-size`, `4`. */
    args: z.array(z.string()).default([]),
    /** Longest wait until it answers; a large model loads for minutes. */
    startTimeout: duration().default(30 * 60_000),
  }),
  /** Served by someone else; the model's name there is the stage id. */
  z.strictObject({ type: z.literal('url'), url: z.url() }),
]);
