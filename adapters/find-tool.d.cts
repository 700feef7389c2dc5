export type ToolName = 'temporal' | 'bwrap' | 'uv';

export interface FoundTool {
  path: string;
  version: string;
  /** The variable that named it, `PATH`, or `.tools`. */
  from: string;
}

export interface ToolPin {
  title: string;
  least: string;
  override: string;
  package: string;
  version: string;
  binary: string;
  sizeMb: number;
  sha256: Partial<Record<string, string>>;
}

export const pins: Record<ToolName, ToolPin>;
export function findTool(name: ToolName, root: string, env?: NodeJS.ProcessEnv): FoundTool | null;
export function onPath(name: string, env: NodeJS.ProcessEnv): string | null;
export function compareVersions(a: string, b: string): number;
