/** What docs/nested-paging.md shows of one access of L2 that is first a nested fault of L1's, then one of L0's own. */
import { matrix } from '../../src/grid/matrix/matrix.ts';
import { traceOfStep } from './page-run.ts';

const SCENARIO = 'npt/2-level/pae/mends';
const STEP = 3;

/** Both exits for the access, each with everything until the next entry. */
export function twiceAtOnce(): { readonly first: string; readonly again: string } {
  const scenario = matrix()
    .flatMap(({ scenarios }) => scenarios)
    .find(({ name }) => name === SCENARIO)!;
  const lines = traceOfStep(scenario, STEP, 'npt');
  const address = lines[0].match(/info2 0x[0-9a-f]+$/)![0];
  const starts = lines.flatMap((line, at) =>
    line.endsWith(address) && line.startsWith('kvm_exit: L2') ? [at] : [],
  );
  if (starts.length !== 2) throw new Error(`${SCENARIO}: ${starts.length} exits for the access, not 2.`);
  const [first, again] = starts.map((start) => {
    const end = lines.findIndex((line, at) => at > start && line.startsWith('kvm_entry'));
    return lines.slice(start, end + 1).join('\n');
  });
  return { first, again };
}
