/** The end of a run in the terminal: the arms in one table, the answers, and where the report is. Twenty lines at most. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import colors from 'picocolors';
import type { Measure, Report } from '../core/report';
import { clock } from './progress-bars';

export function printSummary(folder: string, seconds: number): void {
  const report = JSON.parse(readFileSync(path.join(folder, 'report.json'), 'utf8')) as Report;
  process.stdout.write(`\n${summaryText(report)}\n`);
  process.stdout.write(`\n${colors.bold('report')}  ${path.join(folder, 'report.html')}\n`);
  process.stdout.write(
    colors.dim(`done in ${clock(seconds)}; intervals cover ${report.intervals.confidence * 100} %\n`),
  );
}

const MOST_ARMS = 8;

/** The table of methods and one line per answer. */
export function summaryText(report: Report): string {
  const answers = report.answers.map(({ title, text, claims }) => {
    const mark = claims.some(({ shown }) => shown !== null) ? colors.green('•') : colors.dim('•');
    return `${mark} ${colors.bold(title)} ${text}`;
  });
  return [...methodLines(report), '', ...answers].join('\n');
}

/** One row per arm: what it is, pass@1, pass@N, and what each selector made of the N. */
function methodLines({ methods, arms }: Report): string[] {
  const byName = new Map(arms.map((arm) => [arm.name, arm]));
  const selectors = [...new Set(arms.flatMap((arm) => arm.selectors.map(({ name }) => name)))];
  const header = ['arm', 'method', 'N', 'pass@1', 'pass@N', ...selectors.map((name) => `Best@N ${name}`)];
  const rows = methods.slice(0, MOST_ARMS).map(({ arm, method, samples }) => {
    const results = byName.get(arm)?.results;
    const chosen = selectors.map((name) => results?.selected.find(({ selector }) => selector === name)?.resolved);
    const figures = results ? [results.passAt1, results.passAtN, ...chosen].map(figure) : ['not run'];
    return [arm, method, String(samples), ...figures];
  });
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  const more = methods.length > MOST_ARMS ? [colors.dim(`and ${methods.length - MOST_ARMS} more in the report`)] : [];
  return [colors.bold(line(header)), ...rows.map(line), ...more];
}

function figure(value: Measure | undefined): string {
  if (!value || value.value === null) return '–';
  const { low, high, repeats } = value;
  const spread = repeats && repeats.deviation !== null ? ` ± ${repeats.deviation.toFixed(2)}` : '';
  const interval = low === null || high === null ? '' : ` [${low.toFixed(2)}, ${high.toFixed(2)}]`;
  return `${value.value.toFixed(2)}${spread}${interval}`;
}
