/**
 * An experiment of which one stage fails, as a user meets it: the rest goes on, the report says what is missing, and the
 * same command again runs just that stage. The trainer is a stand-in; what it does to an arm follows from its rate.
 */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type DevServer, startDevServer } from '../../adapters/temporal/server';
import type { Plan } from '../../core/plan';
import { writeModel } from '../fixtures/model-folder';
import { entropo, temporaryHome, type WorkerHandle, startWorker } from '../support/processes';
import { manifests } from '../support/stages';

const { home, remove } = temporaryHome();
const env = { ENTROPO_HOME: home };
const STAND_IN = path.join(__dirname, '..', 'fixtures', 'stand-in-trainer.cjs');
const behaviour = path.join(home, 'behaviour.json');
const config = path.join(home, 'experiment.yaml');

let server: DevServer;
let worker: WorkerHandle;
beforeAll(async () => {
  const python = path.join(home, 'python');
  const options = `$(if grep -q '"learningRate": 0.5,' "$3"; then cat '${behaviour}'; else echo '{}'; fi)`;
  writeFileSync(python, `#!/bin/sh\nexec '${process.execPath}' '${STAND_IN}' "\${2#trainer.}" "$3" "${options}"\n`);
  chmodSync(python, 0o755);
  server = await startDevServer({ runsFolder: path.join(home, 'runs') });
  worker = startWorker({ ...env, TEMPORAL_ADDRESS: server.address, ENTROPO_PYTHON: python });
  await worker.ready;
});
afterAll(async () => {
  worker.kill('SIGTERM');
  await worker.exit;
  await server.stop();
  remove();
});

jest.setTimeout(600_000);

const run = (id: string, yaml: string) => {
  writeFileSync(config, yaml);
  return entropo(['start', config, '--id', id, '--wait'], env);
};
const report = (id: string) => readFileSync(path.join(home, 'runs', id, 'report.md'), 'utf8');
const plan = (id: string) => JSON.parse(readFileSync(path.join(home, 'runs', id, 'plan.json'), 'utf8')) as Plan;
const sealed = (id: string) => {
  const present = manifests(home);
  return plan(id).stages.flatMap((stage) => (stage.id in present ? [stage.name] : []));
};
/** How often each stage was opened, by name. */
const openings = (id: string) =>
  Object.fromEntries(
    plan(id).stages.map((stage) => {
      const times = readFileSync(path.join(home, 'store', stage.id, 'timing.jsonl'), 'utf8');
      return [stage.name, times.match(/"event":"opened"/g)?.length ?? 0];
    }),
  );

const COLLECTED = `
prompt: tiny
tasks: { few: { source: { type: pocket }, limit: 1 } }
collect: { teacher: { tasks: few, policy: { type: scripted, script: teacher, sloppy: 0 }, samples: 2 } }
`;

test('an arm that diverges stops nothing else, and the same command again trains just that arm', async () => {
  const arm = (rate: number) => `{ model: base, data: teacher, method: { type: sft }, learningRate: ${rate} }`;
  const yaml = `${COLLECTED}
models: { base: { type: folder, path: ${writeModel(path.join(home, 'model'))} } }
train: { steady: ${arm(0.1)}, bold: ${arm(0.5)} }`;

  writeFileSync(behaviour, '{"divergeAt":3}');
  const first = await run('arms', yaml);
  expect({ code: first.code, stderr: first.stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(
      /TrainerDiverged: train:bold .*loss is nan at update 3[\s\S]*start the experiment again/,
    ),
  });
  expect(sealed('arms')).toEqual(['tasks:few', 'model:base', 'collect:teacher', 'train:steady']);
  expect(report('arms')).toMatch(/train:bold \| failed \| .*loss is nan at update 3/);

  const before = manifests(home);
  writeFileSync(behaviour, '{}');
  const second = await run('arms', yaml);
  expect({ code: second.code, stderr: second.stderr }).toEqual({ code: 0, stderr: '' });
  expect(manifests(home)).toMatchObject(before);
  expect(openings('arms')).toEqual({
    ...{ 'tasks:few': 1, 'model:base': 1, 'collect:teacher': 1, 'train:steady': 1 },
    ...{ 'train:bold': 2, 'report:report': 1 },
  });
  expect(report('arms')).not.toContain('loss is nan');
});

test('where no pair is left it says how the tasks ended and what to change, and exits 2', async () => {
  const { code, stderr } = await run('pairs', `${COLLECTED}\npreferences: { pooled: { from: [teacher] } }`);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringMatching(
      /DataUnusable: pairs:pooled .*of 1 tasks .* 0 had mixed outcomes, 1 were always resolved, 0 never. Try more samples/,
    ),
  });
  expect(sealed('pairs')).toEqual(['tasks:few', 'collect:teacher']);
  expect(report('pairs')).toMatch(
    /pairs:pooled \| failed \| .*no pair of a resolved and an unresolved trajectory is left/,
  );
});
