/** The model stage: an ordinary model folder, checked, below `model/`, and where it came from in `model.json`. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { fetchModel } from '../adapters/hub';
import { checkModelFolder, modelSha256, placeModel, TINY_MODEL } from '../adapters/models';
import { writeSealed } from '../adapters/store/sealed';
import type { StageStore } from '../adapters/store/stages';
import { Failure } from '../core/failures';

/** `model.json`. */
export interface ModelRecord {
  source: object;
  /** Class name, e.g. `Qwen3ForCausalLM`. */
  architecture: string;
  /** Over names and contents of the files of `model/`, hex. */
  sha256: string;
  bytes: number;
}

/** What an activity that takes long owes its caller. */
export interface Effort {
  heartbeat: () => void;
  signal: AbortSignal;
}

/** Throws `ConfigInvalid` where the model cannot be trained and served, or is not the one that the plan was made for. */
export async function prepareModel(store: StageStore, id: string, { heartbeat, signal }: Effort): Promise<void> {
  const { config } = await store.read<'model'>(id);
  const { source } = config;
  const folder = store.folder(id);
  const placed = path.join(folder, 'model');
  if (source.type === 'hub') {
    await fetchModel(source, placed, { onProgress: heartbeat, signal });
  } else {
    await placeModel(await checkModelFolder(source.type === 'folder' ? source.path : TINY_MODEL), placed);
  }
  const model = await checkModelFolder(placed);
  const sha256 = await modelSha256(model, heartbeat);
  if ('sha256' in source && source.sha256 !== undefined && source.sha256 !== sha256) {
    throw new Failure('ConfigInvalid', `${id}: the model changed after the experiment was started; start it again`);
  }
  const sizes = await Promise.all(model.files.map(async (file) => (await stat(path.join(placed, file))).size));
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const record: ModelRecord = { source, architecture: model.architecture, sha256, bytes };
  await writeSealed(path.join(folder, 'model.json'), `${JSON.stringify(record)}\n`);
}
