/** The pairs stage on disk: rollouts of several policies pooled, the same bytes each time, and a message where nothing is left. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { makePairs } from '../../activities/pairs';
import { createStageActivities } from '../../activities/stages';
import { StageStore } from '../../adapters/store/stages';
import type { Label, PreferencePair } from '../../core/preference';
import { declared, type GivenRollout, sealRollouts } from '../fixtures/graded-rollouts';
import { manifests } from '../support/stages';
import { temporaryHome } from '../support/processes';

const { signal } = new AbortController();
let home: string;
let remove: () => void;
beforeEach(() => ({ home, remove } = temporaryHome()));
afterEach(() => remove());

/** Seals the rollouts of a student and a teacher, makes the pairs of both, and seals them. */
async function pool(student: GivenRollout[], teacher: GivenRollout[] = [], folder = home) {
  const store = new StageStore(folder);
  await sealRollouts(store, 'collect-student', student);
  await sealRollouts(store, 'collect-teacher', teacher);
  const inputs = { 'rollouts-0': 'collect-student', 'rollouts-1': 'collect-teacher' };
  await store.declare(declared('pairs', 'pairs-1', { seed: 3, maxPairsPerTask: 4 }, inputs));
  await makePairs(store, 'pairs-1', signal);
  return createStageActivities(store).sealStage('pairs-1');
}

function read<T>(name: string): T[] {
  const text = readFileSync(path.join(home, 'store', 'pairs-1', `${name}.jsonl`), 'utf8');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as T);
}

const MIXED: [GivenRollout[], GivenRollout[]] = [
  [
    { task: 't1', sample: 0, resolved: false },
    { task: 't1', sample: 1, resolved: false, replies: ['the same'] },
    { task: 't1', sample: 2, resolved: false, replies: ['the same'] },
    { task: 't2', sample: 0, resolved: false },
    { task: 't3', sample: 0, resolved: true, replies: [] },
    { task: 't3', sample: 1, resolved: false },
  ],
  [
    { task: 't1', sample: 0, resolved: true },
    { task: 't2', sample: 0, resolved: false },
    { task: 't4', sample: 0, resolved: true },
  ],
];

test('student and teacher are pooled by task; the counts say what there was', async () => {
  const counts = await pool(...MIXED);
  const pairs = read<PreferencePair>('pairs');
  expect(pairs.map(({ chosen, rejected }) => `${chosen} over ${rejected}`).toSorted()).toEqual([
    'collect-teacher/t1/r00 over collect-student/t1/r00',
    'collect-teacher/t1/r00 over collect-student/t1/r01',
  ]);
  expect(read<Label>('labels').map(({ id, desirable }) => `${id} ${desirable}`)).toEqual([
    'collect-student/t1/r00 false',
    'collect-student/t1/r01 false',
    'collect-teacher/t1/r00 true',
    'collect-student/t2/r00 false',
    'collect-teacher/t2/r00 false',
    'collect-student/t3/r01 false',
    'collect-teacher/t4/r00 true',
  ]);
  expect(read<{ id: string }>('conversations').map(({ id }) => id)).toEqual(read<Label>('labels').map(({ id }) => id));
  expect(counts).toEqual({
    ...{ conversations: 7, pairs: 2, labels: 7 },
    ...{ tasks: 4, mixed: 1, allResolved: 1, noneResolved: 2, duplicates: 1 },
  });
});

test('made again elsewhere, the stage has the same bytes', async () => {
  await pool(...MIXED);
  const other = temporaryHome();
  try {
    await pool(...MIXED, other.home);
    expect(manifests(other.home)).toEqual(manifests(home));
  } finally {
    other.remove();
  }
});

test('where no pair is left the message says how tasks ended and what to change', async () => {
  const student: GivenRollout[] = [
    { task: 't1', sample: 0, resolved: false },
    { task: 't2', sample: 0, resolved: true },
  ];
  const failed = pool(student, [{ task: 't1', sample: 0, resolved: false }]);
  await expect(failed).rejects.toMatchObject({ name: 'DataUnusable' });
  await expect(failed).rejects.toThrow(
    'pairs-1: no pair of a resolved and an unresolved trajectory is left: of 2 tasks with usable rollouts 0 had mixed ' +
      'outcomes, 1 were always resolved, 1 never. Try more samples per task; a higher temperature;',
  );
});
