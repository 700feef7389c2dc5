/** What a person sees of a running experiment where there is no terminal to draw bars in. */
import { PassThrough } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import type { ExperimentStatus, StageStatus } from '../../cli/progress';
import { ProgressBars } from '../../cli/progress-bars';

function printed(...stages: Partial<StageStatus>[]): string[] {
  const out = new PassThrough();
  const bars = new ProgressBars(out as unknown as NodeJS.WriteStream);
  for (const stage of stages) {
    const shown = { name: 'train:sft', state: 'running', ...stage } as StageStatus;
    bars.show({ paused: false, stages: [shown] } as unknown as ExperimentStatus);
  }
  bars.stop();
  return stripVTControlCharacters(String(out.read() ?? ''))
    .split('\n')
    .slice(0, -1);
}

test('a stage gets one line for each change of its state', () => {
  expect(printed({}, {}, { state: 'sealed' })).toEqual(['· train:sft running', '✔ train:sft sealed']);
});

test('codes that a terminal would obey are shown, not sent, whatever a failure says', () => {
  const hostile = 'clear \x1b[2J and back \r to the start';
  const shown = 'clear \\x1b[2J and back \\x0d to the start';
  expect(printed({ state: 'failed', message: hostile })).toEqual([`✘ train:sft failed: ${shown}`]);
  expect(printed({ retrying: hostile })).toEqual([`· train:sft is tried again: ${shown}`]);
  expect(printed({ paused: hostile })).toEqual([`· train:sft paused: ${shown}`]);
});
