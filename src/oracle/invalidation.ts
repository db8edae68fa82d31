import { CR0, CR4, has } from './bits.ts';
import type { OracleCpu } from './cpu.ts';

/** What a register write does to cached translations and to cached upper-level entries of the current ASID or VPID. */
export interface Invalidation {
  /** `non-global`: translations of global pages may stay. Upper-level entries go with either. */
  readonly translations: 'none' | 'non-global' | 'all';
  /** Whether other PCIDs than the one in use afterwards are affected too. */
  readonly everyPcid: boolean;
}

export const NO_INVALIDATION: Invalidation = { translations: 'none', everyPcid: false };
const EVERYTHING: Invalidation = { translations: 'all', everyPcid: true };

/** MOV to CR0. Both vendors: a change of CR0.PG; the SDM only promises 1 to 0, and paging off leaves nothing behind. */
export function cr0Invalidation(before: OracleCpu, after: OracleCpu): Invalidation {
  return has(before.cr0 ^ after.cr0, CR0.PG) ? EVERYTHING : NO_INVALIDATION;
}

/** MOV to CR3 (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.1 and 5.5.3). `keep`: bit 63 of the operand, with CR4.PCIDE. */
export const cr3Invalidation = (keep: boolean): Invalidation =>
  keep ? NO_INVALIDATION : { translations: 'non-global', everyPcid: false };

/** MOV to CR4: SDM vol. 3A 4.10.4.1 or APM vol. 2 5.5.3 "Implicit Invalidations". */
export function cr4Invalidation(before: OracleCpu, after: OracleCpu): Invalidation {
  const changed = before.cr4 ^ after.cr4;
  const set = changed & after.cr4;
  const cleared = changed & before.cr4;
  if (has(changed, CR4.PGE) || has(cleared, CR4.PCIDE)) return EVERYTHING;
  if (after.features.vendor === 'amd') {
    return has(changed, CR4.PAE | CR4.PSE) || has(set, CR4.PKE) ? EVERYTHING : NO_INVALIDATION;
  }
  if (has(changed, CR4.PAE) || has(set, CR4.SMEP)) return { translations: 'all', everyPcid: false };
  return NO_INVALIDATION;
}
