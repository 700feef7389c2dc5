/**
 * The thread in which exported weights run: a run holds up its thread, and the worker's own must go on beating.
 * In: `{ id, ids }`, token ids. Out: `{ id, logits }`, those of YES and NO, or `{ id, error }`; first of all `{ ready }`
 * or `{ failed }`.
 */
const { parentPort, workerData } = require('node:worker_threads');
const { InferenceSession, Tensor } = require('onnxruntime-node');

async function main() {
  const session = await InferenceSession.create(workerData.file, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  parentPort.on('message', async ({ id, ids }) => {
    try {
      const input = new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]);
      const { logits } = await session.run({ input_ids: input });
      parentPort.postMessage({ id, logits: [...logits.data] });
    } catch (error) {
      parentPort.postMessage({ id, error: error.message });
    }
  });
  parentPort.postMessage({ ready: true });
}

main().catch((error) => {
  parentPort.postMessage({ failed: error.message });
});
