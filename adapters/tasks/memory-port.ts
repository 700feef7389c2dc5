/**
 * A pocket repository without a sandbox: the file port over one module in memory, for the commands that scripted plays
 * use (view, one-line `sed -i`, `git checkout -q .`, the visible tests). Anything else throws: it is no shell.
 */
import { type FilePort, NotWritable, type RunResult } from '../../core/tools/port';

/** Runs the visible tests on the module's text. */
export type RunTests = (source: string) => Promise<{ exitCode: number; stdout: string }>;

const SED = /^sed -i '(\d+)s\/((?:[^/\\]|\\.)*)\/((?:[^/\\]|\\.)*)\/' (\S+)$/;

export function memoryPort(workdir: string, file: string, source: string, runTests: RunTests): FilePort {
  const path = `${workdir}/${file}`;
  const bytes = (text: string) => new TextEncoder().encode(text);
  const result = (exitCode: number, stdout = ''): RunResult => ({
    exitCode,
    stdout: bytes(stdout),
    stderr: bytes(''),
    timedOut: false,
  });
  let text = source;
  return {
    read: (asked) => Promise.resolve(asked === path ? bytes(text) : null),
    write: () => Promise.reject(new NotWritable('plays change files by sed')),
    kind: (asked) => Promise.resolve(asked === path ? 'file' : asked === workdir ? 'folder' : null),
    list: () => Promise.resolve([]),
    async run(command) {
      if (command === 'bash run_tests.sh') {
        const { exitCode, stdout } = await runTests(text);
        return result(exitCode, stdout);
      }
      if (command === `wc -c < '${path}'`) return result(0, `${bytes(text).length}\n`);
      if (command === `cd ${workdir} && git checkout -q .`) text = source;
      else text = substitute(command, path, text);
      return result(0);
    },
  };
}

/** `sed -i 'Ns/old/new/' PATH`, where `old` is a literal or `.*`. */
function substitute(command: string, path: string, text: string): string {
  const match = SED.exec(command);
  if (match?.[4] !== path) throw new Error(`not a command of scripted plays: ${command}`);
  const [, line, old, replacement] = match;
  const lines = text.split('\n');
  const at = Number(line) - 1;
  const before = lines[at] ?? '';
  const made = unescape(replacement!);
  lines[at] = old === '.*' ? made : before.replace(unescape(old!), () => made);
  return lines.join('\n');
}

const unescape = (text: string) => text.replace(/\\(.)/g, '$1');
