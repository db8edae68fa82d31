import type { ScenarioSummary } from '../run-grid.ts';
import { type MutantFinding, placeOf } from './mutants.ts';
import type { GridReport } from './report.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\n': '&#10;',
};
const attribute = (value: string | number): string =>
  String(value).replace(/[&<>"'\n]/g, (character) => ENTITIES[character] as string);

/**
 * The report in the form that CI servers read: a suite for each cell on each host, a case for each scenario.
 * @param seconds that all took together
 */
export function junitReport({ sections }: GridReport, seconds: number): string {
  const cells = sections.flatMap((section) => section.cells);
  const scenarios = cells.flatMap((cell) => cell.scenarios);
  const suites = cells.map(({ title, scenarios: own }) =>
    [
      `  <testsuite name="${attribute(title)}" ${counts(own)}>`,
      ...own.map((one) => testCase(title, one)),
      '  </testsuite>',
    ].join('\n'),
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="umbra grid" ${counts(scenarios)} time="${seconds.toFixed(3)}">`,
    ...suites,
    '</testsuites>',
    '',
  ].join('\n');
}

function counts(scenarios: readonly ScenarioSummary[]): string {
  const failures = scenarios.filter(({ mismatches }) => mismatches.length > 0).length;
  const skipped = scenarios.filter((scenario) => scenario.skipped !== undefined).length;
  return `tests="${scenarios.length}" failures="${failures}" skipped="${skipped}" errors="0"`;
}

function testCase(title: string, { name, mismatches, skipped }: ScenarioSummary): string {
  const head = `    <testcase classname="${attribute(title)}" name="${attribute(name)}"`;
  if (skipped !== undefined) return `${head}><skipped message="${attribute(skipped)}"/></testcase>`;
  if (mismatches.length === 0) return `${head}/>`;
  return [`${head}>`, ...mismatches.map(failure), '    </testcase>'].join('\n');
}

const lines = (text: string): string => attribute(text).replaceAll('&#10;', '\n');
const failure = (story: string): string =>
  `      <failure message="${attribute(story.split('\n')[0])}">${lines(story)}</failure>`;

/**
 * A hunt in the same form: a case for each mutant, which fails where the mutant is not as its entry says.
 * @param seconds that all took together
 */
export function mutantsJunit(findings: readonly MutantFinding[], seconds: number): string {
  const failures = findings.filter(({ asExpected }) => !asExpected).length;
  const skipped = findings.filter(({ outcome }) => outcome === 'not run').length;
  const numbers = `tests="${findings.length}" failures="${failures}" skipped="${skipped}" errors="0"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="umbra grid --mutants" ${numbers} time="${seconds.toFixed(3)}">`,
    `  <testsuite name="mutants" ${numbers}>`,
    ...findings.map(mutantCase),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function mutantCase(finding: MutantFinding): string {
  const { name, outcome, asExpected, story, why, proof } = finding;
  const place = placeOf(finding);
  const what = `${outcome}${place === '' ? '' : `, ${place}`}`;
  const told = [what, proof, story].filter((part) => part !== undefined).join('\n');
  const head = `    <testcase classname="mutants" name="${attribute(name)}"`;
  if (why !== undefined) return `${head}><skipped message="${attribute(why)}"/></testcase>`;
  return [
    `${head}>`,
    asExpected ? `      <system-out>${lines(told)}</system-out>` : failure(`Not as its entry says: ${told}`),
    '    </testcase>',
  ].join('\n');
}
