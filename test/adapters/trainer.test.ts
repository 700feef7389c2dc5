/** Where Python is, and what its programs may see. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pythonPath, trainerCommand, trainerEnvironment } from '../../adapters/trainer';
import { PROJECT_ROOT } from '../../config/env';
import { temporaryHome } from '../support/processes';

const OWN = {
  ...{ PATH: '/usr/bin', HOME: '/home/someone', OPENAI_API_KEY: 'a', OPENAI_BASE_URL: 'b', TEMPORAL_API_KEY: 'c' },
  ...{ TEMPORAL_ADDRESS: 'd', HF_TOKEN: 'e', AWS_SECRET_ACCESS_KEY: 'f', GITHUB_TOKEN: 'g', NPM_PASSWORD: 'h' },
  ...{ TOKENIZERS_PARALLELISM: 'true', CUDA_HOME: '/usr/local/cuda', KEYBOARD: 'us', CUDA_VISIBLE_DEVICES: '0,1' },
};

test('a program sees no secret, ours or anybody’s', () => {
  const seen = Object.keys(trainerEnvironment('auto', {}, OWN)).filter((name) => name in OWN);
  expect(seen.toSorted()).toEqual(
    ['CUDA_HOME', 'CUDA_VISIBLE_DEVICES', 'HOME', 'KEYBOARD', 'PATH', 'TOKENIZERS_PARALLELISM'].toSorted(),
  );
});

test('it reaches for no network, and keeps its byte code whatever is set outside', () => {
  expect(trainerEnvironment('auto', {}, { ...OWN, PYTHONDONTWRITEBYTECODE: '1' })).toMatchObject({
    ...{ PYTHONPATH: PROJECT_ROOT, PYTHONDONTWRITEBYTECODE: '', HF_HUB_OFFLINE: '1' },
  });
});

test.each([
  ['cpu', { CUDA_VISIBLE_DEVICES: '1' }, '', '1'],
  ['auto', {}, '', '1'],
  ['auto', { CUDA_VISIBLE_DEVICES: '1' }, '1', undefined],
  ['gpu', { CUDA_VISIBLE_DEVICES: '1' }, '1', undefined],
] as const)('device %s with the slot %j', (device, variables, visible, threads) => {
  const env = trainerEnvironment(device, variables, OWN);
  expect([env.CUDA_VISIBLE_DEVICES, env.OMP_NUM_THREADS]).toEqual([visible, threads]);
});

test('Python is the one named, else the one of the set-up, and without it the message says what to run', () => {
  const { home, remove } = temporaryHome();
  try {
    expect(() => pythonPath(undefined, home)).toThrow('run `npm run setup`');
    expect(() => pythonPath(path.join(home, 'python3.13'), home)).toThrow('set ENTROPO_PYTHON');
    const python = path.join(home, '.venv', 'bin', 'python');
    mkdirSync(path.dirname(python), { recursive: true });
    writeFileSync(python, '');
    expect(pythonPath(undefined, home)).toBe(python);
    expect(pythonPath(process.execPath, home)).toBe(process.execPath);
  } finally {
    remove();
  }
});

test('a program is a module of the trainer', () => {
  expect(trainerCommand('train', '/a/spec.json').slice(1)).toEqual(['-m', 'trainer.train', '/a/spec.json']);
});
