/** Models that someone else serves: they must be there under the names of our stages. */
import type { RunSettings } from '../../core/plan';
import { Failure } from '../../core/failures';
import { listModels, untilSilent } from './answer';
import type { RunningServer, ServerInput } from './server';

type UrlConfig = Extract<RunSettings['serve'], { type: 'url' }>;

export async function joinUrl({ url }: UrlConfig, { model, folder, signal }: ServerInput): Promise<RunningServer> {
  const base = url.replace(/\/+$/, '');
  const models = await listModels(base, signal);
  if (!models) throw new Failure('ServerLost', `${base}/models does not answer with a list of models`);
  if (!models.includes(model)) {
    const offered = models.slice(0, 20).join(', ') || 'none';
    throw new Failure(
      'ConfigInvalid',
      `${base} does not offer ${model} but ${offered}: serve ${folder} there by that name`,
    );
  }
  const over = new AbortController();
  const look = async () => (await listModels(base, over.signal))?.includes(model) ?? false;
  return {
    url: base,
    ended: untilSilent(over.signal, look).catch(() => 'left'),
    stop: () => Promise.resolve(over.abort()),
  };
}
