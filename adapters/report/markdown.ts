/** report.md: the report's document without its pictures. Texts from tasks and rollouts are escaped: they are not ours. */
import type { Report } from '../../core/report';
import type { Block, Cell, Table } from './document';
import { reportDocument } from './sections';

/** @param storeHref path from the report's folder to the store, for links to sealed files. */
export function reportMarkdown(report: Report, storeHref: string): string {
  const { title, facts, alerts, sections } = reportDocument(report);
  const parts = [
    `# ${escape(title)}`,
    `${escape(facts.join(' · '))}.`,
    ...alerts.map((alert) => `> **${escape(alert)}**`),
    ...sections.flatMap((section) => [
      `## ${escape(section.title)}`,
      ...section.blocks.flatMap((block) => blockText(block, storeHref)),
    ]),
  ];
  return `${parts.join('\n\n')}\n`;
}

function blockText(block: Block, storeHref: string): string[] {
  if (block.heading !== undefined) return [`### ${escape(block.heading)}`];
  if (block.warning !== undefined) return [`> **${escape(block.warning)}**`];
  const text = block.text ?? block.hint;
  if (text !== undefined) return [escape(text)];
  if (block.notes) return [block.notes.map((note) => `* ${escape(note)}`).join('\n')];
  if (block.table) return [tableText(block.table, storeHref)];
  if (block.items) {
    const lines = block.items.map(({ label, good, text: said, source }) => {
      const mark = source ? `[${escape(label)}](${href(storeHref, source[0]!)})` : escape(label);
      return `* ${good ? `**${mark}**` : mark}: ${escape(said)}`;
    });
    return [lines.join('\n')];
  }
  if (block.code !== undefined) return [fenced(block.code)];
  if (block.fold) {
    const { summary, detail, blocks } = block.fold;
    return [`#### ${escape(summary)}`, `${escape(detail)}.`, ...blocks.flatMap((inner) => blockText(inner, storeHref))];
  }
  return [];
}

function tableText({ head, rows }: Table, storeHref: string): string {
  const cell = ({ text, detail, source }: Cell): string => {
    const linked = source ? `[${escape(text)}](${href(storeHref, source[0]!)})` : escape(text);
    return detail === undefined ? linked : `${linked} (${escape(detail)})`;
  };
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(['', ...head.map(escape)]),
    line(['---', ...head.map(() => '---')]),
    ...rows.map(({ name, cells }) => line([escape(name), ...cells.map(cell)])),
  ].join('\n');
}

/** The path of a sealed file as seen from the report. */
export function href(storeHref: string, file: string): string {
  return [storeHref, ...file.split('/').map(encodeURIComponent)].join('/');
}

/** A fence longer than any run of back-ticks in the text. */
function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}yaml\n${text.trimEnd()}\n${fence}`;
}

/** Plain text for a Markdown line or cell: no markup, no HTML, no new line. */
function escape(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/[\\`*_[\]|#~!]/g, '\\$&');
}
