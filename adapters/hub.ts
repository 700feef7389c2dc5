/**
 * Models from the Hugging Face Hub, or a mirror of it in HF_ENDPOINT, at a pinned commit. A fetch that was cut off goes
 * on where it was. The token (HF_TOKEN) goes to the hub alone.
 */
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { downloadFile, HubApiError, type ListFileEntry, listFiles } from '@huggingface/hub';
import { env } from '../config/env';
import { Failure } from '../core/failures';
import { isModelFile } from './models';

export interface HubModel {
  /** `owner/name`. */
  repository: string;
  /** A commit. */
  revision: string;
}

export interface FetchOptions {
  /** Called as bytes arrive. */
  onProgress: () => void;
  signal: AbortSignal;
  endpoint?: string | undefined;
  token?: string | undefined;
}

type HubSource = Pick<Parameters<typeof downloadFile>[0], 'repo' | 'revision' | 'fetch' | 'hubUrl'> & {
  accessToken?: string;
};

/**
 * Fetches the files of the model that are not in the folder yet. Throws `ConfigInvalid` where there is no such model or
 * it may not be read, `ModelUnavailable` where asking again may help.
 */
export async function fetchModel(model: HubModel, into: string, options: FetchOptions): Promise<void> {
  const { onProgress, signal, endpoint = env('HF_ENDPOINT'), token = env('HF_TOKEN') } = options;
  const source: HubSource = {
    repo: { type: 'model', name: model.repository },
    revision: model.revision,
    fetch: (input, init) => fetch(input, { ...init, signal }),
    ...(endpoint !== undefined && { hubUrl: endpoint.replace(/\/+$/, '') }),
    ...(token !== undefined && { accessToken: token }),
  };
  try {
    await mkdir(into, { recursive: true });
    const files: ListFileEntry[] = [];
    for await (const entry of listFiles(source)) {
      if (entry.type === 'file' && isModelFile(entry.path)) files.push(entry);
    }
    const safe = files.some(({ path: name }) => name.endsWith('.safetensors'));
    for (const file of files) {
      if (safe && file.path.endsWith('.bin')) continue; // the same weights in the older format
      await fetchFile(source, file, path.join(into, file.path), onProgress);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof Failure ? error : classify(error, model, endpoint);
  }
}

async function fetchFile(
  source: HubSource,
  file: ListFileEntry,
  target: string,
  onProgress: () => void,
): Promise<void> {
  if (existsSync(target)) return;
  const part = path.join(path.dirname(target), `.${path.basename(target)}.part`);
  const size = file.lfs?.size ?? file.size;
  const had = existsSync(part) ? (await stat(part)).size : 0;
  if (had < size || size === 0) {
    // Plain HTTP: the hub's chunked protocol cannot be asked for the rest of a file.
    const blob = await downloadFile({ ...source, path: file.path, xet: false });
    if (!blob) throw new Failure('ConfigInvalid', `${file.path}: the hub lists the file and does not have it`);
    const body = Readable.fromWeb((had > 0 ? blob.slice(had) : blob).stream() as ReadableStream);
    body.on('data', onProgress);
    await pipeline(body, createWriteStream(part, { flags: had > 0 ? 'a' : 'w' }));
  }
  await check(file, size, part, onProgress);
  await rename(part, target);
}

/** Large files have their sha256 in the listing; of the others only the size is known. */
async function check(file: ListFileEntry, size: number, part: string, onProgress: () => void): Promise<void> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(part) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
    onProgress();
  }
  if (bytes === size && (!file.lfs || hash.digest('hex') === file.lfs.oid)) return;
  await rm(part, { force: true });
  throw new Failure('ModelUnavailable', `${file.path}: what arrived is not what the hub lists; it is fetched again`);
}

function classify(error: unknown, { repository, revision }: HubModel, endpoint: string | undefined): Failure {
  const at = `${repository}@${revision.slice(0, 12)} at ${endpoint ?? 'huggingface.co'}`;
  if (error instanceof HubApiError) {
    if (error.statusCode === 401 || error.statusCode === 403) {
      return new Failure(
        'ConfigInvalid',
        `${at}: may not be read (${error.statusCode}); accept the model’s terms on the hub, and set HF_TOKEN for the worker`,
      );
    }
    if (error.statusCode === 404) {
      return new Failure('ConfigInvalid', `${at}: there is no such model or commit; check repository and revision`);
    }
  }
  return new Failure(
    'ModelUnavailable',
    `${at}: ${messageOf(error)}; check the network, or set HF_ENDPOINT for the worker to a mirror (and HF_TOKEN, where ` +
      'it asks for one)',
  );
}

/** `fetch failed` alone says nothing; its cause names host and reason. */
function messageOf(error: unknown): string {
  const { message = String(error), cause } = (error ?? {}) as Partial<Error>;
  const reason = (cause as Partial<Error> | undefined)?.message;
  return reason ? `${message} (${reason})` : message;
}
