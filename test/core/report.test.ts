import { resolveConfig } from '../../config/load';
import { type ArmData, computeReport, type RepeatData, type ReportData, type TasksData } from '../../core/report';
import { trajectoryFacts } from '../../core/report/facts';
import { candidateOf, type ScoreRecord, selectCandidate } from '../../core/selection';
import type { SelectorConfig } from '../../config/schema';
import type { Action, RolloutSummary, Step, Trajectory } from '../../core/trajectory';

const EB: SelectorConfig = { type: 'eb' };

function tasksData(count: number, dataset = 'pocket'): TasksData {
  const tasks = Array.from({ length: count }, (_, i) => ({
    id: `t${i}`,
    dataset,
    group: i % 2 === 0 ? 'seen' : 'unseen',
  }));
  return { name: 'heldout', stage: 'tasks-1', tasks, excluded: [{ id: 't99', reason: 'gold patch fails' }] };
}

/** One task's rollouts by their grades: `1` resolves and passes its visible tests, `0` does neither, `x` is unknown. */
function repeatData(name: string, tasks: TasksData, grades: readonly string[], repeat = 1): RepeatData {
  const stage = repeat === 1 ? `evaluate-${name}` : `evaluate-${name}-${repeat}`;
  const at = (id: string, sample: number) => `${stage}/${id}/r0${sample}`;
  const all = tasks.tasks.flatMap(({ id }, task) =>
    grades[task]!.split('').map((grade, sample) => ({ id, sample, grade })),
  );
  const rollouts = all
    .filter(({ grade }) => grade !== 'x')
    .map(({ id, sample, grade }): RolloutSummary => ({
      id: at(id, sample),
      task: id,
      sample,
      exit: sample === 0 ? 'stepLimit' : 'submitted',
      steps: 4 + sample,
      promptTokens: null,
      completionTokens: 10 * sample,
      patchSha256: grade,
      patchLines: 3,
      resolved: grade === '1',
      gradeReason: null,
    }));
  const failures = all
    .filter(({ grade }) => grade === 'x')
    .map(({ id, sample }) => ({ id: at(id, sample), task: id, sample, type: 'SandboxLost', message: 'gone' }));
  const scores = new Map(
    rollouts.map(({ id, task, sample, resolved }): [string, ScoreRecord] => {
      const passed = { passed: Number(resolved), total: 1 };
      return [id, { id, task, sample, regression: passed, reproduction: passed }];
    }),
  );
  const records = tasks.tasks.map(({ id: task }) => {
    const candidates = rollouts
      .filter((row) => row.task === task)
      .map((row) => candidateOf(row, scores.get(row.id), undefined));
    const missing = failures.filter((failure) => failure.task === task).length;
    return { task, selector: EB, ...selectCandidate(candidates, EB, missing) };
  });
  const selections = [{ name: 'eb', stage: `select-${name}`, rule: EB, records }];
  return {
    ...{ name, stage, tasks, repeat, rollouts, failures, selections },
    facts: new Map(),
    scores: { stage: `score-${name}`, records: scores },
    verdicts: null,
  };
}

/** One list of grades a repeat. */
function armData(name: string, tasks: TasksData, ...grades: (readonly string[])[]): ArmData {
  const repeats = grades.map((of, index) => repeatData(name, tasks, of, index + 1));
  return { name, tasks, samples: grades[0]![0]!.length, repeats };
}

function reportOf(arms: ArmData[]) {
  const data: ReportData = {
    title: 'test',
    seed: 1,
    config: resolveConfig({ tasks: { heldout: { source: { type: 'pocket' } } } }, 'test'),
    bootstrap: { resamples: 200, confidence: 0.95, seed: 5 },
    stages: [],
    tasks: [...new Set(arms.map(({ tasks }) => tasks))],
    collections: [],
    arms,
    trainings: [],
    times: null,
  };
  return computeReport(data);
}

describe('an arm', () => {
  const tasks = tasksData(4);
  const arm = reportOf([armData('a', tasks, ['1000', '0000', '11x1', 'xxxx'])]).arms[0]!;

  test('counts what is known: a task without a graded rollout is in no share', () => {
    expect(arm.samples).toBe(4);
    expect(arm.rollouts).toBe(11);
    expect(arm.failures).toEqual({ SandboxLost: 5 });
    expect(arm.usable).toBeCloseTo(11 / 16, 6);
    expect(arm.results.passAt1).toMatchObject({ value: expect.closeTo((0.25 + 0 + 1) / 3, 6), tasks: 3 });
    expect(arm.results.passAtN).toMatchObject({ value: expect.closeTo(2 / 3, 6), tasks: 3 });
  });

  test('a task that lost rollouts counts with all it has', () => {
    expect(arm.passAtK.points.map(({ tasks: count }) => count)).toEqual([3, 3, 3, 3]);
    expect(arm.passAtK.points[3]!.value).toBe(arm.results.passAtN.value);
  });

  test('the gain of a selector is paired with a random one of the same candidates', () => {
    const { resolved, gain } = arm.results.selected[0]!;
    expect(resolved.value).toBeCloseTo(2 / 3, 6);
    expect(gain.value).toBeCloseTo((0.75 + 0 + 0) / 3, 6);
    expect(gain.source).toEqual(['select-a/selections.jsonl', 'evaluate-a/results.jsonl']);
  });

  test('groups hold the same measures over their own tasks', () => {
    expect(arm.groups.map(({ group, passAt1 }) => [group, passAt1.value, passAt1.tasks])).toEqual([
      ['seen', 0.625, 2],
      ['unseen', 0, 1],
    ]);
  });

  test('a selection without candidates is unknown, with its reason', () => {
    expect(arm.selectors[0]!.selections[3]).toEqual({
      repeat: 1,
      task: 't3',
      group: 'unseen',
      chosen: null,
      resolved: null,
      reason: 'Nothing to choose from: 4 rollouts ended as infrastructure failures.',
    });
  });

  test('steps, exits and diversity are of the graded rollouts', () => {
    expect(arm.exits).toEqual({ stepLimit: 3, submitted: 8 });
    expect(arm.steps.reduce((sum, { rollouts }) => sum + rollouts, 0)).toBe(11);
    expect(arm.steps.at(-1)).toEqual({ from: 7, to: 7, rollouts: 3 });
    expect(arm.diversity.distinctPatches.value).toBeCloseTo((2 / 4 + 1 / 4 + 1 / 3) / 3, 6);
    expect(arm.diversity.tokenEntropy).toMatchObject({ value: null, low: null, high: null, tasks: 0 });
  });
});

describe('repeats of an arm', () => {
  const tasks = tasksData(4);
  const grades = [
    ['1000', '0000', '1111', 'xxxx'],
    ['1100', '0000', '1111', '1111'],
  ] as const;
  const [first, second] = grades.map((of) => reportOf([armData('a', tasks, of)]).arms[0]!);
  const arm = reportOf([armData('a', tasks, ...grades)]).arms[0]!;

  test('a figure is the mean over tasks of each one’s mean over the repeats that know it', () => {
    expect(arm.results.passAt1).toMatchObject({
      value: expect.closeTo((0.375 + 0 + 1 + 1) / 4, 6) as number,
      tasks: 4,
      repeats: {
        values: [first!.results.passAt1.value, second!.results.passAt1.value],
        mean: expect.closeTo((1.25 / 3 + 2.5 / 4) / 2, 6) as number,
        deviation: expect.closeTo((2.5 / 4 - 1.25 / 3) / Math.SQRT2, 6) as number,
      },
    });
  });

  test('rollouts, exits, stages and selections are of all of them', () => {
    expect(arm.stages).toEqual(['evaluate-a', 'evaluate-a-2']);
    expect(arm.rollouts).toBe(first!.rollouts + second!.rollouts);
    expect(arm.selectors[0]!.selections.map(({ repeat }) => repeat)).toEqual([1, 1, 1, 1, 2, 2, 2, 2]);
    expect(arm.results.passAt1.source).toEqual(['evaluate-a/results.jsonl', 'evaluate-a-2/results.jsonl']);
  });

  test('one repeat has no spread', () => {
    expect(first!.results.passAt1.repeats).toBeNull();
  });
});

describe('answers', () => {
  const answersOf = (arms: ArmData[]) => reportOf(arms).answers;
  const claimsOf = (arms: ArmData[], question: string) =>
    answersOf(arms)
      .filter((answer) => answer.question === question)
      .flatMap(({ claims }) => claims.map(({ shown, text }) => [shown, text]));
  const repeated = (pattern: string, count: number) => Array.from({ length: count }, () => pattern);
  const mixed = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? '1110' : '1000'));

  test('a gain whose interval excludes zero is claimed, with the interval and the number of tasks', () => {
    const [shown, text] = claimsOf([armData('a', tasksData(20), mixed)], 'selection')[0]!;
    expect(shown).toBe('higher');
    expect(text).toMatch(
      /^The choice of eb among the 4 rollouts of a resolves more of the tasks than a random one of them, which is what one attempt gives \(\+50\.0 points, 95\u00a0% interval \d+\.\d to \d+\.\d; 20 tasks\)\.$/,
    );
  });

  test('where no difference is seen none is claimed', () => {
    const tasks = tasksData(20);
    const [single] = claimsOf([armData('a', tasks, mixed), armData('b', tasks, mixed.toReversed())], 'arms');
    expect(single![0]).toBeNull();
    expect(single![1]).toMatch(
      /^No difference shown between a single rollout of b and one of a with 20 tasks \(0\.0 points, 95\u00a0% interval −\d/,
    );
  });

  test('a difference below zero is claimed as one', () => {
    const tasks = tasksData(20);
    const arms = [armData('a', tasks, mixed), armData('b', tasks, repeated('0000', 20))];
    expect(claimsOf(arms, 'arms').map(([shown]) => shown)).toEqual(['lower', 'lower', 'lower']);
  });

  test('six tasks that all agree support nothing, however narrow their interval', () => {
    const tasks = tasksData(6);
    const arms = [armData('a', tasks, repeated('0000', 6)), armData('b', tasks, repeated('1000', 6))];
    const shown = answersOf(arms).flatMap(({ claims }) => claims.map((claim) => claim.shown));
    expect(shown.filter((side) => side !== null)).toEqual([]);
    expect(answersOf(arms)[0]!.text).toBe(
      'Too few to show a difference (6 tasks): b over a at pass@1 (+25.0), pass@4 (+100.0), Best@4 by eb (+100.0).',
    );
  });

  test('what N attempts hold is told, and never claimed', () => {
    const [answer] = answersOf([armData('a', tasksData(20), mixed)]);
    expect(answer!.text).toMatch(
      /^At most, by always finding a correct one of the N, over one attempt: a \+50\.0 points\. /,
    );
    expect(answer!.claims).toHaveLength(1);
  });

  test('library tasks support none', () => {
    expect(answersOf([armData('a', tasksData(20, 'library'), mixed)])).toEqual([]);
  });

  test('arms are compared on the same tasks only', () => {
    const report = reportOf([
      armData('a', tasksData(20), mixed),
      armData('b', { ...tasksData(20), name: 'other' }, mixed),
    ]);
    expect(report.comparisons).toEqual([]);
  });
});

describe('the verifier on an arm', () => {
  const tasks = tasksData(2);
  const repeat = repeatData('a', tasks, ['10', '01']);
  const scores = [0.9, 0.2, null, 0.6];
  const records = repeat.rollouts.map(({ id, task, sample }, i) => ({
    ...{ id, task, sample, tokens: 1, condensedTokens: 0 },
    verifierScore: scores[i]!,
  }));
  const rule: SelectorConfig = {
    ...{ type: 'entropo', regression: 'off', reproduction: 'off' },
    ...{ minVerifierScore: 0.5, steps: 'fewest' },
  };
  const selections = tasks.tasks.map(({ id }) => {
    const rows = repeat.rollouts.filter(({ task }) => task === id);
    const verdictOf = (id: string) => records.find((record) => record.id === id);
    const candidates = rows.map((row) => candidateOf({ ...row, exit: 'submitted' }, undefined, verdictOf(row.id)));
    return { task: id, selector: rule, ...selectCandidate(candidates, rule) };
  });
  const judged: RepeatData = {
    ...repeat,
    verdicts: { stage: 'verify-a', records: new Map(records.map((record) => [record.id, record])) },
    selections: [{ name: 'entropo', stage: 'select-a', rule, records: selections }],
  };
  const { verifier } = reportOf([{ name: 'a', tasks, samples: 2, repeats: [judged] }]).arms[0]!;

  test('counts the scored and the unscored, and ranks the scored against the hidden grade', () => {
    expect(verifier).toMatchObject({ scored: 3, unscored: 1, auc: 1 });
  });

  test('removed is what a rule dropped for a low score; a task with an unscored candidate loses none', () => {
    expect(verifier!.removed).toEqual([{ selector: 'entropo', minVerifierScore: 0.5, candidates: 1, resolved: 0 }]);
  });

  test('an arm without verdicts has none', () => {
    expect(reportOf([armData('a', tasks, ['10', '01'])]).arms[0]!.verifier).toBeNull();
  });
});

describe('facts of a trajectory', () => {
  const step = (action: Action | null, logProbs?: number[]): Step => ({
    index: 0,
    reply: { text: '', ...(logProbs ? { logProbs } : {}) },
    action,
    observation: '',
    exitCode: null,
    timedOut: false,
  });
  const of = (steps: Step[], patch = '') => trajectoryFacts({ steps, patch } as Trajectory);
  const bash = (cmd: string): Action => ({ tool: 'execute_bash', parameters: { cmd } });
  const editor = (command: string): Action => ({ tool: 'file_editor', parameters: { command, path: '/testbed/m.py' } });

  test.each<[Action, boolean]>([
    [editor('view'), false],
    [editor('str_replace'), true],
    [editor('create'), true],
    [bash(`sed -n '1,9p' m.py`), false],
    [bash(`sed -i 's/a/b/' m.py`), true],
    [bash(`sed -E -i.bak 's/a/b/' m.py`), true],
    [bash('python run.py 2>&1 | head'), false],
    [bash('ls > /dev/null'), false],
    [bash('cat > m.py <<EOF'), true],
    [bash('git apply fix.diff'), true],
    [bash('grep -i name m.py'), false],
    [{ tool: 'search', parameters: { search_term: 'sed -i' } }, false],
  ])('%j edits: %s', (action, expected) => {
    expect(of([step(action)]).firstEdit !== null).toBe(expected);
  });

  test('equal actions have equal digests, another order another one', () => {
    const [a, b] = [step(bash('ls')), step(null)];
    expect(of([a, b]).actions).toBe(of([a, b]).actions);
    expect(of([a, b]).actions).not.toBe(of([b, a]).actions);
  });

  test('the first changed place is read from the patch', () => {
    const patch = 'diff --git a/m.py b/m.py\n--- a/m.py\n+++ b/m.py\n@@ -7,3 +7,3 @@ def f():\n-a\n+b\n';
    expect(of([], patch).place).toBe('m.py:7');
    expect(of([], '').place).toBeNull();
    expect(of([], 'diff --git a/x.bin b/x.bin\nGIT binary patch\n').place).toBe('x.bin:binary');
  });

  test('log-probabilities are summed where the server gave them', () => {
    expect(of([step(null, [-1, -0.5]), step(null)]).surprisal).toEqual({ nats: 1.5, tokens: 2 });
    expect(of([step(null)]).surprisal).toBeNull();
  });
});
