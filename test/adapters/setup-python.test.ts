/** The trainer's environment, made by a stand-in uv that notes its calls; torch and transformers are empty modules. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describePython, installPython, pythonCurrent, withoutCuda } from '../../cli/setup/python.cjs';

const PYTHON = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim();
let root: string;
let calls: string;

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'entropo-python-'));
  calls = path.join(root, 'calls.log');
  mkdirSync(path.join(root, 'trainer'));
  writeFileSync(path.join(root, 'trainer', 'requirements.txt'), 'torch==9.9.0 \\\n    --hash=sha256:aa\n');
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Makes the environment on `uv venv`, fails on `uv pip install` where told. */
function standIn({ fails = false } = {}): string {
  const uv = path.join(root, 'uv');
  const venv = path.join(root, '.venv');
  writeFileSync(
    uv,
    [
      '#!/bin/sh',
      `echo "$*" >> ${calls}`,
      `[ "$1" = venv ] && rm -rf ${venv} && mkdir -p ${venv}/bin && printf '#!/bin/sh\\nPYTHONPATH=${venv} exec ${PYTHON} "$@"\\n' > ${venv}/bin/python`,
      `[ "$1" = venv ] && chmod +x ${venv}/bin/python && echo '__version__ = "9.9.0"' > ${venv}/torch.py`,
      `[ "$1" = venv ] && mkdir ${venv}/transformers && touch ${venv}/transformers/modeling_utils.py`,
      `[ "$2" = install ] && exit ${fails ? 2 : 0}`,
      'exit 0',
    ].join('\n'),
  );
  chmodSync(uv, 0o755);
  return uv;
}

const env = { PATH: process.env['PATH'] };
const install = (uv: string) => installPython(root, uv, env, () => undefined);

test('what is installed counts as current until the lock file changes', async () => {
  expect(pythonCurrent(root)).toBe(false);
  await install(standIn());
  expect(pythonCurrent(root)).toBe(true);
  expect(describePython(root)).toBe('torch 9.9.0');
  writeFileSync(path.join(root, 'trainer', 'requirements.txt'), 'torch==9.9.1\n');
  expect(pythonCurrent(root)).toBe(false);
});

test('an interpreter that is gone, or a record that is torn, counts as none', async () => {
  await install(standIn());
  const python = path.join(root, '.venv', 'bin', 'python');
  rmSync(python);
  symlinkSync(path.join(root, 'python-of-yesterday'), python);
  expect(pythonCurrent(root)).toBe(false);
  await install(standIn());
  expect(pythonCurrent(root)).toBe(true);
  writeFileSync(path.join(root, '.venv', 'entropo.json'), '');
  expect(pythonCurrent(root)).toBe(false);
});

test('every package is installed by hash, and none that the lock file does not name', async () => {
  await install(standIn());
  const installs = readFileSync(calls, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('pip install'));
  expect(installs.at(-1)).toMatch(/--require-hashes --no-deps -r \S*requirements\S*\.txt$/);
});

test('a failed installation names the remedy and counts as none', async () => {
  await expect(install(standIn({ fails: true }))).rejects.toThrow(
    /Check the network, or set UV_INDEX_URL .*`npm run setup/s,
  );
  expect(pythonCurrent(root)).toBe(false);
});

test('for the CPU build the pins of torch and of CUDA libraries are left out with their hashes', () => {
  const lock = [
    'aiohttp==3.0 \\\n    --hash=sha256:a',
    'cuda-bindings==13.1 ; sys_platform == "linux" \\\n    --hash=sha256:b',
    'nvidia-cublas==13.1 \\\n    --hash=sha256:c \\\n    --hash=sha256:d',
    'torch==2.15.0 \\\n    --hash=sha256:e',
    'tqdm==4.0 \\\n    --hash=sha256:f',
    'triton==3.9.0 \\\n    --hash=sha256:g\n',
  ].join('\n');
  expect(withoutCuda(lock)).toBe('aiohttp==3.0 \\\n    --hash=sha256:a\ntqdm==4.0 \\\n    --hash=sha256:f');
});

test('the shipped lock file pins every package by hash and names no index', () => {
  const lock = readFileSync(path.join(__dirname, '../../trainer/requirements.txt'), 'utf8');
  const blocks = lock.split(/\n(?=\S)/);
  expect(blocks.length).toBeGreaterThan(50);
  for (const block of blocks) expect(block).toMatch(/^[\w.-]+==\S+[^\n]*\\\n +--hash=sha256:[0-9a-f]{64}/);
  expect(lock).not.toMatch(/https?:/);
});
