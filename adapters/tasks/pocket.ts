/** Pocket tasks as repositories and rows (spec §4.1). What the tasks are is decided in core/pocket. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatePocket, type Case, type PocketCounts, type PocketTask } from '../../core/pocket/generate';
import type { TaskFile, TestStatus } from '../../core/task';
import { makeBundles, type RepositoryBundle, type RepositorySource } from './bundles';
import { fileDiff } from './gold';
import { pythonEvaluate, startPython } from './python';
import { executionResult, GITIGNORE, RUN_TESTS } from './repository-files';
import type { Row } from './row';

const RUNNER = readFileSync(join(__dirname, 'run_functions.py'), 'utf8');

/** Rows of one split, in the order of their ids. */
export async function* pocketRows(
  input: { seed: number; split: 'train' | 'heldout'; counts?: PocketCounts },
  signal?: AbortSignal,
): AsyncGenerator<Row> {
  await using python = startPython('evaluate.py', signal);
  const tasks = await generatePocket(input, pythonEvaluate(python));
  let next = 0;
  for await (const bundle of makeBundles(tasks.map(repositoryOf), signal)) yield rowOf(tasks[next++]!, bundle);
}

function repositoryOf(task: PocketTask): RepositorySource {
  const base: TaskFile[] = [
    { path: '.gitignore', content: GITIGNORE },
    { path: 'run_tests.sh', content: RUN_TESTS },
    { path: 'tests/run.py', content: RUNNER },
    { path: 'tests/test_visible.py', content: testFile(task, task.visible) },
    { path: task.file, content: task.broken },
  ];
  const fix = [{ path: task.file, content: task.good }];
  return { base, fix, baseMessage: `Add ${task.name}\n`, fixMessage: `Fix ${task.name}\n` };
}

export function testFile(task: PocketTask, cases: Case[]): string {
  const module = task.file.replace(/\.py$/, '');
  const tests = cases.map(({ call, expected }, i) => `def test_${i + 1}():\n    assert ${call} == ${expected}\n`);
  return [`from ${module} import ${task.name}\n`, ...tests].join('\n\n');
}

function rowOf(task: PocketTask, { bundle, baseCommit, fixCommit }: RepositoryBundle): Row {
  const diff = fileDiff(task.file, task.broken, task.good);
  const expected = Object.fromEntries(task.hidden.map((_, i) => [`test_${i + 1}`, 'PASSED' as const]));
  return {
    repo_name: 'pocket',
    docker_image: `pocket:${task.id}`,
    commit_hash: fixCommit,
    parsed_commit_content: JSON.stringify({
      file_diffs: [diff],
      old_commit_hash: baseCommit,
      new_commit_hash: fixCommit,
      commit_message: `Fix ${task.name}`,
      commit_date: '2025-01-01T00:00:00+00:00',
      metadata: { family: task.family, kind: task.kind, body: task.bodyHash },
    }),
    execution_result_content: JSON.stringify(
      executionResult({
        repoName: 'pocket',
        fixCommit,
        tests: [{ path: 'test_1.py', content: testFile(task, task.hidden) }],
        before: summaryText(task.hidden, brokenResult),
        after: summaryText(task.hidden, () => null),
      }),
    ),
    modified_files: [task.file],
    modified_entity_summaries: [
      {
        file_name: task.file,
        type: 'function',
        name: task.name,
        ast_type_str: 'FunctionDef',
        start_lineno: 1,
        end_lineno: task.good.trimEnd().split('\n').length,
      },
    ],
    relevant_files: [task.file],
    num_non_test_files: 1,
    num_non_test_func_methods: 1,
    num_non_test_lines: 2,
    prompt: '',
    problem_statement: `[ISSUE]\n${task.statement}[/ISSUE]`,
    expected_output_json: JSON.stringify(expected satisfies Record<string, TestStatus>),
    repository: { bundle: bundle.toString('base64'), base_commit: baseCommit, id: task.id, group: task.group },
  };
}

/** What the runner prints: `failure` gives the message of a failing case, null for a passing one. */
function summaryText(cases: Case[], failure: (test: Case) => string | null): string {
  const messages = cases.map(failure);
  const lines = messages.map((message, i) => {
    const id = `r2e_tests/test_1.py::test_${i + 1}`;
    return message === null ? `PASSED ${id}` : `FAILED ${id} - ${message}`;
  });
  const failed = messages.filter((message) => message !== null).length;
  const counts = [
    [failed, 'failed'],
    [cases.length - failed, 'passed'],
  ].filter(([count]) => count);
  const totals = counts.map(([count, word]) => `${count} ${word}`).join(', ');
  return ['=== short test summary info ===', ...lines, `=== ${totals} ===`, ''].join('\n');
}

function brokenResult({ expected, broken }: Case): string | null {
  if (!broken.ok) return broken.text;
  return broken.text === expected ? null : `assert ${broken.text} == ${expected}`;
}
