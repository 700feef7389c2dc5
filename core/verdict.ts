/**
 * The verifier's answer, `<judgement>YES</judgement>` or NO, and the probability in it: that of YES at the verdict token,
 * renormalised over YES and NO (spec §5.1). The verdict token is found by scanning after the opening tag, since its
 * place differs from tokenizer to tokenizer. No verdict is null: unscored, which is not 0.
 */

export const JUDGEMENT = '<judgement>';

/** What the verifier is to answer; also the last message of its training data. */
export function judgementText(resolved: boolean): string {
  return `${JUDGEMENT}${resolved ? 'YES' : 'NO'}</judgement>`;
}

/** A token of a reply as the server sampled it, with the most likely tokens at its place. Log-probabilities in nats. */
export interface SampledToken {
  token: string;
  logProb: number;
  /** Top 20; the sampled one is among them or not, as servers differ. */
  alternatives: readonly { token: string; logProb: number }[];
}

/** Probability of YES in [0, 1]; null where the reply has no verdict, or neither word a probability to speak of. */
export function readVerdict(tokens: readonly SampledToken[]): number | null {
  let before = '';
  for (const sampled of tokens) {
    if (wordAfterTag(before + sampled.token)) return fromAlternatives(before, sampled);
    before += sampled.token;
  }
  return null;
}

/**
 * e^yes / (e^yes + e^no); an absent word counts as impossible. Null where both are absent, where both vanish in double
 * precision, and for what is no number (spec §9.3, §10 item 6: upstream gives NaN there).
 */
export function verdictProbability(yes: number | undefined, no: number | undefined): number | null {
  const [forYes, forNo] = [Math.exp(yes ?? -Infinity), Math.exp(no ?? -Infinity)];
  const probability = forYes / (forYes + forNo);
  return Number.isFinite(probability) ? probability : null;
}

function fromAlternatives(before: string, { token, logProb, alternatives }: SampledToken): number | null {
  const all = new Map(alternatives.map((alternative) => [alternative.token, alternative.logProb]));
  if (!all.has(token)) all.set(token, logProb);
  const mass = (word: string): number | undefined => {
    const found = [...all].filter(([text]) => begins(word, wordAfterTag(before + text)));
    return found.length === 0 ? undefined : Math.log(found.reduce((sum, [, value]) => sum + Math.exp(value), 0));
  };
  return verdictProbability(mass('YES'), mass('NO'));
}

/** What stands after the opening tag without leading whitespace; empty where nothing does, or there is no tag. */
function wordAfterTag(text: string): string {
  const start = text.indexOf(JUDGEMENT);
  return start < 0 ? '' : text.slice(start + JUDGEMENT.length).trimStart();
}

/** A token may hold the word's beginning only, or more than the word: `Y`, `YES</`. */
function begins(word: string, found: string): boolean {
  return found !== '' && (word.startsWith(found) || found.startsWith(word));
}
