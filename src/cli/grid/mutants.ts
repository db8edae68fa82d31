import type { HuntVerdict } from '../../grid/mutants/hunt.ts';
import type { Inexpressible } from '../../grid/mutants/inexpressible.ts';
import type { Mutant } from '../../grid/mutants/mutant.ts';
import type { Host } from '../host.ts';
import { type Progress, withProgress } from '../progress.ts';

/** Mutants by name, all where there is none. Throws an InputError for a name that none has. */
export type ChooseMutants = (names: readonly string[]) => readonly Mutant[];

/** Runs the grid on mutants, each until it is caught; verdicts in the order of the mutants. */
export type HuntMutants = (
  mutants: readonly Mutant[],
  jobs: number,
) => AsyncGenerator<Progress, readonly HuntVerdict[]>;

/** The list of `umbra mutants`: each with its history and how it is caught, then the bugs without a mutant. */
export function mutantList(mutants: readonly Mutant[], inexpressible: readonly Inexpressible[]): string {
  const listed = mutants.map(({ name, history, mended, fate }) =>
    [
      name,
      `  ${history}`,
      ...(mended === undefined ? [] : [`  KVM: mended ${mended}`]),
      ...(fate.caught === 'never'
        ? [`  no bug: ${fate.proof}`]
        : [`  caught ${fate.caught}, ${fate.scenario}`]),
      ...(fate.caught === 'by --check' ? [`  no guest sees it: ${fate.why}`] : []),
      '',
    ].join('\n'),
  );
  const others = inexpressible.map(
    ({ subject, mended, reason }) => `  ${subject} (${mended})\n    ${reason}`,
  );
  const rest = others.length === 0 ? [] : ['Bugs of KVM that no mutant stands for:', '', ...others, ''];
  return [...listed, ...rest].join('\n');
}

/**
 * Runs the grid on mutants and prints what became of each.
 * @returns the exit status: 1 where a mutant survives, or it is not as its entry says
 */
export async function huntMutants(
  mutants: readonly Mutant[],
  jobs: number,
  host: Host,
  hunt: HuntMutants,
): Promise<number> {
  const started = host.now();
  const verdicts = await withProgress(host, hunt(mutants, jobs));
  const seconds = (host.now() - started) / 1000;
  host.stdout.write(renderHunt(verdicts, seconds));
  return verdicts.every(({ asExpected }) => asExpected) ? 0 : 1;
}

/** A line for each mutant, the stories of those that are not as their entries say, and the sum. */
function renderHunt(verdicts: readonly HuntVerdict[], seconds: number): string {
  const width = Math.max(...verdicts.map(({ mutant }) => mutant.length));
  const lines = verdicts.map((verdict) => `${verdict.mutant.padEnd(width)}  ${outcome(verdict)}`);
  const stories = verdicts.flatMap(({ asExpected, finding }) =>
    asExpected || finding.caught === 'never' ? [] : [finding.story],
  );
  const count = (which: (verdict: HuntVerdict) => boolean): number => verdicts.filter(which).length;
  const scenarios = verdicts.reduce((sum, verdict) => sum + verdict.scenarios, 0);
  const survived = count(({ finding, asExpected }) => finding.caught === 'never' && !asExpected);
  const sum =
    `${verdicts.length} mutants: ${count(({ finding }) => finding.caught === 'by a probe')} caught by a probe, ` +
    `${count(({ finding }) => finding.caught === 'by --check')} only by --check, ` +
    `${count(({ finding, asExpected }) => finding.caught === 'never' && asExpected)} proved to be no bug, ` +
    `${survived} survived; ${scenarios} scenarios, ${seconds.toFixed(1)} s`;
  return [...lines, '', ...stories, sum, ''].join('\n');
}

function outcome({ finding, asExpected }: HuntVerdict): string {
  if (finding.caught === 'never') return asExpected ? 'no bug, as proved' : 'SURVIVED';
  const how = finding.caught === 'by a probe' ? 'caught by a probe' : 'caught only by --check';
  return `${how}, ${finding.scenario}${asExpected ? '' : ', NOT AS ITS ENTRY SAYS'}`;
}
