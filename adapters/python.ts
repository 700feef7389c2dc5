/** The trainer's Python, as the set-up made it. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { PROJECT_ROOT } from '../config/env';
import { Failure } from '../core/failures';

/** Command of a program of `trainer/`, to be run in the project's folder. */
export function trainerCommand(program: string, ...args: string[]): [string, ...string[]] {
  const python = path.join(PROJECT_ROOT, '.venv', 'bin', 'python');
  if (!existsSync(python)) throw new Failure('ConfigInvalid', `there is no ${python}: run npm run setup`);
  return [python, '-m', `trainer.${program}`, ...args];
}
