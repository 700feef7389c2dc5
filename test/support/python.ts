/** Suites that need the trainer's Python. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { PROJECT_ROOT } from '../../config/env';

export const PYTHON = path.join(PROJECT_ROOT, '.venv', 'bin', 'python');

/** A suite that is skipped where the set-up has made no Python environment, with that in its title. */
export function describeWithPython(title: string, suite: () => void): void {
  if (existsSync(PYTHON)) describe(title, suite);
  else describe.skip(`${title} (skipped: there is no ${PYTHON}; npm run setup makes it)`, suite);
}
