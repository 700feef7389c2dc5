/** One set-up at a time per checkout. */
const { mkdirSync } = require('node:fs');
const path = require('node:path');
const { holderOf, takeLock } = require('../../adapters/lock.cjs');

/** Waits for another set-up of this checkout, saying so once; returns how to let go. */
function hold(root, say) {
  const folder = path.join(root, '.tools');
  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, 'setup.lock');
  let release = takeLock(file);
  if (!release) say(`waiting for another set-up of this folder (process ${holderOf(file)})`);
  while (!release) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    release = takeLock(file);
  }
  return release;
}

/** Runs `work` while holding the lock of this checkout. */
function withLock(root, say, work) {
  const release = hold(root, say);
  try {
    return work();
  } finally {
    release();
  }
}

/** The same for work that takes its time. */
async function withLockAsync(root, say, work) {
  const release = hold(root, say);
  try {
    return await work();
  } finally {
    release();
  }
}

module.exports = { withLock, withLockAsync };
