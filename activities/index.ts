/** All activities, one set per queue, over their dependencies. Temporal's context enters here and nowhere deeper. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import { createPolicy } from '../adapters/policy';
import { openSandboxAdapters, type SandboxAdapters } from '../adapters/sandbox';
import { DEFAULT_SANDBOX_LIMITS, type Sandbox, type SandboxLimits } from '../adapters/sandbox/sandbox';
import { writeSealed } from '../adapters/store/sealed';
import { StageStore } from '../adapters/store/stages';
import { TaskSet } from '../adapters/store/task-set';
import { openVerifier, type OpenVerifierInput } from '../adapters/verifier';
import { hasOnnx } from '../adapters/verifier/onnx';
import { plannedPrompt } from '../config/prompts';
import { sha256Hex } from '../core/artifact';
import { type Plan, policyName, type RunSettings } from '../core/plan';
import { seedFor } from '../core/random';
import type { Grade, Task } from '../core/task';
import { DeviceSlots, requireGpu } from '../adapters/devices';
import { trainerCommand } from '../adapters/trainer';
import type { ExperimentInput } from '../workflows/messages';
import { createExperimentActivities, reportPlan } from './experiment';
import { gradePatch, type PatchInput, scoreRegression, scoreReproduction } from './grade';
import { Once } from './once';
import { buildReport, writeReport } from './report';
import { rolloutLimits } from './limits';
import { playRollout } from './rollout';
import { scoreTask } from './score';
import { selectCandidates } from './select';
import { makePairs } from './pairs';
import { prepareModel } from './models';
import { createServeActivities } from './serve';
import { createAcquireServer, ServerLocator } from './servers';
import { createStageActivities, readGrade, type Unit, unitFolder } from './stages';
import { prepareTasks } from './tasks';
import { scoreReference, trainModel, type TrainerDeps, type TrainerInput } from './train';
import { verifyRollouts } from './verify';

export interface Dependencies {
  /** Folder that holds `store/` and `runs/`. */
  home: string;
  client: Client;
  /** As adapters/devices.ts names them; none: the CPU. */
  devices?: readonly string[];
  /** Runs a program of the trainer; default: the one of this repository. */
  command?: TrainerDeps['command'];
}

/** Where a host keeps unpacked repositories and records of open sandboxes. */
export function sandboxFolder(home: string): string {
  return path.join(home, 'runs', '.sandboxes');
}

export function createActivities({ home, client, devices = [], command = programCommand }: Dependencies) {
  const store = new StageStore(home);
  return {
    control: createControlActivities(store, client),
    sandbox: createSandboxActivities(store, new ServerLocator(client)),
    'gpu-train': createTrainActivities(store, devices, command),
    'gpu-serve': createServeActivities(store, client, new DeviceSlots(devices)),
  };
}

export type ControlActivities = ReturnType<typeof createControlActivities>;
export type SandboxActivities = ReturnType<typeof createSandboxActivities>;
export type TrainActivities = ReturnType<typeof createTrainActivities>;
export type { ServeActivities } from './serve';

const HEARTBEAT_MS = 5_000;
/** Longest wait for one verdict: a prompt as long as the context, read by a server that reads others too. */
const VERDICT_TIMEOUT_MS = 20 * 60_000;
type VerifierServer = NonNullable<OpenVerifierInput['server']>;

/** A unit of a stage, and the kind of sandbox it may use. */
type UnitInput = Unit & { stage: string; sandbox: RunSettings['sandbox'] };

function createControlActivities(store: StageStore, client: Client) {
  const stages = createStageActivities(store);
  const experiments = createExperimentActivities(store, client);
  return {
    ...experiments,
    ...stages,
    ...createServeActivities(store, client, null),
    acquireServer: createAcquireServer(client),

    resolveExperiment: (input: ExperimentInput, experiment: string) =>
      whileBeating(() => experiments.resolveExperiment(input, experiment)),

    publishReport: (experiment: string) => whileBeating(() => experiments.publishReport(experiment)),

    sealStage: (stage: string) => whileBeating(() => stages.sealStage(stage)),

    prepareModel: (stage: string) => whileBeating((signal) => prepareModel(store, stage, { heartbeat: beat, signal })),

    makePairs: (stage: string) => whileBeating((signal) => makePairs(store, stage, signal)),

    selectCandidates: (stage: string) => whileBeating(() => selectCandidates(store, stage)),

    makeReport: (id: string) => whileBeating(() => makeReport(id)),
  };

  async function makeReport(id: string): Promise<void> {
    const stage = await store.read<'report'>(id);
    // A shared stage may have been declared under another experiment's name for it.
    const inputs = await Promise.all(
      Object.entries(stage.inputs).map(async ([name, input]) => ({ ...(await store.read(input)), name })),
    );
    const plan: Plan = { experiment: id, title: stage.config.config.title, stages: [...inputs, stage] };
    await writeReport(
      await buildReport({ plan: reportPlan(plan), storeFolder: store.root, sealed: true }),
      store.folder(id),
      store.root,
    );
  }
}

function createSandboxActivities(store: StageStore, servers: ServerLocator) {
  const grades = new Once<Grade>();
  const adapters = new Once<SandboxAdapters>();
  const adaptersFor = (mode: RunSettings['sandbox']) =>
    adapters.get(mode, () => openSandboxAdapters({ cacheFolder: sandboxFolder(store.home), mode }));

  return {
    async prepareTasks(input: { stage: string; sandbox: RunSettings['sandbox'] }): Promise<void> {
      const { config } = await store.read<'tasks'>(input.stage);
      const sandboxes = await adaptersFor(input.sandbox);
      await whileBeating((signal) =>
        prepareTasks({
          config,
          seed: config.seed,
          folder: store.folder(input.stage),
          cacheFolder: path.join(store.home, 'runs', '.cache'),
          open: ({ task, ...place }) =>
            sandboxes.sandboxFor(task).open({ task, limits: DEFAULT_SANDBOX_LIMITS, ...place }),
          heartbeat: beat,
          signal,
        }),
      );
    },

    /** Plays one rollout and grades its patch; both are sealed files, whatever dies in between. */
    async rollout(input: UnitInput & { sample: number }): Promise<{ resolved: boolean }> {
      const stage = await store.read<'collect' | 'evaluate'>(input.stage);
      const { config } = stage;
      const { set, task } = await taskOf(stage.inputs.tasks!, input.task);
      const sandboxes = await adaptersFor(input.sandbox);
      await forgetFailure(input);
      const play = (server?: { url: string; model: string }) =>
        playRollout(
          {
            id: input,
            stageKey: stage.key,
            task,
            tasksFolder: set.folder,
            policy: createPolicy(config.policy, {
              name: policyName(config.policy),
              task,
              rolloutSeed: seedFor(stage.key, task.id, input.sample),
              replyTimeoutMs: config.limits.replyTimeout,
              ...(server && { server }),
            }),
            prompt: plannedPrompt(config.prompt),
            limits: rolloutLimits(config.limits),
            sandboxLimits: config.sandboxLimits,
          },
          {
            store: store.root,
            sandboxes: sandboxes.all,
            execution: executionId(),
            heartbeat: (detail) => Context.current().heartbeat(detail),
            signal: Context.current().cancellationSignal,
          },
        );
      const { model } = stage.inputs;
      const played = model === undefined ? play() : servers.use(model, (url) => play({ url, model }));
      const { trajectory, folder } = await played;
      const graded = await readGrade(folder);
      if (graded) return { resolved: graded.resolved };
      const key = `${stage.inputs.tasks}/${task.id}/${sha256Hex(trajectory.patch)}`;
      const id = `grade/${trajectory.id}`;
      const patch = patchInput(sandboxes, set, task, trajectory.patch, id, config.sandboxLimits);
      const grade = await whileBeating(() => grades.get(key, () => gradePatch(patch)));
      await writeSealed(path.join(folder, 'grade.json'), `${JSON.stringify(grade)}\n`);
      return { resolved: grade.resolved };
    },

    async scoreTask(input: UnitInput): Promise<{ resolved: boolean }> {
      const stage = await store.read<'score'>(input.stage);
      const rollouts = await store.read<'evaluate'>(stage.inputs.rollouts!);
      const { set, task } = await taskOf(stage.inputs.tasks!, input.task);
      const sandboxes = await adaptersFor(input.sandbox);
      await forgetFailure(input);
      const of = (patch: string, id: string) => patchInput(sandboxes, set, task, patch, id, stage.config.sandboxLimits);
      const { samples } = rollouts.config;
      await whileBeating(() =>
        scoreTask(
          { store: store.root, stage: stage.id, rollouts: rollouts.id, task, samples },
          {
            regression: (patch, id) => scoreRegression(of(patch, id)),
            reproduction: (patch, id) => scoreReproduction(of(patch, id)),
            heartbeat: beat,
          },
        ),
      );
      return { resolved: false };
    },

    /** Where the verifier is too large for this process its stage's model server is asked. */
    async verifyRollouts(id: string): Promise<void> {
      const { inputs, config } = await store.read<'verify'>(id);
      const folder = store.folder(inputs.verifier!);
      const prompt = plannedPrompt(config.prompt).judge;
      const verify = async (server?: VerifierServer) => {
        const verifier = await openVerifier({ folder, ...(server && { server }) });
        try {
          await whileBeating((signal) =>
            verifyRollouts({ stage: id, verifier }, { store, prompt, heartbeat: beat, signal }),
          );
        } finally {
          await verifier.close();
        }
      };
      if (hasOnnx(folder)) return verify();
      const model = inputs.verifier!;
      const endpoint = { apiKey: null, replyTimeoutMs: VERDICT_TIMEOUT_MS, name: model };
      await servers.use(model, (url) => verify({ model, endpoint: { ...endpoint, url } }));
    },
  };

  async function taskOf(stage: string, id: string): Promise<{ set: TaskSet; task: Task }> {
    const set = await TaskSet.open(store.folder(stage));
    return { set, task: await set.get(id) };
  }

  /** A unit that failed in an earlier run of the stage is tried again. */
  async function forgetFailure(input: UnitInput): Promise<void> {
    await rm(path.join(store.folder(input.stage), unitFolder(input), 'failure.json'), { force: true });
  }
}

function createTrainActivities(store: StageStore, devices: readonly string[], command: TrainerDeps['command']) {
  const slots = new DeviceSlots(devices);
  const deps = (): TrainerDeps => {
    const context = Context.current();
    const heartbeat: TrainerDeps['heartbeat'] = (progress) => context.heartbeat(progress);
    return { store, slots, command, heartbeat, signal: context.cancellationSignal };
  };
  return {
    /** Throws `ConfigInvalid` where this worker has no GPU. */
    requireGpu: (): Promise<void> => Promise.resolve().then(() => requireGpu(devices)),
    trainModel: (input: TrainerInput) => trainModel(input, deps()),
    scoreReference: (input: TrainerInput) => scoreReference(input, deps()),
  };
}

const programCommand: TrainerDeps['command'] = (program, spec) => trainerCommand(program, spec);

/** Tests a patch in fresh sandboxes of the task. Shared by callers, so it ends with its work, not with one of them. */
function patchInput(
  sandboxes: SandboxAdapters,
  set: TaskSet,
  task: Task,
  patch: string,
  id: string,
  limits: SandboxLimits,
): PatchInput {
  const open = (id: string): Promise<Sandbox> =>
    sandboxes.sandboxFor(task).open({ id, task, tasksFolder: set.folder, limits });
  return { task, patch, open, id };
}

/** The same for all attempts of one activity execution. */
function executionId(): string {
  const { workflowExecution, activityId } = Context.current().info;
  return `${workflowExecution?.runId}/${activityId}`;
}

/** Says every few seconds that we live, through downloads and long tests; ends on cancellation as `work` does. */
async function whileBeating<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const context = Context.current();
  const timer = setInterval(() => context.heartbeat(), HEARTBEAT_MS);
  return work(context.cancellationSignal).finally(() => clearInterval(timer));
}

function beat(): void {
  Context.current().heartbeat();
}
