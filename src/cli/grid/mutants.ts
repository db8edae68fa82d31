import { InputError } from '../../arch/input-error.ts';
import { type HuntRequest, type HuntVerdict, huntingGround } from '../../grid/mutants/hunt.ts';
import type { Inexpressible } from '../../grid/mutants/inexpressible.ts';
import { type HostWithL0, homeOf, type Mutant } from '../../grid/mutants/mutant.ts';
import { type MutantFinding, mutantFindings, mutantSum, placeOf } from '../../grid/report/mutants.ts';
import { plural } from '../../grid/report/page.ts';
import type { Scenario } from '../../grid/scenario.ts';
import type { Host } from '../host.ts';
import { type Progress, withProgress } from '../progress.ts';
import type { GridReports } from './grid.ts';
import { type ReportPaths, withReports } from './report-files.ts';

/** Mutants by name, all where there is none. Throws an InputError for a name that none has. */
export type ChooseMutants = (names: readonly string[]) => readonly Mutant[];

/** How a hunt runs: on threads here, or on the workers of a queue. */
export interface HuntSetup {
  readonly jobs: number;
  /** Address of a queue's Redis. */
  readonly queue?: string;
  /** Takes each line of L0's trace: of one mutant, in one scenario. */
  readonly trace?: (line: string) => void;
}

/** Runs scenarios on mutants, each until it is caught; verdicts in the order of the requests. */
export type HuntMutants = (
  requests: readonly HuntRequest[],
  setup: HuntSetup,
  host: Host,
) => AsyncGenerator<Progress, readonly HuntVerdict[]>;

/** The list of `umbra mutants`: each with its history and how it is caught, then the bugs without a mutant. */
export function mutantList(mutants: readonly Mutant[], inexpressible: readonly Inexpressible[]): string {
  const listed = mutants.map((mutant) => {
    const { name, history, mended, fate } = mutant;
    return [
      name,
      `  ${history}`,
      ...(homeOf(mutant) === 'shadow/pae' ? [] : [`  lives on ${homeOf(mutant)}`]),
      ...(mended === undefined ? [] : [`  KVM: mended ${mended}`]),
      ...(fate.caught === 'never'
        ? [`  no bug: ${fate.proof}`]
        : [`  caught ${fate.caught}, ${fate.scenario}`]),
      ...(fate.caught === 'by --check' ? [`  no guest sees it: ${fate.why}`] : []),
      '',
    ].join('\n');
  });
  const others = inexpressible.map(
    ({ subject, mended, reason }) => `  ${subject} (${mended})\n    ${reason}`,
  );
  const rest = others.length === 0 ? [] : ['Bugs of KVM that no mutant stands for:', '', ...others, ''];
  return [...listed, ...rest].join('\n');
}

interface HuntOptions extends HuntSetup, ReportPaths {
  readonly mutants: readonly Mutant[];
  /** Hosts to hunt on; each where it lives unless given. */
  readonly hosts?: readonly HostWithL0[];
  /** Scenarios to run on them; those of the grid unless given. */
  readonly scenarios?: readonly Scenario[];
}

/**
 * Runs the grid on mutants, prints what became of each, and writes the reports that are wanted.
 * @returns the exit status: 1 where a mutant survives, or it is not as its entry says
 */
export async function huntMutants(
  { mutants, hosts, scenarios, json, junit, html, ...setup }: HuntOptions,
  host: Host,
  hunt: HuntMutants,
  reports: GridReports,
): Promise<number> {
  const requests = mutants.map((mutant): HuntRequest => {
    return {
      mutant: mutant.name,
      ...(hosts && { on: huntingGround(mutant, hosts) }),
      ...(scenarios && { scenarios }),
    };
  });
  return withReports({ json, junit, html }, async (files) => {
    const started = host.now();
    const verdicts = await withProgress(host, hunt(requests, setup, host), 'mutants');
    refuseIdleHunt(verdicts);
    const seconds = (host.now() - started) / 1000;
    const findings = mutantFindings(verdicts);
    host.stdout.write(renderHunt(findings, seconds));
    files.json?.write(`${JSON.stringify({ mutants: findings, seconds }, undefined, 2)}\n`);
    files.junit?.write(reports.mutantsJunit(verdicts, seconds));
    files.html?.write(await withProgress(host, reports.mutantsHtml(verdicts, scenarios), 'stories'));
    return findings.every(({ asExpected }) => asExpected) ? 0 : 1;
  });
}

/** Throws an InputError where no mutant was run. */
function refuseIdleHunt(verdicts: readonly HuntVerdict[]): void {
  const idle = verdicts.flatMap(({ mutant, on, finding }) =>
    finding.caught === 'not run' ? [`${mutant} on ${on}: ${finding.why}`] : [],
  );
  if (idle.length === 0 || idle.length < verdicts.length) return;
  throw new InputError(`No mutant was run. ${idle[0]}${idle.length > 1 ? '; and others like it' : ''}.`);
}

/** A line for each mutant, the stories of those that are not as their entries say, and the sum. */
function renderHunt(findings: readonly MutantFinding[], seconds: number): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const lines = findings.map((finding) => `${finding.name.padEnd(width)}  ${outcomeText(finding)}`);
  const stories = findings.flatMap(({ asExpected, story }) =>
    asExpected || story === undefined ? [] : [story],
  );
  const scenarios = findings.reduce((sum, finding) => sum + finding.scenarios, 0);
  const sum = `${mutantSum(findings)}; ${plural(scenarios, 'scenario')}, ${seconds.toFixed(1)} s`;
  return [...lines, '', ...stories, sum, ''].join('\n');
}

function outcomeText(finding: MutantFinding): string {
  const { outcome, on, home, why, asExpected } = finding;
  if (outcome === 'survived') return 'SURVIVED';
  if (outcome === 'proved to be no bug') return 'no bug, as proved';
  if (outcome === 'not run') return `not run: ${why}`;
  if (outcome === 'not caught there') return `not caught on ${on}, but it lives on ${home}`;
  const where = on === home ? '' : ` on ${on}`;
  return `${outcome}${where}, ${placeOf(finding)}${asExpected ? '' : ', NOT AS ITS ENTRY SAYS'}`;
}
