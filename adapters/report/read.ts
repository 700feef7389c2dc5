/** Reads what a report needs from the stages of an experiment: summaries and digests, never whole texts at once. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ExperimentConfig } from '../../config/schema';
import type { Stage, StageConfigs } from '../../core/plan';
import { seedFor } from '../../core/random';
import type {
  ArmData,
  ExcludedTask,
  FailureRecord,
  RepeatData,
  ReportData,
  RolloutsData,
  StageData,
  StageTime,
  TasksData,
} from '../../core/report';
import { type TrajectoryFacts, trajectoryFacts } from '../../core/report/facts';
import { evaluateName, shortName } from '../../core/report/lineage';
import type { ScoreRecord, SelectionRecord, VerdictRecord } from '../../core/selection';
import type { Task } from '../../core/task';
import type { RolloutSummary } from '../../core/trajectory';
import { readTiming } from '../timing';
import { collect, readTraining } from './read-training';
import { SealedStage } from './sealed-stage';

export interface ReportPlan {
  title: string;
  seed: number;
  /** Resolved configuration; shown, and its `report` section sets the intervals. */
  config: ExperimentConfig;
  /** In the order in which they are reported. A report stage among them is left out. */
  stages: readonly Stage[];
}

export interface ReportInput {
  plan: ReportPlan;
  /** Folder of all stages. */
  storeFolder: string;
  /** Of what is sealed no part may differ from run to run: times are left out. */
  sealed?: boolean;
}

/** Stages that are not sealed are listed with what is known of why, and enter no figure. */
export async function readReportData({ plan, storeFolder, sealed = false }: ReportInput): Promise<ReportData> {
  return new Reader(plan, storeFolder).read(!sealed);
}

interface TimingLine {
  event: string;
  at: string;
  peakMemoryMb?: number | null;
}

class Reader {
  private readonly stages: readonly Stage[];
  private readonly sealed = new Map<string, SealedStage>();
  private readonly tasks = new Map<string, TasksData>();
  private readonly tokens = new Map<string, { sampled?: number | null; trained?: number | null }>();

  constructor(
    private readonly plan: ReportPlan,
    private readonly storeFolder: string,
  ) {
    this.stages = plan.stages.filter(({ kind }) => kind !== 'report');
  }

  async read(withTimes: boolean): Promise<ReportData> {
    for (const { id } of this.stages) {
      const stage = await SealedStage.find(path.join(this.storeFolder, id));
      if (stage) this.sealed.set(id, stage);
    }
    for (const stage of this.ofKind('tasks')) this.tasks.set(stage.id, await readTasks(stage, this.open(stage)));
    const collections: RolloutsData[] = [];
    for (const stage of this.ofKind('collect')) collections.push(await this.readRollouts(stage));
    const arms = await this.readArms();
    const trainings = [];
    for (const stage of this.ofKind('train')) {
      const training = await readTraining(stage, this.sealed);
      this.tokens.set(stage.id, { trained: training.summary.trainedTokens ?? null });
      trainings.push(training);
    }
    const { title, seed, config } = this.plan;
    const { resamples, confidence } = config.report;
    return {
      title,
      seed,
      config,
      bootstrap: { resamples, confidence, seed: seedFor('bootstrap', seed) },
      stages: await Promise.all(this.stages.map((stage) => this.readStage(stage))),
      tasks: [...this.tasks.values()],
      collections,
      arms,
      trainings,
      times: withTimes ? await Promise.all(this.stages.map((stage) => this.readTime(stage))) : null,
    };
  }

  /** The sealed ones. */
  private ofKind(kind: string): Stage[] {
    return this.stages.filter((stage) => stage.kind === kind && this.sealed.has(stage.id));
  }

  private open({ id }: Stage): SealedStage {
    return this.sealed.get(id)!;
  }

  private named(name: string): Stage | null {
    return this.stages.find((stage) => stage.name === name && this.sealed.has(stage.id)) ?? null;
  }

  private async readRollouts(stage: Stage): Promise<RolloutsData> {
    const folder = this.open(stage);
    const rollouts = await collect(folder.lines<RolloutSummary>('results.jsonl'));
    const counted = rollouts.map(({ completionTokens }) => completionTokens).filter((tokens) => tokens !== null);
    const complete = counted.length === rollouts.length && counted.length > 0;
    this.tokens.set(stage.id, { sampled: complete ? counted.reduce((a, b) => a + b, 0) : null });
    return {
      name: shortName(stage),
      stage: stage.id,
      tasks: this.tasks.get(stage.inputs.tasks!)!,
      rollouts,
      failures: await collect(folder.lines<FailureRecord>('failures.jsonl')),
    };
  }

  private async readArms(): Promise<ArmData[]> {
    const { evaluate, repeats, select } = this.plan.config;
    const arms: ArmData[] = [];
    for (const [arm, { samples }] of Object.entries(evaluate)) {
      const found: RepeatData[] = [];
      for (let repeat = 1; repeat <= repeats; repeat++) {
        const stage = this.named(evaluateName(arm, repeat));
        if (stage) found.push(await this.readRepeat(stage, repeat, Object.keys(select)));
      }
      if (found.length > 0) arms.push({ name: arm, tasks: found[0]!.tasks, samples, repeats: found });
    }
    return arms;
  }

  private async readRepeat(stage: Stage, repeat: number, rules: readonly string[]): Promise<RepeatData> {
    const data = await this.readRollouts(stage);
    const [score, verify] = [this.named(`score:${data.name}`), this.named(`verify:${data.name}`)];
    const selections: RepeatData['selections'] = [];
    for (const rule of score ? rules : []) {
      const select = this.named(`select:${data.name}:${rule}`);
      if (!select) continue;
      const { selector } = select.config as StageConfigs['select'];
      const records = await collect(this.open(select).lines<SelectionRecord>('selections.jsonl'));
      selections.push({ name: rule, stage: select.id, rule: selector, records });
    }
    return {
      ...data,
      repeat,
      facts: await readFacts(this.open(stage), data.rollouts),
      scores: score && { stage: score.id, records: await byId<ScoreRecord>(this.open(score), 'scores.jsonl') },
      verdicts: verify && { stage: verify.id, records: await byId<VerdictRecord>(this.open(verify), 'verdicts.jsonl') },
      selections,
    };
  }

  private async readStage(stage: Stage): Promise<StageData> {
    const manifest = this.sealed.get(stage.id)?.manifest ?? null;
    const file = path.join(this.storeFolder, stage.id, 'failure.json');
    const failed = manifest === null && existsSync(file);
    const { sampled = null, trained = null } = this.tokens.get(stage.id) ?? {};
    return {
      stage,
      manifest,
      failure: failed ? (JSON.parse(await readFile(file, 'utf8')) as { message: string }).message : null,
      tokensSampled: sampled,
      tokensTrained: trained,
    };
  }

  /** From `timing.jsonl`, which no digest covers. */
  private async readTime({ name, id }: Stage): Promise<StageTime> {
    const events = await collect(readTiming<TimingLine>(path.join(this.storeFolder, id)));
    const opened = events.filter(({ event }) => event === 'opened').map(({ at }) => Date.parse(at));
    const sealed = events.filter(({ event }) => event === 'sealed').map(({ at }) => Date.parse(at));
    const known = opened.length > 0 && sealed.length > 0;
    const seconds = known ? (Math.min(...sealed) - Math.min(...opened)) / 1000 : null;
    const peaks = events.map(({ peakMemoryMb }) => peakMemoryMb).filter((peak) => typeof peak === 'number');
    const peakMemoryMb = peaks.length > 0 ? Math.round(Math.max(...peaks)) : null;
    return { name, stage: id, seconds, openings: opened.length, peakMemoryMb };
  }
}

async function readTasks(stage: Stage, folder: SealedStage): Promise<TasksData> {
  const tasks: TasksData['tasks'] = [];
  for await (const { id, dataset, group } of folder.lines<Task>('tasks.jsonl')) tasks.push({ id, dataset, group });
  const excluded: ExcludedTask[] = [];
  for await (const { id, reason } of folder.lines<ExcludedTask>('excluded.jsonl')) excluded.push({ id, reason });
  return { name: shortName(stage), stage: stage.id, tasks, excluded };
}

async function byId<T extends { id: string }>(folder: SealedStage, file: string): Promise<Map<string, T>> {
  return new Map((await collect(folder.lines<T>(file))).map((record) => [record.id, record]));
}

/** One trajectory in memory at a time. */
async function readFacts(folder: SealedStage, rollouts: RolloutSummary[]): Promise<Map<string, TrajectoryFacts>> {
  const facts = new Map<string, TrajectoryFacts>();
  for (const { id, task, sample } of rollouts) facts.set(id, trajectoryFacts(await folder.trajectory(task, sample)));
  return facts;
}
