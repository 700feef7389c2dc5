/** What a verifier is, whoever answers: exported weights here, an endpoint, or a function. */
import { join } from 'node:path';
import { openLlmVerifier } from '../../adapters/verifier/llm';
import { openOnnxVerifier } from '../../adapters/verifier/onnx';
import { scriptedVerifier, type Verifier } from '../../adapters/verifier/verifier';
import { loadPrompt } from '../../config/prompts';
import { judgeConversation } from '../../core/verifier-input';
import { type PolicyServer, startPolicyServer } from '../fixtures/policy-server';
import { answer } from '../fixtures/verifier-answer';

const prompt = loadPrompt('tiny').judge;
const steps = [
  { reply: 'look', observation: 'x '.repeat(60) },
  { reply: 'done', observation: 'ok' },
];
const input = { statement: 'It breaks.', steps, patch: '' };

let server: PolicyServer;
beforeAll(async () => {
  server = await startPolicyServer();
  server.choice = answer(['<judgement>', 0], ['YES', -0.2, { NO: -1.8 }]);
});
afterAll(() => server.close());

const endpoint = () => ({ url: server.url, apiKey: null, replyTimeoutMs: 5_000, name: 'judge' });
const words = { maxTokens: 512, reservedTokens: 10, count: (text: string) => text.split(/\s+/).length };

const verifiers: [string, () => Promise<Verifier>][] = [
  ['weights in this process', () => openOnnxVerifier(join(__dirname, '..', 'fixtures', 'verifier'))],
  ['an endpoint', async () => openLlmVerifier({ model: 'judge', endpoint: endpoint(), budget: words })],
  ['a function', async () => scriptedVerifier(() => 0.7)],
];

describe.each(verifiers)('%s', (_name, open) => {
  let verifier: Verifier;
  beforeAll(async () => (verifier = await open()));
  afterAll(() => verifier.close());

  test('gives a probability and counts what it read', async () => {
    const verdict = await verifier.judge(judgeConversation(input, prompt, verifier.budget));
    expect(verdict.score).toBeGreaterThan(0);
    expect(verdict.score).toBeLessThan(1);
    expect(verdict.tokens).toBeGreaterThan(0);
    expect(verdict.condensedTokens).toBe(0);
  });

  test('gives the same for the same', async () => {
    const conversation = judgeConversation(input, prompt, verifier.budget);
    const [first, second] = await Promise.all([verifier.judge(conversation), verifier.judge(conversation)]);
    expect(first).toEqual(second);
  });

  test('tells how much was condensed', async () => {
    const whole = judgeConversation(input, prompt, verifier.budget);
    const maxTokens = whole.tokens + verifier.budget.reservedTokens - 1;
    const conversation = judgeConversation(input, prompt, { ...verifier.budget, maxTokens });
    expect(conversation.condensed).toBe(1);
    const verdict = await verifier.judge(conversation);
    expect(verdict.condensedTokens).toBe(whole.tokens - conversation.tokens);
    expect(verdict.score).not.toBeNull();
  });

  test('leaves what does not fit unscored, which is not 0', async () => {
    const conversation = judgeConversation(input, prompt, { ...verifier.budget, maxTokens: 5 });
    expect(conversation.fits).toBe(false);
    expect((await verifier.judge(conversation)).score).toBeNull();
  });

  test('has a budget within which the largest conversation still gets a score', async () => {
    const { maxTokens, reservedTokens, count } = verifier.budget;
    let statement = '';
    while (judgeConversation({ ...input, statement: `${statement} word` }, prompt, verifier.budget).condensed === 0) {
      statement += ' word';
    }
    const conversation = judgeConversation({ ...input, statement }, prompt, verifier.budget);
    expect(conversation.tokens + reservedTokens + count(' word')).toBeGreaterThan(maxTokens - 3);
    expect((await verifier.judge(conversation)).score).not.toBeNull();
  });
});
