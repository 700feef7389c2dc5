/** JSON lines written whole: beside their place, then renamed onto it. */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** Writes one value a line as they come; nothing lies at `path` until all are written. */
export async function writeLines(path: string, values: AsyncIterable<unknown>, signal?: AbortSignal): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`; // two attempts may write at once
  const lines = async function* () {
    for await (const value of values) yield `${JSON.stringify(value)}\n`;
  };
  try {
    await pipeline(Readable.from(lines()), createWriteStream(temporary, { flush: true }), {
      ...(signal && { signal }),
    });
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}
