#!/usr/bin/env node
/**
 * `npm run setup`: makes a fresh clone runnable, and does nothing where it already is. Runs on bare Node, before any
 * package is there. Steps: the prerequisites, the Node packages of the lock file, the Temporal CLI, bubblewrap (Linux),
 * the trainer's Python packages, then what needs packages (the workflow bundle, the sandbox image). What is ready is found by looking, not remembered.
 * Does not check whether sandboxes open or a server answers: that is `entropo doctor`.
 */
const { spawn } = require('node:child_process');
const { existsSync } = require('node:fs');
const path = require('node:path');
const { findTool, pins } = require('../adapters/find-tool.cjs');
const { installTool } = require('./setup/install-tool.cjs');
const { installPackages, packagesCurrent } = require('./setup/packages.cjs');
const { withLock, withLockAsync } = require('./setup/lock.cjs');
const { findPrerequisites } = require('./setup/prerequisites.cjs');
const { describePython, installPython, pythonCurrent } = require('./setup/python.cjs');
const { SetupError } = require('./setup/setup-error.cjs');

const say = (line) => process.stderr.write(`set-up: ${line}\n`);

/** Throws one message that names every prerequisite that is missing or too old; returns their versions as text. */
function checkPrerequisites(env) {
  const prerequisites = findPrerequisites(env);
  const problems = prerequisites.filter(({ ok }) => !ok);
  if (problems.length > 0) {
    const lines = problems.map(
      ({ title, version, least, remedy }) =>
        `${title} ${least} or newer is needed (found: ${version ?? 'none'}). ${remedy}`,
    );
    throw new SetupError(lines.join('\n  '));
  }
  return prerequisites.map(({ title, version }) => `${title} ${version}`);
}

/** The tool, installed below `.tools` when neither its variable nor PATH gives a good one. */
function ensureTool(name, root, env) {
  const pin = pins[name];
  const found = findTool(name, root, env);
  const stale = found?.from === '.tools' && found.version !== pin.version;
  if (found && !stale) return found;
  if (env[pin.override]) {
    throw new SetupError(`${pin.override}=${env[pin.override]} does not run. Correct or unset the variable.`);
  }
  return withLock(root, say, () => {
    const meanwhile = findTool(name, root, env);
    if (meanwhile && meanwhile.version === pin.version) return meanwhile;
    installTool(name, root, env, say);
    const installed = findTool(name, root, env);
    if (!installed) throw new SetupError(`${pin.title} was installed below .tools but does not run on this machine.`);
    return installed;
  });
}

/** The trainer's environment; none of ours where ENTROPO_PYTHON names one. */
async function ensurePython(root, env) {
  if (env.ENTROPO_PYTHON) return `Python packages of ${env.ENTROPO_PYTHON}`;
  if (!pythonCurrent(root)) {
    const uv = ensureTool('uv', root, env).path;
    await withLockAsync(root, say, async () => {
      if (!pythonCurrent(root)) await installPython(root, uv, env, say);
    });
  }
  return describePython(root);
}

/** Runs a TypeScript step of ours, whose standard error says what went wrong. Resolves to whether it succeeded. */
function runStep(root, file, env) {
  if (!existsSync(path.join(root, file))) return true;
  const child = spawn(process.execPath, ['--import', 'tsx', file], { cwd: root, env, stdio: ['ignore', 'ignore', 2] });
  return new Promise((resolve) => child.on('exit', (code) => resolve(code === 0)));
}

async function setup(root, env) {
  const startedAt = Date.now();
  const ready = checkPrerequisites(env);
  if (!packagesCurrent(root)) {
    withLock(root, say, () => packagesCurrent(root) || installPackages(root, env, say));
  }
  if (env.TEMPORAL_ADDRESS) ready.push(`Temporal at ${env.TEMPORAL_ADDRESS}`);
  else ready.push(`Temporal CLI ${ensureTool('temporal', root, env).version}`);
  if (process.platform === 'linux') ready.push(`bubblewrap ${ensureTool('bwrap', root, env).version}`);
  ready.push(await ensurePython(root, env));
  const [bundled] = await Promise.all([
    runStep(root, 'workers/bundle.ts', env),
    // Without the image tasks still run in bubblewrap, so a failure there does not stop the set-up.
    runStep(root, 'cli/setup/image.ts', env),
  ]);
  if (!bundled) throw new SetupError('the workflow bundle could not be built: see above.');
  say(`ready in ${((Date.now() - startedAt) / 1000).toFixed(1)} s: ${ready.join(', ')}`);
}

if (require.main === module) {
  setup(path.resolve(__dirname, '..'), process.env).catch((error) => {
    if (!(error instanceof SetupError)) throw error;
    say(`failed\n  ${error.message}`);
    process.exitCode = 1;
  });
}

module.exports = { setup };
