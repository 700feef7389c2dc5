/** JSON lines written whole. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeLines } from '../../adapters/tasks/lines';

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'lines-'))));
afterEach(() => rmSync(folder, { recursive: true }));

test('two attempts that write the same file at once, in one process, do not disturb each other', async () => {
  const file = path.join(folder, 'rows.jsonl');
  let go = () => {};
  const released = new Promise<void>((resolve) => (go = resolve));
  const begun: { reached: () => void } = { reached: () => {} };
  const halfway = new Promise<void>((resolve) => (begun.reached = resolve));
  const first = writeLines(
    file,
    (async function* () {
      yield 'x'.repeat(100_000); // more than a buffer: it is on its way to the disk
      begun.reached();
      await released;
      yield 'end';
    })(),
  );
  await halfway;
  const rows = async function* () {
    yield* ['x'.repeat(100_000), 'end'];
  };
  await writeLines(file, rows());
  go();
  await first;
  expect(readFileSync(file, 'utf8')).toBe(`"${'x'.repeat(100_000)}"\n"end"\n`);
  expect(readdirSync(folder)).toEqual(['rows.jsonl']);
});
