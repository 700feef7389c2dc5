/**
 * `npm run pretrain`: plays the corpus of the tiny base model once, then trains it (trainer/pretrain.py). Both go on
 * where they were stopped: a finished corpus is kept, and the trainer starts from its newest checkpoint.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { corpus, FIRST_SEED, MIXTURE } from '../adapters/tasks/corpus';
import { writeLines } from '../adapters/tasks/lines';
import { loadPrompt } from '../config/prompts';

const TOP = join(__dirname, '..');
const FOLDER = join(TOP, 'runs', 'pretrain');
const PROMPT = 'tiny';
/** 1,000 tasks each; about half a minute. */
const SEEDS = 10;

async function pretrain(args: string[], { corpusOnly = false }: { corpusOnly?: boolean }): Promise<void> {
  const file = join(FOLDER, 'corpus.jsonl');
  if (!existsSync(facts(file))) await makeCorpus(file);
  if (corpusOnly) return;
  const given = ['-m', 'trainer.pretrain', '--corpus', file, '--run', FOLDER, ...args];
  const python = join(TOP, '.venv', 'bin', 'python');
  // The trainer stops when its standard input ends, so it does not outlive this process.
  const child = spawn(python, given, { cwd: TOP, stdio: ['pipe', 'inherit', 'inherit'] });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.stdin.end());
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', (error) => reject(new Error(`cannot start ${python} (${error.message}); run npm run setup`)));
    child.on('close', (code) => resolve(code ?? 1));
  });
}

/** Beside the conversations, what the model card says of them; written last, so it says that they are complete. */
const facts = (file: string) => file.replace(/jsonl$/, 'json');

async function makeCorpus(file: string): Promise<void> {
  const started = Date.now();
  const counts = { seeds: 0, tasks: 0, dropped: 0, conversations: 0 };
  const onTasks = ({ tasks, dropped }: { tasks: number; dropped: number }) => {
    counts.seeds += 1;
    counts.tasks += tasks;
    counts.dropped += dropped;
    console.log(JSON.stringify({ event: 'corpus', ...counts, seconds: Math.round((Date.now() - started) / 1000) }));
  };
  async function* values() {
    for await (const messages of corpus({ seeds: SEEDS, prompt: loadPrompt(PROMPT), onTasks })) {
      counts.conversations += 1;
      yield { messages };
    }
  }
  await writeLines(file, values());
  const text = JSON.stringify({ ...counts, firstSeed: FIRST_SEED, prompt: PROMPT, mixture: MIXTURE }, null, 2);
  await writeFile(facts(file), `${text}\n`);
}

void new Command('pretrain')
  .description('makes trainer/models/tiny: plays its corpus, trains it; run it again to go on')
  .option('--corpus-only', 'stop when the corpus is there')
  .argument('[options...]', 'of trainer/pretrain.py, after --: --updates 2800, --threads 2, --seed 1 and more')
  .action(pretrain)
  .parseAsync();
