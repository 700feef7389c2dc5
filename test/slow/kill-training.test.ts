import { describeTrainingKills } from '../support/kill-training-check';

describeTrainingKills([2, 3, 4]);
