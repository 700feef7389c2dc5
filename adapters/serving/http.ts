/**
 * vLLM and SGLang: a command line, a free port, then their API. Neither minds its parent, so a shell does
 * (supervise.sh). `args` of the configuration come last and win.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import type { RunSettings } from '../../core/plan';
import { withoutSecrets } from '../trainer';
import { isHealthy, untilServed, untilSilent } from './answer';
import { launch } from './launch';
import type { RunningServer, ServerInput } from './server';

export type HttpConfig = Extract<RunSettings['serve'], { type: 'vllm' | 'sglang' }>;

const SUPERVISE = path.join(__dirname, 'supervise.sh');

export async function startHttpServer(config: HttpConfig, input: ServerInput): Promise<RunningServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/v1`;
  return launch(input, {
    name: config.type,
    command: ['/bin/sh', SUPERVISE, ...commandLine(config, input, port)],
    env: { ...withoutSecrets(), ...input.variables },
    startTimeoutMs: config.startTimeout,
    ready: async (_, signal) => {
      await untilServed(url, input.model, signal);
      return url;
    },
    watch: (_, signal) => untilSilent(signal, () => isHealthy(url, signal)),
  });
}

export function commandLine(config: HttpConfig, { folder, model }: ServerInput, port: number): string[] {
  const { type, args } = config;
  const place = ['--served-model-name', model, '--host', '127.0.0.1', '--port', String(port)];
  // `vllm serve` takes the model by position: its `--model` is on the way out.
  if (type === 'vllm') return [...(config.command ?? ['vllm', 'serve']), folder, ...place, ...args];
  return [...(config.command ?? ['python3', '-m', 'sglang.launch_server']), '--model-path', folder, ...place, ...args];
}

/** Another process may take it before the server does: that start fails, and the next one has another. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
