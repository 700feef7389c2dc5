import { loadPrompt, parsePrompt, plannedPrompt, promptSha256, shippedPrompts } from '../../config/prompts';
import { parseAction } from '../../core/action';
import { MISSING_CALL } from '../../core/observation';
import { formatErrorText, openingMessages } from '../../core/prompt';

const task = { statement: 'It <breaks> {{so}} & "so"', workdir: '/testbed' };

describe('shipped prompts', () => {
  test('are full and tiny', () => {
    expect(shippedPrompts()).toEqual(['full', 'tiny']);
  });

  test('one that has changed since it was planned is refused', () => {
    expect(plannedPrompt({ name: 'tiny', sha256: promptSha256('tiny') })).toEqual(loadPrompt('tiny'));
    expect(() => plannedPrompt({ name: 'tiny', sha256: promptSha256('full') })).toThrow(
      'prompt tiny: its text has changed since this experiment was started; start it again, or put the text back',
    );
  });

  test.each(shippedPrompts())('%s shows the issue as it is, in its tags, and no unfilled variable', (name) => {
    const [system, user] = openingMessages(loadPrompt(name), task);
    expect(user?.content).toContain(`<github_issue>\n${task.statement}\n</github_issue>`);
    expect(user?.content.replace(task.statement, '')).not.toContain('{{');
    expect(system?.content).not.toContain('{{');
    expect(system?.content).toContain('/testbed');
  });

  test.each([
    'file_editor',
    'execute_bash',
    'search',
    'finish',
    ...['command', 'path', 'file_text', 'old_str', 'new_str', 'insert_line', 'view_range', 'enable_linting'],
    ...['concise', 'python_only', 'cmd', 'search_term', 'submit'],
  ])('full documents %s', (word) => {
    expect(loadPrompt('full').system).toContain(word);
  });

  test('the example of full is a call that the parser reads', () => {
    const [system] = openingMessages(loadPrompt('full'), task);
    const example = /\n(<function=example_function>[\s\S]*?\n<\/function>)/.exec(system?.content ?? '')?.[1] ?? '';
    expect(parseAction(example)).toEqual({
      tool: 'example_function',
      parameters: { first_parameter: 'value', second_parameter: 'a value\nof several lines' },
    });
  });

  test('full reminds of a missing call in the words that published models know', () => {
    expect(formatErrorText(loadPrompt('full'), { formatError: 'noCall' })).toBe(MISSING_CALL);
  });

  test('tiny is short', () => {
    const [system] = openingMessages(loadPrompt('tiny'), task);
    expect((system?.content ?? '').length).toBeLessThan(150);
  });

  test.each(shippedPrompts())('%s tells a missing call from one that never ends', (name) => {
    const prompt = loadPrompt(name);
    const unclosed = formatErrorText(prompt, { formatError: 'unclosedCall' });
    expect(unclosed).toContain('</function>');
    expect(formatErrorText(prompt, { formatError: 'noCall' })).not.toContain('</function>');
  });
});

const JUDGE = 'judge: { system: s, user: u, step: t, condensed: c }';

test.each([
  ['an unknown variable', `system: "{{workdirs}}"\ntask: t\nformatError: f\n${JUDGE}`, /workdirs/],
  [
    'an unknown variable of the judge',
    `system: s\ntask: t\nformatError: f\n${JUDGE.replace('step: t', 'step: "{{thought}}"')}`,
    /thought/,
  ],
  ['an unknown key', `system: s\ntask: t\nformatError: f\ntasks: t\n${JUDGE}`, /tasks/],
  ['a prompt without judge', 'system: s\ntask: t\nformatError: f', /judge/],
  ['a missing template', 'system: s\ntask: t', /formatError/],
  ['broken YAML', 'system: [', /prompt mine/],
])('%s is refused by name', (_name, yaml, message) => {
  expect(() => parsePrompt(yaml, 'mine')).toThrow(expect.objectContaining({ name: 'ConfigInvalid' }));
  expect(() => parsePrompt(yaml, 'mine')).toThrow(message);
});

test('a prompt that is not shipped is refused with the names of those that are', () => {
  expect(() => loadPrompt('../full')).toThrow(/shipped: full, tiny/);
});
