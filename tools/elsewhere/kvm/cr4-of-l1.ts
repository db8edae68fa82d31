import { CR0, CR4 } from '../../../src/arch/registers.ts';
import { FLAG_BITS } from '../../../src/grid/registers.ts';
import type { Moment } from '../explain.ts';

const L1 = 'L1';

/** An L2 exits to L1 with its CR0.PG clear: at a step of its own, with what follows, if anything does, being L1's. */
export const exitsWithoutPaging = ({ level, registers }: Moment, next: Moment | undefined): boolean =>
  level !== L1 && (registers.cr0 & CR0.PG) === 0 && (next === undefined || next.level === L1);

/**
 * L1's CR4 as KVM with npt=0 has it after the steps of `past`, of which L1 takes the next one; undefined where it is L1's
 * own. At #VMEXIT svm_set_cr0 (kvm/svm/svm.c), seeing CR0.PG change, writes CR4 anew, which is L2's still, into the place
 * from which nested_svm_vmexit (kvm/svm/nested.c) takes L1's a moment later.
 */
export function cr4OfL1(past: readonly Moment[]): number | undefined {
  let cr4: number | undefined;
  past.forEach((moment, index) => {
    const { step, level, registers } = moment;
    if (exitsWithoutPaging(moment, past[index + 1])) cr4 = registers.cr4 | CR4.PAE | CR4.MCE;
    if (level !== L1 || cr4 === undefined) return;
    // Paging is off in between, and CR4 written whole.
    if (step.do === 'switch') cr4 = undefined;
    if (step.do !== 'set' || cr4 === undefined) return;
    const { register, bit } = FLAG_BITS[step.flag];
    if (register === 'cr4') cr4 = step.value ? cr4 | bit : cr4 & ~bit;
  });
  return cr4;
}
