/** How the numbers of a report read, the same in report.md and report.html. */
import type { MethodConfig, SelectorConfig } from '../../config/schema';
import type { Figure, Measure, Report } from '../../core/report';
import type { Cell } from './document';

export type Unit = 'share' | 'points' | 'count' | 'nats';

/** The figure, its deviation over repeats, and beside it its interval. */
export function show(figure: Figure | Measure, unit: Unit = 'share'): Cell {
  const { value, low, high, source } = figure;
  if (value === null) return { text: 'unknown', source, tone: 'quiet' };
  const spread = 'repeats' in figure ? figure.repeats : null;
  const deviation = spread && spread.deviation !== null ? ` ± ${number(spread.deviation, unit)}` : '';
  const text = `${number(value, unit)}${deviation}${unit === 'share' ? '\u00a0%' : ''}`;
  const interval = low === null || high === null ? {} : { detail: `${number(low, unit)} to ${number(high, unit)}` };
  const above = unit === 'points' && low !== null && low > 0;
  return { text, ...interval, source, ...(above ? { tone: 'good' as const } : {}) };
}

/** Shares as per cent, differences of shares as signed percentage points, others as they are. */
function number(value: number, unit: Unit): string {
  if (unit === 'count') return value.toFixed(1);
  if (unit === 'nats') return value.toFixed(2);
  const text = (value * 100).toFixed(1).replace(/^-0\.0$/, '0.0');
  const signed = unit === 'points' && Number(text) > 0 ? `+${text}` : text;
  return signed.replace('-', '−');
}

/** A number that has no interval; a dash where it is unknown. */
export function plain(value: number | null, digits = 0, source?: readonly string[]): Cell {
  if (value === null) return { text: '–', tone: 'quiet' };
  const text = value
    .toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
    .replace(/^-(?=[0.,]*$)/, '')
    .replace('-', '−');
  return { text, ...(source && { source }) };
}

export function share(value: number | null, source?: readonly string[]): Cell {
  if (value === null) return plain(value);
  return { text: `${number(value, 'share')}\u00a0%`, ...(source && { source }) };
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;
}

export function coverage(confidence: number): string {
  return `${Math.round(confidence * 1000) / 10}\u00a0%`;
}

/** `7.3 s`, `4 m 05 s`, `2 h 07 m`. */
export function clockText(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  const two = (value: number) => String(value).padStart(2, '0');
  if (minutes < 60) return `${minutes} m ${two(Math.round(seconds) % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
}

export function bytesText(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `pocket-0001: 3, …` of a record of counts; a dash of none. */
export function countsText(counts: Record<string, number>): string {
  const parts = Object.entries(counts).map(([name, count]) => `${name} ${count.toLocaleString('en-US')}`);
  return parts.length > 0 ? parts.join(', ') : '–';
}

export function totalOf(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** One line on a selector's rule, from its configuration. */
export function ruleText(rule: SelectorConfig): string {
  switch (rule.type) {
    case 'entropo': {
      const tests = (['regression', 'reproduction'] as const)
        .filter((name) => rule[name] !== 'off')
        .map((name) => (rule[name] === 'absolute' ? `all ${name} tests` : `most ${name} tests`));
      const filters = ['finished', ...tests, `verifier at least ${rule.minVerifierScore}`];
      return `${filters.join(' → ')} → ${rule.steps} steps`;
    }
    case 'ef':
      return 'highest verifier score';
    case 'eb':
      return 'most regression tests → most reproduction tests';
    case 'r2e-hybrid': {
      const top = rule.top === 'script' ? 'half, at least 1' : 'half, at least 3';
      return `top by verifier score (${top}) → most regression tests → most reproduction tests → highest verifier score`;
    }
  }
}

/** The settings of a method that its name does not say. */
export function methodText({ type, ...settings }: MethodConfig): string {
  const parts = Object.entries(settings).filter(([, value]) => value !== undefined && value !== false && value !== 0);
  return parts.length > 0 ? `${type} (${parts.map(([name, value]) => `${name} ${String(value)}`).join(', ')})` : type;
}

/** How far the claims go together: each interval stands for itself. */
export function claimsNote({ answers, intervals }: Report): string {
  const count = answers.reduce((sum, { claims }) => sum + claims.length, 0);
  const chance = (count * (1 - intervals.confidence)).toFixed(1);
  return `Each interval stands for itself: if nothing differed, about ${chance} of ${plural(count, 'such statement')} would still be shown, by chance.`;
}

/** What the report's measures mean, for readers of either form. */
export function notes({ intervals, methods, trainings, times }: Report): string[] {
  const { resamples, confidence } = intervals;
  const all = [
    `Intervals are ${coverage(confidence)} percentile bootstrap intervals over tasks (${resamples.toLocaleString('en-US')} seeded resamples). They say how the figure would vary with other tasks of this kind, not with another seed of training or another model.`,
    'pass@k: probability that at least one of k rollouts of a task resolves it; unbiased estimator of Chen et al. (2021). pass@1 is also what a random one of the N candidates gives.',
    'Best@k: expected result of the selector’s choice among k of the N rollouts, exactly over all subsets. At k = N it is what was selected.',
    'Gain: the chosen rollout minus a random one of the same candidates, in percentage points, paired by task.',
    'A rollout that ended as an infrastructure failure is unknown: it counts neither as resolved nor as failed. A task with fewer than k graded rollouts counts with all it has, a task with none is left out.',
    'Diversity is measured among the rollouts of one task and averaged over tasks: 100 % distinct means that no two are equal. Token entropy is the mean of −log p over the sampled tokens, unknown where the server gives no log-probabilities.',
  ];
  if (methods.some(({ repeats }) => repeats.planned > 1)) {
    all.push(
      'An arm with repeats: each task’s mean over the repeats, with its interval over tasks; ± is the standard deviation of the repeats’ own figures. Repeats differ in the seed of evaluation, not of training.',
    );
  }
  if (trainings.length > 0) {
    all.push(
      'Margin: mean logit of the preference loss. Saturated: share of rows with |logit| above 5, which hardly move the weights. Entropy: nats per trained token, exact, on the data and not on new rollouts.',
    );
  }
  if (times) {
    all.push('Times run from a stage’s first opening to its seal, waits and restarts included; stages overlap.');
  }
  return all;
}
