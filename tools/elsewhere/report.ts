import type { Scenario } from '../../src/grid/scenario.ts';
import { type Explained, explainResult, type Finding } from './explain.ts';
import type { Transcript } from './transcript.ts';

/** What a host did with all scenarios. */
export interface HostReport {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
  /** Known findings that showed, in the order of the list, each with its mismatches. */
  readonly known: readonly { readonly finding: Finding; readonly mismatches: readonly Explained[] }[];
  readonly unexplained: readonly Explained[];
}

/** Sorts what a host did by what is known of it. */
export function reportOf(
  transcripts: readonly Transcript[],
  scenarios: ReadonlyMap<string, Scenario>,
  findings: readonly Finding[],
): HostReport {
  const results = transcripts.flatMap((transcript) => transcript.results);
  const explained = transcripts.flatMap(({ results: own, processor }) =>
    own.flatMap((result) => {
      if (processor === undefined) return [];
      return explainResult(scenarios.get(result.name)!, result, processor, findings);
    }),
  );
  const count = (...verdicts: string[]): number =>
    results.filter(({ verdict }) => verdicts.includes(verdict)).length;
  return {
    passed: count('ok'),
    failed: count('not ok', 'died'),
    skipped: results
      .filter(({ verdict }) => verdict === 'skipped')
      .map(({ name, reason }) => `${name} ${reason}`),
    known: findings
      .map((finding) => ({ finding, mismatches: explained.filter((one) => one.finding === finding) }))
      .filter(({ mismatches }) => mismatches.length > 0),
    unexplained: explained.filter(({ finding }) => finding === undefined),
  };
}

/** A report as text. */
export function reportText(host: string, report: HostReport, seconds: number): string {
  const { passed, failed, skipped, known, unexplained } = report;
  const lines = [
    `${host}: ${passed} scenarios passed, ${failed} did not, ${skipped.length} were skipped; ${seconds.toFixed(1)} s`,
  ];
  for (const { finding, mismatches } of known) {
    const where = new Set(mismatches.map(({ scenario }) => scenario)).size;
    lines.push(`  ${finding.name}: ${mismatches.length} mismatches in ${where} scenarios. ${finding.about}`);
    lines.push(`    First: ${mismatches[0].text}`);
  }
  lines.push(`  ${unexplained.length} mismatches are not explained.`);
  for (const { text } of unexplained.slice(0, MOST_SHOWN)) lines.push(`    ${text}`);
  return lines.join('\n');
}

const MOST_SHOWN = 20;
