/**
 * `npm run pretrain`: plays the corpus of the tiny base model once, then trains it (trainer/pretrain.py). Both go on
 * where they were stopped: a finished corpus is kept, and the trainer starts from its newest checkpoint.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { corpus } from '../adapters/tasks/corpus';
import { writeLines } from '../adapters/tasks/lines';
import { loadPrompt } from '../config/prompts';

const TOP = join(__dirname, '..');
const FOLDER = join(TOP, 'runs', 'pretrain');
/** 1,000 tasks each; about half a minute. */
const SEEDS = 10;

async function pretrain({ corpusOnly = false }: { corpusOnly?: boolean }, { args }: Command): Promise<void> {
  const file = join(FOLDER, 'corpus.jsonl');
  if (!existsSync(file)) await makeCorpus(file);
  if (corpusOnly) return;
  const given = ['-m', 'trainer.pretrain', '--corpus', file, '--run', FOLDER, ...args];
  const child = spawn(join(TOP, '.venv', 'bin', 'python'), given, { cwd: TOP, stdio: 'inherit' });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

async function makeCorpus(file: string): Promise<void> {
  const started = Date.now();
  let lines = 0;
  const onTasks = (done: object) =>
    console.log(JSON.stringify({ ...done, conversations: lines, seconds: Math.round((Date.now() - started) / 1000) }));
  async function* values() {
    for await (const messages of corpus({ seeds: SEEDS, prompt: loadPrompt('tiny'), onTasks })) {
      lines += 1;
      yield { messages };
    }
  }
  await writeLines(file, values());
  console.log(
    JSON.stringify({ corpus: file, conversations: lines, seconds: Math.round((Date.now() - started) / 1000) }),
  );
}

void new Command('pretrain')
  .description('makes trainer/models/tiny: plays its corpus, trains it; run it again to go on')
  .option('--corpus-only', 'stop when the corpus is there')
  .argument('[trainer options...]', 'handed to trainer/pretrain.py, after --: --updates N --threads N')
  .action((_args: string[], options: { corpusOnly?: boolean }, command: Command) => pretrain(options, command))
  .parseAsync();
