import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { appendTiming, readTiming } from '../../adapters/timing';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'timing-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function read(): Promise<unknown[]> {
  const lines = [];
  for await (const line of readTiming(folder)) lines.push(line);
  return lines;
}

test('a folder without times has none', async () => {
  expect(await read()).toEqual([]);
});

test('lines come back in their order', async () => {
  await appendTiming(folder, { event: 'opened' });
  await appendTiming(folder, { event: 'sealed' });
  expect(await read()).toEqual([{ event: 'opened' }, { event: 'sealed' }]);
});

test('a line that was cut short is passed over, with what was written onto its end', async () => {
  await appendTiming(folder, { event: 'opened' });
  appendFileSync(path.join(folder, 'timing.jsonl'), '{"event":"prog');
  await appendTiming(folder, { event: 'lost' });
  await appendTiming(folder, { event: 'sealed' });
  expect(await read()).toEqual([{ event: 'opened' }, { event: 'sealed' }]);
});
