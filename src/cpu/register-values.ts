/** What values model-specific registers may hold: WRMSR raises #GP for others. */
import type { CpuModel } from '../arch/cpu-models.ts';
import { APIC_BASE, HWCR, MEMORY_TYPE, MSR, SYSCFG } from '../arch/msrs.ts';

/** The other registers, for rules that depend on them: the low half, 0 if the model lacks the register. */
export type LowHalf = (index: number) => number;
/** Whether a register may hold these unsigned halves. */
export type Accepts = (lo: number, hi: number, lowOf: LowHalf) => boolean;

const APIC_BASE_DEFINED = APIC_BASE.BASE | APIC_BASE.ENABLE | APIC_BASE.BSP;
const RESERVED_TYPES: readonly number[] = [2, 3];
/** RdMem and WrMem of each range in a fixed MTRR (APM vol. 2 7.9.1). */
const DRAM_BITS = 0x18;
export const DRAM_ATTRIBUTES = 0x1818_1818;

/** The Pentium's APIC stays where it is; the register came with the P6 (SDM vol. 3A 10.4.4, vol. 4 2.22). */
export const hasApicBase = (model: CpuModel): boolean => model.family >= 6;

/** Whether APIC_BASE may hold this: bits 7:0, 10:9 and those from MAXPHYADDR on are reserved (SDM vol. 3A 10.4.4). */
export const isApicBase = (model: CpuModel, lo: number, hi: number): boolean =>
  (lo & ~APIC_BASE_DEFINED) === 0 && hi >>> 0 < 2 ** (model.maxPhysicalAddressBits - 32);

/** The types that an MTRR may have (SDM vol. 3A table 11-8). */
const isMtrrType = (type: number): boolean => type <= MEMORY_TYPE.WB && !RESERVED_TYPES.includes(type);

/** MTRRdefType and the base of a variable range have one type, in the low byte (SDM vol. 3A 11.11.2.1, 11.11.2.3). */
export const hasMtrrType: Accepts = (lo) => isMtrrType(lo & 0xff);

function everyByte(lo: number, hi: number, holds: (byte: number) => boolean): boolean {
  for (const half of [lo, hi]) {
    for (let shift = 0; shift < 32; shift += 8) if (!holds((half >>> shift) & 0xff)) return false;
  }
  return true;
}

/** Whether fixed MTRRs show RdMem and WrMem, which AMD's have (APM vol. 2 7.9.1). */
export const showsDramAttributes = (lowOf: LowHalf): boolean =>
  (lowOf(MSR.SYSCFG) & SYSCFG.MTRR_FIX_DRAM_MOD_EN) !== 0;

/** Eight types (SDM vol. 3A 11.11.2.2), on AMD with the attributes above where SYSCFG shows them. */
export const isFixedMtrr: Accepts = (lo, hi, lowOf) => {
  const attributes = showsDramAttributes(lowOf) ? DRAM_BITS : 0;
  return everyByte(lo, hi, (byte) => isMtrrType(byte & ~attributes));
};

/** Four fields of the PAT: bits 7:3 of each are zero, and bit 1 comes only with bit 2. */
const isHalfOfPat = (half: number): boolean =>
  ((half & 0xf8f8_f8f8) | (half & ~(half >>> 1) & 0x0202_0202)) === 0;

/** Each of the eight PAT fields must be a memory type (SDM vol. 3A 11.12.2). */
export const isPat = (lo: number, hi: number): boolean => isHalfOfPat(lo) && isHalfOfPat(hi);

/** What a machine check left can only be cleared (SDM vol. 3B 15.3.2.2 to 15.3.2.4). */
export const isCleared: Accepts = (lo, hi) => (lo | hi) === 0;

/** AMD's MCi_STATUS takes other values for tests, under HWCR.McStatusWrEn (APM vol. 2 9.3.2). */
export const isAmdStatus: Accepts = (lo, hi, lowOf) =>
  (lo | hi) === 0 || (lowOf(MSR.HWCR) & HWCR.MC_STATUS_WR_EN) !== 0;
