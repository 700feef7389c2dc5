/**
 * Reads, merges, validates and freezes an experiment's configuration. Everything wrong with it is a `ConfigInvalid`
 * that names the path, and the nearest valid name for an unknown key.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { closest } from 'fastest-levenshtein';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { Failure } from '../core/failures';
import { experimentSchema, type ExperimentConfig } from './schema';

const SHIPPED = path.join(__dirname, 'experiments');

/** Names of the shipped configurations. */
export function shippedConfigs(): string[] {
  return readdirSync(SHIPPED)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => path.basename(file, '.yaml'))
    .toSorted();
}

/** Reads a shipped configuration by name, or a YAML file by path. Not validated yet. */
export function readConfig(nameOrPath: string): unknown {
  const shipped = path.join(SHIPPED, `${nameOrPath}.yaml`);
  const isName = /^[a-z0-9-]+$/.test(nameOrPath) && existsSync(shipped);
  const file = isName ? shipped : path.resolve(nameOrPath);
  if (!existsSync(file)) {
    throw invalid(`${nameOrPath}: no such file, and no shipped configuration has that name`, [
      `shipped: ${shippedConfigs().join(', ')}`,
    ]);
  }
  try {
    return parse(readFileSync(file, 'utf8'), { merge: true });
  } catch (error) {
    const problem = error instanceof YAMLParseError ? 'not valid YAML' : 'cannot be read';
    throw invalid(`${file}: ${problem}`, [(error as Error).message]);
  }
}

/** Applies `a.b.c=value` in order; values are YAML (`4`, `true`, `[1, 2]`, `text`). */
export function applyOverrides(config: unknown, overrides: readonly string[]): unknown {
  if (typeof (config ?? {}) !== 'object') throw invalid('the configuration is not a list of keys and values');
  const result = structuredClone(config ?? {}) as Record<string, unknown>;
  for (const override of overrides) {
    const match = /^([^=\s]+)=(.*)$/s.exec(override);
    if (!match) throw invalid(`override "${override}": write key=value, e.g. evaluate.search-8.samples=4`);
    const keys = match[1]!.split('.');
    const inherited = keys.find((key) => key in Object.prototype);
    if (inherited) throw invalid(`override "${override}": ${inherited} is not a key of a configuration`);
    let node = result;
    for (const key of keys.slice(0, -1)) {
      const next = node[key] ?? (node[key] = {});
      if (typeof next !== 'object' || Array.isArray(next)) {
        throw invalid(`override "${override}": ${key} is not a section`);
      }
      node = next as Record<string, unknown>;
    }
    node[keys.at(-1)!] = overrideValue(override, match[2]!);
  }
  return result;
}

function overrideValue(override: string, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw invalid(`override "${override}": the value is not valid YAML`, [(error as Error).message]);
  }
}

/** Validates and fills in defaults. `origin` names the source in messages. */
export function resolveConfig(input: unknown, origin: string): ExperimentConfig {
  const parsed = experimentSchema.safeParse(input ?? {});
  if (parsed.success) return Object.freeze(parsed.data);
  throw invalid(
    `${origin}: the configuration is not valid`,
    parsed.error.issues.flatMap((issue) => explain(issue, [])),
  );
}

/** Reads, overrides and resolves in one call. */
export function loadConfig(nameOrPath: string, overrides: readonly string[] = []): ExperimentConfig {
  return resolveConfig(applyOverrides(readConfig(nameOrPath), overrides), nameOrPath);
}

function invalid(message: string, details: readonly string[] = []): Failure {
  return new Failure('ConfigInvalid', [message, ...details.map((detail) => `  ${detail}`)].join('\n'));
}

/** One line per problem: path, what is wrong, and for an unknown key the nearest valid name. */
function explain(issue: z.core.$ZodIssue, parents: readonly PropertyKey[]): string[] {
  const at = [...parents, ...issue.path];
  const where = at.join('.') || '(top level)';
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(at.map(String));
    return issue.keys.map((key) => {
      const nearest = known.length > 0 ? `; did you mean "${closest(key, known)}"?` : '';
      return `${[...at, key].join('.')}: unknown key${nearest}`;
    });
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const branches = issue.errors.toSorted((a, b) => distance(a) - distance(b));
    return branches[0]!.flatMap((inner) => explain(inner, at));
  }
  return [`${where}: ${issue.message.endsWith('received undefined') ? 'is missing' : issue.message}`];
}

/** A branch whose tag does not match explains nothing; one with fewer problems is what the writer meant. */
function distance(issues: readonly z.core.$ZodIssue[]): number {
  const wrongTag = issues.some((issue) => issue.code === 'invalid_value' && issue.path.length === 1);
  return issues.length + (wrongTag ? 100 : 0);
}

interface JsonSchema {
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | boolean;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
}

/** Names the schema knows at a path, over all variants of a union. */
function keysAt(at: readonly string[]): string[] {
  let nodes = [z.toJSONSchema(experimentSchema, { io: 'input', unrepresentable: 'any' }) as JsonSchema];
  const variants = (node: JsonSchema): JsonSchema[] => [
    node,
    ...[...(node.anyOf ?? []), ...(node.oneOf ?? [])].flatMap(variants),
  ];
  for (const key of at) {
    nodes = nodes.flatMap(variants).flatMap((node) => {
      const named = node.properties?.[key];
      if (named) return [named];
      return typeof node.additionalProperties === 'object' ? [node.additionalProperties] : [];
    });
  }
  return [...new Set(nodes.flatMap(variants).flatMap((node) => Object.keys(node.properties ?? {})))];
}
