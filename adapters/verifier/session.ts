/** Exported weights in a thread of their own (thread.cjs): token ids in, the logits of YES and NO out. */
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { Failure } from '../../core/failures';

type Message =
  { ready: true } | { failed: string } | { id: number; logits: [number, number] } | { id: number; error: string };

interface Pending {
  resolve: (logits: [yes: number, no: number]) => void;
  reject: (error: Error) => void;
}

export interface Session {
  /** Runs follow each other in the order of the calls. */
  run(ids: readonly number[]): Promise<[yes: number, no: number]>;
  close(): Promise<void>;
}

/** Throws `ArtifactCorrupt` where ONNX Runtime cannot load the file, `ServerLost` where the thread ends. */
export async function openSession(file: string): Promise<Session> {
  const worker = new Worker(path.join(__dirname, 'thread.cjs'), { workerData: { file } });
  const pending = new Map<number, Pending>();
  let calls = 0;
  let lost: Error | null = null;
  const fail = (error: Error) => {
    lost ??= error;
    for (const { reject } of pending.values()) reject(lost);
    pending.clear();
  };
  const ready = new Promise<void>((resolve, reject) => {
    worker.on('message', (message: Message) => {
      if ('ready' in message) return resolve();
      if ('failed' in message) return reject(unreadable(file, message.failed));
      const call = pending.get(message.id);
      pending.delete(message.id);
      if ('logits' in message) call?.resolve(message.logits);
      else call?.reject(new Failure('ServerLost', `${file}: a run failed: ${message.error}`));
    });
    const ended = (why: string) => {
      const error = new Failure('ServerLost', `${file}: its thread ended: ${why}; the next attempt starts another`);
      fail(error);
      reject(error);
    };
    worker.on('error', (error: Error) => ended(error.message));
    worker.on('exit', (code) => ended(`exit ${code}`));
  });
  try {
    await ready;
  } catch (error) {
    await worker.terminate();
    throw error;
  }
  return {
    run: (ids) =>
      new Promise((resolve, reject) => {
        if (lost) return reject(lost);
        const id = calls++;
        pending.set(id, { resolve, reject });
        worker.postMessage({ id, ids });
      }),
    async close() {
      await worker.terminate();
    },
  };
}

function unreadable(file: string, why: string): Failure {
  return new Failure(
    'ArtifactCorrupt',
    `${file}: ONNX Runtime cannot load it: ${why}; move the verifier's stage away, so that it is trained again`,
  );
}
