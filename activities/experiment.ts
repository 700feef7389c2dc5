/** Control activities of an experiment: resolve and plan, run a stage as a workflow of its own, publish the report. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { CancelledFailure, Context } from '@temporalio/activity';
import { type Client, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { ApplicationFailure, rootCause } from '@temporalio/common';
import { stringify } from 'yaml';
import { applyOverrides, readConfig, resolveConfig } from '../config/load';
import { homeFolders } from '../config/env';
import { promptSha256 } from '../config/prompts';
import { QUEUES } from '../config/queues';
import type { ExperimentConfig, PolicyConfig } from '../config/schema';
import { Failure, FAILURES, isFailure } from '../core/failures';
import { fileSafe } from '../core/ids';
import {
  type Plan,
  planExperiment,
  policyName,
  type RunSettings,
  type StageConfigs,
  type StageKind,
} from '../core/plan';
import { checkModelFolder, modelSha256, TINY_MODEL } from '../adapters/models';
import { writeSealed } from '../adapters/store/sealed';
import { fileSha256, StageStore } from '../adapters/store/stages';
import { stageAttributes } from '../workflows/attributes';
import type { ExperimentInput } from '../workflows/messages';
import { requireContexts } from './context';
import { buildReport, type ReportPlan, writeReport } from './report';

/** What the experiment workflow needs of its plan: ids and names only. */
export interface ResolvedExperiment {
  experiment: string;
  settings: RunSettings;
  stages: { name: string; kind: StageKind; id: string; inputs: string[]; sealed: boolean }[];
}

/** Validates and plans. Throws `ConfigInvalid` with every problem's path. Files named are digested into the keys. */
export async function resolvePlan(
  input: ExperimentInput,
  experiment: string,
): Promise<{ config: ExperimentConfig; plan: Plan }> {
  const named = typeof input.config === 'string';
  const raw = applyOverrides(named ? readConfig(input.config as string) : input.config, input.overrides ?? []);
  const config = await withDigests(resolveConfig(raw, named ? (input.config as string) : 'config'));
  const plan = planOf(experiment, config);
  await requireContexts(plan, config);
  return { config, plan };
}

function planOf(experiment: string, config: ExperimentConfig): Plan {
  try {
    return planExperiment(experiment, config, promptSha256(config.prompt));
  } catch (error) {
    if (error instanceof RangeError) throw new Failure('ConfigInvalid', error.message);
    throw error;
  }
}

/** Folder of an experiment's own files: `runs/<experiment>`. */
export function runFolder(home: string, experiment: string): string {
  return path.join(home, 'runs', fileSafe(experiment));
}

export function createExperimentActivities(store: StageStore, client: Client) {
  return {
    /** Writes `resolved.yaml`, `plan.json` and each stage's declaration before anything runs. */
    async resolveExperiment(input: ExperimentInput, experiment: string): Promise<ResolvedExperiment> {
      requireInput(input);
      const { config, plan } = await resolvePlan(input, experiment);
      const folder = runFolder(store.home, experiment);
      await writeSealed(path.join(folder, 'resolved.yaml'), stringify(config));
      await writeSealed(path.join(folder, 'plan.json'), `${JSON.stringify(plan, null, 2)}\n`);
      for (const stage of plan.stages) await store.declare(stage);
      return {
        experiment,
        settings: {
          sandbox: config.sandbox,
          lanes: config.lanes,
          shardSize: config.shardSize,
          device: config.device,
          serve: config.serve,
          idleStopMs: config.idleStop,
        },
        stages: plan.stages.map(({ name, kind, id, inputs }) => ({
          name,
          kind,
          id,
          inputs: [...new Set(Object.values(inputs))],
          sealed: store.sealed(id),
        })),
      };
    },

    /**
     * Starts or joins the stage's workflow and waits for it. Cancelled: leaves the stage, which stops when nobody else
     * holds it.
     */
    async runStage(input: {
      experiment: string;
      stage: string;
      kind: StageKind;
      settings: RunSettings;
    }): Promise<void> {
      const { experiment, stage, kind, settings } = input;
      const context = Context.current();
      const declared = await store.read(stage);
      const handle = await client.workflow.signalWithStart(kind, {
        workflowId: stage,
        taskQueue: QUEUES.control,
        args: [{ stage, settings }],
        signal: 'join',
        signalArgs: [experiment, context.info.attempt > 1],
        typedSearchAttributes: stageAttributes(experiment, stage, modelOf(declared.config)),
        staticSummary: declared.name,
      });
      const beat = setInterval(() => context.heartbeat(stage), 1_000);
      try {
        const ended = client.withAbortSignal(context.cancellationSignal, () =>
          client.workflow.getHandle(handle.workflowId).result(),
        );
        await Promise.race([ended, context.cancelled]);
      } catch (error) {
        if (error instanceof CancelledFailure) {
          if (await isOver(context, experiment)) await tellStage(stage, 'leave', experiment);
          throw error;
        }
        if (error instanceof WorkflowFailedError) {
          const message = rootCause(error.cause) ?? error.message;
          // Its last holder left while we joined: the next attempt starts it anew.
          const left = error.cause instanceof ApplicationFailure && error.cause.type === 'StageLeft';
          if (left) throw ApplicationFailure.retryable(message, 'StageLeft');
          await writeSealed(path.join(store.folder(stage), 'failure.json'), `${JSON.stringify({ message })}\n`);
          throw ApplicationFailure.nonRetryable(message, typeOf(error.cause));
        }
        throw error;
      } finally {
        clearInterval(beat);
      }
    },

    /** Writes the report beside the experiment's plan; returns its page, relative to the home folder. */
    async publishReport(experiment: string): Promise<string> {
      const folder = runFolder(store.home, experiment);
      const plan = JSON.parse(await readFile(path.join(folder, 'plan.json'), 'utf8')) as Plan;
      await writeReport(await buildReport({ plan: reportPlan(plan), storeFolder: store.root }), folder, store.root);
      return path.relative(store.home, path.join(folder, 'report.html'));
    },

    async pauseStages(input: { experiment: string; stages: string[]; paused: boolean }): Promise<void> {
      const signal = input.paused ? 'pauseStage' : 'resumeStage';
      for (const stage of input.stages) await tellStage(stage, signal, input.experiment);
    },
  };

  /** A stage that has ended needs no word; one whose start is under way is told by the next attempt. */
  async function tellStage(stage: string, signal: string, experiment: string): Promise<void> {
    const handle = client.workflow.getHandle(stage);
    try {
      await handle.signal(signal, experiment);
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      await handle.describe();
    }
  }

  /** True when the experiment was cancelled or terminated; false when only this watcher ends and another takes over. */
  async function isOver({ cancellationDetails }: Context, experiment: string): Promise<boolean> {
    if (!cancellationDetails?.notFound) return cancellationDetails?.cancelRequested ?? false;
    const { status } = await client.workflow.getHandle(experiment).describe();
    return status.name !== 'RUNNING';
  }
}

/** What a person typed arrives here unread: the `temporal` CLI knows nothing of our input. */
function requireInput(input: unknown): asserts input is ExperimentInput {
  const fields = typeof input === 'object' && input !== null ? (input as Record<string, unknown>) : {};
  const { config, overrides = [], ...unknown } = fields;
  const usable =
    (typeof config === 'string' || (typeof config === 'object' && config !== null && !Array.isArray(config))) &&
    Array.isArray(overrides) &&
    overrides.every((override) => typeof override === 'string') &&
    Object.keys(unknown).length === 0;
  if (usable) return;
  const given = JSON.stringify(input) ?? 'nothing';
  throw new Failure(
    'ConfigInvalid',
    `the input of an experiment is {"config": NAME or {...}, "overrides": ["key=value"]}, not ${given.slice(0, 200)}`,
  );
}

function modelOf(config: object): string | undefined {
  return 'policy' in config ? policyName(config.policy as PolicyConfig) : undefined;
}

/** Type of the failure at the root of it all, in our words (core/failures.ts); `StageFailed` where it has none. */
function typeOf(error: unknown): string {
  const { cause, type } = (error ?? {}) as { cause?: unknown; type?: string };
  if (cause instanceof Error) return typeOf(cause);
  return type !== undefined && type in FAILURES ? type : 'StageFailed';
}

/** What the report needs of a plan. */
export function reportPlan(plan: Plan): ReportPlan {
  const { config } = plan.stages.at(-1)!.config as StageConfigs['report'];
  return { title: config.title, seed: config.seed, config, stages: plan.stages };
}

/** A stage key must follow from the content of a file, not from its name. */
async function withDigests(config: ExperimentConfig): Promise<ExperimentConfig> {
  const tasks = await mapEntries(config.tasks, async (entry, name) => {
    if (entry.source.type !== 'r2e') return entry;
    const at = `tasks.${name}.source`;
    const file = path.resolve(entry.source.path);
    if (!existsSync(file)) throw new Failure('ConfigInvalid', `${at}.path: there is no file ${file}`);
    const sha256 = await fileSha256(file);
    requireDigest(`${at}.sha256`, file, entry.source.sha256, sha256);
    return { ...entry, source: { ...entry.source, path: file, sha256 } };
  });
  const models = await mapEntries(config.models, async (declared, name) => {
    const source = declared.type === 'trained' ? await trainedModel(declared, `models.${name}`) : declared;
    if (source.type === 'hub') return source;
    const folder = source.type === 'tiny' ? TINY_MODEL : path.resolve(source.path);
    const at = `models.${name}`;
    const model = await checkModelFolder(folder).catch((error: Error) => {
      if (!isFailure(error, 'ConfigInvalid')) throw error;
      throw new Failure('ConfigInvalid', `${source.type === 'tiny' ? at : `${at}.path`}: ${error.message}`);
    });
    const sha256 = await modelSha256(model);
    requireDigest(`${at}.sha256`, folder, source.sha256, sha256);
    return source.type === 'tiny' ? { ...source, sha256 } : { ...source, path: folder, sha256 };
  });
  return { ...config, tasks, models };
}

/** The folder that the other experiment's newest plan names; its stage has to be sealed. */
async function trainedModel(
  { experiment, model }: { experiment: string; model: string },
  at: string,
): Promise<{ type: 'folder'; path: string; sha256?: string }> {
  const { home } = homeFolders();
  const file = path.join(runFolder(home, experiment), 'plan.json');
  if (!existsSync(file))
    throw new Failure('ConfigInvalid', `${at}.experiment: no experiment ${experiment} has run here`);
  const { stages } = JSON.parse(await readFile(file, 'utf8')) as Plan;
  const stage = stages.find(({ name }) => name === `train:${model}` || name === `model:${model}`);
  if (!stage) throw new Failure('ConfigInvalid', `${at}.model: ${experiment} trains no model named ${model}`);
  const store = new StageStore(home);
  if (store.sealed(stage.id)) return { type: 'folder', path: path.join(store.folder(stage.id), 'model') };
  throw new Failure('ConfigInvalid', `${at}: ${stage.name} of ${experiment} is not trained yet; let it finish first`);
}

function requireDigest(at: string, what: string, given: string | undefined, found: string): void {
  if (given === undefined || given === found) return;
  throw new Failure('ConfigInvalid', `${at}: ${what} has sha256 ${found}`);
}

async function mapEntries<T>(
  entries: Record<string, T>,
  map: (entry: T, name: string) => Promise<T>,
): Promise<Record<string, T>> {
  const mapped = await Promise.all(
    Object.entries(entries).map(async ([name, entry]) => [name, await map(entry, name)] as const),
  );
  return Object.fromEntries(mapped);
}
