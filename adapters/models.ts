/**
 * Model folders: ordinary Hugging Face folders of a causal language model, wherever they come from. What is wrong with
 * one is said by name, file and remedy before anything loads it.
 *
 * Not covered: whether the weights fit the configuration (the trainer's loader says so), and fetching (hub.ts).
 */
import { constants } from 'node:fs';
import { copyFile, link, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { PROJECT_ROOT } from '../config/env';
import { canonicalJson, sha256Hex } from '../core/artifact';
import { Failure } from '../core/failures';
import { fileSha256 } from './store/stages';

/** The pretrained model of this repository. */
export const TINY_MODEL = path.join(PROJECT_ROOT, 'trainer', 'models', 'tiny');

/** What a model is made of: weights, configuration, tokenizer. Cards, images and training state are not. */
const MODEL_FILE = /^[^./\\][^/\\]*\.(json|safetensors|bin|model|txt|jinja)$/;
/** What `from_pretrained` looks for, also as the index of several files. Adapters and training state have other names. */
const WEIGHTS = ['model.safetensors', 'pytorch_model.bin'];
/** Gemma 3 from 4B on reads images too and goes by another name; as text it is a causal model like the others. */
const CAUSAL = /^(\w+ForCausalLM|Gemma3ForConditionalGeneration)$/;

const config = z.object({ architectures: z.array(z.string()).min(1) });
const tokenizerConfig = z.object({ chat_template: z.unknown().optional() });
const shards = z.object({ weight_map: z.record(z.string(), z.string()) });

export interface ModelFolder {
  folder: string;
  /** Class name of the architecture, e.g. `Qwen3ForCausalLM`. */
  architecture: string;
  /** Names of the files that make up the model, sorted. */
  files: string[];
}

export function isModelFile(name: string): boolean {
  return MODEL_FILE.test(name);
}

/** Throws `ConfigInvalid` naming folder, file and remedy where it is not a model that can be trained and served. */
export async function checkModelFolder(folder: string): Promise<ModelFolder> {
  const invalid = (what: string) => new Failure('ConfigInvalid', `${folder}: ${what}`);
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => {
    throw invalid('there is no such folder; give the folder of a Hugging Face model on the worker’s machine');
  });
  const files: string[] = [];
  for (const { name } of entries) {
    if (isModelFile(name) && (await stat(path.join(folder, name))).isFile()) files.push(name);
  }
  const read = async <T>(name: string, schema: z.ZodType<T>): Promise<T> => {
    if (!files.includes(name)) throw invalid(`holds no ${name}; give the folder that \`save_pretrained\` wrote`);
    try {
      return schema.parse(JSON.parse(await readFile(path.join(folder, name), 'utf8')));
    } catch (error) {
      const what = error instanceof z.ZodError ? `${error.issues[0]!.path.join('.')}: ${error.issues[0]!.message}` : '';
      throw invalid(`${name} cannot be used (${what || 'not JSON'}); fetch the model again`);
    }
  };

  const { architectures } = await read('config.json', config);
  const architecture = architectures.find((name) => CAUSAL.test(name));
  if (architecture === undefined) {
    throw invalid(
      `config.json names ${architectures.join(', ')}, which is no causal language model; give one whose class ends in ForCausalLM`,
    );
  }
  const found = WEIGHTS.flatMap((name) => [`${name}.index.json`, name]).find((name) => files.includes(name));
  if (!found) throw invalid('holds no weights (model.safetensors); fetch them, or merge the adapter into its model');
  const indexed = found.endsWith('.index.json');
  const weights = indexed ? [...new Set(Object.values((await read(found, shards)).weight_map))] : [found];
  const missing = weights.filter((name) => !files.includes(name));
  if (missing.length > 0) throw invalid(`lacks ${missing[0]!} of its weights (${missing.length} missing); fetch them`);
  for (const name of weights) {
    if (await isPointer(path.join(folder, name))) {
      throw invalid(`${name} is a pointer of Git LFS, not the weights; run \`git lfs pull\` there`);
    }
  }
  const { chat_template } = await read('tokenizer_config.json', tokenizerConfig);
  if (!['tokenizer.json', 'tokenizer.model', 'vocab.json'].some((name) => files.includes(name))) {
    throw invalid('holds no tokenizer.json; save the tokenizer into the folder (`tokenizer.save_pretrained`)');
  }
  if (!chat_template && !files.includes('chat_template.jinja')) {
    throw invalid(
      'its tokenizer has no chat template: tokenizer_config.json has no chat_template and there is no ' +
        'chat_template.jinja; take the instruction-tuned model, or add its template as chat_template.jinja',
    );
  }
  return { folder, architecture, files: files.toSorted() };
}

/** What a clone without Git LFS leaves in place of a large file. */
async function isPointer(file: string): Promise<boolean> {
  if ((await stat(file)).size > 1024) return false;
  return (await readFile(file, 'latin1')).startsWith('version https://git-lfs');
}

/** Digest over names and contents of the model's files, hex: the same wherever the folder lies. */
export async function modelSha256({ folder, files }: ModelFolder, onFile: () => void = () => {}): Promise<string> {
  const digests: Record<string, string> = {};
  for (const file of files) {
    digests[file] = await fileSha256(path.join(folder, file));
    onFile();
  }
  return sha256Hex(canonicalJson(digests));
}

/** Above this size a file is linked where the disk allows it: a second copy of the weights would fill it. */
const COPY_BYTES = 64 * 1024 * 1024;

/** Puts the model's files into an empty folder `into`. Linked files must not be changed in place afterwards. */
export async function placeModel({ folder, files }: ModelFolder, into: string): Promise<void> {
  await rm(into, { recursive: true, force: true });
  await mkdir(into, { recursive: true });
  for (const file of files) {
    const [from, to] = [path.join(folder, file), path.join(into, file)];
    const { size } = await stat(from);
    const linked = size > COPY_BYTES && (await link(from, to).then(() => true, cannotLink));
    if (!linked) await copyFile(from, to, constants.COPYFILE_FICLONE);
  }
}

/** Another disk, a link itself, a file system without links. */
function cannotLink(error: NodeJS.ErrnoException): false {
  if (['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP'].includes(error.code ?? '')) return false;
  throw error;
}
