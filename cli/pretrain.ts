/**
 * `npm run pretrain`: makes trainer/models/tiny in two parts, each of which plays its corpus once and then trains on it
 * (trainer/pretrain.py). The first teaches the form on every kind of play; the second starts from its weights and shows
 * mostly right edits, on more tasks. All goes on where it was stopped: a finished corpus is kept, and the trainer starts
 * from its newest checkpoint.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { corpus, type Mixture } from '../adapters/tasks/corpus';
import { writeLines } from '../adapters/tasks/lines';
import { loadPrompt } from '../config/prompts';

const TOP = join(__dirname, '..');
const FOLDER = join(TOP, 'runs', 'pretrain');
const PROMPT = 'tiny';

interface Part {
  name: string;
  /** 1,000 tasks each. */
  firstSeed: number;
  seeds: number;
  mixture: Mixture;
  updates: number;
}

const MIXED: Mixture = {
  ...{ plays: [4, 6], softSteps: [12, 24], teacher: 0.5, sloppy: 0.35, wrongEdits: 2 },
  ...{ noisyEdits: 2, tests: 0.5, undo: 0.7 },
};

const PARTS: Part[] = [
  { name: 'mixed', firstSeed: 1000, seeds: 10, mixture: MIXED, updates: 2800 },
  {
    ...{ name: 'taught', firstSeed: 1010, seeds: 25, updates: 2000 },
    mixture: { ...MIXED, plays: [1, 2], teacher: 0.9, wrongEdits: 1 },
  },
];

async function pretrain(args: string[], { only }: { only?: string }): Promise<void> {
  let start: string | null = null;
  for (const part of PARTS) {
    const folder = join(FOLDER, part.name);
    const last = part === PARTS.at(-1);
    const out = last ? join(TOP, 'trainer', 'models', 'tiny') : join(folder, 'model');
    if (only === undefined || only === part.name) {
      await mkdir(folder, { recursive: true });
      const file = join(folder, 'corpus.jsonl');
      if (!existsSync(facts(file))) await makeCorpus(file, part);
      const from = start === null ? [] : ['--start', start];
      const code = await train([
        '--corpus',
        file,
        '--run',
        folder,
        '--out',
        out,
        '--updates',
        `${part.updates}`,
        ...from,
        ...args,
      ]);
      process.exitCode = code;
      if (code !== 0) return;
    }
    start = out;
  }
}

function train(args: string[]): Promise<number> {
  const python = join(TOP, '.venv', 'bin', 'python');
  // The trainer stops when its standard input ends, so it does not outlive this process.
  const child = spawn(python, ['-m', 'trainer.pretrain', ...args], { cwd: TOP, stdio: ['pipe', 'inherit', 'inherit'] });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.stdin.end());
  return new Promise<number>((resolve, reject) => {
    child.on('error', (error) => reject(new Error(`cannot start ${python} (${error.message}); run npm run setup`)));
    child.on('close', (code) => resolve(code ?? 1));
  });
}

/** Beside the conversations, what the model card says of them; written last, so it says that they are complete. */
const facts = (file: string) => file.replace(/jsonl$/, 'json');

async function makeCorpus(file: string, { firstSeed, seeds, mixture }: Part): Promise<void> {
  const started = Date.now();
  const counts = { seeds: 0, tasks: 0, dropped: 0, conversations: 0 };
  const onTasks = ({ tasks, dropped }: { tasks: number; dropped: number }) => {
    counts.seeds += 1;
    counts.tasks += tasks;
    counts.dropped += dropped;
    console.log(JSON.stringify({ event: 'corpus', ...counts, seconds: Math.round((Date.now() - started) / 1000) }));
  };
  async function* values() {
    for await (const messages of corpus({ firstSeed, seeds, mixture, prompt: loadPrompt(PROMPT), onTasks })) {
      counts.conversations += 1;
      yield { messages };
    }
  }
  await writeLines(file, values());
  const text = JSON.stringify({ ...counts, firstSeed, prompt: PROMPT, mixture }, null, 2);
  await writeFile(facts(file), `${text}\n`);
}

void new Command('pretrain')
  .description('makes trainer/models/tiny: plays its corpora, trains on them; run it again to go on')
  .option('--only <part>', `one of ${PARTS.map(({ name }) => name).join(', ')}`)
  .argument('[options...]', 'of trainer/pretrain.py, after --: --threads 2, --seed 1 and more')
  .action(pretrain)
  .parseAsync();
