export function pythonCurrent(root: string): boolean;
export function describePython(root: string): string;
export function withoutCuda(requirements: string): string;
export function installPython(
  root: string,
  uv: string,
  env: NodeJS.ProcessEnv,
  say: (line: string) => void,
): Promise<void>;
