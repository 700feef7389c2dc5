/**
 * The trainer's Python environment: `.venv` with what `trainer/requirements.txt` locks, installed by uv, every file
 * checked by hash. Without a GPU the CPU build of torch is taken (a tenth of the size) where its index can be reached;
 * that index lists no hashes of ours, so torch alone is then pinned by version only. Complete means that the record,
 * written last, names the lock file's digest: an interrupted installation counts as none.
 */
const { createHash } = require('node:crypto');
const { spawnSync } = require('node:child_process');
const { existsSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { onPath } = require('../../adapters/find-tool.cjs');
const { SetupError } = require('./setup-error.cjs');

/** Measured on Linux: the environment with CUDA libraries holds 5.7 GB, and its files pass through uv's cache. */
const NEEDED_MB = { cuda: 12_000, cpu: 3_000 };
const CPU_INDEX = 'https://download.pytorch.org/whl/cpu';
/** Packages that only the CUDA build of torch needs. */
const CUDA_ONLY = /^(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==/;

const lockFile = (root) => path.join(root, 'trainer', 'requirements.txt');
const recordFile = (root) => path.join(root, '.venv', 'entropo.json');
const interpreter = (root) => path.join(root, '.venv', 'bin', 'python');
const digestOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

/** True when the environment holds what the lock file says, and the interpreter that it links to is still there. */
function pythonCurrent(root) {
  if (!existsSync(recordFile(root)) || !existsSync(interpreter(root))) return false;
  try {
    return JSON.parse(readFileSync(recordFile(root), 'utf8')).lock === digestOf(lockFile(root));
  } catch {
    return false; // torn by a power cut
  }
}

/** What is installed, for people: `torch 2.15.0`. */
function describePython(root) {
  return `torch ${JSON.parse(readFileSync(recordFile(root), 'utf8')).torch}`;
}

function hasGpu(env) {
  const tool = onPath('nvidia-smi', env);
  if (!tool) return false;
  const { status, stdout } = spawnSync(tool, ['-L'], { encoding: 'utf8', timeout: 20_000 });
  return status === 0 && /^GPU \d/m.test(stdout);
}

/** True where the index of CPU builds answers within three seconds. */
async function cpuIndexAnswers() {
  try {
    const answer = await fetch(`${CPU_INDEX}/torch/`, { method: 'HEAD', signal: AbortSignal.timeout(3_000) });
    return answer.ok;
  } catch {
    return false;
  }
}

/** Requirements as blocks (a pin with its hashes), those of torch and CUDA left out. */
function withoutCuda(requirements) {
  return requirements
    .split(/\n(?=\S)/)
    .filter((block) => !CUDA_ONLY.test(block))
    .join('\n');
}

/** Throws before anything is fetched when the disk cannot hold it. */
function requireSpace(root, variant) {
  const { bavail, bsize } = statfsSync(root);
  const free = (bavail * bsize) / 1e6;
  if (free >= NEEDED_MB[variant]) return;
  throw new SetupError(
    `the trainer's Python environment needs ${NEEDED_MB[variant] / 1000} GB while it is installed; ` +
      `${(free / 1000).toFixed(1)} GB are free in ${root}. Free some, or name a Python with the packages of ` +
      'trainer/requirements.txt in ENTROPO_PYTHON.',
  );
}

function run(command, args, env, what) {
  // uv draws its own progress on a terminal; what went wrong always comes on standard error.
  const { status, error } = spawnSync(command, args, { env, stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  throw new SetupError(
    `${what} failed${error ? ` (${error.message})` : ''}. Check the network, or set UV_INDEX_URL (or PIP_INDEX_URL) to a ` +
      'reachable package index, then run `npm run setup` again: what was fetched is kept.',
  );
}

/** Installs into `.venv`; a broken or outdated one is made anew. */
async function installPython(root, uv, env, say) {
  const variant = process.platform !== 'linux' || hasGpu(env) || !(await cpuIndexAnswers()) ? 'cuda' : 'cpu';
  requireSpace(root, variant);
  const startedAt = Date.now();
  const venv = path.join(root, '.venv');
  const python = interpreter(root);
  const settings = { ...env, UV_INDEX_URL: env.UV_INDEX_URL ?? env.PIP_INDEX_URL ?? '', VIRTUAL_ENV: venv };
  if (settings.UV_INDEX_URL === '') delete settings.UV_INDEX_URL;
  say(
    variant === 'cpu'
      ? 'installing the trainer’s Python packages with the CPU build of torch (about 1.5 GB on disk)'
      : 'installing the trainer’s Python packages (about 6 GB on disk)',
  );
  rmSync(recordFile(root), { force: true });
  run(uv, ['venv', '--quiet', '--clear', '--no-python-downloads', '--python', 'python3', venv], settings, 'uv venv');
  let requirements = lockFile(root);
  if (variant === 'cpu') {
    const text = readFileSync(requirements, 'utf8');
    requirements = path.join(root, '.tools', 'requirements-cpu.txt');
    mkdirSync(path.dirname(requirements), { recursive: true });
    writeFileSync(requirements, withoutCuda(text));
    const pins = text.split('\n').filter((line) => line.startsWith('torch=='));
    const torch = pins.map((line) => line.replace(/ *\\$/, '').replace(/^(torch==[\d.]+)/, '$1+cpu'));
    run(
      uv,
      ['pip', 'install', '--python', python, '--no-deps', '--index-url', CPU_INDEX, ...torch],
      settings,
      'uv pip install torch',
    );
  }
  const quiet = process.stderr.isTTY ? [] : ['--quiet'];
  const install = ['pip', 'install', ...quiet, '--python', python, '--require-hashes', '--no-deps', '-r', requirements];
  run(uv, install, settings, 'uv pip install');
  // What every program of the trainer loads; it leaves the byte code that makes their starts twice as fast.
  const asked = spawnSync(python, ['-c', 'import torch, transformers.modeling_utils; print(torch.__version__)'], {
    encoding: 'utf8',
    env: { ...env, PYTHONDONTWRITEBYTECODE: '' },
  });
  if (asked.status !== 0) throw new SetupError(`torch was installed but does not load here:\n  ${asked.stderr.trim()}`);
  const record = { lock: digestOf(lockFile(root)), torch: asked.stdout.trim(), variant };
  writeFileSync(recordFile(root), `${JSON.stringify(record)}\n`);
  say(`Python packages installed in ${((Date.now() - startedAt) / 1000).toFixed(0)} s`);
}

module.exports = { pythonCurrent, describePython, installPython, withoutCuda };
