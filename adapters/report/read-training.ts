/** Reads a train stage, and of preference data only numbers: conversations themselves are never opened here. */
import type { Stage } from '../../core/plan';
import type { PreferencePair } from '../../core/preference';
import type { CurvePoint, ReferenceData, ReferenceRecord, TrainingData, TrainSummary } from '../../core/report';
import type { SealedStage } from './sealed-stage';

const CURVE_POINTS = 100;
const MEASURES = ['loss', 'margin', 'saturated', 'accuracy', 'entropy'] as const;

/** A line of `metrics.jsonl`, as far as it is drawn. */
type MetricsRow = { update: number; updates: number } & Partial<Record<(typeof MEASURES)[number], number | null>>;

/** `sealed`: by stage id; the stage's inputs are among them. */
export async function readTraining(stage: Stage, sealed: ReadonlyMap<string, SealedStage>): Promise<TrainingData> {
  const folder = sealed.get(stage.id)!;
  const { pairs, reference } = stage.inputs;
  const [pairsFolder, referenceFolder] = [sealed.get(pairs ?? ''), sealed.get(reference ?? '')];
  return {
    stage,
    summary: await folder.json<TrainSummary>('summary.json'),
    curve: await readCurve(folder.lines<MetricsRow>('metrics.jsonl')),
    reference:
      pairsFolder && referenceFolder
        ? { stage: reference!, pairsStage: pairs!, ...(await readReference(pairsFolder, referenceFolder)) }
        : null,
  };
}

/** Means over equally many updates each; the last point may hold fewer. */
async function readCurve(rows: AsyncIterable<MetricsRow>): Promise<CurvePoint[]> {
  const points: CurvePoint[] = [];
  let open: MetricsRow[] = [];
  let width = 1;
  const close = () => {
    const mean = (measure: (typeof MEASURES)[number]) => {
      const known = open.map((row) => row[measure]).filter((value) => typeof value === 'number');
      return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
    };
    const means = Object.fromEntries(MEASURES.map((measure) => [measure, mean(measure)]));
    points.push({ from: open[0]!.update, to: open.at(-1)!.update, ...(means as Omit<CurvePoint, 'from' | 'to'>) });
    open = [];
  };
  for await (const row of rows) {
    width = Math.max(1, Math.ceil(row.updates / CURVE_POINTS));
    open.push(row);
    if (open.length === width) close();
  }
  if (open.length > 0) close();
  return points;
}

async function readReference(
  pairs: SealedStage,
  reference: SealedStage,
): Promise<Omit<ReferenceData, 'stage' | 'pairsStage'>> {
  const sums = new Map<string, { tokens: number; logProb: number }>();
  const total = { tokens: 0, entropy: 0 };
  for await (const { id, tokens, logProb, entropy } of reference.lines<ReferenceRecord>('reference.jsonl')) {
    sums.set(id, { tokens, logProb });
    total.tokens += tokens;
    total.entropy += entropy;
  }
  const differences: ReferenceData['differences'] = [];
  let missing = 0;
  for await (const { chosen, rejected } of pairs.lines<PreferencePair>('pairs.jsonl')) {
    const [a, b] = [sums.get(chosen), sums.get(rejected)];
    if (a && b) differences.push({ tokens: a.tokens - b.tokens, logProb: a.logProb - b.logProb });
    else missing += 1;
  }
  return { ...total, differences, missing };
}

export async function collect<T>(lines: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const line of lines) all.push(line);
  return all;
}
