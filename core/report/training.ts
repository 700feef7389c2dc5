/** Train stages and the models they made, as their sealed files say it. */
import type { MethodConfig } from '../../config/schema';
import { canonicalJson, sha256Hex } from '../artifact';
import { deviation, linearFit, mean } from '../estimators';
import type { StageData, TrainingData } from './data';
import { shortName, trainConfig } from './lineage';
import { round } from './rollouts';
import type { CurvePoint, Heldout, LengthFit, ModelFacts, Training } from './training-types';

/** Above this share of saturated rows most of the data teaches nothing (training.md §1). */
const MOST_SATURATED = 0.2;
const MOST_POINTS = 100;

export function trainingOf(data: TrainingData, stages: readonly StageData[]): Training {
  const { stage, summary, reference } = data;
  const { method } = trainConfig(stage);
  const find = (id: string | undefined) => stages.find((entry) => entry.stage.id === id);
  const base = find(stage.inputs.model)?.stage;
  const weights = weightsOf(method);
  const saturated = round(summary.saturated);
  return {
    name: shortName(stage),
    stage: stage.id,
    method,
    base: base ? shortName(base) : '',
    alpha: round(weights?.alpha),
    beta: round(weights?.beta),
    rows: round(summary.rows),
    pairs: reference ? reference.differences.length + reference.missing : null,
    dropped: round(summary.dropped),
    tokens: round(summary.tokens),
    trainedTokens: round(summary.trainedTokens),
    updates: round(summary.updates),
    finalLoss: round(summary.finalLoss),
    saturated,
    warnings: warningsOf(method, saturated),
    curve: data.curve.map(roundedPoint),
    referenceEntropy: reference && reference.tokens > 0 ? round(reference.entropy / reference.tokens) : null,
    length: reference && weights && method.type.endsWith('dpo') ? lengthFit(reference, weights) : null,
    heldout: method.type === 'verifier' ? heldoutOf(summary.heldout) : null,
    source: [`${stage.id}/summary.json`, `${stage.id}/metrics.jsonl`],
  };
}

/** α and β of the logit; null for methods that have none. α = β without the entropy term. */
export function weightsOf(method: MethodConfig): { alpha: number; beta: number } | null {
  if (!('beta' in method)) return null;
  const { beta } = method;
  if (!('alpha' in method) && !('entropyRatio' in method)) return { alpha: beta, beta };
  return { alpha: method.alpha ?? beta * (method.entropyRatio ?? 1), beta };
}

function warningsOf(method: MethodConfig, saturated: number | null): string[] {
  if (saturated === null || saturated <= MOST_SATURATED) return [];
  const entropic = method.type.startsWith('entropo');
  const remedy = entropic
    ? 'bring entropyRatio nearer to 1 or lower beta: the difference in length of the two sides alone may saturate the logit; else lower learningRate or epochs'
    : 'lower beta, learningRate or epochs';
  return [
    `${(saturated * 100).toFixed(0)} % of the rows are saturated (|logit| > 5, more than ${MOST_SATURATED * 100} %) and teach next to nothing: ${remedy}.`,
  ];
}

function lengthFit(
  reference: NonNullable<TrainingData['reference']>,
  weights: { alpha: number; beta: number },
): LengthFit {
  const { differences, missing, stage, pairsStage } = reference;
  const fit = linearFit(differences.map(({ tokens, logProb }) => ({ x: tokens, y: logProb })));
  const shifts = differences.map(({ logProb }) => (weights.alpha - weights.beta) * logProb);
  const every = Math.max(1, Math.ceil(differences.length / MOST_POINTS));
  return {
    pairs: differences.length,
    missing,
    slope: round(fit.slope),
    intercept: round(fit.intercept),
    r2: round(fit.r2),
    meanTokens: round(mean(differences.map(({ tokens }) => tokens))),
    shift: { mean: round(mean(shifts)), deviation: round(deviation(shifts)) },
    points: differences
      .filter((_, index) => index % every === 0)
      .map(({ tokens, logProb }) => ({ tokens, logProb: round(logProb)! })),
    source: [`${stage}/reference.jsonl`, `${pairsStage}/pairs.jsonl`],
  };
}

function heldoutOf(found: Heldout | undefined): Heldout | null {
  if (!found) return null;
  const { tasks, count, unscored, yes, auc, accuracy, brier, calibration } = found;
  return {
    ...{ tasks, count, unscored, yes },
    ...{ auc: round(auc), accuracy: round(accuracy), brier: round(brier) },
    calibration: calibration.map(({ predicted, observed, ...bin }) => ({
      ...bin,
      predicted: round(predicted)!,
      observed: round(observed)!,
    })),
  };
}

function roundedPoint({ from, to, loss, margin, saturated, accuracy, entropy }: CurvePoint): CurvePoint {
  return {
    from,
    to,
    loss: round(loss),
    margin: round(margin),
    saturated: round(saturated),
    accuracy: round(accuracy),
    entropy: round(entropy),
  };
}

/** Every sealed stage with weights, in the order of the plan. */
export function modelsOf(stages: readonly StageData[]): ModelFacts[] {
  return stages.flatMap(({ stage, manifest }) => {
    if (!manifest || (stage.kind !== 'model' && stage.kind !== 'train')) return [];
    const files = Object.entries(manifest.files).filter(([path]) => path.startsWith('model/'));
    return [
      {
        name: shortName(stage),
        stage: stage.id,
        method: stage.kind === 'train' ? trainConfig(stage).method.type : 'untrained',
        sha256: sha256Hex(canonicalJson(Object.fromEntries(files))),
        files: files.length,
        bytes: files.reduce((sum, [, { bytes }]) => sum + bytes, 0),
        source: [`${stage.id}/manifest.json`],
      },
    ];
  });
}
