/** What both forms of the report are made of: report.md and report.html render the same blocks. Texts are raw here. */

export interface Cell {
  text: string;
  /** Said beside it: an interval. */
  detail?: string;
  /** Sealed files that it was made from; linked to the first. */
  source?: readonly string[];
  tone?: 'good' | 'quiet';
}

export interface Table {
  /** Of the columns after the first, which holds the rows' names. */
  head: string[];
  rows: { name: string; cells: Cell[] }[];
  /** Words rather than numbers: aligned to the left. */
  words?: boolean;
}

export interface Item {
  label: string;
  good: boolean;
  text: string;
  source?: readonly string[];
}

export interface Chart {
  caption: string;
  svg: string;
}

/** Exactly one of the keys is there. */
export interface Block {
  heading?: string;
  text?: string;
  /** A text that explains rather than tells. */
  hint?: string;
  /** A text that must not be missed. */
  warning?: string;
  items?: Item[];
  notes?: string[];
  table?: Table;
  charts?: Chart[];
  /** Charts that need little room. */
  small?: Chart[];
  code?: string;
  /** Folded away in the page. */
  fold?: { summary: string; detail: string; blocks: Block[] };
}

export interface Section {
  title: string;
  blocks: Block[];
}

export interface ReportDocument {
  title: string;
  /** One line of facts under the title. */
  facts: string[];
  /** Why the report is not complete; none where it is. */
  alerts: string[];
  sections: Section[];
}
