/**
 * Stages on disk: `store/<kind>-<key>/`, declared by `stage.json`, done when and only when `manifest.json` is there.
 * Times, hosts and attempts (`timing.jsonl`, `journal.jsonl`) stay outside the digest: equal work gives equal bytes.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { canonicalJson, type Manifest } from '../../core/artifact';
import { Failure } from '../../core/failures';
import type { Stage, StageConfigs, StageKind } from '../../core/plan';
import { flush, writeSealed } from './sealed';

/** Files of a stage's folder that no digest covers. */
const UNSEALED = new Set(['manifest.json', 'timing.jsonl', 'journal.jsonl', 'failure.json']);

export class StageStore {
  /** @param home folder that holds `store/` and `runs/`. */
  constructor(readonly home: string) {}

  /** Folder of all stages. */
  get root(): string {
    return path.join(this.home, 'store');
  }

  folder(stage: string): string {
    return path.join(this.root, stage);
  }

  /** Records what a stage is, before anything of it runs. Harmless when repeated. */
  async declare(stage: Stage): Promise<void> {
    await mkdir(this.folder(stage.id), { recursive: true });
    const file = path.join(this.folder(stage.id), 'stage.json');
    const text = `${JSON.stringify(stage, null, 2)}\n`;
    const present = existsSync(file) ? await readFile(file, 'utf8') : null;
    if (present === null) return writeSealed(file, text);
    const { name: _, ...known } = JSON.parse(present) as Stage;
    const { name: __, ...wanted } = stage;
    if (canonicalJson(known) !== canonicalJson(wanted)) {
      throw new Failure('ArtifactCorrupt', `${file}: declares another stage than ${stage.id}; move that folder away`);
    }
  }

  async read<K extends StageKind>(stage: string): Promise<Stage & { config: StageConfigs[K] }> {
    const file = path.join(this.folder(stage), 'stage.json');
    return JSON.parse(await readFile(file, 'utf8')) as Stage & { config: StageConfigs[K] };
  }

  sealed(stage: string): boolean {
    return existsSync(path.join(this.folder(stage), 'manifest.json'));
  }

  async manifest(stage: string): Promise<Manifest | null> {
    if (!this.sealed(stage)) return null;
    return JSON.parse(await readFile(path.join(this.folder(stage), 'manifest.json'), 'utf8')) as Manifest;
  }

  /** Flushes and hashes every file of the stage and writes the manifest last. A sealed stage stays as it is. */
  async seal(stage: Stage, counts: Record<string, number>): Promise<Manifest> {
    const present = await this.manifest(stage.id);
    if (present) return present;
    const folder = this.folder(stage.id);
    const files: Manifest['files'] = {};
    for (const file of (await sealedFiles(folder)).toSorted()) {
      const absolute = path.join(folder, file);
      await flush(absolute);
      files[file] = { sha256: await fileSha256(absolute), bytes: (await stat(absolute)).size };
    }
    const manifest: Manifest = { version: 1, stage: stage.id, key: stage.key, kind: stage.kind, counts, files };
    await writeSealed(path.join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`);
    return manifest;
  }

  /** Throws `ArtifactCorrupt`, naming path and both hashes, when a sealed file is not what its manifest says. */
  async verify(stage: string, file: string): Promise<void> {
    const recorded = (await this.manifest(stage))?.files[file];
    const absolute = path.join(this.folder(stage), file);
    if (!recorded) throw new Failure('ArtifactCorrupt', `${absolute}: not in the manifest of ${stage}`);
    const actual = await fileSha256(absolute);
    if (actual !== recorded.sha256) {
      throw new Failure('ArtifactCorrupt', `${absolute}: sha256 is ${actual}, sealed as ${recorded.sha256}`);
    }
  }
}

export async function fileSha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** Relative paths, `/`-separated, of what a seal covers: no unsealed records, no temporary or hidden entries. */
async function sealedFiles(folder: string, below = ''): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(path.join(folder, below), { withFileTypes: true })) {
    const relative = below ? `${below}/${entry.name}` : entry.name;
    if (entry.name.startsWith('.') || entry.name.endsWith('.tmp') || UNSEALED.has(entry.name)) continue;
    if (entry.isDirectory()) found.push(...(await sealedFiles(folder, relative)));
    else found.push(relative);
  }
  return found;
}
