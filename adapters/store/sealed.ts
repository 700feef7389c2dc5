/**
 * Files that are whole or absent. A sealed file is written beside its place, flushed, and renamed onto it: a reader
 * never sees half of one, and after a power cut it is there with its bytes or not at all.
 *
 * Not covered: who may write (the journal's fence, adapters/journal.ts). Sealing equal bytes twice is harmless.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Writes the file whole: temporary name, fsync, rename, fsync of the folder. Makes missing folders. */
export async function writeSealed(path: string, bytes: Uint8Array | string): Promise<void> {
  const folder = dirname(path);
  await makeFolder(folder);
  const temporary = join(folder, `.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** Makes the folder and those above it, and flushes every entry made: a file in it survives a power cut. */
export async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

/** Flushes a folder's entries: files made or renamed in it stay there. */
export const syncFolder = (path: string): Promise<void> => sync(path);

/** Flushes a file that somebody else wrote, and its place in its folder. */
export async function flush(path: string): Promise<void> {
  await sync(path);
  await sync(dirname(path));
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
