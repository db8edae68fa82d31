/**
 * Model-specific registers of a vCPU: those that only hold a value, by the VM's CPU model (SDM vol. 4, APM vol. 2
 * appendix A). What has effects is in exits/msr.ts.
 */
import type { CpuModel } from '../arch/cpu-models.ts';
import { MISC_ENABLE, MSR, PAT_RESET } from '../arch/msrs.ts';
import type { Halves } from './hardware.ts';

interface Register {
  lo: number;
  hi: number;
  /** Bits that software may set; setting another raises #GP. */
  readonly writableLo: number;
  readonly writableHi: number;
  /** Writes are accepted and change nothing. */
  readonly constant: boolean;
}

const ALL = 0xffff_ffff;
const MACHINE_CHECK_BANKS = 4;
const VARIABLE_RANGES = 8;
// biome-ignore format: table
const FIXED_RANGES = [
  MSR.MTRR_FIX_64K_00000, MSR.MTRR_FIX_16K_80000, MSR.MTRR_FIX_16K_A0000,
  MSR.MTRR_FIX_4K_C0000, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, MSR.MTRR_FIX_4K_F8000,
] as const;
// biome-ignore format: table
const AMD_PLAIN = [
  MSR.SYSCFG, MSR.HWCR, MSR.NB_CFG, MSR.DE_CFG, MSR.LS_CFG, MSR.DC_CFG, MSR.IC_CFG, MSR.BU_CFG, MSR.DEBUGCTL,
  MSR.TOP_MEM, MSR.TOP_MEM2, MSR.INT_PENDING_MSG,
] as const;
const PENTIUM_PLAIN = [MSR.P5_MC_ADDR, MSR.P5_MC_TYPE, MSR.P5_CESR, MSR.P5_CTR0, MSR.P5_CTR1] as const;
const P6_PLAIN = [MSR.PERFCTR0, MSR.PERFCTR1, MSR.EVNTSEL0, MSR.EVNTSEL1] as const;

export class MsrFile {
  readonly #registers = new Map<number, Register>();

  constructor(model: CpuModel) {
    const features: ReadonlySet<string> = model.features;
    if (features.has('pat')) this.#plain(MSR.PAT, PAT_RESET.lo, PAT_RESET.hi);
    if (features.has('rdtscp')) this.#plain(MSR.TSC_AUX);
    if (features.has('mtrr')) this.#memoryTypes();
    if (features.has('mca')) this.#machineChecks();
    if (features.has('svm')) {
      // The save area is a page below MAXPHYADDR (APM vol. 2 15.30.4).
      this.#add(MSR.VM_HSAVE_PA, 0, 0, 0xffff_f000, 2 ** Math.max(model.maxPhysicalAddressBits - 32, 0) - 1);
      this.#add(MSR.VM_CR, 0, 0, 0x1f, 0);
    }
    if (model.family >= 6) this.#constant(MSR.PATCH_LEVEL);
    if (model.vendor === 'AuthenticAMD') this.#amd();
    else this.#intel(model.family);
  }

  /** Null: there is no such register. */
  read(index: number): Halves | null {
    return this.#registers.get(index) ?? null;
  }

  /** False: no such register, or a reserved bit. */
  write(index: number, lo: number, hi: number): boolean {
    const register = this.#registers.get(index);
    if (register === undefined) return false;
    if (register.constant) return true;
    if ((lo & ~register.writableLo) !== 0 || (hi & ~register.writableHi) !== 0) return false;
    if (index === MSR.PAT && !(hasMemoryTypes(lo) && hasMemoryTypes(hi))) return false;
    register.lo = lo >>> 0;
    register.hi = hi >>> 0;
    return true;
  }

  #add(index: number, lo: number, hi: number, writableLo: number, writableHi: number): void {
    this.#registers.set(index, { lo, hi, writableLo, writableHi, constant: false });
  }

  #plain(index: number, lo = 0, hi = 0): void {
    this.#add(index, lo, hi, ALL, ALL);
  }

  #constant(index: number): void {
    this.#registers.set(index, { lo: 0, hi: 0, writableLo: 0, writableHi: 0, constant: true });
  }

  /** SDM vol. 3A 11.11: eight variable ranges, the fixed ones, write-combining. */
  #memoryTypes(): void {
    this.#add(MSR.MTRR_CAP, 0x500 | VARIABLE_RANGES, 0, 0, 0);
    for (let n = 0; n < VARIABLE_RANGES * 2; n += 1) this.#plain(MSR.MTRR_PHYS_BASE0 + n);
    for (const index of FIXED_RANGES) this.#plain(index, 0x0606_0606, 0x0606_0606);
    this.#add(MSR.MTRR_DEF_TYPE, 0xc06, 0, 0xcff, 0);
  }

  /** SDM vol. 3B 15.3. */
  #machineChecks(): void {
    this.#add(MSR.MCG_CAP, 0x100 | MACHINE_CHECK_BANKS, 0, 0, 0);
    this.#plain(MSR.MCG_STATUS);
    this.#plain(MSR.MCG_CTL, ALL, ALL);
    for (let n = 0; n < MACHINE_CHECK_BANKS * 4; n += 1) this.#plain(MSR.MC0_CTL + n);
  }

  /** SDM vol. 4 2.20, 2.21; counters count nothing. */
  #intel(family: number): void {
    if (family === 5) for (const index of PENTIUM_PLAIN) this.#plain(index);
    if (family === 6) for (const index of P6_PLAIN) this.#plain(index);
    if (family < 6) return;
    this.#constant(MSR.PLATFORM_ID);
    this.#constant(MSR.UCODE_WRITE);
    this.#plain(MSR.EBL_CR_POWERON);
    this.#plain(MSR.DEBUGCTL);
    this.#plain(MSR.MISC_ENABLE, MISC_ENABLE.FAST_STRING);
  }

  #amd(): void {
    for (const index of AMD_PLAIN) this.#plain(index);
    for (let n = 0; n < 4; n += 1) {
      this.#plain(MSR.K7_EVNTSEL0 + n);
      this.#plain(MSR.K7_PERFCTR0 + n);
    }
    this.#constant(MSR.PATCH_LOADER);
    for (let n = 0; n < MACHINE_CHECK_BANKS; n += 1) this.#plain(MSR.MC0_CTL_MASK + n);
  }
}

/** Each byte of the PAT must be a memory type (SDM vol. 3A 11.12.2). */
function hasMemoryTypes(half: number): boolean {
  for (let shift = 0; shift < 32; shift += 8) {
    const type = (half >>> shift) & 0xff;
    if (type > 7 || type === 2 || type === 3) return false;
  }
  return true;
}
