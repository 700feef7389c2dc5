/** plan: the declared DAG of a configuration and what it will cost; starts nothing. */
import os from 'node:os';
import { resolvePlan } from '../../activities/experiment';
import { StageStore } from '../../adapters/store/stages';
import { homeFolders } from '../../config/env';
import { readConfig } from '../../config/load';
import { estimatePlan, RATES } from '../../core/estimate';
import { estimateAsText, planAsMermaid, planAsText } from '../plan';
import { defaultId, print } from './experiment';

export async function plan(
  config: string,
  overrides: string[],
  options: { id?: string; mermaid?: boolean; json?: boolean },
): Promise<void> {
  const raw = readConfig(config) as Record<string, unknown>;
  const { plan } = await resolvePlan({ config: raw, overrides }, options.id ?? defaultId(config));
  const store = new StageStore(homeFolders().home);
  const sealed = (id: string) => store.sealed(id);
  const estimate = estimatePlan(plan, sealed, RATES, os.availableParallelism());
  if (options.json) {
    const stages = plan.stages.map((stage) => ({ ...stage, sealed: sealed(stage.id) }));
    return print({ ...plan, stages, estimate });
  }
  if (options.mermaid) process.stdout.write(`${planAsMermaid(plan, sealed)}\n`);
  else process.stdout.write(`${planAsText(plan, sealed)}\n\n${estimateAsText(estimate)}\n`);
}
