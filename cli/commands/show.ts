/** show: any record by its id: an experiment, a stage, a task of a stage, or a rollout. Reads files only. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import colors from 'picocolors';
import { readCommitted, readJournal } from '../../adapters/journal';
import { StageStore } from '../../adapters/store/stages';
import { TaskSet } from '../../adapters/store/task-set';
import { homeFolders } from '../../config/env';
import { Failure } from '../../core/failures';
import { parseRolloutName } from '../../core/ids';
import type { Plan } from '../../core/plan';
import type { Grade } from '../../core/task';
import type { Step, Trajectory } from '../../core/trajectory';
import { runFolder } from '../../activities/experiment';
import { plain } from '../plain';
import { planAsText } from '../plan';
import { print } from './experiment';

export async function show(id: string, options: { json?: boolean }): Promise<void> {
  const { home } = homeFolders();
  const store = new StageStore(home);
  const rollout = parseRolloutName(id);
  if (rollout) return showRollout(path.join(home, 'store', id), options.json ?? false);
  const planFile = path.join(runFolder(home, id), 'plan.json');
  if (existsSync(planFile)) {
    const plan = JSON.parse(readFileSync(planFile, 'utf8')) as Plan;
    if (options.json) return print(plan);
    process.stdout.write(`${planAsText(plan, (stage) => store.sealed(stage))}\n`);
    return;
  }
  const [stage, task] = id.split('/', 2) as [string, string | undefined];
  if (!existsSync(path.join(store.folder(stage), 'stage.json'))) {
    throw new Failure(
      'ConfigInvalid',
      `${id}: no such record below ${path.join(home, 'store')} or ${path.join(home, 'runs')}`,
    );
  }
  if (task) {
    const declared = await store.read(stage);
    const set = await TaskSet.open(store.folder(declared.kind === 'tasks' ? stage : declared.inputs.tasks!));
    return print(await set.get(task));
  }
  const manifest = await store.manifest(stage);
  print({ ...(await store.read(stage)), sealed: manifest !== null, counts: manifest?.counts ?? null });
}

async function showRollout(folder: string, json: boolean): Promise<void> {
  const committed = await readCommitted(folder);
  if (!committed) return showOpenRollout(folder, json);
  const gradeFile = path.join(folder, `a${committed.attempt}`, 'grade.json');
  const grade = existsSync(gradeFile) ? (JSON.parse(readFileSync(gradeFile, 'utf8')) as Grade) : null;
  if (json) return print({ trajectory: committed.trajectory, grade });
  printTrajectory(committed.trajectory, grade);
}

/** A rollout under way, or one that was interrupted: what its journal holds. */
function showOpenRollout(folder: string, json: boolean): void {
  const attempts = existsSync(folder) ? readdirSync(folder).filter((name) => /^a\d+$/.test(name)) : [];
  const file = path.join(folder, attempts.toSorted().at(-1) ?? '', 'journal.jsonl');
  if (!existsSync(file)) throw new Failure('ConfigInvalid', `${folder}: no such rollout`);
  const { steps, activeMs } = readJournal(readFileSync(file), file);
  if (json) return print({ steps, activeMs });
  for (const step of steps) printStep(step);
  process.stdout.write(colors.dim(`open: ${steps.length} steps so far\n`));
}

export function printTrajectory(trajectory: Trajectory, grade: Grade | null): void {
  for (const message of trajectory.prompt)
    process.stdout.write(`${colors.dim(`[${message.role}]`)}\n${plain(message.content)}\n`);
  for (const step of trajectory.steps) printStep(step);
  const verdict =
    grade === null
      ? 'not graded'
      : grade.resolved
        ? colors.green('resolved')
        : colors.red(`not resolved: ${grade.reason}`);
  process.stdout.write(`${colors.bold(trajectory.exit)} after ${trajectory.steps.length} steps, ${verdict}\n`);
  process.stdout.write(trajectory.patch === '' ? 'empty patch\n' : plain(trajectory.patch));
}

export function printStep({ index, reply, observation }: Step): void {
  process.stdout.write(
    `${colors.cyan(`[step ${index}]`)}\n${plain(reply.text)}\n${colors.dim('[observation]')}\n${plain(observation)}\n`,
  );
}
