/** The one place that turns the `serve` setting into a server. */
import type { RunSettings } from '../../core/plan';
import { startEmbedded } from './embedded';
import { startHttpServer } from './http';
import { joinUrl } from './url';
import type { RunningServer, ServerInput } from './server';

export type { RunningServer, ServerInput } from './server';

/**
 * Answers when the model does. Throws `ServerLost` where another start may help, `ConfigInvalid` where none would; then
 * nothing of it is left running.
 */
export function startServer(serve: RunSettings['serve'], input: ServerInput): Promise<RunningServer> {
  if (serve.type === 'embedded') return startEmbedded(serve, input);
  if (serve.type === 'url') return joinUrl(serve, input);
  return startHttpServer(serve, input);
}
