/**
 * The accelerators of this host: one slot each, or one for the CPU. A program that holds a slot sees its device alone.
 *
 * Not covered: models that need several devices at once, and devices other than NVIDIA's.
 */
import { execFileSync } from 'node:child_process';
import { Failure } from '../core/failures';

/** Names for CUDA_VISIBLE_DEVICES, of those that the worker itself may use; empty where there is none. */
export function visibleDevices(visible = process.env.CUDA_VISIBLE_DEVICES, list = listDevices): string[] {
  if (visible !== undefined) return visible.split(',').filter((name) => name !== '' && name !== '-1');
  return [...list().matchAll(/^GPU (\d+):/gm)].map(([, index]) => index!);
}

/** As `nvidia-smi` prints it; nothing where there is no such tool or driver. */
function listDevices(): string {
  try {
    return execFileSync('nvidia-smi', ['-L'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 20_000,
    });
  } catch {
    return '';
  }
}

/** Throws `ConfigInvalid` where there is none. */
export function requireGpu(devices: readonly string[] = visibleDevices()): void {
  if (devices.length > 0) return;
  const remedy = 'set device to cpu or auto, or start the gpu-train worker on a machine with one';
  throw new Failure('ConfigInvalid', `device: gpu: nvidia-smi and CUDA_VISIBLE_DEVICES show no GPU here; ${remedy}`);
}

/** Hands out slots; as many tasks may hold one as a worker of this role runs activities (workers/roles.ts). */
export class DeviceSlots {
  private readonly free: (string | null)[];

  /** @param devices as `visibleDevices` gives them. */
  constructor(devices: readonly string[]) {
    this.free = devices.length > 0 ? [...devices] : [null];
  }

  /** Runs `work` with the variables that show a program its device. */
  async use<T>(work: (variables: Record<string, string>) => Promise<T>): Promise<T> {
    const device = this.free.shift();
    if (device === undefined) throw new Error('more activities than devices: this role has one slot per device');
    try {
      return await work(device === null ? {} : { CUDA_VISIBLE_DEVICES: device });
    } finally {
      this.free.push(device);
    }
  }
}
