import { CR0, CR4, EFER, has } from './bits.ts';

/** CPUID as far as it decides which register bits and entry bits exist. Names follow the CPUID flags. */
export interface OracleFeatures {
  /** The manuals differ in which operations flush what, and in how a fault from a stale entry is reported. */
  readonly vendor: 'amd' | 'intel';
  readonly vme: boolean;
  readonly de: boolean;
  readonly pse: boolean;
  readonly tsc: boolean;
  readonly mce: boolean;
  readonly pae: boolean;
  readonly pge: boolean;
  readonly pat: boolean;
  readonly pse36: boolean;
  readonly fxsr: boolean;
  readonly sse: boolean;
  /** RDPMC, hence CR4.PCE. */
  readonly performanceCounters: boolean;
  readonly nx: boolean;
  readonly syscall: boolean;
  readonly longMode: boolean;
  readonly gigabytePages: boolean;
  readonly svm: boolean;
  /** Nested paging (APM vol. 2 15.25.2). */
  readonly npt: boolean;
  readonly ffxsr: boolean;
  readonly tce: boolean;
  readonly lmsle: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly umip: boolean;
  readonly fsgsbase: boolean;
  readonly pcid: boolean;
  readonly xsave: boolean;
  readonly pku: boolean;
  readonly la57: boolean;
  readonly vmx: boolean;
  readonly smx: boolean;
  readonly cet: boolean;
}

/** The four PDPTE registers of PAE paging, index = linear address bits 31:30 (SDM vol. 3A 4.4.1). */
export type Pdptes = readonly [bigint, bigint, bigint, bigint];

/** Everything outside memory that a translation depends on. Immutable: register writes give a new one. */
export interface OracleCpu {
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly pdptes: Pdptes;
  /**
   * PAE paging reads its PDPTEs from memory on use instead of from the registers: AMD processors in guest mode, and
   * recent ones always (APM vol. 2 5.5.3 "Handling of PDPT Entries in PAE Mode", 15.25.10).
   */
  readonly pdptesInMemory: boolean;
  /** MAXPHYADDR, 32 to 52 (SDM vol. 3A 4.1.4). */
  readonly maxPhyAddr: number;
  readonly features: OracleFeatures;
  readonly cpl: 0 | 1 | 2 | 3;
  readonly eflagsAc: boolean;
  /** CS.L: 64-bit mode when EFER.LMA is set too. */
  readonly csLong: boolean;
  readonly pkru: number;
}

/** SDM vol. 3A 4.1.1. The 2-level format is "32-bit paging" there; CR4.PSE decides about its large pages. */
export type PagingMode = 'off' | '2-level' | 'pae' | '4-level' | '5-level';

/** Which format walks linear addresses (SDM vol. 3A 4.1.1, APM vol. 2 figure 5-1). */
export function pagingMode(cpu: OracleCpu): PagingMode {
  if (!has(cpu.cr0, CR0.PG)) return 'off';
  if (!has(cpu.cr4, CR4.PAE)) return '2-level';
  if (!has(cpu.efer, EFER.LME)) return 'pae';
  return has(cpu.cr4, CR4.LA57) ? '5-level' : '4-level';
}

/** Whether bit 63 of a PAE, 4-level or 5-level entry means execute-disable instead of being reserved. */
export const executeDisableEnabled = (cpu: OracleCpu): boolean => has(cpu.efer, EFER.NXE);

/** Whether execute-disable is a right at all: not in 2-level paging, whose entries have no bit for it. */
export const executeDisableCounts = (cpu: OracleCpu): boolean =>
  has(cpu.cr4, CR4.PAE) && executeDisableEnabled(cpu);

/** Process-context identifier in use; 0 unless CR4.PCIDE (SDM vol. 3A 4.10.1). */
export const currentPcid = (cpu: OracleCpu): number =>
  has(cpu.cr4, CR4.PCIDE) ? Number(cpu.cr3 & 0xfffn) : 0;

const EVERYTHING_32_BIT: OracleFeatures = {
  vendor: 'amd',
  vme: true,
  de: true,
  pse: true,
  tsc: true,
  mce: true,
  pae: true,
  pge: true,
  pat: true,
  pse36: true,
  fxsr: true,
  sse: true,
  performanceCounters: true,
  nx: true,
  syscall: true,
  longMode: false,
  gigabytePages: false,
  svm: true,
  npt: true,
  ffxsr: true,
  tce: false,
  lmsle: false,
  smep: true,
  smap: true,
  umip: true,
  fsgsbase: false,
  pcid: false,
  xsave: false,
  pku: false,
  la57: false,
  vmx: false,
  smx: false,
  cet: false,
};

/** Features of an AMD processor without long mode and with all that 32-bit paging knows, changed as asked. */
export const oracleFeatures = (changes: Partial<OracleFeatures> = {}): OracleFeatures => ({
  ...EVERYTHING_32_BIT,
  ...changes,
});

/** A processor in protected mode at CPL 0 with paging off and MAXPHYADDR 40, changed as asked. */
export const oracleCpu = (changes: Partial<OracleCpu> = {}): OracleCpu => ({
  cr0: CR0.PE | CR0.ET,
  cr3: 0n,
  cr4: 0n,
  efer: 0n,
  pdptes: [0n, 0n, 0n, 0n],
  pdptesInMemory: false,
  maxPhyAddr: 40,
  features: EVERYTHING_32_BIT,
  cpl: 0,
  eflagsAc: false,
  csLong: false,
  pkru: 0,
  ...changes,
});
