/** G_PAT of a VMCB: the PAT of a guest that runs on nested tables (APM vol. 2 15.25.4). */
import { PAT_RESET } from '../../arch/msrs.ts';
import { CLEAN, VMCB_SAVE } from '../../arch/vmcb.ts';
import type { Halves } from '../hardware.ts';
import type { Vmcb } from './vmcb.ts';

/** Puts a PAT in force. A guest whose CPU has none gets that of RESET, whose first types are those without PAT. */
export function setGuestPat(vmcb: Vmcb, pat: Halves = PAT_RESET): void {
  vmcb.write64(VMCB_SAVE.G_PAT, pat.lo, pat.hi);
  vmcb.dirty(CLEAN.NP);
}
