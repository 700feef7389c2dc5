/** Our own server on PyTorch (`trainer/serve.py`). It says its port, and stops by itself when we are gone. */
import type { RunSettings } from '../../core/plan';
import { trainerCommand, trainerEnvironment } from '../trainer';
import { launch } from './launch';
import type { RunningServer, ServerInput } from './server';

type EmbeddedConfig = Extract<RunSettings['serve'], { type: 'embedded' }>;

const START_TIMEOUT_MS = 10 * 60_000;

export function startEmbedded({ slots, logRequests }: EmbeddedConfig, input: ServerInput): Promise<RunningServer> {
  const { folder, model, device, variables } = input;
  const options = { model: folder, name: model, port: 0, threads: 1, slots, device };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  if (logRequests) args.push('--log-requests');
  return launch(input, {
    name: 'the embedded server',
    command: trainerCommand('serve', ...args),
    env: trainerEnvironment(device, variables),
    startTimeoutMs: START_TIMEOUT_MS,
    ready: async (told) => `http://127.0.0.1:${await told}/v1`,
  });
}
