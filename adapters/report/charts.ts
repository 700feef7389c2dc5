/** The pictures of a report. Shares are drawn in per cent; bands and whiskers are the report's bootstrap intervals. */
import type { CustomSeriesRenderItemAPI, CustomSeriesRenderItemParams, EChartsOption } from 'echarts';
import type { Arm, Comparison, Curve, Figure } from '../../core/report';
import { EXITS } from '../../core/trajectory';
import { bottomLegend, categoryAxis, colour, drawChart, GRID, QUIET, symbol, valueAxis } from './chart';

type Series = Exclude<EChartsOption['series'], undefined | unknown[]>;

const percent = (share: number | null) => (share === null ? null : Math.round(share * 1000) / 10);

/** pass@k, Best@k by every selector, and a random one of the N, against k. Bands for pass@k and the first selector. */
export function curvesChart(arm: Arm, id: string): string {
  const curves = [
    { name: 'pass@k', curve: arm.passAtK, band: true },
    ...arm.selectors.map(({ name, bestAtK }, index) => ({ name: `Best@k ${name}`, curve: bestAtK, band: index === 0 })),
  ];
  const random = percent(arm.results.passAt1.value);
  const series = curves.flatMap(({ name, curve, band }, index) => [
    ...(band ? bandSeries(curve, colour(index)) : []),
    lineSeries(name, curve, index),
  ]);
  const flat: Series = {
    type: 'line',
    name: 'random of N',
    data: [1, arm.samples].map((k) => [k, random]),
    symbol: 'none',
    lineStyle: { type: 'dashed', color: QUIET, width: 1.5 },
    itemStyle: { color: QUIET },
  };
  return drawChart({
    id,
    label: `pass@k and Best@k against k for ${arm.name}`,
    width: 460,
    height: 340,
    option: {
      grid: { left: 52, right: 14, top: 12, bottom: 94 },
      xAxis: kAxis(arm.samples),
      yAxis: valueAxis('tasks resolved (%)', 36, { min: 0, max: 100, interval: 20 }),
      legend: { ...bottomLegend, width: 415, data: [...curves.map(({ name }) => name), 'random of N'] },
      series: [...series, flat],
    },
  });
}

/** One line per arm: pass@k, or Best@k by a selector. */
export function armsChart(arms: readonly Arm[], selector: string | null, id: string): string {
  const samples = Math.max(...arms.map((arm) => arm.samples));
  const measure = selector === null ? 'pass@k' : `Best@k by ${selector}`;
  const series = arms.flatMap((arm, index) => {
    const best = arm.selectors.find(({ name }) => name === selector)?.bestAtK;
    const curve = selector === null ? arm.passAtK : best;
    return curve ? [lineSeries(arm.name, curve, index)] : [];
  });
  return drawChart({
    id,
    label: `${measure} against k, one line per arm`,
    width: 460,
    height: 340,
    option: {
      grid: { left: 52, right: 14, top: 12, bottom: 94 },
      xAxis: kAxis(samples),
      yAxis: valueAxis('tasks resolved (%)', 36, { min: 0, max: 100, interval: 20 }),
      legend: { ...bottomLegend, width: 415 },
      series,
    },
  });
}

function kAxis(samples: number): object {
  return valueAxis('k, rollouts per task', 26, {
    min: 1,
    max: Math.max(2, samples),
    axisLabel: { color: 'currentColor', fontSize: 12, customValues: kLabels(samples) },
    splitLine: { show: false },
    axisLine: { show: true, lineStyle: { color: QUIET } },
  });
}

/** Powers of two and N, where they do not touch. */
function kLabels(samples: number): number[] {
  const labels: number[] = [];
  for (let k = 1; k < 0.85 * samples; k *= 2) labels.push(k);
  return [...labels, samples];
}

function lineSeries(name: string, { points }: Curve, index: number): Series {
  return {
    type: 'line',
    name,
    data: points.map(({ k, value }) => [k, percent(value)]),
    symbol: symbol(index),
    symbolSize: 5,
    color: colour(index),
    lineStyle: { color: colour(index), width: index === 0 ? 2.5 : 2 },
    itemStyle: { color: colour(index) },
    z: 3,
  };
}

/** A transparent line at the lower bound with the interval stacked on it. */
function bandSeries({ points }: Curve, color: string): Series[] {
  const known = points.filter(({ low, high }) => low !== null && high !== null);
  const base = { type: 'line', stack: color, symbol: 'none', lineStyle: { width: 0 }, silent: true, z: 1 } as const;
  return [
    { ...base, data: known.map(({ k, low }) => [k, percent(low)]) },
    {
      ...base,
      data: known.map(({ k, low, high }) => [k, percent(high! - low!)]),
      areaStyle: { color, opacity: 0.16 },
    },
  ];
}

export interface IntervalRow {
  label: string;
  /** Index of its colour; null draws it quietly. */
  tone: number | null;
  figure: Figure;
}

/** Points with whiskers, one row each, from above. `zero`: a line where there is no difference. */
export function intervalsChart(input: {
  id: string;
  label: string;
  axis: string;
  rows: readonly IntervalRow[];
  zero?: boolean;
  width?: number;
}): string {
  const rows = input.rows.filter(({ figure }) => figure.value !== null).toReversed();
  const left = 16 + 6.6 * Math.max(4, ...rows.map(({ label }) => label.length));
  const range = input.zero ? {} : { min: 0, max: 100, interval: 20 };
  const zeroLine = {
    silent: true,
    symbol: 'none',
    label: { show: false },
    lineStyle: { color: QUIET, type: 'solid', width: 1.5 },
    data: [{ xAxis: 0 }],
  };
  return drawChart({
    id: input.id,
    label: input.label,
    width: input.width ?? 460,
    height: 62 + 26 * Math.max(1, rows.length),
    option: {
      grid: { left, right: 24, top: 8, bottom: 46 },
      xAxis: valueAxis(input.axis, 26, range),
      yAxis: categoryAxis(
        rows.map(({ label }) => label),
        { axisLine: { show: false }, splitLine: { show: true, lineStyle: { color: GRID, type: 'dotted' } } },
      ),
      series: [
        {
          type: 'custom',
          encode: { x: [1, 2, 3], y: 0 },
          data: rows.map(({ figure }, row) => [row, percent(figure.value), percent(figure.low), percent(figure.high)]),
          renderItem: (_: CustomSeriesRenderItemParams, api: CustomSeriesRenderItemAPI) => whisker(api, rows),
          clip: false,
          ...(input.zero ? { markLine: zeroLine } : {}),
        } as Series,
      ],
    },
  });
}

function whisker(api: CustomSeriesRenderItemAPI, rows: readonly IntervalRow[]) {
  const row = Number(api.value(0));
  const tone = rows[row]!.tone;
  const color = tone === null ? QUIET : colour(tone);
  const at = (dimension: number) => api.coord([api.value(dimension), row]) as [number, number];
  const [x, y] = at(1);
  const [low, high] = [at(2)[0], at(3)[0]];
  return {
    type: 'group' as const,
    children: [
      { type: 'line' as const, shape: { x1: low, y1: y, x2: high, y2: y }, style: { stroke: color, lineWidth: 2 } },
      ...[low, high].map((edge) => ({
        type: 'line' as const,
        shape: { x1: edge, y1: y - 4, x2: edge, y2: y + 4 },
        style: { stroke: color, lineWidth: 2 },
      })),
      { type: 'circle' as const, shape: { cx: x, cy: y, r: 4.5 }, style: { fill: color } },
    ],
  };
}

/** How rollouts end, as shares of all that were to run; the unknown ones hatched. */
export function exitsChart(rows: readonly Pick<Arm, 'name' | 'rollouts' | 'failures' | 'exits'>[], id: string): string {
  const failed = (row: (typeof rows)[number]) => Object.values(row.failures).reduce((sum, count) => sum + count, 0);
  const shown = rows.toReversed();
  const bar = (
    name: string,
    color: string,
    count: (row: (typeof rows)[number]) => number,
    extra: object = {},
  ): Series => ({
    type: 'bar',
    name,
    stack: 'exits',
    barMaxWidth: 20,
    itemStyle: { color, ...extra },
    data: shown.map((row) => percent(count(row) / Math.max(1, row.rollouts + failed(row)))),
  });
  const present = EXITS.filter((exit) => rows.some(({ exits }) => exit in exits));
  const unknown = rows.some((row) => failed(row) > 0);
  const hatch = {
    decal: { symbol: 'rect', dashArrayX: [1, 0], dashArrayY: [2, 4], rotation: 0.8, color: 'rgba(0,0,0,.35)' },
  };
  const series = [
    ...present.map((exit) => bar(exit, colour(EXITS.indexOf(exit)), ({ exits }) => exits[exit] ?? 0)),
    ...(unknown ? [bar('infrastructure failure', QUIET, failed, hatch)] : []),
  ];
  return drawChart({
    id,
    label: 'How rollouts end',
    width: 460,
    height: 92 + 30 * Math.max(1, rows.length),
    option: {
      grid: { left: 16 + 6.6 * Math.max(4, ...rows.map(({ name }) => name.length)), right: 24, top: 8, bottom: 76 },
      xAxis: valueAxis('rollouts (%)', 26, { min: 0, max: 100, interval: 20 }),
      yAxis: categoryAxis(
        shown.map(({ name }) => name),
        { axisLine: { show: false } },
      ),
      legend: { ...bottomLegend, icon: 'roundRect', itemWidth: 12, itemHeight: 10 },
      series,
    },
  });
}

/** Steps per rollout, as shares of the arm's graded rollouts. */
export function stepsChart(arm: Arm, id: string, tone: number): string {
  const total = Math.max(1, arm.rollouts);
  return drawChart({
    id,
    label: `Steps per rollout of ${arm.name}`,
    width: 300,
    height: 210,
    option: {
      grid: { left: 46, right: 12, top: 10, bottom: 46 },
      xAxis: categoryAxis(
        arm.steps.map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`)),
        { name: 'steps per rollout', nameLocation: 'middle', nameGap: 28, nameTextStyle: { color: 'currentColor' } },
      ),
      yAxis: valueAxis('rollouts (%)', 32, { min: 0 }),
      series: [
        {
          type: 'bar',
          barCategoryGap: '12%',
          itemStyle: { color: colour(tone) },
          data: arm.steps.map(({ rollouts }) => percent(rollouts / total)),
        },
      ],
    },
  });
}

/** Rows of the selectors against a random one of the same candidates, arm by arm. */
export function selectorRows(arms: readonly Arm[]): IntervalRow[] {
  return arms.flatMap(({ name, results }) => [
    { label: `${name} · random`, tone: null, figure: results.passAt1 },
    ...results.selected.map(({ selector, resolved }, index) => ({
      label: `${name} · ${selector}`,
      tone: index + 1,
      figure: resolved,
    })),
  ]);
}

export function gainRows(arms: readonly Arm[]): IntervalRow[] {
  return arms.flatMap(({ name, results }) =>
    results.selected.map(({ selector, gain }, index) => ({
      label: `${name} · ${selector}`,
      tone: index + 1,
      figure: gain,
    })),
  );
}

/** One row per difference that a question asks for; the measure's colour is the same in every comparison. */
export function comparisonRows(comparisons: readonly Comparison[]): IntervalRow[] {
  return comparisons.flatMap(({ first, second, passAt1, passAtN, selected }) => {
    const name = `${second} − ${first}`;
    return [
      { label: `${name} · pass@1`, tone: 0, figure: passAt1 },
      { label: `${name} · pass@N`, tone: 1, figure: passAtN },
      ...selected.slice(0, 1).map(({ selector, difference }) => ({
        label: `${name} · ${selector}`,
        tone: 2,
        figure: difference,
      })),
    ];
  });
}

export function diversityRows(arms: readonly Arm[]): IntervalRow[] {
  const measures = [
    ['patches', 'distinctPatches'],
    ['actions', 'distinctActions'],
    ['first edits', 'distinctFirstEdits'],
  ] as const;
  return measures.flatMap(([label, measure]) =>
    arms.map(({ name, diversity }, index) => ({
      label: `${label} · ${name}`,
      tone: index,
      figure: diversity[measure],
    })),
  );
}
