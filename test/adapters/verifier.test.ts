import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openVerifier } from '../../adapters/verifier';
import { openLlmVerifier } from '../../adapters/verifier/llm';
import { openTokenizer } from '../../adapters/verifier/tokenizer';
import type { Verifier } from '../../adapters/verifier/verifier';
import type { Message } from '../../core/trajectory';
import type { JudgeConversation } from '../../core/verifier-input';
import { type PolicyServer, startPolicyServer } from '../fixtures/policy-server';
import { answer } from '../fixtures/verifier-answer';

const FIXTURE = join(__dirname, '..', 'fixtures', 'verifier');

interface Case {
  messages: JudgeConversation['messages'];
  ids: number[];
  probability: number;
}
const cases = readFileSync(join(FIXTURE, 'cases.jsonl'), 'utf8')
  .split('\n')
  .filter(Boolean)
  .map((line) => JSON.parse(line) as Case);

const conversation = (messages: JudgeConversation['messages']): JudgeConversation => ({
  messages,
  tokens: 1,
  condensed: 0,
  condensedTokens: 0,
  fits: true,
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'verifier-'));
  cpSync(FIXTURE, folder, { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('exported weights', () => {
  let opened: Verifier[] = [];
  const openOnnx = async (where: string) => {
    const verifier = await openVerifier({ folder: where });
    opened.push(verifier);
    return verifier;
  };
  afterEach(async () => {
    await Promise.all(opened.map((verifier) => verifier.close()));
    opened = [];
  });

  test.each(cases.map((entry, index) => [index, entry] as const))(
    'message %i gives the tokens and the probability that the trainer gives',
    async (_index, { messages, ids, probability }) => {
      const tokenizer = await openTokenizer(join(FIXTURE, 'model'));
      expect(tokenizer.promptIds(messages)).toEqual(ids);
      const verifier = await openOnnx(FIXTURE);
      const { score, tokens } = await verifier.judge(conversation(messages));
      expect(Math.abs(score! - probability)).toBeLessThan(1e-4);
      expect(tokens).toBe(ids.length);
    },
  );

  test('a conversation beyond the context is unscored though its counts said that it fits', async () => {
    const verifier = await openOnnx(folder);
    const messages: [Message, Message] = [cases[0]!.messages[0], { role: 'user', content: '7 '.repeat(600) }];
    const verdict = await verifier.judge(conversation(messages));
    expect(verdict.score).toBeNull();
    expect(verdict.tokens).toBeGreaterThan(512);
  });

  test('runs that were asked for at once each get their own answer', async () => {
    const verifier = await openOnnx(FIXTURE);
    const verdicts = await Promise.all(cases.map(({ messages }) => verifier.judge(conversation(messages))));
    verdicts.forEach(({ score }, index) => expect(Math.abs(score! - cases[index]!.probability)).toBeLessThan(1e-4));
  });

  test('a closed verifier says so in place of waiting', async () => {
    const verifier = await openOnnx(FIXTURE);
    await verifier.close();
    await expect(verifier.judge(conversation(cases[0]!.messages))).rejects.toMatchObject({ name: 'ServerLost' });
  });

  test('a file that ONNX Runtime cannot load is corrupt', async () => {
    writeFileSync(join(folder, 'verifier.onnx'), 'no model');
    await expect(openVerifier({ folder })).rejects.toMatchObject({ name: 'ArtifactCorrupt' });
  });

  test('another tokenizer than the trainer had is refused', async () => {
    const facts = join(folder, 'verifier.json');
    writeFileSync(facts, readFileSync(facts, 'utf8').replace(/"yes": \d+/, '"yes": 3'));
    await expect(openVerifier({ folder })).rejects.toMatchObject({
      name: 'ArtifactCorrupt',
      message: expect.stringContaining('the token of YES') as string,
    });
  });

  test.each([
    ['no chat template', 'chat_template.jinja', null, /chat template/],
    ['a template that drops the answer', 'chat_template.jinja', 'nothing', /last message/],
    ['a template that is none', 'chat_template.jinja', '{% for %}', /chat template/],
    ['no tokenizer', 'tokenizer.json', null, /tokenizer\.json/],
    ['a tokenizer that is none', 'tokenizer.json', '{}', /tokenizer\.json/],
  ])('a model folder with %s is refused with the file’s name', async (_name, file, text, message) => {
    const place = join(folder, 'model', file);
    if (text === null) rmSync(place);
    else writeFileSync(place, text);
    await expect(openVerifier({ folder })).rejects.toMatchObject({
      name: 'ConfigInvalid',
      message: expect.stringMatching(message) as string,
    });
  });

  test('a template in the tokenizer’s configuration is used as well', async () => {
    const template = join(folder, 'model', 'chat_template.jinja');
    const config = join(folder, 'model', 'tokenizer_config.json');
    const chatTemplate = readFileSync(template, 'utf8');
    rmSync(template);
    const given = JSON.parse(readFileSync(config, 'utf8')) as object;
    writeFileSync(config, JSON.stringify({ ...given, chat_template: [{ name: 'default', template: chatTemplate }] }));
    const tokenizer = await openTokenizer(join(folder, 'model'));
    expect(tokenizer.promptIds(cases[0]!.messages)).toEqual(cases[0]!.ids);
  });
});

describe('an endpoint', () => {
  let server: PolicyServer;
  beforeEach(async () => (server = await startPolicyServer()));
  afterEach(() => server.close());
  const endpoint = () => ({ url: server.url, apiKey: null, replyTimeoutMs: 2_000, name: 'judge' });
  const budget = { maxTokens: 100, reservedTokens: 0, count: (text: string) => text.length };
  const open = (more = {}) => openLlmVerifier({ model: 'judge', endpoint: endpoint(), budget, ...more });
  const asked = conversation(cases[0]!.messages);

  test('is asked once, greedily, for log-probabilities of the top 20, with nothing else sent', async () => {
    server.choice = answer(['<judgement>', 0], ['YES', Math.log(0.6), { NO: Math.log(0.2) }], ['</judgement>', 0]);
    const verdict = await open().judge(asked);
    expect(verdict.score).toBeCloseTo(0.75, 9);
    expect(server.requests).toEqual([
      {
        model: 'judge',
        messages: asked.messages,
        temperature: 0,
        n: 1,
        max_tokens: 32,
        logprobs: true,
        top_logprobs: 20,
      },
    ]);
  });

  test('gets arguments of the chat template where they are given', async () => {
    server.choice = answer(['<judgement>YES', -0.1]);
    await open({ templateArguments: { enable_thinking: false } }).judge(asked);
    expect(server.requests[0]).toMatchObject({ chat_template_kwargs: { enable_thinking: false } });
  });

  test('that answers without a verdict leaves the rollout unscored', async () => {
    server.choice = answer(['I cannot say.', -0.1]);
    expect((await open().judge(asked)).score).toBeNull();
  });

  test('that finds the conversation too long leaves it unscored', async () => {
    server.faults.push({ status: 400, body: { error: { message: 'x', code: 'context_length_exceeded' } } });
    expect((await open().judge(asked)).score).toBeNull();
  });

  test('that sends no log-probabilities is refused: nobody would get a score', async () => {
    await expect(open().judge(asked)).rejects.toMatchObject({ name: 'PolicyRefused' });
  });

  test('that is down is unavailable, never a score', async () => {
    server.faults.push(...Array.from({ length: 3 }, () => ({ status: 503, headers: { 'retry-after-ms': '1' } })));
    await expect(open().judge(asked)).rejects.toMatchObject({ name: 'PolicyUnavailable' });
  });

  test('serves a verifier that has no ONNX file, counted by its own tokenizer', async () => {
    rmSync(join(folder, 'verifier.onnx'));
    server.choice = answer(['<judgement>', 0], ['NO', -0.1]);
    const verifier = await openVerifier({ folder, server: { model: 'train-1', endpoint: endpoint() } });
    expect(verifier.budget.maxTokens).toBe(512);
    expect((await verifier.judge(asked)).score).toBe(0);
  });

  test('is not asked where there is an ONNX file', async () => {
    const verifier = await openVerifier({ folder, server: { model: 'train-1', endpoint: endpoint() } });
    await verifier.judge(asked);
    await verifier.close();
    expect(server.requests).toEqual([]);
  });
});

test('a verifier without ONNX file that nobody serves is refused', async () => {
  rmSync(join(folder, 'verifier.onnx'));
  expect(existsSync(join(folder, 'verifier.json'))).toBe(true);
  await expect(openVerifier({ folder })).rejects.toMatchObject({ name: 'ConfigInvalid' });
});
