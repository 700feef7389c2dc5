/**
 * report.html: one file that needs nothing else, no script and no network (its content security policy says so).
 * Handlebars escapes every text; only the SVG of the charts goes in as it is, and that escapes its own texts.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import Handlebars from 'handlebars';
import type { Report } from '../../core/report';
import type { Block, Chart } from './document';
import { href } from './markdown';
import { reportDocument } from './sections';

const template = readFileSync(path.join(__dirname, 'report.hbs'), 'utf8');
const style = readFileSync(path.join(__dirname, 'report.css'), 'utf8');
const render = Handlebars.compile<object>(template, { strict: true });

/** @param storeHref path from the report's folder to the store, for links to sealed files. */
export function reportHtml(report: Report, storeHref: string): string {
  const { sections, ...head } = reportDocument(report);
  const link = (source: readonly string[] | undefined) =>
    source ? { href: href(storeHref, source[0]!), title: source.join('\n') } : {};
  const block = ({ table, items, charts, small, fold, ...text }: Block): object => ({
    ...text,
    ...(items && { items: items.map((item) => ({ ...item, ...link(item.source) })) }),
    ...(table && {
      table: {
        ...table,
        rows: table.rows.map(({ name, cells }) => ({
          name,
          cells: cells.map((cell) => ({ ...cell, ...link(cell.source) })),
        })),
      },
    }),
    ...(charts && { charts: charts.map(safe) }),
    ...(small && { small: small.map(safe) }),
    ...(fold && { fold: { ...fold, blocks: fold.blocks.map(block) } }),
  });
  return render({
    ...head,
    style: new Handlebars.SafeString(style),
    sections: sections.map(({ title, blocks }) => ({ title, blocks: blocks.map(block) })),
  });
}

/** A chart's own markup goes into the page as it is. */
function safe({ caption, svg }: Chart) {
  return { caption, svg: new Handlebars.SafeString(svg) };
}
