/**
 * Every environment variable the system reads: what it means and what holds without it. Code asks through `env`; a
 * variable that is set but empty counts as unset. Secrets are read where they are used and go nowhere else.
 */
import path from 'node:path';

/** Top folder of this checkout. */
export const PROJECT_ROOT = path.resolve(__dirname, '..');

export interface EnvVariable {
  meaning: string;
  /** What holds when it is unset, in words. */
  otherwise: string;
}

export const ENV = {
  ENTROPO_HOME: {
    meaning: 'Folder that holds store/ (sealed stages) and runs/ (experiments, the dev server’s database).',
    otherwise: 'the checkout',
  },
  ENTROPO_MIN_FREE_MB: { meaning: 'Free disk space, in megabytes, below which nothing starts.', otherwise: '500' },
  ENTROPO_TEMPORAL: { meaning: 'The `temporal` CLI to use.', otherwise: '`temporal` on PATH, then .tools/bin' },
  ENTROPO_BWRAP: {
    meaning: 'The bubblewrap binary to use, 0.11 or newer.',
    otherwise: '`bwrap` on PATH, then .tools/bin',
  },
  TEMPORAL_ADDRESS: { meaning: 'host:port of the Temporal service.', otherwise: 'a dev server started for the run' },
  TEMPORAL_NAMESPACE: { meaning: 'Namespace there.', otherwise: 'default' },
  TEMPORAL_API_KEY: { meaning: 'API key of the Temporal service; turns TLS on.', otherwise: 'none' },
  TEMPORAL_TLS: {
    meaning: '`true` or `false`: TLS to the Temporal service.',
    otherwise: 'on with an API key or a certificate',
  },
  TEMPORAL_TLS_CLIENT_CERT_PATH: {
    meaning: 'Client certificate of mutual TLS; its key in TEMPORAL_TLS_CLIENT_KEY_PATH.',
    otherwise: 'none',
  },
  TEMPORAL_TLS_CLIENT_KEY_PATH: { meaning: 'Private key of the client certificate.', otherwise: 'none' },
  TEMPORAL_PROFILE: { meaning: 'Profile of the Temporal configuration file.', otherwise: 'default' },
  TEMPORAL_CONFIG_FILE: {
    meaning: 'Temporal configuration file (TOML).',
    otherwise: 'temporalio/temporal.toml in the user’s configuration folder',
  },
  OPENAI_API_KEY: {
    meaning: 'Key of OpenAI-compatible policy endpoints; read by the worker only.',
    otherwise: 'no key is sent',
  },
  OPENAI_BASE_URL: {
    meaning: 'Base URL of the policy endpoint, where a configuration names none.',
    otherwise: 'the client library’s own',
  },
  ENTROPO_PYTHON: {
    meaning: 'The Python interpreter that trains and serves, with what trainer/requirements.txt lists.',
    otherwise: '.venv/bin/python, which the set-up makes',
  },
  HF_ENDPOINT: { meaning: 'Base URL of the Hugging Face Hub or a mirror of it.', otherwise: 'https://huggingface.co' },
  HF_TOKEN: { meaning: 'Token for models that are not public; read by the worker only.', otherwise: 'none is sent' },
  ENTROPO_POCKET_IMAGE: {
    meaning: 'Docker image of repository tasks: bash, git, coreutils and Python 3.',
    otherwise: 'made from this host’s userland (Linux)',
  },
  DOCKER_HOST: { meaning: 'Address of the Docker engine.', otherwise: 'unix:///var/run/docker.sock' },
  PIP_INDEX_URL: {
    meaning: 'Python package index the set-up fetches tools from (pip’s own variable).',
    otherwise: 'pip’s configuration',
  },
} as const satisfies Record<string, EnvVariable>;

export type EnvName = keyof typeof ENV;

/** The variable's value; undefined when it is unset or empty. */
export function env(name: EnvName): string | undefined {
  const value = process.env[name];
  return value === undefined || value === '' ? undefined : value;
}

/** Where records lie: `store/` and `runs/` below ENTROPO_HOME. Absolute paths. */
export function homeFolders(): { home: string; store: string; runs: string } {
  const home = path.resolve(env('ENTROPO_HOME') ?? PROJECT_ROOT);
  return { home, store: path.join(home, 'store'), runs: path.join(home, 'runs') };
}
