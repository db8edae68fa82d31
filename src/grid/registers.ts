import { CR0, CR4, EFER } from '../arch/registers.ts';
import type { Flag, PagingMode, SettableFlag, SpaceState } from './scenario.ts';

/** The registers that decide how memory is seen; 32 bits each. */
export interface PagingRegisters {
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
}

export type PagingRegister = 'cr0' | 'cr4' | 'efer';

/** Register and bit of each flag that steps name. */
export const FLAG_BITS: Readonly<Record<SettableFlag, { register: PagingRegister; bit: number }>> = {
  'CR0.PG': { register: 'cr0', bit: CR0.PG },
  'CR0.WP': { register: 'cr0', bit: CR0.WP },
  'CR4.PSE': { register: 'cr4', bit: CR4.PSE },
  'CR4.PAE': { register: 'cr4', bit: CR4.PAE },
  'CR4.PGE': { register: 'cr4', bit: CR4.PGE },
  'CR4.SMEP': { register: 'cr4', bit: CR4.SMEP },
  'CR4.SMAP': { register: 'cr4', bit: CR4.SMAP },
  'EFER.NX': { register: 'efer', bit: EFER.NXE },
};

/** Bits that a guest has in every mode: protection on, and the one that VMRUN wants. */
const ALWAYS = { cr0: CR0.PE | CR0.ET, cr4: 0, efer: EFER.SVME };

const modeBits = (mode: PagingMode): { cr0: number; cr4: number } => ({
  cr0: mode === 'off' ? 0 : CR0.PG,
  cr4: mode === 'PAE' ? CR4.PAE : mode === '2-level+PSE' ? CR4.PSE : 0,
});

/** Register values of a state whose root is at physical address `cr3`. */
export function pagingRegisters(state: SpaceState, cr3: number): PagingRegisters {
  const mode = modeBits(state.mode);
  const bits = { cr0: ALWAYS.cr0 | mode.cr0, cr4: ALWAYS.cr4 | mode.cr4, efer: ALWAYS.efer as number };
  for (const flag of state.flags) {
    const { register, bit } = FLAG_BITS[flag];
    bits[register] |= bit;
  }
  return { cr0: bits.cr0 >>> 0, cr3, cr4: bits.cr4, efer: bits.efer };
}

/** The paging mode that registers select (SDM vol. 3A 4.1.1), for reports. */
export function pagingModeOf({ cr0, cr4 }: PagingRegisters): PagingMode {
  if ((cr0 & CR0.PG) === 0) return 'off';
  if ((cr4 & CR4.PAE) !== 0) return 'PAE';
  return (cr4 & CR4.PSE) !== 0 ? '2-level+PSE' : '2-level';
}

/** Features that a flag needs. */
export const FEATURE_OF_FLAG: Readonly<Partial<Record<Flag, 'pge' | 'smep' | 'smap' | 'nx'>>> = {
  'CR4.PGE': 'pge',
  'CR4.SMEP': 'smep',
  'CR4.SMAP': 'smap',
  'EFER.NX': 'nx',
};
