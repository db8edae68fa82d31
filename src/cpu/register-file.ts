import type { CpuModel } from '../arch/cpu-models.ts';
import { APIC_BASE, MEMORY_TYPE, MISC_ENABLE, MSR, PAT_RESET, VM_CR } from '../arch/msrs.ts';

interface Register {
  lo: number;
  hi: number;
  /** Bits that software may set; setting another raises #GP. */
  readonly allowedLo: number;
  readonly allowedHi: number;
  /** Writes are accepted and change nothing. */
  readonly constant?: boolean;
}

const ALL = 0xffff_ffff;
const APIC_BASE_DEFINED = APIC_BASE.BASE | APIC_BASE.ENABLE | APIC_BASE.BSP;
/** Machine-check banks and variable MTRRs, as MCG_CAP and MTRR_CAP say. */
const BANKS = 4;
const VARIABLE_RANGES = 8;
const FIXED_MTRRS = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
// biome-ignore format: table
const AMD_PLAIN = [
  MSR.SYSCFG, MSR.HWCR, MSR.NB_CFG, MSR.DE_CFG, MSR.LS_CFG, MSR.DC_CFG, MSR.IC_CFG, MSR.BU_CFG,
  MSR.DEBUGCTL, MSR.TOP_MEM, MSR.TOP_MEM2, MSR.INT_PENDING_MSG,
];

const isRangeBase = (index: number): boolean =>
  index >= MSR.MTRR_PHYS_BASE0 && index < MSR.MTRR_PHYS_BASE0 + VARIABLE_RANGES * 2 && (index & 1) === 0;

/** The types that an MTRR may have (SDM vol. 3A table 11-8). */
const isMtrrType = (type: number): boolean => type <= MEMORY_TYPE.WB && type !== 2 && type !== 3;

/** Each of the eight PAT fields must be a memory type (SDM vol. 3A 11.12.2). */
function isPat(lo: number, hi: number): boolean {
  for (const half of [lo, hi]) {
    for (let shift = 0; shift < 32; shift += 8) {
      const type = (half >>> shift) & 0xff;
      if (type !== MEMORY_TYPE.UC_MINUS && !isMtrrType(type)) return false;
    }
  }
  return true;
}

/** Whether APIC_BASE may hold this: bits 7:0, 10:9 and those from MAXPHYADDR on are reserved (SDM vol. 3A 10.4.4). */
export const isApicBase = (model: CpuModel, lo: number, hi: number): boolean =>
  (lo & ~APIC_BASE_DEFINED) === 0 && hi >>> 0 < 2 ** (model.maxPhysicalAddressBits - 32);

/**
 * The model-specific registers of a CPU model that only hold a value (SDM vol. 4, APM vol. 2 appendix A): with their
 * reserved bits, without effects. The processor has one, and a hypervisor one for each virtual processor.
 */
export class RegisterFile {
  readonly #model: CpuModel;
  readonly #registers = new Map<number, Register>();

  constructor(model: CpuModel) {
    this.#model = model;
    this.reset();
  }

  /** Values after RESET. */
  reset(): void {
    this.#registers.clear();
    const { features } = this.#model;
    if (features.has('sep'))
      for (const n of [MSR.SYSENTER_CS, MSR.SYSENTER_ESP, MSR.SYSENTER_EIP]) this.#plain(n);
    if (features.has('pat')) this.#plain(MSR.PAT, PAT_RESET.lo, PAT_RESET.hi);
    if (features.has('rdtscp')) this.#plain(MSR.TSC_AUX);
    if (features.has('mtrr')) this.#memoryTypes();
    if (features.has('mca')) this.#machineChecks();
    this.#vendorRegisters();
    if (features.has('svm')) {
      this.#register(MSR.VM_HSAVE_PA, 0, 0, 0xffff_f000, this.#addressHi);
      this.#register(MSR.VM_CR, 0, 0, 0x1f, 0);
    }
  }

  /** The register, `undefined` if the model lacks it. Its halves may be written: without checks, as VMLOAD does. */
  get(index: number): { lo: number; hi: number } | undefined {
    return this.#registers.get(index);
  }

  /** WRMSR with its checks. False: no such register, or a value that it cannot hold; nothing changed. */
  write(index: number, lo: number, hi: number): boolean {
    const register = this.#registers.get(index);
    if (register === undefined) return false;
    if (register.constant) return true;
    if ((lo & ~register.allowedLo) !== 0 || (hi & ~register.allowedHi) !== 0) return false;
    if (index === MSR.PAT && !isPat(lo, hi)) return false;
    if ((index === MSR.MTRR_DEF_TYPE || isRangeBase(index)) && !isMtrrType(lo & 0xff)) return false;
    // VM_CR.LOCK freezes itself and SVMDIS (APM vol. 2 15.30.1).
    const locked = index === MSR.VM_CR && (register.lo & VM_CR.LOCK) !== 0;
    const frozen = locked ? VM_CR.LOCK | VM_CR.SVMDIS : 0;
    register.lo = ((lo & ~frozen) | (register.lo & frozen)) >>> 0;
    register.hi = hi >>> 0;
    return true;
  }

  /** Bits of a physical address in the high half. */
  get #addressHi(): number {
    return 2 ** (this.#model.maxPhysicalAddressBits - 32) - 1;
  }

  #plain(index: number, lo = 0, hi = 0): void {
    this.#register(index, lo, hi, ALL, ALL);
  }
  #register(index: number, lo: number, hi: number, allowedLo: number, allowedHi: number): void {
    this.#registers.set(index, { lo, hi, allowedLo, allowedHi });
  }
  #constant(index: number, lo: number, hi = 0): void {
    this.#registers.set(index, { lo, hi, allowedLo: ALL, allowedHi: ALL, constant: true });
  }

  /** SDM vol. 3A 11.11: eight variable ranges, the fixed ones, write-combining. */
  #memoryTypes(): void {
    this.#registers.set(MSR.MTRR_CAP, { lo: 0x500 | VARIABLE_RANGES, hi: 0, allowedLo: 0, allowedHi: 0 });
    for (let n = 0; n < VARIABLE_RANGES * 2; n += 2) {
      this.#register(MSR.MTRR_PHYS_BASE0 + n, 0, 0, 0xffff_f0ff, this.#addressHi);
      this.#register(MSR.MTRR_PHYS_MASK0 + n, 0, 0, 0xffff_f800, this.#addressHi);
    }
    for (const index of FIXED_MTRRS) this.#plain(index, 0x0606_0606, 0x0606_0606);
    this.#register(MSR.MTRR_DEF_TYPE, 0xc06, 0, 0xcff, 0);
  }

  #machineChecks(): void {
    this.#registers.set(MSR.MCG_CAP, { lo: 0x100 | BANKS, hi: 0, allowedLo: 0, allowedHi: 0 });
    this.#plain(MSR.MCG_STATUS);
    this.#plain(MSR.MCG_CTL, ALL, ALL);
    for (let n = 0; n < BANKS * 4; n++) this.#plain(MSR.MC0_CTL + n);
  }

  #vendorRegisters(): void {
    const model = this.#model;
    if (model.family >= 6) this.#constant(MSR.PATCH_LEVEL, 0);
    if (model.vendor === 'GenuineIntel') {
      if (model.family >= 6) {
        this.#constant(MSR.PLATFORM_ID, 0);
        this.#plain(MSR.EBL_CR_POWERON);
        this.#plain(MSR.DEBUGCTL);
        this.#plain(MSR.MISC_ENABLE, MISC_ENABLE.FAST_STRING, 0);
        this.#constant(MSR.UCODE_WRITE, 0);
      } else if (model.family === 5) this.#pentiumRegisters();
      if (model.family === 6) this.#performanceCounters();
      return;
    }
    for (const index of AMD_PLAIN) this.#plain(index);
    for (let n = 0; n < 4; n++) {
      this.#plain(MSR.K7_EVNTSEL0 + n);
      this.#plain(MSR.K7_PERFCTR0 + n);
    }
    this.#constant(MSR.PATCH_LOADER, 0);
    for (let n = 0; n < BANKS; n++) this.#plain(MSR.MC0_CTL_MASK + n);
  }

  /** Machine check and events of the Pentium (SDM vol. 4 2.21); the counters count nothing. */
  #pentiumRegisters(): void {
    for (const index of [MSR.P5_MC_ADDR, MSR.P5_MC_TYPE, MSR.P5_CESR, MSR.P5_CTR0, MSR.P5_CTR1])
      this.#plain(index);
  }

  /** The two counters of the P6 (SDM vol. 4 2.20), which count nothing. */
  #performanceCounters(): void {
    for (const index of [MSR.PERFCTR0, MSR.PERFCTR1, MSR.EVNTSEL0, MSR.EVNTSEL1]) this.#plain(index);
  }
}
