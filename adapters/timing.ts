/** The `timing.jsonl` of a stage: when it was worked at and how long. No digest covers it, and no result needs it. */
import { existsSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { readLines } from './read-lines';

const NAME = 'timing.jsonl';

export async function appendTiming(folder: string, line: object): Promise<void> {
  await appendFile(path.join(folder, NAME), `${JSON.stringify(line)}\n`);
}

/** None where there is no file. A line that a full disk or a power cut left unfinished is passed over. */
export async function* readTiming<T>(folder: string): AsyncGenerator<T> {
  const file = path.join(folder, NAME);
  if (!existsSync(file)) return;
  for await (const { text } of readLines(file)) {
    const line = parsed(text);
    if (line !== undefined) yield line as T;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
