/** The report in reading order: answers, figures, how the models came to be, what ran. */
import { stringify } from 'yaml';
import { type Answer, type Arm, LIBRARY_NOTE, type Report } from '../../core/report';
import {
  armsChart,
  comparisonRows,
  curvesChart,
  diversityRows,
  exitsChart,
  gainRows,
  type IntervalRow,
  intervalsChart,
  selectorRows,
  stepsChart,
} from './charts';
import type { Block, Chart, ReportDocument, Section } from './document';
import { claimsNote, coverage, notes, plural, ruleText } from './format';
import {
  comparisonTable,
  diversityTable,
  groupTable,
  judgedTable,
  methodTable,
  outcomesTable,
  selectionFacts,
  selectionTable,
  tasksTable,
  verifierTable,
} from './tables';
import { calibrationCharts, lengthCharts, trainingCharts } from './training-charts';
import {
  lengthTable,
  modelsTable,
  preferenceTable,
  stagesTable,
  trainingTable,
  unfinishedTable,
} from './training-tables';

export function reportDocument(report: Report): ReportDocument {
  const library = new Set(report.arms.filter((arm) => arm.library).map(({ name }) => name));
  const own = report.arms.filter(({ name }) => !library.has(name));
  const failed = report.unfinished.filter(({ state }) => state === 'failed');
  return {
    title: report.title || 'Experiment report',
    facts: factsOf(report),
    alerts:
      report.unfinished.length === 0
        ? []
        : [
            ...failed.map(({ name, message }) => `${name} failed: ${message}`),
            `${plural(report.unfinished.length, 'stage')} of ${report.stages.length} not sealed: what depends on them did not run and is in no figure.`,
          ],
    sections: [
      ...section('Answers', answers(report)),
      ...section('Tasks resolved', resolved(report, own, library)),
      ...section('Diversity and outcomes', diversity(report)),
      ...section('Training', training(report)),
      ...section('Verifier', verifier(report)),
      ...section('Selections', selections(report)),
      ...section('Tasks', tasks(report)),
      ...section('Stages, time and models', stages(report)),
      { title: 'How to read the figures', blocks: [{ notes: notes(report) }] },
    ],
  };
}

function section(title: string, blocks: Block[]): Section[] {
  return blocks.length > 0 ? [{ title, blocks }] : [];
}

function table(made: Block['table'] | null, heading?: string): Block[] {
  if (!made) return [];
  return heading === undefined ? [{ table: made }] : [{ heading }, { table: made }];
}

function factsOf({ seed, arms, tasks, intervals }: Report): string[] {
  const evaluated = new Set(arms.map((arm) => arm.tasks));
  const used = tasks.filter(({ name }) => evaluated.has(name)).reduce((sum, { selected }) => sum + selected, 0);
  const rollouts = arms.reduce((sum, arm) => sum + arm.rollouts, 0);
  return [
    plural(arms.length, 'arm'),
    plural(used, 'evaluated task'),
    plural(rollouts, 'graded rollout'),
    `seed ${seed}`,
    `${coverage(intervals.confidence)} intervals over tasks`,
  ];
}

function answers(report: Report): Block[] {
  if (report.answers.length === 0) return [{ text: 'None: no arm was evaluated.' }];
  const claims = ({ claims: all }: Answer): Block[] =>
    all.length === 0
      ? []
      : [
          {
            fold: {
              summary: plural(all.length, 'statement'),
              detail: `${all.filter(({ shown }) => shown !== null).length} shown`,
              blocks: [
                {
                  items: all.map(({ text, shown, source }) => ({
                    label: shown ?? 'not shown',
                    good: shown !== null,
                    text,
                    source,
                  })),
                },
              ],
            },
          },
        ];
  return [
    ...report.answers.flatMap((answer): Block[] => [
      { heading: answer.title },
      { text: answer.text },
      ...claims(answer),
    ]),
    { hint: claimsNote(report) },
  ];
}

function resolved(report: Report, own: readonly Arm[], library: ReadonlySet<string>): Block[] {
  const compared = report.comparisons.filter(({ first }) => !library.has(first));
  const [asked, others] = [compared.filter((row) => row.question), compared.filter((row) => !row.question)];
  const best = own[0]?.selectors[0]?.name;
  const overlaid: Chart[] =
    own.length < 2
      ? []
      : [
          { caption: 'pass@k of all arms', svg: armsChart(own, null, 'arms-pass') },
          ...(best === undefined ? [] : [{ caption: `Best@k by ${best}`, svg: armsChart(own, best, 'arms-best') }]),
        ];
  const selected = intervals('selectors', 'Selected against a random one of the same candidates', selectorRows(own));
  const gains = intervals('gains', 'Gain of selection, paired by task', gainRows(own));
  const differences = intervals(
    'differences',
    'Arms that the questions compare, paired by task',
    comparisonRows(asked),
  );
  const blocks: Block[] = [
    { table: methodTable(report, (arm) => !library.has(arm)) },
    { hint: 'Every number links to the sealed file that it was made from.' },
    ...charts([...overlaid, ...own.map((arm, index) => curves(arm, `curves-${index}`))]),
    ...charts([...selected, ...gains, ...differences]),
    ...table(comparisonTable(asked, report.methods), 'What the questions compare, percentage points'),
    ...table(groupTable(own), 'By group of tasks'),
    ...table(comparisonTable(others, report.methods), 'Other arms on the same tasks, percentage points'),
  ];
  const foreign = report.arms.filter(({ name }) => library.has(name));
  if (foreign.length === 0) return blocks;
  return [
    ...blocks,
    { heading: 'Library tasks' },
    { text: LIBRARY_NOTE },
    { table: methodTable(report, (arm) => library.has(arm)) },
    ...charts(foreign.map((arm, index) => curves(arm, `library-${index}`))),
  ];
}

function charts(made: Chart[]): Block[] {
  return made.length > 0 ? [{ charts: made }] : [];
}

function curves(arm: Arm, id: string): Chart {
  return { caption: arm.name, svg: curvesChart(arm, id) };
}

const AXES = {
  selectors: { axis: 'tasks resolved (%)', zero: false },
  gains: { axis: 'gain over a random candidate (percentage points)', zero: true },
  differences: { axis: 'difference (percentage points)', zero: true },
  diversity: { axis: 'distinct among the rollouts of a task (%)', zero: false },
};

function intervals(id: keyof typeof AXES, caption: string, rows: readonly IntervalRow[]): Chart[] {
  if (rows.length === 0) return [];
  return [{ caption, svg: intervalsChart({ id, label: caption, rows, ...AXES[id] }) }];
}

function diversity(report: Report): Block[] {
  const { arms, collections } = report;
  if (arms.length + collections.length === 0) return [];
  const exits = { caption: 'How rollouts end', svg: exitsChart([...collections, ...arms], 'exits') };
  return [
    ...(arms.length > 0 ? table(diversityTable(arms)) : []),
    ...charts([...intervals('diversity', 'Distinct among the rollouts of a task', diversityRows(arms)), exits]),
    ...(arms.length > 0
      ? [
          {
            small: arms.map((arm, index) => ({
              caption: `Steps, ${arm.name}`,
              svg: stepsChart(arm, `steps-${index}`, index),
            })),
          },
        ]
      : []),
    { table: outcomesTable(report) },
  ];
}

function training({ trainings }: Report): Block[] {
  if (trainings.length === 0) return [];
  const length = lengthTable(trainings);
  return [
    ...trainings.flatMap(({ name, warnings }) => warnings.map((text) => ({ warning: `${name}: ${text}` }))),
    { table: trainingTable(trainings) },
    ...table(preferenceTable(trainings), 'Preference training'),
    ...charts(trainingCharts(trainings)),
    ...(length
      ? [
          { heading: 'Is the entropy term more than a length term?' },
          {
            text: 'Before the first update the entropy term moves the logit of a pair by (α − β)·Δlog π_ref. Where a line in the difference of lengths explains nearly all of it, the term acts on these pairs as a preference for one length over the other, and a gain of the entropy arm alone does not show more exploration.',
          },
          { table: length },
          ...charts(lengthCharts(trainings)),
        ]
      : []),
  ];
}

function verifier(report: Report): Block[] {
  return [
    ...table(verifierTable(report), 'On tasks set aside from its training'),
    ...charts(calibrationCharts(report.trainings)),
    ...table(judgedTable(report.arms), 'On the candidates of each arm'),
    ...(report.arms.some((arm) => arm.verifier !== null)
      ? [{ hint: 'The hidden tests enter this table only: no selector sees them.' }]
      : []),
  ];
}

function selections({ arms }: Report): Block[] {
  return arms.flatMap((arm) =>
    arm.selectors.map((selector) => ({
      fold: {
        summary: `${arm.name} · ${selector.name}`,
        detail: `${selectionFacts(selector)} · ${ruleText(selector.rule)}`,
        blocks: [
          {
            items: selector.stages.flatMap((stage) => [
              {
                label: 'reasons',
                good: false,
                text: 'every filter’s survivors',
                source: [`${stage}/selections.jsonl`],
              },
              {
                label: 'patches',
                good: false,
                text: 'what would be handed in',
                source: [`${stage}/predictions.json`],
              },
            ]),
          },
          { table: selectionTable(selector, selector.stages.length > 1) },
        ],
      },
    })),
  );
}

function tasks(report: Report): Block[] {
  const excluded = report.tasks.flatMap((set) => set.excluded);
  if (report.tasks.length === 0) return [];
  return [
    { table: tasksTable(report) },
    ...(excluded.length === 0
      ? []
      : [
          {
            fold: {
              summary: 'Excluded by the pre-flight',
              detail: plural(excluded.length, 'task'),
              blocks: [
                {
                  table: {
                    words: true,
                    head: ['reason'],
                    rows: excluded.map(({ id, reason }) => ({ name: id, cells: [{ text: reason }] })),
                  },
                },
              ],
            },
          },
        ]),
  ];
}

function stages(report: Report): Block[] {
  return [
    ...table(unfinishedTable(report), 'Failed or not run'),
    { table: stagesTable(report) },
    ...table(modelsTable(report), 'Models'),
    {
      fold: {
        summary: 'Resolved configuration',
        detail: 'with every default',
        blocks: [{ code: stringify(report.config) }],
      },
    },
  ];
}
