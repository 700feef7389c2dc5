/**
 * Sentences that the figures allow. One claims a difference only when its interval excludes zero and enough tasks stand
 * behind it; otherwise it says that none is shown. Arms on library tasks support no claim.
 */
import type { ComputedArm } from './arm';
import type { Relation } from './lineage';
import type { Answer, Arm, Claim, Comparison, Figure, Question } from './types';

/** A percentile interval over fewer tasks says little, and of equal values nothing. */
const FEWEST_TASKS = 10;

const TITLES: Record<Question, string> = {
  sft: 'Did SFT help over the untuned model?',
  preference: 'Did preference training help?',
  entropy: 'Did the entropy term help?',
  selection: 'What did N attempts and the selector add?',
  arms: 'How do the arms differ?',
};

/** A difference of two shares of tasks, with the words for both sides. */
interface Difference {
  /** `sft over origin`. */
  between: string;
  /** `pass@1`. */
  measure: string;
  first: string;
  second: string;
  figure: Figure;
  note: string;
  /** Part of the answer's one line; the others are claims only. */
  told: boolean;
}

/** The questions that the plan poses, in order; also one that nothing evaluated can answer yet. */
export function answersOf(
  arms: readonly ComputedArm[],
  relations: readonly Relation[],
  comparisons: readonly Comparison[],
  confidence: number,
): Answer[] {
  const own = new Map(arms.filter(({ arm }) => !arm.library).map(({ arm }) => [arm.name, arm]));
  const answer = (question: Question, differences: readonly Difference[], lead = ''): Answer => ({
    question,
    title: TITLES[question],
    text: `${lead}${summary(differences.filter(({ told }) => told))}`,
    claims: differences.map((difference) => claim(difference, confidence)),
  });
  const asked = [...new Set(relations.map(({ question }) => question))].map((question) => {
    const found = comparisons.filter((comparison) => comparison.question === question && own.has(comparison.first));
    if (found.length > 0)
      return answer(
        question,
        found.flatMap((entry) => between(entry, own)),
      );
    const missing = relations.filter((relation) => relation.question === question);
    const names = missing.map(({ first, second }) => `${second} over ${first}`).join(', ');
    return { question, title: TITLES[question], text: `Not run: ${names}.`, claims: [] };
  });
  const unrelated = comparisons.filter(({ first, second }) => own.has(first) && own.has(second));
  if (relations.length === 0 && unrelated.length > 0) {
    asked.push(
      answer(
        'arms',
        unrelated.flatMap((entry) => between(entry, own)),
      ),
    );
  }
  const selecting = [...own.values()].filter(({ results }) => results.selected.length > 0);
  if (selecting.length > 0) asked.push(answer('selection', selecting.flatMap(gains), headroom(selecting)));
  return asked;
}

/** pass@1, pass@N and the choice of the first selector. */
function between(
  { first, second, passAt1, passAtN, selected, differs }: Comparison,
  own: Map<string, Arm>,
): Difference[] {
  const samples = own.get(second)!.samples;
  const common = {
    between: `${second} over ${first}`,
    told: true,
    note: differs.length > 0 ? ` They also differ in ${differs.join(', ')}.` : '',
  };
  return [
    {
      ...common,
      measure: 'pass@1',
      first: `one of ${first}`,
      second: `a single rollout of ${second}`,
      figure: passAt1,
    },
    {
      ...common,
      measure: `pass@${samples}`,
      first: `those of ${first}`,
      second: `at least one of the ${samples} rollouts of ${second}`,
      figure: passAtN,
    },
    ...selected.slice(0, 1).map(({ selector, difference }) => ({
      ...common,
      measure: `Best@${samples} by ${selector}`,
      first: `its choice on ${first}`,
      second: `the choice of ${selector} on ${second}`,
      figure: difference,
    })),
  ];
}

function gains({ name, samples, results }: Arm): Difference[] {
  return results.selected.map(({ selector, gain }, index) => ({
    between: name,
    measure: `Best@${samples} by ${selector}`,
    first: 'a random one of them, which is what one attempt gives',
    second: `the choice of ${selector} among the ${samples} rollouts of ${name}`,
    figure: gain,
    note: '',
    told: index === 0,
  }));
}

/** What a perfect selector would add: at least zero by its making, so that no interval can support it. */
function headroom(arms: readonly Arm[]): string {
  const parts = arms.map(({ name, results }) => `${name} ${signed(results.headroom.value)}`);
  return `At most, by always finding a correct one of the N, over one attempt: ${parts.join(', ')} points. `;
}

type Shown = Claim['shown'];

function shownBy({ low, high, tasks }: Figure): Shown {
  if (low === null || high === null || tasks < FEWEST_TASKS) return null;
  return low > 0 ? 'higher' : high < 0 ? 'lower' : null;
}

/** One line over several differences: the shown ones with their size, then those where nothing is shown. */
function summary(differences: readonly Difference[]): string {
  const sides: [Shown, string][] = [
    ['higher', 'Higher'],
    ['lower', 'Lower'],
    [null, 'No difference shown'],
  ];
  const counts = [...new Set(differences.map(({ figure }) => figure.tasks))].toSorted((a, b) => a - b);
  const tasks = `${counts.join(' to ')} ${counts.length === 1 && counts[0] === 1 ? 'task' : 'tasks'}`;
  const sentences = sides.flatMap(([shown, word]) => {
    const those = differences.filter(({ figure }) => shownBy(figure) === shown);
    if (those.length === 0) return [];
    const parts = [...new Set(those.map((entry) => entry.between))].map((name) => {
      const measures = those.filter((entry) => entry.between === name);
      return `${name} at ${measures.map(({ measure, figure }) => `${measure} (${signed(figure.value)})`).join(', ')}`;
    });
    const few = shown === null && those.every(({ figure }) => figure.tasks < FEWEST_TASKS);
    return [`${few ? `Too few to show a difference (${tasks})` : `${word} with ${tasks}`}: ${parts.join('; ')}.`];
  });
  return sentences.join(' ');
}

/** What an interval allows to say on two shares of tasks, `second` minus `first`. */
function claim({ first, second, figure, note }: Difference, confidence: number): Claim {
  const { value, low, high, tasks, source } = figure;
  const behind = `${tasks} ${tasks === 1 ? 'task' : 'tasks'}`;
  const shown = shownBy(figure);
  const seen =
    value === null || low === null || high === null
      ? ''
      : `${signed(value)} points, ${Math.round(confidence * 1000) / 10}\u00a0% interval ${points(low)} to ${points(high)}`;
  if (shown === null) {
    const few = tasks < FEWEST_TASKS ? `, too few to show one` : '';
    const text = `No difference shown between ${second} and ${first} with ${behind}${few}${seen && ` (${seen})`}.${note}`;
    return { text, shown, source };
  }
  const verb = shown === 'higher' ? 'resolves more' : 'resolves fewer';
  const text = `${second[0]!.toUpperCase()}${second.slice(1)} ${verb} of the tasks than ${first} (${seen}; ${behind}).${note}`;
  return { text, shown, source };
}

/** Percentage points, one decimal, with a true minus sign. */
function points(share: number): string {
  return (share * 100)
    .toFixed(1)
    .replace(/^-0\.0$/, '0.0')
    .replace('-', '−');
}

function signed(share: number | null): string {
  if (share === null) return 'unknown';
  const text = points(share);
  return Number(text) > 0 ? `+${text}` : text;
}
