import { VMEXIT } from '../../arch/svm-exits.ts';
import { INTERCEPT1, INTERCEPT2 } from '../../arch/vmcb.ts';

/** Where the bit of an intercept is, and the exit code. */
interface InterceptBit {
  /** In the word at offset 010h; else at 00Ch. */
  readonly isSecond: boolean;
  readonly bit: number;
  readonly code: number;
}

// biome-ignore format: table
const FIRST_WORD = [
  'PUSHF', 'POPF', 'CPUID', 'RDTSC', 'RDPMC', 'HLT', 'PAUSE', 'RSM', 'INVLPGA', 'INVD',
] as const;
// biome-ignore format: table
const SECOND_WORD = [
  'RDTSCP', 'MONITOR', 'MWAIT', 'VMRUN', 'VMMCALL', 'VMLOAD', 'VMSAVE', 'STGI', 'CLGI', 'SKINIT', 'ICEBP', 'WBINVD',
] as const;

/** Instructions whose intercept is one bit and whose exit says no more. */
export type SimpleIntercept = (typeof FIRST_WORD)[number] | (typeof SECOND_WORD)[number];

export const SIMPLE_INTERCEPTS = Object.fromEntries([
  ...FIRST_WORD.map((name) => [name, { isSecond: false, bit: INTERCEPT1[name], code: VMEXIT[name] }]),
  ...SECOND_WORD.map((name) => [name, { isSecond: true, bit: INTERCEPT2[name], code: VMEXIT[name] }]),
]) as Readonly<Record<SimpleIntercept, InterceptBit>>;

/** The accesses to descriptor-table registers and selectors that have intercepts. */
// biome-ignore format: table
export const TABLE_INTERCEPTS = {
  idt: { read: 'IDTR_READ', write: 'IDTR_WRITE' },
  gdt: { read: 'GDTR_READ', write: 'GDTR_WRITE' },
  ldt: { read: 'LDTR_READ', write: 'LDTR_WRITE' },
  tr:  { read: 'TR_READ',   write: 'TR_WRITE' },
} as const;
