/** Pictures of training: curves over updates, and the length of pairs against their log-probability. */
import type { EChartsOption } from 'echarts';
import type { CurvePoint, Training } from '../../core/report';
import { bottomLegend, colour, drawChart, QUIET, symbol, valueAxis } from './chart';
import type { Chart } from './document';

type Series = Exclude<EChartsOption['series'], undefined | unknown[]>;

/** One chart a loss that stands alone, one for all preference losses, and one for each of their measures. */
export function trainingCharts(trainings: readonly Training[]): Chart[] {
  const alone = trainings.filter(({ beta }) => beta === null);
  const preference = trainings.filter(({ beta }) => beta !== null);
  const of = (caption: string, unit: string, value: (point: CurvePoint) => number | null): Chart[] => {
    const shown = preference.filter(({ curve }) => curve.some((point) => value(point) !== null));
    return shown.length === 0 ? [] : [curveChart(shown, { caption, unit, value })];
  };
  return [
    ...alone.map((training) =>
      curveChart([training], { caption: `Loss, ${training.name}`, unit: 'loss', value: ({ loss }) => loss }),
    ),
    ...of('Loss, preference training', 'loss', ({ loss }) => loss),
    ...of('Margin', 'mean logit', ({ margin }) => margin),
    ...of('Entropy', 'nats per trained token', ({ entropy }) => entropy),
    ...of('Saturated rows', '|logit| > 5 (%)', ({ saturated }) => (saturated === null ? null : 100 * saturated)),
  ];
}

interface Measure {
  caption: string;
  unit: string;
  value: (point: CurvePoint) => number | null;
}

function curveChart(trainings: readonly Training[], { caption, unit, value }: Measure): Chart {
  const points = (curve: CurvePoint[]) => curve.map((point): [number, number | null] => [point.to, value(point)]);
  const series = trainings.map(({ name, curve }, index): Series => ({
    type: 'line',
    name,
    data: points(curve),
    symbol: curve.length > 30 ? 'none' : symbol(index),
    symbolSize: 4,
    color: colour(index),
    lineStyle: { color: colour(index), width: 2, type: LINES[index % LINES.length]! },
    itemStyle: { color: colour(index) },
  }));
  const svg = drawChart({
    id: `training-${caption.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`,
    label: `${caption} by update`,
    width: 460,
    height: 270,
    option: {
      grid: { left: 62, right: 14, top: 12, bottom: trainings.length > 1 ? 74 : 46 },
      xAxis: valueAxis('update', 26, {
        min: 0,
        splitLine: { show: false },
        axisLine: { show: true, lineStyle: { color: QUIET } },
      }),
      yAxis: valueAxis(unit, 44, { scale: true }),
      ...(trainings.length > 1 ? { legend: { ...bottomLegend, width: 415 } } : {}),
      series,
    },
  });
  return { caption, svg };
}

/** A second mark beside the colour, where curves are too long for symbols. */
const LINES = ['solid', 'dashed', 'dotted'] as const;

/** Pairs of every distinct reference, each with its least squares line. */
export function lengthCharts(trainings: readonly Training[]): Chart[] {
  const seen = new Set<string>();
  return trainings.flatMap(({ name, length }, index) => {
    const source = length?.source.join(' ') ?? '';
    if (!length || length.points.length === 0 || seen.has(source)) return [];
    seen.add(source);
    const xs = length.points.map(({ tokens }) => tokens);
    const ends = [Math.min(...xs), Math.max(...xs)];
    const { slope, intercept } = length;
    const line: Series[] =
      slope === null || intercept === null
        ? []
        : [
            {
              type: 'line',
              data: ends.map((x) => [x, intercept + slope * x]),
              symbol: 'none',
              lineStyle: { color: QUIET, width: 2 },
            },
          ];
    const svg = drawChart({
      id: `length-${index}`,
      label: `Log-probability against length over the pairs of ${name}`,
      width: 460,
      height: 270,
      option: {
        grid: { left: 62, right: 14, top: 12, bottom: 46 },
        xAxis: valueAxis('Δ tokens, chosen minus rejected', 26, {
          scale: true,
          splitLine: { show: false },
          axisLine: { show: true, lineStyle: { color: QUIET } },
        }),
        yAxis: valueAxis('Δ log π_ref (nats)', 44, { scale: true }),
        series: [
          {
            type: 'scatter',
            data: length.points.map(({ tokens, logProb }) => [tokens, logProb]),
            symbolSize: 5,
            itemStyle: { color: colour(0), opacity: 0.6 },
          },
          ...line,
        ],
      },
    });
    return [{ caption: `Pairs under the reference (${name} and those on the same data)`, svg }];
  });
}

/** Share resolved against mean probability of a verifier's bins; on the dashed line it means what it says. */
export function calibrationCharts(trainings: readonly Training[]): Chart[] {
  return trainings.flatMap(({ name, heldout }, index) => {
    if (!heldout || heldout.calibration.length === 0) return [];
    const percent = (share: number) => Math.round(share * 1000) / 10;
    const svg = drawChart({
      id: `calibration-${index}`,
      label: `Calibration of ${name}`,
      width: 460,
      height: 270,
      option: {
        grid: { left: 62, right: 14, top: 12, bottom: 46 },
        xAxis: valueAxis('probability given (%)', 26, { min: 0, max: 100, splitLine: { show: false } }),
        yAxis: valueAxis('resolved (%)', 44, { min: 0, max: 100 }),
        series: [
          {
            type: 'line',
            data: [0, 100].map((end) => [end, end]),
            symbol: 'none',
            lineStyle: { type: 'dashed', color: QUIET, width: 1.5 },
          },
          {
            type: 'line',
            data: heldout.calibration.map(({ predicted, observed }) => [percent(predicted), percent(observed)]),
            symbol: 'circle',
            symbolSize: 6,
            color: colour(0),
            lineStyle: { color: colour(0), width: 2 },
          },
        ],
      },
    });
    return [{ caption: `Calibration of ${name} on tasks set aside`, svg }];
  });
}
