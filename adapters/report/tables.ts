/** The tables on what was evaluated. */
import type { Arm, Comparison, Figure, Report, Results } from '../../core/report';
import type { Cell, Table } from './document';
import { countsText, plain, plural, share, show, totalOf } from './format';

/** One row per arm of the plan; `own` says which arms stand here and not among the library tasks. */
export function methodTable({ methods, arms }: Report, own: (arm: string) => boolean): Table {
  const shown = methods.filter(({ arm }) => own(arm));
  const byName = new Map(arms.map((arm) => [arm.name, arm]));
  const evaluated = shown.flatMap(({ arm }) => byName.get(arm) ?? []);
  const rules = rulesOf(evaluated);
  const notRun = Array.from({ length: 3 + 2 * rules.length }, (): Cell => ({ text: 'not run', tone: 'quiet' }));
  return {
    head: ['model', ...resultHead(rules)],
    rows: shown.map(({ arm, model, method, trainedFrom, samples, repeats }) => {
      const found = byName.get(arm);
      const many = repeats.planned > 1 ? ` × ${repeats.sealed} of ${repeats.planned}` : '';
      const made = trainedFrom === null ? method : `${method} from ${trainedFrom}`;
      const cells = found ? resultCells(found.results, rules) : notRun;
      return { name: `${arm} · N = ${samples}${many}`, cells: [{ text: model, detail: made }, ...cells] };
    }),
  };
}

export function groupTable(arms: readonly Arm[]): Table | null {
  const grouped = arms.filter(({ groups }) => groups.length > 1);
  if (grouped.length === 0) return null;
  const rules = rulesOf(grouped);
  return {
    head: resultHead(rules),
    rows: grouped.flatMap(({ name, groups }) =>
      groups.map((results) => ({ name: `${name} · ${results.group}`, cells: resultCells(results, rules) })),
    ),
  };
}

function rulesOf(arms: readonly Arm[]): string[] {
  return [...new Set(arms.flatMap(({ results }) => results.selected.map(({ selector }) => selector)))];
}

function resultHead(rules: readonly string[]): string[] {
  return ['tasks', 'pass@1 = random of N', 'pass@N', ...rules.flatMap((rule) => [`Best@N by ${rule}`, 'gain, points'])];
}

function resultCells({ passAt1, passAtN, selected }: Results, rules: readonly string[]): Cell[] {
  const chosen = rules.flatMap((rule) => {
    const found = selected.find(({ selector }) => selector === rule);
    return found ? [show(found.resolved), show(found.gain, 'points')] : [plain(null), plain(null)];
  });
  return [plain(passAt1.tasks), show(passAt1), show(passAtN), ...chosen];
}

const QUESTIONS = { sft: 'SFT', preference: 'preference', entropy: 'entropy term' } as const;

export function comparisonTable(comparisons: readonly Comparison[], methods: Report['methods']): Table | null {
  if (comparisons.length === 0) return null;
  const rules = [...new Set(comparisons.flatMap(({ selected }) => selected.map(({ selector }) => selector)))];
  const samples = new Set(methods.map((method) => method.samples));
  const last = samples.size === 1 ? [...samples][0]! : 'N';
  return {
    head: ['question', 'pass@1', `pass@${last}`, ...rules.map((rule) => `Best@${last} by ${rule}`)],
    rows: comparisons.map(({ question, first, second, differs, passAt1, passAtN, selected }) => {
      const difference = (rule: string): Figure | undefined =>
        selected.find(({ selector }) => selector === rule)?.difference;
      const asked = question !== null && question in QUESTIONS ? QUESTIONS[question as keyof typeof QUESTIONS] : '–';
      const also = differs.length > 0 ? { detail: `also differ: ${differs.join(', ')}` } : {};
      return {
        name: `${second} minus ${first}`,
        cells: [
          { text: asked, ...also },
          show(passAt1, 'points'),
          show(passAtN, 'points'),
          ...rules.map((rule) => {
            const found = difference(rule);
            return found ? show(found, 'points') : plain(null);
          }),
        ],
      };
    }),
  };
}

export function diversityTable(arms: readonly Arm[]): Table {
  return {
    head: [
      'patches',
      'actions',
      'first edits',
      'place entropy, nats',
      'token entropy, nats',
      'steps',
      'tokens',
      'submitted',
    ],
    rows: arms.map(({ name, diversity: d }) => ({
      name,
      cells: [
        ...[d.distinctPatches, d.distinctActions, d.distinctFirstEdits].map((figure) => show(figure)),
        ...[d.placeEntropy, d.tokenEntropy].map((figure) => show(figure, 'nats')),
        ...[d.meanSteps, d.meanTokens].map((figure) => show(figure, 'count')),
        show(d.finished),
      ],
    })),
  };
}

export function outcomesTable({ arms, collections }: Report): Table {
  return {
    head: ['graded rollouts', 'resolved', 'exits', 'unknown: infrastructure failures'],
    rows: [...collections, ...arms].map((row) => ({
      name: row.name,
      cells: [
        { text: row.rollouts.toLocaleString('en-US'), source: row.source },
        share('resolved' in row ? row.resolved.value : row.results.passAt1.value),
        { text: countsText(row.exits) },
        totalOf(row.failures) === 0
          ? { text: 'none', tone: 'quiet' }
          : { text: countsText(row.failures), source: row.source.slice(1) },
      ],
    })),
  };
}

export function verifierTable({ trainings }: Report): Table | null {
  const verifiers = trainings.filter(({ heldout }) => heldout !== null);
  if (verifiers.length === 0) return null;
  return {
    head: ['held-out rollouts', 'unscored', 'of them resolved', 'AUC', 'accuracy', 'Brier score'],
    rows: verifiers.map(({ name, heldout, source }) => ({
      name,
      cells: [
        { ...plain(heldout!.count, 0, source), detail: `of ${plural(heldout!.tasks, 'task')}` },
        plain(heldout!.unscored, 0, source),
        plain(heldout!.yes, 0, source),
        plain(heldout!.auc, 3, source),
        share(heldout!.accuracy, source),
        plain(heldout!.brier, 3, source),
      ],
    })),
  };
}

export function judgedTable(arms: readonly Arm[]): Table | null {
  const judged = arms.flatMap(({ name, verifier }) => (verifier ? [{ name, verifier }] : []));
  if (judged.length === 0) return null;
  const rules = [...new Set(judged.flatMap(({ verifier }) => verifier.removed.map(({ selector }) => selector)))];
  return {
    head: ['scored', 'unscored', 'AUC against hidden tests', ...rules.map((rule) => `removed by ${rule}`)],
    rows: judged.map(({ name, verifier: { scored, unscored, auc, removed, source } }) => ({
      name,
      cells: [
        plain(scored, 0, source),
        plain(unscored, 0, source),
        plain(auc, 3, source),
        ...rules.map((rule): Cell => {
          const found = removed.find(({ selector }) => selector === rule);
          if (!found) return plain(null);
          const { candidates, resolved, minVerifierScore } = found;
          return { ...plain(candidates, 0, source), detail: `below ${minVerifierScore}; ${resolved} of them resolved` };
        }),
      ],
    })),
  };
}

export function tasksTable({ tasks }: Report): Table {
  return {
    head: ['used', 'groups', 'excluded'],
    rows: tasks.map(({ name, selected, groups, excluded, source }) => ({
      name,
      cells: [
        { text: String(selected), source },
        { text: countsText(groups) },
        { text: String(excluded.length), source: source.slice(1) },
      ],
    })),
  };
}

export function selectionTable({ selections }: Arm['selectors'][number], repeats: boolean): Table {
  return {
    words: true,
    head: ['group', 'chosen', 'hidden tests', 'reason'],
    rows: selections.map(({ repeat, task, group, chosen, resolved, reason }) => ({
      name: repeats ? `${task} (${repeat})` : task,
      cells: [
        { text: group },
        chosen === null ? { text: 'none' } : { text: chosen.split('/').at(-1)!, source: [`${chosen}/`] },
        {
          text: resolved === null ? 'unknown' : resolved ? 'resolved' : 'not resolved',
          ...(resolved ? { tone: 'good' as const } : {}),
        },
        { text: reason },
      ],
    })),
  };
}

/** `7 of 12 tasks resolved`. */
export function selectionFacts({ selections }: Arm['selectors'][number]): string {
  const resolved = selections.filter((selection) => selection.resolved).length;
  return `${resolved} of ${plural(selections.length, 'task')} resolved`;
}
