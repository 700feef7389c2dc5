/** The report: recomputed from sealed files, then written as data, as tables and as a page. */
import path from 'node:path';
import { reportHtml } from '../adapters/report/html';
import { reportMarkdown } from '../adapters/report/markdown';
import { readReportData, type ReportInput } from '../adapters/report/read';
import { writeSealed } from '../adapters/store/sealed';
import { computeReport, type Report } from '../core/report';

export type { ReportInput, ReportPlan } from '../adapters/report/read';

/** Equal sealed files give an equal report. Throws `ArtifactCorrupt` when one is not what its manifest says. */
export async function buildReport(input: ReportInput): Promise<Report> {
  return computeReport(await readReportData(input));
}

/** Writes report.json, report.md and report.html; their links to sealed files are relative to `folder`. */
export async function writeReport(report: Report, folder: string, storeFolder: string): Promise<void> {
  const storeHref = path.relative(folder, storeFolder).split(path.sep).map(encodeURIComponent).join('/') || '.';
  await writeSealed(path.join(folder, 'report.json'), `${JSON.stringify(report, null, 1)}\n`);
  await writeSealed(path.join(folder, 'report.md'), reportMarkdown(report, storeHref));
  await writeSealed(path.join(folder, 'report.html'), reportHtml(report, storeHref));
}
