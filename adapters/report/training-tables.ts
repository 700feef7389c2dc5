/** The tables on how models were made, and on the stages. */
import type { Report, Training } from '../../core/report';
import type { Table } from './document';
import { bytesText, clockText, countsText, methodText, plain, share } from './format';

export function trainingTable(trainings: readonly Training[]): Table {
  return {
    head: ['method', 'rows', 'too long', 'tokens', 'trained on', 'updates', 'final loss', 'saturated'],
    rows: trainings.map((training) => {
      const { name, method, base, pairs, source } = training;
      return {
        name: `${name} · from ${base}`,
        cells: [
          { text: methodText(method) },
          { ...plain(training.rows, 0, source), ...(pairs === null ? {} : { detail: `${pairs} pairs of data` }) },
          plain(training.dropped, 0, source),
          plain(training.tokens, 0, source),
          plain(training.trainedTokens, 0, source),
          plain(training.updates, 0, source),
          plain(training.finalLoss, 4, source),
          share(training.saturated, source),
        ],
      };
    }),
  };
}

/** How the preference methods ended: means over the last point of each curve. */
export function preferenceTable(trainings: readonly Training[]): Table | null {
  const shown = trainings.filter(({ beta }) => beta !== null);
  if (shown.length === 0) return null;
  return {
    head: [
      'α',
      'β',
      'margin at the end',
      'rows with margin above 0',
      'entropy: reference',
      'at the start',
      'at the end',
    ],
    rows: shown.map(({ name, alpha, beta, curve, referenceEntropy, source }) => {
      const [first, last] = [curve[0], curve.at(-1)];
      return {
        name,
        cells: [
          plain(alpha, 3),
          plain(beta, 3),
          plain(last?.margin ?? null, 3, source.slice(1)),
          share(last?.accuracy ?? null, source.slice(1)),
          plain(referenceEntropy, 4, source),
          plain(first?.entropy ?? null, 4, source.slice(1)),
          plain(last?.entropy ?? null, 4, source.slice(1)),
        ],
      };
    }),
  };
}

export function lengthTable(trainings: readonly Training[]): Table | null {
  const shown = trainings.flatMap(({ name, alpha, beta, length }) => (length ? [{ name, alpha, beta, length }] : []));
  if (shown.length === 0) return null;
  return {
    head: [
      'pairs',
      'Δ tokens, mean',
      'slope, nats per token',
      'explained by length (R²)',
      'shift (α − β)·Δlog π_ref, nats',
    ],
    rows: shown.map(({ name, alpha, beta, length }) => ({
      name,
      cells: [
        {
          ...plain(length.pairs, 0, length.source),
          ...(length.missing > 0 ? { detail: `${length.missing} more too long` } : {}),
        },
        plain(length.meanTokens, 1, length.source),
        plain(length.slope, 4, length.source),
        share(length.r2, length.source),
        alpha === beta
          ? { text: 'none: α = β', tone: 'quiet' }
          : {
              ...plain(length.shift.mean, 3, length.source),
              detail: `± ${plain(length.shift.deviation, 3).text} over pairs`,
            },
      ],
    })),
  };
}

export function modelsTable({ models }: Report): Table | null {
  if (models.length === 0) return null;
  return {
    words: true,
    head: ['made by', 'size', 'sha256 of the folder'],
    rows: models.map(({ name, method, bytes, files, sha256, source }) => ({
      name,
      cells: [{ text: method }, { text: `${bytesText(bytes)} in ${files} files` }, { text: sha256, source }],
    })),
  };
}

export function stagesTable({ stages, times }: Report): Table {
  const timeOf = new Map((times ?? []).map((time) => [time.name, time]));
  return {
    words: true,
    head: ['sealed folder', ...(times ? ['time'] : []), 'tokens sampled', 'tokens trained', 'counts'],
    rows: stages.map(({ name, id, counts, tokensSampled, tokensTrained }) => {
      const time = timeOf.get(name);
      const beside = [
        ...(time && time.openings > 1 ? [`opened ${time.openings} times`] : []),
        ...(time?.peakMemoryMb ? [`${time.peakMemoryMb.toLocaleString('en-US')} MB at most`] : []),
      ].join('; ');
      const took = time && time.seconds !== null ? clockText(time.seconds) : '–';
      return {
        name,
        cells: [
          { text: id, ...(counts ? { source: [`${id}/manifest.json`] } : {}) },
          ...(times ? [{ text: took, ...(beside && { detail: beside }) }] : []),
          plain(tokensSampled),
          plain(tokensTrained),
          counts ? { text: countsText(counts) } : { text: 'not sealed: in no figure', tone: 'quiet' as const },
        ],
      };
    }),
  };
}

export function unfinishedTable({ unfinished }: Report): Table | null {
  if (unfinished.length === 0) return null;
  return {
    words: true,
    head: ['', 'why'],
    rows: unfinished.map(({ name, state, message }) => ({ name, cells: [{ text: state }, { text: message }] })),
  };
}
