/**
 * The format of the tables that L0 makes. Under shadow paging it is always PAE, since the processor runs the guest with a CR4
 * of L0's choice. Nested tables are walked in the host kernel's own paging mode (APM vol. 2 15.25.3, 15.25.5): PAE under a PAE
 * kernel, 2-level under one without PAE.
 */
import { CR4, EFER } from '../../arch/registers.ts';

export interface TableFormat {
  readonly name: 'pae' | 'two-level';
  /** 32-bit words in an entry. */
  readonly entryWords: 1 | 2;
  /** Entries in a table of 4 KiB; also the 4 KiB frames in a large page. */
  readonly entries: 512 | 1024;
  /** Address bits that choose the entry: log2 of `entries`. */
  readonly indexBits: 9 | 10;
  /** 3: a page of four PDPTEs; 2: the page directory. */
  readonly rootLevel: 2 | 3;
  /** Bit 63 of an entry is NX. Otherwise no entry can forbid a fetch alone. */
  readonly nx: boolean;
  /** Directory entries can map large pages. */
  readonly largePages: boolean;
  /** Entries have a bit that is reserved on every processor, by which those of MMIO can be told from faults. */
  readonly reservedBit: boolean;
}

const PAE: TableFormat = {
  name: 'pae',
  entryWords: 2,
  entries: 512,
  indexBits: 9,
  rootLevel: 3,
  nx: true,
  largePages: true,
  reservedBit: true,
};

/** Of shadow paging: L0 runs guests with CR4.PAE = EFER.NXE = 1 (rules.ts: cr4InForce, eferInForce). */
export const SHADOW_FORMAT: TableFormat = Object.freeze(PAE);

const PAE_WITHOUT_NX: TableFormat = Object.freeze({ ...PAE, nx: false });

const TWO_LEVEL: TableFormat = {
  name: 'two-level',
  entryWords: 1,
  entries: 1024,
  indexBits: 10,
  rootLevel: 2,
  nx: false,
  largePages: false,
  reservedBit: false,
};
const TWO_LEVEL_FORMATS = [
  Object.freeze(TWO_LEVEL),
  Object.freeze({ ...TWO_LEVEL, largePages: true }),
] as const;

/**
 * Format of the nested tables under a 32-bit host kernel.
 *
 * @param cr4  the host's, which stays in force for nested walks while a guest runs
 * @param efer the host's, low half
 */
export function nestedFormatOf(cr4: number, efer: number): TableFormat {
  if ((cr4 & CR4.PAE) === 0) return TWO_LEVEL_FORMATS[(cr4 & CR4.PSE) !== 0 ? 1 : 0];
  return (efer & EFER.NXE) !== 0 ? SHADOW_FORMAT : PAE_WITHOUT_NX;
}
