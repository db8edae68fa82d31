import type { CpuModel } from '../arch/cpu-models.ts';
import type { CpuidState } from '../arch/cpuid.ts';
import {
  APIC_BASE,
  DEBUGCTL,
  LASTBRANCH,
  MISC_ENABLE,
  MISC_ENABLE_HI_XD_DISABLE,
  MSR,
  PAT_RESET,
  VM_CR,
} from '../arch/msrs.ts';
import { EFER } from '../arch/registers.ts';
import {
  type Accepts,
  DRAM_ATTRIBUTES,
  hasMtrrType,
  isAmdStatus,
  isCleared,
  isFixedMtrr,
  isPat,
  type LowHalf,
  showsDramAttributes,
} from './register-values.ts';

interface Register {
  lo: number;
  hi: number;
  readonly rule: Rule;
}

/** What WRMSR may do with a register. */
interface Rule {
  /** Bits that software may set; setting another raises #GP. */
  readonly lo: number;
  readonly hi: number;
  /** Bits of the low half that keep their value whatever is written. */
  readonly keeps?: number;
  readonly accepts?: Accepts;
}

const ALL = 0xffff_ffff;
const PLAIN: Rule = { lo: ALL, hi: ALL };
/** Writes are accepted and change nothing; or they fault. */
const CONSTANT: Rule = { lo: ALL, hi: ALL, accepts: () => true };
const READ_ONLY: Rule = { lo: 0, hi: 0, accepts: () => false };

const FIXED_MTRR: Rule = { ...PLAIN, accepts: isFixedMtrr };
/** Counters of 40 bits and their configuration (SDM vol. 3B 18.6.3). */
const P4 = { COUNTERS: 18, COUNTER0: 0x300, COUNTER_HI: 0xff, CCCR0: 0x360 } as const;

/** Machine-check banks and variable MTRRs, as MCG_CAP and MTRR_CAP say. */
const BANKS = 4;
const VARIABLE_RANGES = 8;
const FIXED_MTRRS = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
const LAST_BRANCH_PAIRS = [MSR.LASTBRANCH_FROM, MSR.LASTBRANCH_TO, MSR.LASTINT_FROM, MSR.LASTINT_TO];
const MCG_STATUS_BITS = 0x7;
// biome-ignore format: table
const AMD_PLAIN = [
  MSR.SYSCFG, MSR.HWCR, MSR.NB_CFG, MSR.DE_CFG, MSR.LS_CFG, MSR.DC_CFG, MSR.IC_CFG, MSR.BU_CFG,
  MSR.TOP_MEM, MSR.TOP_MEM2, MSR.INT_PENDING_MSG,
];
// biome-ignore format: table
/** Event selection of the Pentium 4: first and last of each run of ESCRs (SDM vol. 4 table 2-44). */
const P4_ESCRS = [[0x3a0, 0x3be], [0x3c0, 0x3c5], [0x3c8, 0x3cd], [0x3e0, 0x3e1], [0x3f0, 0x3f2]] as const;
const P4_READ_ONLY = MISC_ENABLE.EMON | MISC_ENABLE.BTS_UNAVAILABLE | MISC_ENABLE.PEBS_UNAVAILABLE;

/**
 * The model-specific registers of a CPU model that only hold a value (SDM vol. 4, APM vol. 2 appendix A): with their
 * reserved bits, without effects. The processor has one, and a hypervisor one for each virtual processor.
 */
export class RegisterFile {
  readonly #model: CpuModel;
  readonly #registers = new Map<number, Register>();
  readonly #lowOf: LowHalf = (index) => this.#registers.get(index)?.lo ?? 0;

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
    if (features.has('pat'))
      this.#register(MSR.PAT, PAT_RESET.lo, PAT_RESET.hi, { ...PLAIN, accepts: isPat });
    if (features.has('rdtscp')) this.#plain(MSR.TSC_AUX);
    if (features.has('mtrr')) this.#memoryTypes();
    if (features.has('mca')) this.#machineChecks();
    if (this.#model.family >= 6) this.#constant(MSR.PATCH_LEVEL, 0);
    if (this.#model.vendor === 'AuthenticAMD') this.#amdRegisters();
    else this.#intelRegisters();
    if (features.has('svm')) {
      this.#register(MSR.VM_HSAVE_PA, 0, 0, { lo: 0xffff_f000, hi: this.#addressHi });
      this.#register(MSR.VM_CR, 0, 0, { lo: 0x1f, hi: 0 });
    }
  }

  /** The register, `undefined` if the model lacks it. Its halves may be written: without checks, as VMLOAD does. */
  get(index: number): { lo: number; hi: number } | undefined {
    return this.#registers.get(index);
  }

  /** RDMSR: the register as it shows itself; `undefined` if the model lacks it. */
  read(index: number): { readonly lo: number; readonly hi: number } | undefined {
    const register = this.#registers.get(index);
    if (register?.rule !== FIXED_MTRR || showsDramAttributes(this.#lowOf)) return register;
    return { lo: (register.lo & ~DRAM_ATTRIBUTES) >>> 0, hi: (register.hi & ~DRAM_ATTRIBUTES) >>> 0 };
  }

  /** WRMSR with its checks. False: no such register, or a value that it cannot hold; nothing changed. */
  write(index: number, lo: number, hi: number): boolean {
    const register = this.#registers.get(index);
    if (register === undefined) return false;
    const { rule } = register;
    if ((lo & ~rule.lo) !== 0 || (hi & ~rule.hi) !== 0) return false;
    if (rule.accepts?.(lo >>> 0, hi >>> 0, this.#lowOf) === false) return false;
    if (rule === CONSTANT) return true;
    // VM_CR.LOCK freezes itself and SVMDIS (APM vol. 2 15.30.1).
    const locked = index === MSR.VM_CR && (register.lo & VM_CR.LOCK) !== 0;
    const keeps = locked ? VM_CR.LOCK | VM_CR.SVMDIS : (rule.keeps ?? 0);
    register.lo = ((lo & ~keeps) | (register.lo & keeps)) >>> 0;
    register.hi = hi >>> 0;
    return true;
  }

  /** Counter of RDPMC by ECX, with its 64 bits or the low half alone; `undefined`: there is none, #GP(0). */
  performanceCounter(number: number): { readonly lo: number; readonly hi: number } | undefined {
    const { vendor, family } = this.#model;
    // AMD's four (APM vol. 2 13.2.1) and the P6's two.
    if (vendor === 'AuthenticAMD') return number < 4 ? this.get(MSR.K7_PERFCTR0 + number) : undefined;
    if (family !== 15) return number < 2 ? this.get(MSR.PERFCTR0 + number) : undefined;
    // The Pentium 4's eighteen; bit 31 asks for the low half (SDM vol. 2B "RDPMC").
    const index = number & 0x7fff_ffff;
    const counter = index < P4.COUNTERS ? this.get(P4.COUNTER0 + index) : undefined;
    return counter !== undefined && index !== number ? { lo: counter.lo, hi: 0 } : counter;
  }

  /** Bits of EFER that other registers make reserved: SVME (APM vol. 2 15.30.1), NXE (SDM vol. 4 table 2-2). */
  get eferReserved(): number {
    const svm = (this.#lowOf(MSR.VM_CR) & VM_CR.SVMDIS) !== 0 ? EFER.SVME : 0;
    return svm | (this.#disablesNx ? EFER.NXE : 0);
  }

  /** IA32_MISC_ENABLE: no execute-disable bit, in CPUID neither. */
  get #disablesNx(): boolean {
    return ((this.#registers.get(MSR.MISC_ENABLE)?.hi ?? 0) & MISC_ENABLE_HI_XD_DISABLE) !== 0;
  }

  /** What CPUID shows of the registers. `apicBaseLo`: of APIC_BASE, undefined without an APIC. */
  cpuidState(apicId: number, apicBaseLo: number | undefined): CpuidState {
    return {
      apicId,
      apicEnabled: ((apicBaseLo ?? 0) & APIC_BASE.ENABLE) !== 0,
      hidesNx: this.#disablesNx,
      limitsLeaves: (this.#lowOf(MSR.MISC_ENABLE) & MISC_ENABLE.LIMIT_CPUID) !== 0,
    };
  }

  /** Bits of a physical address in the high half. */
  get #addressHi(): number {
    return 2 ** (this.#model.maxPhysicalAddressBits - 32) - 1;
  }

  #register(index: number, lo: number, hi: number, rule: Rule): void {
    this.#registers.set(index, { lo, hi, rule });
  }
  #plain(index: number, lo = 0, hi = 0): void {
    this.#register(index, lo, hi, PLAIN);
  }
  #constant(index: number, lo: number, hi = 0): void {
    this.#register(index, lo, hi, CONSTANT);
  }

  /** SDM vol. 3A 11.11: eight variable ranges, the fixed ones, write-combining. */
  #memoryTypes(): void {
    const hi = this.#addressHi;
    this.#register(MSR.MTRR_CAP, 0x500 | VARIABLE_RANGES, 0, READ_ONLY);
    for (let n = 0; n < VARIABLE_RANGES * 2; n += 2) {
      this.#register(MSR.MTRR_PHYS_BASE0 + n, 0, 0, { lo: 0xffff_f0ff, hi, accepts: hasMtrrType });
      this.#register(MSR.MTRR_PHYS_MASK0 + n, 0, 0, { lo: 0xffff_f800, hi });
    }
    for (const index of FIXED_MTRRS) this.#register(index, 0x0606_0606, 0x0606_0606, FIXED_MTRR);
    this.#register(MSR.MTRR_DEF_TYPE, 0xc06, 0, { lo: 0xcff, hi: 0, accepts: hasMtrrType });
  }

  #machineChecks(): void {
    const isAmd = this.#model.vendor === 'AuthenticAMD';
    const cleared = { ...PLAIN, accepts: isCleared };
    this.#register(MSR.MCG_CAP, 0x100 | BANKS, 0, READ_ONLY);
    this.#register(MSR.MCG_STATUS, 0, 0, { lo: MCG_STATUS_BITS, hi: 0 });
    this.#plain(MSR.MCG_CTL, ALL, ALL);
    for (let n = 0; n < BANKS * 4; n += 4) {
      this.#plain(MSR.MC0_CTL + n);
      this.#register(MSR.MC0_STATUS + n, 0, 0, isAmd ? { ...PLAIN, accepts: isAmdStatus } : cleared);
      this.#register(MSR.MC0_ADDR + n, 0, 0, isAmd ? PLAIN : cleared);
      this.#register(MSR.MC0_MISC + n, 0, 0, isAmd ? PLAIN : cleared);
    }
  }

  #amdRegisters(): void {
    for (const index of AMD_PLAIN) this.#plain(index);
    for (let n = 0; n < 4; n++) {
      this.#plain(MSR.K7_EVNTSEL0 + n);
      this.#plain(MSR.K7_PERFCTR0 + n);
    }
    this.#constant(MSR.PATCH_LOADER, 0);
    for (let n = 0; n < BANKS; n++) this.#plain(MSR.MC0_CTL_MASK + n);
    this.#register(MSR.DEBUGCTL, 0, 0, { lo: DEBUGCTL.LBR | DEBUGCTL.BTF | DEBUGCTL.PINS, hi: 0 });
    for (const index of LAST_BRANCH_PAIRS) this.#register(index, 0, 0, READ_ONLY);
  }

  #intelRegisters(): void {
    const { family } = this.#model;
    if (family === 5) this.#pentiumRegisters();
    if (family < 6) return;
    this.#constant(MSR.PLATFORM_ID, 0);
    this.#plain(MSR.EBL_CR_POWERON);
    this.#register(MSR.DEBUGCTL, 0, 0, { lo: DEBUGCTL.INTEL, hi: 0 });
    this.#constant(MSR.UCODE_WRITE, 0);
    if (family === 6) {
      this.#p6Counters();
      for (const index of LAST_BRANCH_PAIRS) this.#plain(index);
    } else {
      this.#pentium4Registers();
      this.#lastBranchStack();
    }
  }

  /** Machine check and events of the Pentium (SDM vol. 4 2.22); the counters count nothing. */
  #pentiumRegisters(): void {
    for (const index of [MSR.P5_MC_ADDR, MSR.P5_MC_TYPE, MSR.P5_CESR, MSR.P5_CTR0, MSR.P5_CTR1])
      this.#plain(index);
  }

  /** The two counters of the P6 (SDM vol. 4 2.21), which count nothing. */
  #p6Counters(): void {
    for (const index of [MSR.PERFCTR0, MSR.PERFCTR1, MSR.EVNTSEL0, MSR.EVNTSEL1]) this.#plain(index);
  }

  /** SDM vol. 4 2.18: MISC_ENABLE, and eighteen counters that count nothing, so that performance monitoring is absent. */
  #pentium4Registers(): void {
    const value = MISC_ENABLE.FAST_STRING | MISC_ENABLE.BTS_UNAVAILABLE | MISC_ENABLE.PEBS_UNAVAILABLE;
    const hi = this.#model.features.has('nx') ? MISC_ENABLE_HI_XD_DISABLE : 0;
    this.#register(MSR.MISC_ENABLE, value, 0, { lo: ALL, hi, keeps: P4_READ_ONLY });
    for (let n = 0; n < P4.COUNTERS; n++) {
      this.#register(P4.COUNTER0 + n, 0, 0, { lo: ALL, hi: P4.COUNTER_HI });
      this.#register(P4.CCCR0 + n, 0, 0, { lo: ALL, hi: 0 });
    }
    for (const [first, last] of P4_ESCRS)
      for (let index = first; index <= last; index++) this.#register(index, 0, 0, { lo: ALL, hi: 0 });
  }

  #lastBranchStack(): void {
    const split = this.#model.model >= 3;
    this.#register(LASTBRANCH.TOS, 0, 0, READ_ONLY);
    this.#plain(LASTBRANCH.LER_FROM);
    this.#plain(LASTBRANCH.LER_TO);
    for (let n = 0; n < (split ? LASTBRANCH.SPLIT_ENTRIES : LASTBRANCH.ENTRIES); n++) {
      this.#plain((split ? LASTBRANCH.FROM0 : LASTBRANCH.ENTRY0) + n);
      if (split) this.#plain(LASTBRANCH.TO0 + n);
    }
  }
}
