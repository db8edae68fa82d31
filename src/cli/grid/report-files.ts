import { closeAll, OutputFile } from '../files.ts';

/** Where reports go; those without a path are not made. */
export interface ReportPaths {
  readonly json?: string | undefined;
  readonly junit?: string | undefined;
  readonly html?: string | undefined;
}

/** The files of the reports that are wanted. */
export type ReportFiles = { readonly [Report in keyof ReportPaths]?: OutputFile };

/**
 * Does work that writes reports. That their files can be written is tried before it begins.
 * @throws InputError where one cannot
 */
export async function withReports(
  { json, junit, html }: ReportPaths,
  work: (files: ReportFiles) => Promise<number>,
): Promise<number> {
  const files: ReportFiles = {
    ...(json !== undefined && { json: new OutputFile(json, 'JSON file') }),
    ...(junit !== undefined && { junit: new OutputFile(junit, 'JUnit file') }),
    ...(html !== undefined && { html: new OutputFile(html, 'HTML file') }),
  };
  try {
    return await work(files);
  } finally {
    closeAll(...Object.values(files));
  }
}
