/** Live progress in the terminal: one bar per stage that plays tasks or trains, one line per state change where there is no terminal. */
import { MultiBar, type SingleBar } from 'cli-progress';
import colors from 'picocolors';
import { plain } from './plain';
import type { ExperimentStatus, StageStatus } from './progress';

const FORMAT = '{name} {bar} {value}/{total} · {rate}/s · {left} left{note}';

export class ProgressBars {
  private readonly bars = new Map<string, SingleBar>();
  private readonly since = new Map<string, { at: number; done: number }>();
  private readonly states = new Map<string, string>();
  private readonly multi: MultiBar | null;

  constructor(private readonly out: NodeJS.WriteStream = process.stdout) {
    const options = {
      format: FORMAT,
      stream: out,
      hideCursor: true,
      barsize: 24,
      barCompleteChar: '━',
      barIncompleteChar: '╌',
      linewrap: false,
    };
    this.multi = out.isTTY ? new MultiBar({ ...options, clearOnComplete: true }) : null;
  }

  show(status: ExperimentStatus): void {
    for (const stage of status.stages) {
      this.announce(stage);
      if (stage.state === 'running' && workOf(stage) && this.multi) this.draw(stage, status.paused);
      else this.drop(stage.name);
    }
    this.multi?.update();
  }

  stop(): void {
    this.multi?.stop();
  }

  private announce(stage: StageStatus): void {
    const before = this.states.get(stage.name);
    const retrying = stage.retrying ? `is tried again: ${plain(stage.retrying)}` : stage.state;
    const now = stage.paused ? `paused: ${plain(stage.paused)}` : retrying;
    if (before === now) return;
    this.states.set(stage.name, now);
    if (now === 'waiting') return;
    const reused = before === undefined && now === 'sealed';
    const mark =
      { sealed: colors.green('✔'), failed: colors.red('✘'), blocked: colors.yellow('–') }[stage.state as string] ?? '·';
    this.log(
      `${mark} ${stage.name} ${reused ? 'was sealed already' : now}${stage.message ? `: ${plain(stage.message)}` : ''}`,
    );
  }

  private log(line: string): void {
    if (this.multi)
      this.multi.log(`${line}\x1b[K\n`); // the bars it is written over may be longer
    else this.out.write(`${line}\n`);
  }

  private draw(stage: StageStatus, paused: boolean): void {
    const { done, total, notes } = workOf(stage)!;
    if (paused || stage.paused) notes.push('paused');
    const payload = this.payload(stage.name, done, total, notes);
    const bar = this.bars.get(stage.name) ?? this.multi!.create(total, done, payload);
    this.bars.set(stage.name, bar);
    bar.setTotal(total);
    bar.update(done, payload);
  }

  private payload(name: string, done: number, total: number, notes: string[]) {
    const start = this.since.get(name) ?? { at: Date.now(), done };
    this.since.set(name, start);
    const seconds = (Date.now() - start.at) / 1000;
    const rate = seconds > 0 ? (done - start.done) / seconds : 0;
    return {
      name: name.padEnd(22),
      rate: rate.toFixed(1),
      left: rate > 0 ? clock((total - done) / rate) : '…',
      note: notes.map((note) => ` · ${note}`).join(''),
    };
  }

  private drop(name: string): void {
    const bar = this.bars.get(name);
    if (!bar) return;
    this.multi!.remove(bar);
    this.bars.delete(name);
  }
}

/** Rollouts or updates so far; null where the stage tells of none. */
function workOf({ counts, training }: StageStatus): { done: number; total: number; notes: string[] } | null {
  if (counts) {
    const { done, total, resolved, failed } = counts;
    return { done, total, notes: [`${resolved} resolved`, ...(failed > 0 ? [`${failed} failed`] : [])] };
  }
  if (!training) return null;
  const { update, updates, loss } = training;
  return { done: update, total: updates, notes: loss === null ? [] : [`loss ${loss.toFixed(3)}`] };
}

/** `1:05:09` or `5:09`. */
export function clock(seconds: number): string {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0]! > 0 ? parts : parts.slice(1);
  return shown.map((part, index) => (index === 0 ? String(part) : String(part).padStart(2, '0'))).join(':');
}
