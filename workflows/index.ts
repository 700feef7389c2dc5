/** What the workflow bundle holds: every export is a workflow type. */
export { experiment } from './experiment';
export { modelServer } from './model-server';
export { collect, evaluate, score } from './rollouts';
export { shard } from './shard';
export { model, pairs, reference, report, select, tasks, train, verify } from './single';
