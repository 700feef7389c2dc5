/**
 * Reads a sealed stage: each file is checked against its manifest as it streams by. JSON lines are split at `\n` only,
 * since a JSON text may hold other line separators (U+2028), and are never held together in memory.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import type { Manifest } from '../../core/artifact';
import { Failure } from '../../core/failures';
import { sampleName } from '../../core/ids';
import type { Trajectory } from '../../core/trajectory';

export class SealedStage {
  private readonly trajectories = new Map<string, { attempt: number; file: string }>();

  private constructor(
    readonly folder: string,
    readonly manifest: Manifest,
  ) {
    for (const file of Object.keys(manifest.files)) {
      const [, rollout, digits] = /^(.+\/r\d+)\/a(\d+)\/trajectory\.json$/.exec(file) ?? [];
      if (rollout === undefined) continue;
      const attempt = Number(digits);
      if (attempt > (this.trajectories.get(rollout)?.attempt ?? 0)) this.trajectories.set(rollout, { attempt, file });
    }
  }

  /** Null where the stage is not sealed. */
  static async find(folder: string): Promise<SealedStage | null> {
    const file = path.join(folder, 'manifest.json');
    if (!existsSync(file)) return null;
    return new SealedStage(folder, JSON.parse(await readFile(file, 'utf8')) as Manifest);
  }

  /** Throws `ArtifactCorrupt` where the stage is not sealed. */
  static async open(folder: string): Promise<SealedStage> {
    const stage = await SealedStage.find(folder);
    if (!stage) throw new Failure('ArtifactCorrupt', `${folder}: holds no manifest.json; run that stage to its end`);
    return stage;
  }

  has(file: string): boolean {
    return file in this.manifest.files;
  }

  /** The values of a JSON-lines file. Throws `ArtifactCorrupt` at its end when the bytes are not those sealed. */
  async *lines<T>(file: string): AsyncGenerator<T> {
    const hash = createHash('sha256');
    const decoder = new StringDecoder('utf8');
    let rest = '';
    for await (const chunk of createReadStream(this.place(file)) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      const parts = (rest + decoder.write(chunk)).split('\n');
      rest = parts.pop()!;
      for (const line of parts) yield this.parse<T>(file, line);
    }
    this.check(file, hash.digest('hex'));
    if (rest !== '') throw new Failure('ArtifactCorrupt', `${this.place(file)}: the last line is cut off`);
  }

  /** A small JSON file, whole. */
  async json<T>(file: string): Promise<T> {
    const bytes = await readFile(this.place(file));
    this.check(file, createHash('sha256').update(bytes).digest('hex'));
    return this.parse<T>(file, bytes.toString('utf8'));
  }

  /** The trajectory of a rollout: of its last attempt. */
  async trajectory(task: string, sample: number): Promise<Trajectory> {
    const rollout = `${task}/${sampleName(sample)}`;
    const file = this.trajectories.get(rollout)?.file;
    if (!file) throw new Failure('ArtifactCorrupt', `${this.folder}: its manifest lists no trajectory of ${rollout}`);
    return this.json<Trajectory>(file);
  }

  private place(file: string): string {
    if (!this.has(file)) throw new Failure('ArtifactCorrupt', `${this.folder}: its manifest does not list ${file}`);
    return path.join(this.folder, file);
  }

  private parse<T>(file: string, text: string): T {
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      throw new Failure('ArtifactCorrupt', `${this.place(file)}: not JSON (${(error as Error).message})`);
    }
  }

  private check(file: string, sha256: string): void {
    const sealed = this.manifest.files[file]!.sha256;
    if (sha256 === sealed) return;
    throw new Failure('ArtifactCorrupt', `${this.place(file)}: sha256 is ${sha256}, sealed as ${sealed}`);
  }
}
