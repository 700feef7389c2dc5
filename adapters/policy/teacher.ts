/**
 * The privileged script: it knows the gold patch and plays like someone who finds it. A careful rollout tries some
 * wrong edits, tests and undoes each, then makes the right one and tests; a sloppy one edits once, not always rightly,
 * and submits untested: mistakes leave failed rollouts to learn from. A wrong edit that satisfies the visible tests is
 * submitted, as anyone would. A right edit that could have been a wrong one gets the same kind of thought: the text does
 * not give away which it is.
 *
 * Decided by the rollout's seed and the conversation alone. Gold patches may change files, not add or delete them.
 */
import { parsePatch, type StructuredPatchHunk } from 'diff';
import { Failure } from '../../core/failures';
import type { LineEdit } from '../../core/pocket/edits';
import { random } from '../../core/random';
import type { Task } from '../../core/task';
import type { Message } from '../../core/trajectory';
import {
  bash,
  definitionAround,
  editsOf,
  finish,
  type Move,
  readConversation,
  replaceSpan,
  sed,
  shownLines,
  succeeded,
  suspicion,
  type Turn,
  view,
} from './moves';

export interface TeacherOptions {
  /** Share of rollouts that edit once and submit untested. */
  sloppy: number;
  /** Most wrong edits before the right one. */
  wrongEdits: number;
  testCommand: string;
  /** Seed of the whole rollout. */
  rolloutSeed: number;
}

/** Share of sloppy rollouts whose one edit is wrong. */
const SLIP = 0.4;
/** A change further down is viewed in a range of lines. */
const WHOLE_FILE = 100;
/** Lines viewed before and after such a change. */
const AROUND = 25;

/** One place that the gold patch changes. */
interface Change {
  path: string;
  /** First line of the hunk. */
  start: number;
  /** The hunk's lines, context included. */
  before: string[];
  after: string[];
  /** Where it replaces exactly one line by one. */
  line: Pick<LineEdit, 'line' | 'before' | 'after'> | null;
}

export function teacherMove(messages: readonly Message[], task: Task, options: TeacherOptions): Move {
  const { turns } = readConversation(messages);
  const changes = readGold(task);
  const [first] = turns;
  if (first === undefined) return look(changes[0]!);
  const plan = makePlan(changes, first, task, options);
  const last = turns.at(-1)!;
  if (last.reply.includes(options.testCommand) && succeeded(last)) return finish('The tests pass.');
  return plan[turns.length - 1] ?? finish('That settles it.');
}

/** All moves after the first look. */
function makePlan(changes: Change[], first: Turn, task: Task, options: TeacherOptions): Move[] {
  const draw = random(options.rolloutSeed);
  const { path, start, before, line } = changes[0]!;
  const lines = shownLines(first);
  const around = definitionAround(lines, line?.line ?? start + Math.floor(before.length / 2));
  const isGold = (edit: LineEdit) => edit.line === line?.line && edit.after === line.after;
  const edits = around === undefined ? [] : editsOf(lines, around);
  const wrong = draw.shuffle(edits.filter((edit) => !isGold(edit)));
  const edit = (e: LineEdit) => bash(suspicion(e.kind, draw), sed(replaceSpan(e), path));
  const kind = edits.find(isGold)?.kind;
  const cause = kind === undefined ? 'This is the cause.' : suspicion(kind, draw);
  const right = changes.flatMap((change, index) =>
    index === 0 ? [repair(change, cause)] : [look(change), repair(change, 'This is the cause.')],
  );

  if (draw.float() < options.sloppy) {
    const [slip] = wrong;
    return [...(draw.float() < SLIP && slip ? [edit(slip)] : right), finish('That settles it.')];
  }
  const test = bash('What do the tests say?', options.testCommand);
  const undo = bash('That was not it: take it back.', `cd ${task.workdir} && git checkout -q .`);
  const misses = wrong.slice(0, draw.int(0, options.wrongEdits));
  return [...misses.flatMap((miss) => [edit(miss), test, undo]), ...right, test, finish('That settles it.')];
}

function look({ path, start, before }: Change): Move {
  const end = start + before.length;
  return end <= WHOLE_FILE ? view(path) : view(path, [Math.max(1, start - AROUND), end + AROUND]);
}

/** One line near the top by `sed`, anything else by its text. */
function repair({ path, before, after, line, start }: Change, thought: string): Move {
  if (line && start + before.length <= WHOLE_FILE) return bash(thought, sed(replaceSpan(line), path));
  const parameters = { command: 'str_replace', path, old_str: before.join('\n'), new_str: after.join('\n') };
  return { thought, action: { tool: 'file_editor', parameters } };
}

function readGold(task: Task): Change[] {
  const changes = parsePatch(task.gold).flatMap(({ newFileName, hunks }) =>
    hunks.map((hunk) => readHunk(`${task.workdir}/${newFileName?.replace(/^b\//, '')}`, hunk)),
  );
  if (changes.length > 0) return changes;
  throw new Failure('TaskBroken', `${task.id}: the teacher finds no change in its gold patch`);
}

function readHunk(path: string, { oldStart, lines }: StructuredPatchHunk): Change {
  const side = (sign: string) => lines.filter((l) => l.startsWith(' ') || l.startsWith(sign)).map((l) => l.slice(1));
  const [before, after] = [side('-'), side('+')];
  const differ = before.flatMap((text, index) => (text === after[index] ? [] : [index]));
  const [only] = differ;
  const oneLine = before.length === after.length && differ.length === 1 && only !== undefined;
  const line = oneLine ? { line: oldStart + only, before: before[only]!, after: after[only]! } : null;
  return { path, start: oldStart, before, after, line };
}
