/** One seed of the kill test of a full experiment; test/slow/kill-training.test.ts runs more. */
import { describeTrainingKills } from '../support/kill-training-check';

describeTrainingKills([1]);
