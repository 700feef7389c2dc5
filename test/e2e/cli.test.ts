/** The command line as a user meets it: one home folder, from the first run to a report without any server. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setInterval } from 'node:timers/promises';
import { connect, plainTarget } from '../../adapters/temporal/connection';
import { type DevServer, findDevServer, startDevServer } from '../../adapters/temporal/server';
import { requireTool } from '../../adapters/tools';
import { PROJECT_ROOT } from '../../config/env';
import type { Plan } from '../../core/plan';
import type { Report } from '../../core/report';
import { startPolicyServer } from '../fixtures/policy-server';
import { cleanEnv, entropo, finished, startWorker, temporaryHome, type WorkerHandle } from '../support/processes';
import { untrained } from '../support/untrained';
import { manifests, openRollouts } from '../support/stages';

const { home, remove } = temporaryHome();
const env = { ENTROPO_HOME: home };
const run = (...args: string[]) => entropo(args, env);
const reportFile = (experiment: string, type: string) => path.join(home, 'runs', experiment, `report.${type}`);
afterAll(remove);

jest.setTimeout(600_000);

describe('demo', () => {
  it('runs every stage and says where the report is', async () => {
    const { code, stdout, stderr } = await run('demo', '--config', 'smoke');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(reportFile('smoke', 'html'));
    for (const type of ['json', 'md', 'html']) expect(existsSync(reportFile('smoke', type))).toBe(true);
    const plan = JSON.parse(readFileSync(path.join(home, 'runs', 'smoke', 'plan.json'), 'utf8')) as Plan;
    expect(Object.keys(manifests(home)).toSorted()).toEqual(plan.stages.map(({ id }) => id).toSorted());
  });

  it('leaves no server behind', async () => {
    expect(await findDevServer(path.join(home, 'runs'))).toBeNull();
  });

  it('run again, repeats nothing', async () => {
    const before = manifests(home);
    const { code, stdout } = await run('demo', '--config', 'smoke');
    expect(code).toBe(0);
    expect(stdout).toContain('evaluate:sft was sealed already');
    expect(manifests(home)).toEqual(before);
  });

  it.each([
    ['Ctrl-C', 'SIGINT', 130, 'run the same command again', 'seed=2'],
    ['kill -9', 'SIGKILL', null, '', 'seed=4'],
  ] as const)('stopped by %s in the middle of rollouts, goes on where it was', async (_, signal, code, said, seed) => {
    const id = `stopped-by-${signal}`;
    const config = path.join(home, 'untrained.json');
    writeFileSync(config, JSON.stringify(untrained()));
    const args = ['demo', '--config', config, '--id', id, seed];
    const before = openRollouts(home).length;
    const child = spawn(process.execPath, ['--import', 'tsx', path.join(PROJECT_ROOT, 'cli', 'main.ts'), ...args], {
      cwd: PROJECT_ROOT,
      env: cleanEnv(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = finished(child);
    for await (const _ of setInterval(15)) if (openRollouts(home).length > before || child.exitCode !== null) break;
    child.kill(signal);
    expect(await ended).toMatchObject({ code, stderr: expect.stringContaining(said) });

    const again = await run(...args);
    expect(again.code).toBe(0);
    expect(existsSync(reportFile(id, 'html'))).toBe(true);
    expect(await findDevServer(path.join(home, 'runs'))).toBeNull();
  });
});

describe('without any server, from files alone', () => {
  beforeAll(() => rmSync(path.join(home, 'runs', '.temporal'), { recursive: true, force: true }));

  it('report gives the same bytes again', async () => {
    const before = readFileSync(reportFile('smoke', 'json'), 'utf8');
    rmSync(reportFile('smoke', 'json'));
    const { code, stdout } = await run('report', 'smoke');
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${reportFile('smoke', 'html')}\n` });
    expect(readFileSync(reportFile('smoke', 'json'), 'utf8')).toBe(before);
  });

  it('plan says what is sealed', async () => {
    const { stdout } = await run('plan', 'smoke', '--json');
    const plan = JSON.parse(stdout) as { stages: { sealed: boolean }[]; estimate: { rollouts: number } };
    expect(plan.stages.every(({ sealed }) => sealed)).toBe(true);
    expect(plan.estimate.rollouts).toBe(0);
    expect((await run('plan', 'smoke', '--mermaid')).stdout).toMatch(/^flowchart LR\n/);
  });

  it('show prints an experiment, a stage, a task and a rollout', async () => {
    const report = JSON.parse(readFileSync(reportFile('smoke', 'json'), 'utf8')) as Report;
    const stage = report.arms[0]!.stages[0]!;
    const { chosen, task } = report.arms[0]!.selectors[0]!.selections[0]!;
    expect((await run('show', 'smoke')).stdout).toContain(stage);
    expect(JSON.parse((await run('show', stage)).stdout)).toMatchObject({ id: stage, sealed: true });
    expect(JSON.parse((await run('show', `${stage}/${task}`)).stdout)).toMatchObject({ id: task });
    expect(JSON.parse((await run('show', chosen!, '--json')).stdout)).toMatchObject({ trajectory: { id: chosen } });
    expect((await run('show', chosen!)).stdout).toContain('[step 0]');
  });

  it('rollout plays one task and prints its steps', async () => {
    const task = (JSON.parse(readFileSync(reportFile('smoke', 'json'), 'utf8')) as Report).arms[0]!.selectors[0]!
      .selections[0]!.task;
    const { code, stdout } = await run('rollout', task, '--policy', 'teacher');
    expect(code).toBe(0);
    expect(stdout).toMatch(/\[step 0\][\s\S]*submitted/);
  });
});

describe('doctor', () => {
  it('plays one step of one task against a real endpoint', async () => {
    const policy = await startPolicyServer();
    const { code, stdout } = await run('doctor', '--model', policy.url, '--model-name', 'scripted', '--json');
    await policy.close();
    const { checks } = JSON.parse(stdout) as { checks: { name: string; status: string; found: string }[] };
    expect(checks.find(({ name }) => name === 'Model')).toMatchObject({
      status: 'ok',
      found: expect.stringContaining('called file_editor'),
    });
    expect(policy.requests).toHaveLength(1);
    expect(code).toBe(checks.some(({ status }) => status === 'missing') ? 1 : 0);
  });

  it('says what is wrong with an endpoint that does not answer, and exits 1', async () => {
    const { code, stdout } = await run('doctor', '--model', 'http://127.0.0.1:1/v1');
    expect(code).toBe(1);
    expect(stdout).toMatch(/missing +Model +no reply from http:\/\/127\.0\.0\.1:1\/v1\n.*--model-name/);
  });
});

describe('by the temporal CLI, with a worker running', () => {
  let server: DevServer;
  let worker: WorkerHandle;
  const temporal = (...args: string[]) =>
    finished(
      spawn(requireTool('temporal').path, [...args, '--address', server.address], {
        env: cleanEnv({}),
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );

  beforeAll(async () => {
    server = await startDevServer({ runsFolder: path.join(home, 'runs') });
    worker = startWorker({ ...env, TEMPORAL_ADDRESS: server.address });
    await worker.ready;
  });
  afterAll(async () => {
    worker.kill('SIGTERM');
    await worker.exit;
    await server.stop();
  });

  it('workflow start does what our own start does', async () => {
    const input = [
      '--type',
      'experiment',
      '--task-queue',
      'control',
      '--workflow-id',
      'exp-1',
      '--input',
      '{"config":"smoke"}',
    ];
    expect((await temporal('workflow', 'start', ...input)).code).toBe(0);
    const { code, stdout } = await entropo(['wait', 'exp-1', '--json'], env);
    expect({ code, result: JSON.parse(stdout) as unknown }).toMatchObject({
      code: 0,
      result: { experiment: 'exp-1', sealed: 0 },
    });
    expect(readFileSync(reportFile('exp-1', 'json'), 'utf8')).toBe(readFileSync(reportFile('smoke', 'json'), 'utf8'));
  });

  it('an invalid configuration fails at once with the message', async () => {
    const input = [
      '--type',
      'experiment',
      '--task-queue',
      'control',
      '--workflow-id',
      'exp-bad',
      '--input',
      '{"config":{"sed":1}}',
    ];
    const { stdout, stderr } = await temporal('workflow', 'execute', ...input);
    expect(stdout + stderr).toMatch(/Status +FAILED[\s\S]*sed: unknown key; did you mean .*seed/);
  });

  it('wait says why an experiment failed, and exits 1', async () => {
    const rows = path.join(home, 'rows.jsonl');
    writeFileSync(rows, '{"repo_name": 1}\n');
    const config = path.join(home, 'failing.yaml');
    writeFileSync(config, `tasks: { mine: { source: { type: r2e, path: ${rows} } } }`);
    const { code, stderr } = await entropo(['start', config, '--wait'], env);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/tasks:mine[\s\S]*gives no usable task[\s\S]*line-1/),
    });
  });

  it('a query finds the experiment by its search attribute', async () => {
    for await (const _ of setInterval(50)) {
      const { stdout } = await temporal('workflow', 'list', '--query', 'ExperimentId="exp-1"', '--output', 'json');
      if (stdout.includes('"exp-1"')) break;
    }
    const query = await temporal(
      'workflow',
      'query',
      '--workflow-id',
      'exp-1',
      '--type',
      'progress',
      '--output',
      'json',
    );
    expect(query.stdout).toContain('sealed');
  });

  it('a schedule starts it, colons in its id and all', async () => {
    const schedule = ['--schedule-id', 'nightly', '--interval', '24h', '--overlap-policy', 'Skip'];
    const action = [
      '--type',
      'experiment',
      '--task-queue',
      'control',
      '--workflow-id',
      'nightly',
      '--input',
      '{"config":"smoke"}',
    ];
    expect((await temporal('schedule', 'create', ...schedule, ...action)).code).toBe(0);
    expect((await temporal('schedule', 'trigger', '--schedule-id', 'nightly')).code).toBe(0);
    const connection = await connect(plainTarget(server.address));
    const { client } = connection;
    try {
      for await (const _ of setInterval(50)) {
        const { info } = await client.schedule.getHandle('nightly').describe();
        const started = info.recentActions.map(({ action }) => action.workflow.workflowId);
        if (started.length === 0) continue;
        expect(started[0]).toMatch(/^nightly-.*:/);
        await client.workflow.getHandle(started[0]!).result();
        expect(existsSync(reportFile(started[0]!.replaceAll(':', '%3A'), 'html'))).toBe(true);
        break;
      }
    } finally {
      await connection.close();
    }
  });

  it('start, pause, status, resume and cancel work on a fresh experiment', async () => {
    const started = await entropo(['start', 'smoke', 'seed=3', '--id', 'exp-3', '--json'], env);
    expect(JSON.parse(started.stdout)).toEqual({ experiment: 'exp-3' });
    expect((await entropo(['pause', 'exp-3'], env)).code).toBe(0);
    const status = JSON.parse((await entropo(['status', 'exp-3', '--json'], env)).stdout) as { paused: boolean };
    expect(status.paused).toBe(true);
    expect((await entropo(['resume', 'exp-3'], env)).code).toBe(0);
    expect((await entropo(['cancel', 'exp-3'], env)).code).toBe(0);
    expect((await entropo(['wait', 'exp-3'], env)).code).toBe(1);
  });
});
