import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { createPolicy } from '../../adapters/policy';
import { CONTEXT_FULL } from '../../adapters/policy/policy';
import { readConversation, replaceLine, replaceSpan } from '../../adapters/policy/moves';
import { searchMove } from '../../adapters/policy/search';
import { type TeacherOptions, teacherMove } from '../../adapters/policy/teacher';
import type { Move } from '../../adapters/policy/moves';
import { replyText } from '../../adapters/policy/moves';
import { parseAction } from '../../core/action';
import { applyEdit, candidateEdits } from '../../core/pocket/edits';
import type { Task } from '../../core/task';
import type { Message } from '../../core/trajectory';

const SOURCE = [
  'def below(items, limit):',
  '    total = 0',
  '    for v in items:',
  '        if v <= limit:',
  '            total += v',
  '    return total',
];
const SPECIAL = 'a b 0 [ ] * . ^ $ / \\ & ( ) { } + ? | " \' # % < = > - , : é'.split(' ').concat(' ');
const STATEMENT = '`below` in /testbed/seq.py is wrong.\n\n>>> below([1], 1)\ngot: 1\nexpected: 0\n';
const GOLD = `diff --git a/seq.py b/seq.py
--- a/seq.py
+++ b/seq.py
@@ -3,3 +3,3 @@
     for v in items:
-        if v <= limit:
+        if v < limit:
             total += v
`;
const TEST = 'bash run_tests.sh';
const task = { id: 'tiny', statement: STATEMENT, workdir: '/testbed', gold: GOLD, visibleCommand: TEST } as Task;

const opening = (statement = STATEMENT): Message[] => [
  { role: 'system', content: 'Fix bugs.' },
  {
    role: 'user',
    content: `Read reproduce.py first.\n<github_issue>\n${statement}</github_issue>\nSteps Remaining: 40`,
  },
];
const numbered = (lines: [number, string][]) =>
  `Execution output of [file_editor]:\n${lines.map(([n, text]) => `${String(n).padStart(6)} ${text}`).join('\n')}\n`;
const listing = numbered(SOURCE.map((text, index) => [index + 1, text]));
const failed = 'Exit code: Error: Exit code 1\nExecution output of [execute_bash]:\n[STDOUT]\n';
const passed = 'Exit code: 0\nExecution output of [execute_bash]:\n[STDOUT]\n';

/** Plays a script against given observations until it finishes. */
function playScript(
  next: (messages: Message[], step: number) => Move,
  observe: (move: Move) => string,
  statement = STATEMENT,
): Move[] {
  const messages = opening(statement);
  const moves: Move[] = [];
  for (;;) {
    const move = next(messages, moves.length);
    moves.push(move);
    if (move.action.tool === 'finish') return moves;
    const left = `Steps Remaining: ${39 - moves.length}`;
    messages.push({ role: 'assistant', content: replyText(move) });
    messages.push({ role: 'user', content: `${observe(move)}\n${left}` });
  }
}

const commandOf = (move: Move) => move.action.parameters.cmd ?? move.action.parameters.command ?? '';
const observeFailing = (move: Move) => (move.action.tool === 'file_editor' ? listing : failed);

describe('moves', () => {
  test('a span edit does to its line what the edit says, through real sed', () => {
    const edits = candidateEdits(SOURCE.join('\n'));
    expect(edits.length).toBeGreaterThan(5);
    for (const edit of edits) {
      const changed = execFileSync('sed', [replaceSpan(edit)], { input: `${SOURCE.join('\n')}\n` }).toString();
      expect(changed).toBe(`${applyEdit(SOURCE.join('\n'), edit)}\n`);
    }
  });

  test('whole-line and span expressions survive every printable character', () => {
    const text = fc.string({ unit: fc.constantFrom(...SPECIAL), maxLength: 12 });
    const pairs = fc.sample(fc.tuple(text, text), { numRuns: 400, seed: 1 });
    const input = pairs.map(([before]) => before).join('\n') + '\n';
    const expected = pairs.map(([, after]) => after).join('\n') + '\n';
    const whole = pairs.map(([, after], index) => replaceLine(index + 1, after));
    const span = pairs.map(([before, after], index) => replaceSpan({ line: index + 1, before, after }));
    for (const script of [whole, span]) {
      expect(execFileSync('sed', [script.join('\n')], { input }).toString()).toBe(expected);
    }
  });

  test('a span names as little as finds its place', () => {
    const edit = (before: string, after: string) => replaceSpan({ line: 5, before, after });
    expect(edit('    total = 0', '    total = 1')).toBe('5s/ 0/ 1/');
    expect(edit('    return a + b', '    return a - b')).toBe('5s/ +/ -/');
    expect(edit('x = v[0] * 0', 'x = v[0] * 1')).toBe('5s/ 0/ 1/');
    expect(edit('f(1, 1)', 'f(1, 2)')).toBe('5s/ 1/ 2/');
  });

  test('steps left are read from the last line only', () => {
    expect(readConversation(opening()).stepsLeft).toBe(40);
    expect(readConversation([{ role: 'user', content: 'Steps Remaining: 3\nmore' }]).stepsLeft).toBe(Infinity);
  });
});

describe('search', () => {
  const search = (tries: number, seedOf = (step: number) => step) =>
    playScript((messages, step) => searchMove(messages, seedOf(step), { tries, testCommand: TEST }), observeFailing);

  test('it views the file of the issue, tries as often as it may, each edit once, and submits', () => {
    const moves = search(8);
    expect(moves).toHaveLength(1 + 8 + 1);
    expect(moves[0]!.action.parameters).toEqual({ command: 'view', path: '/testbed/seq.py' });
    const tries = moves.slice(1, -1).map(commandOf);
    expect(tries.every((cmd) => cmd.startsWith('sed -i') && cmd.endsWith(`&& ${TEST}`))).toBe(true);
    const made = tries.map((cmd) => cmd.split(' && ').at(-2));
    expect(new Set(made).size).toBe(8);
  });

  test('each try takes the one before it back', () => {
    const text = [...SOURCE];
    for (const cmd of search(30).slice(1, -1).map(commandOf)) {
      for (const [, line, after] of cmd.matchAll(/sed -i '(\d+)s\/\.\*\/(.*?)\/' /g)) text[Number(line) - 1] = after!;
      expect(text.filter((line, index) => line !== SOURCE[index])).toHaveLength(1);
    }
  });

  test('it ends when no edit is left', () => {
    expect(search(1000)).toHaveLength(candidateEdits(SOURCE.join('\n')).length + 2);
  });

  test('it submits as soon as the tests pass', () => {
    const observe = (move: Move) => (commandOf(move).includes('v < limit') ? passed : observeFailing(move));
    const moves = playScript(
      (messages, step) => searchMove(messages, step, { tries: 1000, testCommand: TEST }),
      observe,
    );
    expect(commandOf(moves.at(-2)!)).toContain('if v < limit:');
  });

  test('seeds decide the order: sixteen rollouts are not alike, equal seeds are', () => {
    const runs = Array.from({ length: 16 }, (_, sample) => JSON.stringify(search(4, (step) => sample * 1000 + step)));
    expect(new Set(runs).size).toBeGreaterThan(12);
    expect(JSON.stringify(search(4, (step) => 3000 + step))).toBe(runs[3]);
  });

  test('with its last step it submits what it has', () => {
    const messages = [...opening(), { role: 'assistant' as const, content: 'view' }];
    const last = [...messages, { role: 'user' as const, content: `${listing}\nSteps Remaining: 1` }];
    expect(searchMove(last, 1, { tries: 9, testCommand: TEST }).action.tool).toBe('finish');
  });

  test('of a file shown in part it views the function that the issue names', () => {
    const condensed = numbered([
      [1, 'import os'],
      [40, 'def other(x):'],
      [41, '    ... eliding lines 41-299 ...'],
    ]);
    const body = numbered([
      [300, '    def below(self, limit):'],
      [301, '        return limit + 1'],
      [302, ''],
      [303, '    def next(self):'],
      [304, '        return 1 + 1'],
    ]);
    const observe = ({ action: { parameters } }: Move) => {
      if (parameters.command === 'view') return parameters.view_range ? body : condensed;
      return parameters.cmd?.startsWith('grep') ? `${passed}\n300:    def below(self, limit):\n` : failed;
    };
    const moves = playScript((messages, step) => searchMove(messages, step, { tries: 99, testCommand: TEST }), observe);
    expect(commandOf(moves[1]!)).toBe("grep -n 'def below\\b' /testbed/seq.py");
    expect(moves[2]!.action.parameters.view_range).toBe('[300, 400]');
    const tries = moves.slice(3, -1).map(commandOf);
    expect(tries.length).toBeGreaterThan(2);
    expect(tries.filter((cmd) => !cmd.includes("'301s/"))).toEqual([]);
  });

  test.each([
    ['names no file', 'It is broken.', observeFailing, 1],
    ['names a file that is not there', STATEMENT, () => 'Execution output of [file_editor]:\nERROR: no such path\n', 2],
  ])('it gives up where the issue %s', (_, statement, observe, length) => {
    const moves = playScript(
      (messages, step) => searchMove(messages, step, { tries: 9, testCommand: TEST }),
      observe,
      statement,
    );
    expect(moves).toHaveLength(length);
  });
});

describe('teacher', () => {
  const teach = (seed: number, changes: Partial<TeacherOptions> = {}, observe = observeFailing, on = task) => {
    const options = { sloppy: 0.6, wrongEdits: 3, testCommand: TEST, rolloutSeed: seed, ...changes };
    return playScript((messages) => teacherMove(messages, on, options), observe);
  };
  const right = "sed -i '4s/ <=/ </' /testbed/seq.py";

  test('a careful rollout undoes every wrong edit, makes the right one, tests and submits', () => {
    for (let seed = 0; seed < 20; seed++) {
      const commands = teach(seed, { sloppy: 0 }).map(commandOf);
      const misses = (commands.length - 4) / 3;
      expect([0, 1, 2, 3]).toContain(misses);
      expect(commands.slice(-3)).toEqual([right, TEST, 'submit']);
      for (let miss = 0; miss < misses; miss++) {
        expect(commands[1 + 3 * miss]).not.toBe(right);
        expect(commands.slice(2 + 3 * miss, 4 + 3 * miss)).toEqual([TEST, 'cd /testbed && git checkout -q .']);
      }
    }
  });

  test('its thoughts do not tell a right edit from a wrong one', () => {
    const edits = Array.from({ length: 40 }, (_, seed) => teach(seed, { sloppy: 0 })).flatMap((moves) =>
      moves.filter((move) => commandOf(move).startsWith("sed -i '4s/ <=/")),
    );
    const thoughts = (isRight: boolean) =>
      new Set(edits.filter((move) => (commandOf(move) === right) === isRight).map((move) => move.thought));
    expect(thoughts(true)).toEqual(new Set(['This comparison is suspect.', 'The boundary may be off.']));
    expect(thoughts(false)).toEqual(thoughts(true));
  });

  test('a change that is no one-token edit is called the cause', () => {
    const gold = GOLD.replace('if v < limit', 'if limit > v');
    const moves = teach(1, { sloppy: 0, wrongEdits: 0 }, observeFailing, { ...task, gold });
    expect(moves[1]!.thought).toBe('This is the cause.');
  });

  test('a sloppy rollout edits once, sometimes wrongly, and submits untested', () => {
    const runs = Array.from({ length: 60 }, (_, seed) => teach(seed, { sloppy: 1 }).map(commandOf));
    expect(runs.filter((run) => run.length !== 3 || run[2] !== 'submit')).toEqual([]);
    const correct = runs.filter((run) => run[1] === right).length;
    expect(correct).toBeGreaterThan(20);
    expect(correct).toBeLessThan(55);
  });

  test('a wrong edit that satisfies the visible tests is submitted', () => {
    const observe = (move: Move) => (commandOf(move) === TEST ? passed : observeFailing(move));
    const runs = Array.from({ length: 30 }, (_, seed) => teach(seed, { sloppy: 0 }, observe).map(commandOf));
    expect(runs.some((run) => run.length === 4 && run[1] !== right)).toBe(true);
  });

  test('far down in a file it views around the change and replaces by text', () => {
    const gold = GOLD.replaceAll('@@ -3,3 +3,3 @@', '@@ -503,3 +503,3 @@');
    const moves = teach(1, { sloppy: 0, wrongEdits: 0 }, observeFailing, { ...task, gold });
    expect(moves[0]!.action.parameters.view_range).toBe('[478, 531]');
    expect(moves[1]!.action.parameters).toMatchObject({
      command: 'str_replace',
      old_str: '    for v in items:\n        if v <= limit:\n            total += v',
      new_str: '    for v in items:\n        if v < limit:\n            total += v',
    });
  });

  test('a gold patch without a change is a broken task', () => {
    expect(() => teach(1, {}, observeFailing, { ...task, gold: '' })).toThrow(/^tiny: the teacher finds no change/);
  });
});

describe('createPolicy', () => {
  const context = { name: 'p', task, rolloutSeed: 1, replyTimeoutMs: 1000 };
  const teacher = { type: 'scripted', script: 'teacher', sloppy: 0, wrongEdits: 0 } as const;

  test('only the teacher is privileged', () => {
    expect(createPolicy(teacher, context).ref).toEqual({ name: 'p', model: 'scripted/teacher', privileged: true });
    const search = createPolicy({ type: 'scripted', script: 'search', tries: 2 }, context);
    expect(search.ref).toEqual({ name: 'p', model: 'scripted/search', privileged: false });
  });

  test('replies hold a thought and a call that parses', async () => {
    const reply = await createPolicy(teacher, context).ask({ messages: opening(), seed: 1 });
    if (reply === CONTEXT_FULL) throw new Error('full');
    expect(parseAction(reply.text)).toEqual({
      tool: 'file_editor',
      parameters: { command: 'view', path: '/testbed/seq.py' },
    });
    expect(reply.text).toMatch(/^First the file itself\.\n</);
  });
});
