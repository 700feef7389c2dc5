/**
 * `npm test` and `npm run test:slow`: the set-up, then Jest on the named projects and pytest where `trainer` is named.
 * Whatever happens, the last line is `N passed, N failed` with `, N skipped` where some were, and the exit code is not 0
 * when a test failed or did not get to run. Arguments after `--` go to Jest; with any, pytest does not run.
 */
const { spawn, spawnSync } = require('node:child_process');
const { existsSync, mkdtempSync, readFileSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
const PROJECTS = ['quick', 'real', 'slow', 'trainer'];

function runJest(projects, options, countsFile) {
  return new Promise((resolve) => {
    const jest = path.join(root, 'node_modules', 'jest', 'bin', 'jest.js');
    const reporters = ['default', path.join(__dirname, 'reporter.cjs')].flatMap((name) => ['--reporters', name]);
    const child = spawn(process.execPath, [jest, ...options, ...reporters, '--selectProjects', ...projects], {
      cwd: root,
      env: { ...process.env, ENTROPO_TEST_COUNTS: countsFile },
      stdio: 'inherit',
    });
    // A terminal sends Ctrl-C to both processes; this one stays to print the last line.
    process.on('SIGINT', () => {});
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

/** Runs the trainer's own tests; returns their counts, one failure where they did not run. */
function runPytest(folder) {
  const report = path.join(folder, 'pytest.xml');
  const python = process.env.ENTROPO_PYTHON || path.join(root, '.venv', 'bin', 'python');
  const options = ['-m', 'pytest', 'trainer/tests', '-q', '--junit-xml', report, '-p', 'no:cacheprovider'];
  const { status } = spawnSync(python, options, {
    cwd: root,
    env: { ...process.env, OMP_NUM_THREADS: '1', PYTHONDONTWRITEBYTECODE: '' },
    stdio: 'inherit',
  });
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const suite = /<testsuite [^>]*>/.exec(readFileSync(report, 'utf8'))[0];
  const count = (name) => Number(new RegExp(` ${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = count('failures') + count('errors');
  const skipped = count('skipped');
  return { passed: count('tests') - failed - skipped, failed: failed || (status === 0 ? 0 : 1), skipped };
}

async function main() {
  const given = process.argv.slice(2);
  const projects = given.filter(
    (word, i) => PROJECTS.includes(word) && given.slice(0, i).every((w) => PROJECTS.includes(w)),
  );
  const options = given.slice(projects.length);
  const folder = mkdtempSync(path.join(tmpdir(), 'entropo-test-'));
  const countsFile = path.join(folder, 'counts.json');
  const all = { passed: 0, failed: 0, skipped: 0 };
  const add = (counts) => Object.keys(all).forEach((key) => (all[key] += counts[key]));
  try {
    const setup = spawnSync(process.execPath, [path.join(root, 'cli', 'setup.cjs')], { cwd: root, stdio: 'inherit' });
    let code = 1;
    if (setup.status === 0) {
      code = await runJest(
        projects.filter((name) => name !== 'trainer'),
        options,
        countsFile,
      );
      if (projects.includes('trainer') && options.length === 0) add(runPytest(folder));
    }
    if (existsSync(countsFile)) add(JSON.parse(readFileSync(countsFile, 'utf8')));
    else add({ passed: 0, failed: 1, skipped: 0 });
    process.exitCode = code || (all.failed > 0 ? 1 : 0);
    const skipped = all.skipped > 0 ? `, ${all.skipped} skipped` : '';
    process.stdout.write(`${all.passed} passed, ${all.failed} failed${skipped}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
