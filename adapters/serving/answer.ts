/** Whether an OpenAI-compatible server answers, and with which models. */
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';

const models = z.object({ data: z.array(z.object({ id: z.string() })) });

/** A server busy with a long prompt may be slow to say that it is well. */
const ANSWER_TIMEOUT_MS = 10_000;
const LOOK_EVERY_MS = 5_000;
/** Silences in a row until it counts as lost: about a minute. */
const MOST_SILENT = 5;

/** Ids of the models there; null where there is no usable answer. */
export async function listModels(url: string, signal: AbortSignal): Promise<string[] | null> {
  const response = await ask(`${url}/models`, signal);
  if (!response?.ok) return null;
  const parsed = models.safeParse(await response.json().catch(() => null));
  return parsed.success ? parsed.data.data.map(({ id }) => id) : null;
}

/** Asks again until the server is well and lists the model; ends with the signal's reason. */
export async function untilServed(url: string, model: string, signal: AbortSignal): Promise<void> {
  for (let pause = 100; ; pause = Math.min(2 * pause, 2_000)) {
    const healthy = await ask(healthOf(url), signal);
    if (healthy?.ok && (await listModels(url, signal))?.includes(model)) return;
    await wait(pause, undefined, { signal });
  }
}

/** Settles when the server has not been well for a while. @param look what tells whether it is. */
export async function untilSilent(
  signal: AbortSignal,
  look: () => Promise<boolean>,
  everyMs = LOOK_EVERY_MS,
): Promise<string> {
  for (let silent = 0; silent < MOST_SILENT;) {
    await wait(everyMs, undefined, { signal });
    silent = (await look()) ? 0 : silent + 1;
  }
  return `gave no sign of health ${MOST_SILENT} times in a row`;
}

export async function isHealthy(url: string, signal: AbortSignal): Promise<boolean> {
  return (await ask(healthOf(url), signal))?.ok ?? false;
}

function healthOf(url: string): URL {
  return new URL('/health', url);
}

/** Null where nobody answers. */
async function ask(url: string | URL, signal: AbortSignal): Promise<Response | null> {
  try {
    return await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]) });
  } catch {
    signal.throwIfAborted();
    return null;
  }
}
