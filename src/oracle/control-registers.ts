import { bits, CR0, CR4, EFER, has } from './bits.ts';
import type { OracleCpu, OracleFeatures } from './cpu.ts';
import {
  cr0Invalidation,
  cr3Invalidation,
  cr4Invalidation,
  type Invalidation,
  NO_INVALIDATION,
} from './invalidation.ts';
import type { PhysicalMemory } from './memory.ts';
import { type ControlWrite, loadPdptes, pdptesAreLoaded } from './pdptes.ts';

/** A register write took effect. */
export interface Written {
  readonly outcome: 'ok';
  readonly cpu: OracleCpu;
  readonly pdptesLoaded: boolean;
  readonly invalidates: Invalidation;
}

/** A register write raises #GP(0) and changes nothing. */
export interface Refused {
  readonly outcome: 'fault';
  readonly vector: 13;
  readonly errorCode: 0;
  /** The rule, with its section. */
  readonly reason: string;
}

export type RegisterWrite = Written | Refused;

const refuse = (reason: string): Refused => ({ outcome: 'fault', vector: 13, errorCode: 0, reason });

// Bits 15:6, 17, 28:19 of CR0 stay clear and ET stays set whatever is written (SDM vol. 3A 2.5).
const CR0_WRITABLE = CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG;

const longModeActive = (cpu: OracleCpu): boolean => has(cpu.efer, EFER.LMA);
const in64BitMode = (cpu: OracleCpu): boolean => longModeActive(cpu) && cpu.csLong;

/** MOV to CR0, the whole operand (SDM vol. 2B "MOV - Move to/from Control Registers", vol. 3A 2.5; APM vol. 2 3.1.1). */
export function writeCr0(cpu: OracleCpu, memory: PhysicalMemory, value: bigint): RegisterWrite {
  if (cpu.cpl !== 0) return refuse('MOV to CR0 needs CPL 0 (SDM vol. 2B, MOV)');
  if (has(value, bits(63, 32))) return refuse('CR0 bits 63:32 are reserved (SDM vol. 3A 2.5)');
  const cr0 = (value & CR0_WRITABLE) | CR0.ET;
  const setsPaging = has(cr0, CR0.PG) && !has(cpu.cr0, CR0.PG);
  const clearsPaging = !has(cr0, CR0.PG) && has(cpu.cr0, CR0.PG);
  if (has(cr0, CR0.PG) && !has(cr0, CR0.PE)) return refuse('CR0.PG needs CR0.PE (SDM vol. 3A 2.5)');
  if (has(cr0, CR0.NW) && !has(cr0, CR0.CD)) return refuse('CR0.NW needs CR0.CD (SDM vol. 3A 2.5)');
  if (setsPaging && has(cpu.efer, EFER.LME)) {
    if (!has(cpu.cr4, CR4.PAE)) return refuse('EFER.LME with CR0.PG needs CR4.PAE (SDM vol. 3A 4.1.2)');
    if (cpu.csLong) return refuse('long mode is not entered with CS.L set (SDM vol. 3A 9.8.5)');
  }
  if (clearsPaging && in64BitMode(cpu)) return refuse('64-bit mode cannot clear CR0.PG (SDM vol. 3A 4.1.2)');
  if (clearsPaging && has(cpu.cr4, CR4.PCIDE)) return refuse('CR4.PCIDE needs CR0.PG (SDM vol. 3A 4.10.1)');
  if (!has(cr0, CR0.WP) && has(cpu.cr4, CR4.CET)) return refuse('CR4.CET needs CR0.WP (SDM vol. 3A 2.5)');
  // EFER.LMA = LME and PG (APM vol. 2 14.6.1).
  const lma = has(cr0, CR0.PG) && has(cpu.efer, EFER.LME);
  const after = { ...cpu, cr0, efer: lma ? cpu.efer | EFER.LMA : cpu.efer & ~EFER.LMA };
  return finish(cpu, after, memory, 'cr0', cr0Invalidation(cpu, after));
}

/**
 * MOV to CR3: 64 bits in 64-bit mode, 32 otherwise (SDM vol. 2B, MOV; vol. 3A 2.5 and 4.10.1). The address of the
 * tables need not be memory.
 */
export function writeCr3(cpu: OracleCpu, memory: PhysicalMemory, value: bigint): RegisterWrite {
  if (cpu.cpl !== 0) return refuse('MOV to CR3 needs CPL 0 (SDM vol. 2B, MOV)');
  const pcids = has(cpu.cr4, CR4.PCIDE);
  const keep = pcids && has(value, bits(63, 63));
  const cr3 = pcids ? value & bits(62, 0) : value;
  if (has(cr3, bits(63, cpu.maxPhyAddr))) {
    return refuse(`CR3 bits 63:${cpu.maxPhyAddr} are reserved (SDM vol. 3A 2.5)`);
  }
  const after = { ...cpu, cr3 };
  return finish(cpu, after, memory, 'cr3', cr3Invalidation(keep));
}

/**
 * CR3 as a task switch loads it from the new TSS, 32 bits (SDM vol. 3A 7.3). Unlike MOV to CR3 it invalidates and
 * loads PDPTEs only if the value changes (SDM vol. 3A 4.4.1, 4.10.4.1). Illegal PDPTEs raise #GP(0) in the new task.
 */
export function taskSwitchCr3(cpu: OracleCpu, memory: PhysicalMemory, value: bigint): RegisterWrite {
  const after = { ...cpu, cr3: value & bits(31, 0) };
  const invalidates = after.cr3 === cpu.cr3 ? NO_INVALIDATION : cr3Invalidation(false);
  return finish(cpu, after, memory, 'task switch', invalidates);
}

/** MOV to CR4, the whole operand (SDM vol. 2B, MOV; vol. 3A 2.5; APM vol. 2 3.1.3). */
export function writeCr4(cpu: OracleCpu, memory: PhysicalMemory, value: bigint): RegisterWrite {
  if (cpu.cpl !== 0) return refuse('MOV to CR4 needs CPL 0 (SDM vol. 2B, MOV)');
  if (has(value, cr4Reserved(cpu.features))) return refuse('a reserved bit of CR4 is set (SDM vol. 3A 2.5)');
  const changed = cpu.cr4 ^ value;
  const set = changed & value;
  if (longModeActive(cpu)) {
    if (has(changed, CR4.PAE)) return refuse('long mode keeps CR4.PAE (SDM vol. 3A 4.1.2)');
    if (has(changed, CR4.LA57)) return refuse('long mode keeps CR4.LA57 (SDM vol. 3A 4.1.2)');
  }
  if (has(set, CR4.PCIDE) && (!longModeActive(cpu) || has(cpu.cr3, bits(11, 0)))) {
    return refuse('CR4.PCIDE needs long mode and CR3[11:0] = 0 (SDM vol. 3A 4.10.1)');
  }
  if (has(value, CR4.CET) && !has(cpu.cr0, CR0.WP)) return refuse('CR4.CET needs CR0.WP (SDM vol. 3A 2.5)');
  const after = { ...cpu, cr4: value };
  return finish(cpu, after, memory, 'cr4', cr4Invalidation(cpu, after));
}

/** WRMSR to EFER (APM vol. 2 3.1.7, SDM vol. 3A 2.2.1). LMA is read-only: what is written to it is ignored. */
export function writeEfer(cpu: OracleCpu, value: bigint): RegisterWrite {
  if (cpu.cpl !== 0) return refuse('WRMSR needs CPL 0 (SDM vol. 2C, WRMSR)');
  if (has(value, eferReserved(cpu.features)))
    return refuse('a reserved bit of EFER is set (APM vol. 2 3.1.7)');
  if (has(cpu.efer ^ value, EFER.LME) && has(cpu.cr0, CR0.PG)) {
    return refuse('EFER.LME cannot change while CR0.PG is set (APM vol. 2 14.6.1)');
  }
  const efer = (value & ~EFER.LMA) | (cpu.efer & EFER.LMA);
  return { outcome: 'ok', cpu: { ...cpu, efer }, pdptesLoaded: false, invalidates: NO_INVALIDATION };
}

function finish(
  before: OracleCpu,
  after: OracleCpu,
  memory: PhysicalMemory,
  write: ControlWrite,
  invalidates: Invalidation,
): RegisterWrite {
  if (!pdptesAreLoaded(before, after, write))
    return { outcome: 'ok', cpu: after, pdptesLoaded: false, invalidates };
  const pdptes = loadPdptes(after, memory, after.cr3);
  if (pdptes === undefined) return refuse('a present PDPTE has a reserved bit set (SDM vol. 3A 4.4.1)');
  return { outcome: 'ok', cpu: { ...after, pdptes }, pdptesLoaded: true, invalidates };
}

/** Bits of CR4 that the processor does not have (SDM vol. 3A 2.5: each bit with its CPUID flag). */
export function cr4Reserved(f: OracleFeatures): bigint {
  // biome-ignore format: table
  const present: readonly (readonly [bigint, boolean])[] = [
    [CR4.VME | CR4.PVI, f.vme], [CR4.TSD, f.tsc], [CR4.DE, f.de], [CR4.PSE, f.pse], [CR4.PAE, f.pae],
    [CR4.MCE, f.mce], [CR4.PGE, f.pge], [CR4.PCE, f.performanceCounters], [CR4.OSFXSR, f.fxsr],
    [CR4.OSXMMEXCPT, f.sse], [CR4.UMIP, f.umip], [CR4.LA57, f.la57], [CR4.VMXE, f.vmx], [CR4.SMXE, f.smx],
    [CR4.FSGSBASE, f.fsgsbase], [CR4.PCIDE, f.pcid], [CR4.OSXSAVE, f.xsave], [CR4.SMEP, f.smep],
    [CR4.SMAP, f.smap], [CR4.PKE, f.pku], [CR4.CET, f.cet],
  ];
  return reservedBits(present);
}

/** Bits of EFER that the processor does not have. LMA counts as reserved where there is no long mode. */
export function eferReserved(f: OracleFeatures): bigint {
  // biome-ignore format: table
  return reservedBits([
    [EFER.SCE, f.syscall], [EFER.LME | EFER.LMA, f.longMode], [EFER.NXE, f.nx], [EFER.SVME, f.svm],
    [EFER.LMSLE, f.lmsle], [EFER.FFXSR, f.ffxsr], [EFER.TCE, f.tce],
  ]);
}

function reservedBits(present: readonly (readonly [bigint, boolean])[]): bigint {
  let reserved = bits(63, 0);
  for (const [mask, exists] of present) if (exists) reserved &= ~mask;
  return reserved;
}
