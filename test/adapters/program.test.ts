/** Child programs: what they say that is no JSON line, and what becomes of one that cannot be put on record. */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startProgram } from '../../adapters/program';

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'program-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const start = (script: string, onLine: (line: Record<string, unknown>) => void, record = 'process.json') =>
  startProgram({
    command: [process.execPath, '-e', script],
    ...{ cwd: folder, env: process.env, record: path.join(folder, record), log: path.join(folder, 'log'), onLine },
  });

function worksHere(pid: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === folder;
  } catch {
    return false; // no process, gone, or not ours
  }
}

test('a line that is no JSON is in the log before the next line is heard', async () => {
  let log = '';
  const program = await start(`console.log('loading'); console.log('{"event":"ready"}')`, () => {
    log = readFileSync(path.join(folder, 'log'), 'utf8');
  });
  expect(await program.ended).toEqual({ code: 0, signal: null });
  expect(log).toBe('loading\n');
});

test('a program that cannot be put on record is killed: nobody would find it', async () => {
  writeFileSync(path.join(folder, 'file'), '');
  await expect(start('process.stdin.resume()', () => {}, 'file/process.json')).rejects.toThrow('EEXIST');
  expect(readdirSync('/proc').filter(worksHere)).toEqual([]);
});
