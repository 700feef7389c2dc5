/** A model server: weights behind an OpenAI-compatible address on this host, or someone else's. */
import type { RunSettings } from '../../core/plan';

export interface ServerInput {
  /** Absolute folder of the weights. */
  folder: string;
  /** Its name at the server: the id of the stage that made it. */
  model: string;
  device: RunSettings['device'];
  /** Show the server its device; none: the CPU. */
  variables: Record<string, string>;
  /** File with the identity of the running program. */
  record: string;
  /** The program's own words. */
  log: string;
  /** Ends the wait for the server, and the server. */
  signal: AbortSignal;
}

export interface RunningServer {
  /** Base URL with `/v1`. */
  url: string;
  /** Settles when it no longer serves, with why in words. */
  ended: Promise<string>;
  /** Frees port, memory and device. */
  stop(): Promise<void>;
}
