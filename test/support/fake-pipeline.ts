/**
 * Activities without work: an experiment whose stages, units and outcomes the test declares. Watching, pausing and
 * leaving a stage are the real activities. Every call is a line of `log`; a call can be held until the test lets it go.
 */
import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import type { ControlActivities, SandboxActivities, ServeActivities, TrainActivities } from '../../activities';
import { createExperimentActivities } from '../../activities/experiment';
import { createAcquireServer } from '../../activities/servers';
import { StageStore } from '../../adapters/store/stages';
import { Failure } from '../../core/failures';
import type { RunSettings, Stage, StageKind } from '../../core/plan';
import type { ExperimentInput } from '../../workflows/messages';

export interface FakeStage {
  id: string;
  kind: StageKind;
  /** Ids of the stages it needs. */
  inputs?: string[];
  /** Rollouts, or tasks to score. */
  units?: number;
  /** Id of the stage that made the model which plays them. */
  model?: string;
}

export interface FakeActivities {
  control: ControlActivities;
  sandbox: SandboxActivities;
  'gpu-train': TrainActivities;
  'gpu-serve': ServeActivities;
}

/** A call that waits: `reached` settles when it has begun, `release` lets it end. */
export interface Held {
  reached: Promise<void>;
  release(): void;
}

const SETTINGS: RunSettings = {
  sandbox: 'auto',
  lanes: 4,
  shardSize: 10,
  device: 'cpu',
  serve: { type: 'embedded', slots: 4 },
  idleStopMs: 1_000,
};

export class FakePipeline {
  /** `<what> <id>` in the order in which the calls began: `tasks t1`, `rollout c1/u0`, `seal c1`, `failure c1/u0 Type`. */
  readonly log: string[] = [];
  readonly sealed = new Set<string>();
  private readonly experiments = new Map<string, { stages: FakeStage[]; settings: RunSettings }>();
  private readonly stages = new Map<string, FakeStage>();
  private readonly holds = new Map<string, { began: () => void; released: Promise<void>; lingers: boolean }>();
  private readonly faults = new Map<string, Error[]>();
  private ports = 1000;

  /** What `resolveExperiment` answers for this experiment. A stage's name is its id. */
  declare(experiment: string, stages: FakeStage[], settings: Partial<RunSettings> = {}): void {
    this.experiments.set(experiment, { stages, settings: { ...SETTINGS, ...settings } });
    for (const stage of stages) this.stages.set(stage.id, stage);
  }

  /** Holds the next call of this name. Cancelled it ends at once, or, where it `lingers`, when it is released. */
  hold(call: string, { lingers = false } = {}): Held {
    let began = () => {};
    let release = () => {};
    const reached = new Promise<void>((resolve) => (began = resolve));
    const released = new Promise<void>((resolve) => (release = resolve));
    this.holds.set(call, { began, released, lingers });
    return { reached, release };
  }

  /** Fails the next calls of this name, in order. */
  fail(call: string, ...errors: Error[]): void {
    this.faults.set(call, errors);
  }

  /** How often a call began. */
  count(call: string): number {
    return this.log.filter((line) => line === call).length;
  }

  activities(home: string, client: Client): FakeActivities {
    const store = new StageStore(home);
    const serve = this.servesWith(client);
    const unitsOf = ({ stage, shard, shardSize }: { stage: string; shard: number; shardSize: number }) => {
      const { units = 0 } = this.stages.get(stage)!;
      const first = shard * shardSize;
      return Array.from({ length: Math.min(shardSize, units - first) }, (_, index) => `u${first + index}`);
    };
    const seal = async (stage: string) => {
      await this.play(`seal ${stage}`);
      this.sealed.add(stage);
      return { usable: 1 };
    };
    return {
      control: {
        ...createExperimentActivities(store, client),
        acquireServer: createAcquireServer(client),
        serve,
        resolveExperiment: async (_: ExperimentInput, experiment: string) => {
          const declared = this.experiments.get(experiment);
          if (!declared) throw new Failure('ConfigInvalid', `${experiment} is not declared`);
          for (const stage of declared.stages) await store.declare(fakeStage(stage));
          return {
            experiment,
            settings: declared.settings,
            stages: declared.stages.map(({ id, kind, inputs = [] }) => ({
              ...{ name: id, kind, id, inputs },
              sealed: this.sealed.has(id),
            })),
          };
        },
        publishReport: async (experiment: string) => {
          await this.play(`publish ${experiment}`);
          return `runs/${experiment}/report.html`;
        },
        openStage: async ({ stage, shardSize }) => {
          await this.play(`open ${stage}`);
          const { units = 0, model } = this.stages.get(stage)!;
          return {
            ...{ sealed: this.sealed.has(stage), counts: {} },
            ...{ shards: Math.ceil(units / shardSize), rollouts: units, ...(model && { model }) },
          };
        },
        openShard: async (input) => {
          await this.play(`open ${input.stage}/shard-${input.shard}`);
          const scored = this.stages.get(input.stage)!.kind === 'score';
          const units = unitsOf(input).map((task) => (scored ? { task } : { task, sample: 0 }));
          return { activity: scored ? ('scoreTask' as const) : ('rollout' as const), units };
        },
        recordFailure: ({ stage, task, type }) => this.play(`failure ${stage}/${task} ${type}`),
        sealStage: seal,
        prepareModel: (stage: string) => this.play(`model ${stage}`),
        makePairs: (stage: string) => this.play(`pairs ${stage}`),
        selectCandidates: (stage: string) => this.play(`select ${stage}`),
        makeReport: (stage: string) => this.play(`report ${stage}`),
      },
      sandbox: {
        prepareTasks: ({ stage }) => this.play(`tasks ${stage}`),
        rollout: async ({ stage, task }) => {
          await this.play(`rollout ${stage}/${task}`);
          return { resolved: true };
        },
        scoreTask: async ({ stage, task }) => {
          await this.play(`score ${stage}/${task}`);
          return { resolved: false };
        },
        verifyRollouts: (stage) => this.play(`verify ${stage}`),
      },
      'gpu-train': {
        requireGpu: () => this.play('gpu'),
        scoreReference: ({ stage }) => this.play(`reference ${stage}`),
        trainModel: ({ stage }) => this.play(`train ${stage}`),
      },
      'gpu-serve': { serve },
    };
  }

  /** A server that answers at once, until it is cancelled; `start MODEL` can be held or fail before that, `stop MODEL` after. */
  private servesWith(client: Client): ServeActivities['serve'] {
    return async ({ model }) => {
      const context = Context.current();
      const { workflowId, runId } = context.info.workflowExecution!;
      const beat = setInterval(() => context.heartbeat(), 100);
      try {
        await this.play(`start ${model}`);
        await client.workflow.getHandle(workflowId, runId).signal('serving', `http://127.0.0.1:${++this.ports}/v1`);
        await context.cancelled;
      } catch (error) {
        await this.play(`stop ${model}`);
        throw error;
      } finally {
        clearInterval(beat);
      }
    };
  }

  private async play(call: string): Promise<void> {
    this.log.push(call);
    const fault = this.faults.get(call)?.shift();
    if (fault) throw fault;
    const hold = this.holds.get(call);
    if (!hold) return;
    this.holds.delete(call);
    hold.began();
    const context = Context.current();
    const beat = setInterval(() => context.heartbeat(), 100);
    try {
      await Promise.race([hold.released, context.cancelled]);
    } catch (error) {
      this.log.push(`cancelled ${call}`);
      if (hold.lingers) await hold.released;
      throw error;
    } finally {
      clearInterval(beat);
    }
  }
}

/** A declaration that the real activities can read; nothing in it is used but name and id. */
function fakeStage({ id, kind, inputs = [] }: FakeStage): Stage {
  const config = { seed: 1 } as Stage['config'];
  return { name: id, kind, id, key: id, inputs: Object.fromEntries(inputs.map((input) => [input, input])), config };
}
