/**
 * Path-shaped ids, built and parsed here only. One id is at once workflow id, folder below `store/`, log field and
 * viewer URL, so every part is safe as a file name.
 *
 *     collect-9f3c2a1b77aa                     a stage
 *     collect-9f3c2a1b77aa/pocket-0012/r03     a rollout: sample 3 of a task
 *     collect-9f3c2a1b77aa/pocket-0012/r03/a1  its first attempt
 *     train-77ab12cd34ef/server                the server of the model that a stage made
 */

/** Identity of one rollout: which stage plays which task for the how-many-th time. */
export interface RolloutId {
  stage: string;
  task: string;
  /** Sample index within the task, from 0. */
  sample: number;
}

const UNSAFE = /[^A-Za-z0-9._-]/gu;

/** Escapes what a file system or shell may not like (a schedule puts colons into workflow ids): `:` becomes `%3A`. */
export function fileSafe(text: string): string {
  const escaped = text.replace(UNSAFE, (c) =>
    [...new TextEncoder().encode(c)].map((b) => `%${b.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
  return /^\.+$/.test(escaped) ? escaped.replaceAll('.', '%2E') : escaped;
}

/** `r03`: two digits, more where a task is played more than a hundred times. */
export function sampleName(sample: number): string {
  return `r${String(sample).padStart(2, '0')}`;
}

export function rolloutName(id: RolloutId): string {
  return `${id.stage}/${id.task}/${sampleName(id.sample)}`;
}

/** The inverse of `rolloutName`; undefined where the text is not a rollout's id. */
export function parseRolloutName(text: string): RolloutId | undefined {
  const match = /^(?!\.+\/)([A-Za-z0-9._%-]+)\/(?!\.+\/)([A-Za-z0-9._%-]+)\/r(\d{2,})$/.exec(text);
  return match ? { stage: match[1]!, task: match[2]!, sample: Number(match[3]) } : undefined;
}

/** A stage's id: its kind and the first twelve hex digits of its key. */
export function stageId(kind: string, key: string): string {
  return `${kind}-${key.slice(0, 12)}`;
}

/** Id of the workflow that serves a model. */
export function serverName(model: string): string {
  return `${model}/server`;
}
