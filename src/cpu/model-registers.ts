import { APIC_BASE, MEMORY_TYPE, MISC_ENABLE, MSR, PAT_RESET, VM_CR } from '../arch/msrs.ts';
import { EFER } from '../arch/registers.ts';
import type { Cpu } from './cpu.ts';
import { loadEfer } from './system/control-registers.ts';

/** How one MSR behaves. `write` raises #GP through the cpu it was made for. */
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
const TWO_TO_32 = 0x1_0000_0000;
const APIC_BASE_DEFINED = APIC_BASE.BASE | APIC_BASE.ENABLE | APIC_BASE.BSP;
/** Machine-check banks and variable MTRRs, as MCG_CAP and MTRR_CAP say. */
const BANKS = 4;
const VARIABLE_RANGES = 8;
const FIXED_MTRRS = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];

const isRangeBase = (index: number): boolean =>
  index >= MSR.MTRR_PHYS_BASE0 && index < MSR.MTRR_PHYS_BASE0 + VARIABLE_RANGES * 2 && (index & 1) === 0;

/** The processor's model-specific registers, as its model has them (SDM vol. 4, APM vol. 2 appendix A). */
export class ModelRegisters {
  readonly #cpu: Cpu;
  readonly #registers = new Map<number, Register>();
  /** What is added to the time for the TSC, modulo 2^64: a JavaScript number could not hold all of it. */
  #tscOffsetLo = 0;
  #tscOffsetHi = 0;
  #resultHi = 0;

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
  }

  /** Value after RESET; TSC starts at zero. */
  reset(): void {
    this.#registers.clear();
    this.#setTimestamp(this.#cpu.now, 0, 0);
    const has = (feature: string): boolean => this.#cpu.hasFeature(feature);
    if (has('sep')) for (const n of [MSR.SYSENTER_CS, MSR.SYSENTER_ESP, MSR.SYSENTER_EIP]) this.#plain(n);
    if (has('pat')) this.#plain(MSR.PAT, PAT_RESET.lo, PAT_RESET.hi);
    if (has('rdtscp')) this.#plain(MSR.TSC_AUX);
    if (has('mtrr')) this.#memoryTypes();
    if (has('mca')) this.#machineChecks();
    this.#vendorRegisters();
    if (has('svm')) {
      const addressHi = 2 ** (this.#cpu.model.maxPhysicalAddressBits - 32) - 1;
      this.#register(MSR.VM_HSAVE_PA, 0, 0, 0xffff_f000, addressHi);
      this.#register(MSR.VM_CR, 0, 0, 0x1f, 0);
    }
  }

  /** RDMSR: returns the low half, leaves the high one in `high`. Raises #GP(0) if there is no such register. */
  read(index: number): number {
    this.#resultHi = 0;
    switch (index) {
      case MSR.TSC:
        return this.readTimestamp();
      case MSR.APIC_BASE:
        if (this.#cpu.environment.apic === undefined) break;
        this.#resultHi = this.#cpu.environment.apic.baseHi;
        return this.#cpu.environment.apic.baseLo;
      case MSR.EFER:
        if (!this.#hasEfer()) break;
        return this.#cpu.state.efer;
    }
    const register = this.#registers.get(index);
    if (register === undefined) this.#cpu.raiseGeneralProtection();
    this.#resultHi = register.hi;
    return register.lo;
  }

  /** High half of the last `read`. */
  get high(): number {
    return this.#resultHi;
  }

  /** WRMSR. Raises #GP(0) for unknown registers and reserved bits. */
  write(index: number, lo: number, hi: number): void {
    switch (index) {
      case MSR.TSC:
        this.#setTimestamp(this.#cpu.instructionNow, lo >>> 0, hi >>> 0);
        return;
      case MSR.APIC_BASE:
        if (this.#cpu.environment.apic === undefined) break;
        this.#checkApicBase(lo, hi);
        this.#cpu.environment.apic.baseLo = lo >>> 0;
        this.#cpu.environment.apic.baseHi = hi >>> 0;
        this.#cpu.endSlice();
        return;
      case MSR.EFER:
        if (!this.#hasEfer()) break;
        loadEfer(this.#cpu, lo, hi);
        return;
      case MSR.VM_CR:
        this.#writeVmCr(lo, hi);
        return;
    }
    const register = this.#registers.get(index);
    if (register === undefined) this.#cpu.raiseGeneralProtection();
    if (register.constant) return;
    if ((lo & ~register.allowedLo) !== 0 || (hi & ~register.allowedHi) !== 0)
      this.#cpu.raiseGeneralProtection();
    if (index === MSR.PAT) this.#checkPat(lo, hi);
    if (index === MSR.MTRR_DEF_TYPE || isRangeBase(index)) this.#checkMtrrType(lo & 0xff);
    register.lo = lo >>> 0;
    register.hi = hi >>> 0;
  }

  /** A register without checks and effects, for VMLOAD and the like; `undefined` if the model lacks it. */
  get(index: number): { lo: number; hi: number } | undefined {
    return this.#registers.get(index);
  }

  /** The TSC as RDTSC reads it: a guest's has the offset of its VMCB. Returns the low half, leaves the high one in `high`. */
  readTimestamp(): number {
    const { instructionNow, svm } = this.#cpu;
    const lo = (instructionNow % TWO_TO_32) + this.#tscOffsetLo + svm.tscOffsetLo;
    const carry = Math.floor(lo / TWO_TO_32);
    const time = Math.floor(instructionNow / TWO_TO_32);
    this.#resultHi = (time + this.#tscOffsetHi + svm.tscOffsetHi + carry) >>> 0;
    return lo >>> 0;
  }

  /** From now on the TSC goes on from a value in unsigned halves. */
  #setTimestamp(now: number, lo: number, hi: number): void {
    const low = lo - (now % TWO_TO_32);
    this.#tscOffsetLo = low >>> 0;
    this.#tscOffsetHi = (hi - Math.floor(now / TWO_TO_32) - (low < 0 ? 1 : 0)) >>> 0;
  }

  /** Bits 7:0, 10:9 and those from MAXPHYADDR on are reserved (SDM vol. 3A 10.4.4). */
  #checkApicBase(lo: number, hi: number): void {
    const { maxPhysicalAddressBits: bits } = this.#cpu.model;
    if ((lo & ~APIC_BASE_DEFINED) !== 0 || hi >>> 0 >= 2 ** (bits - 32)) this.#cpu.raiseGeneralProtection();
  }

  /** VM_CR: LOCK freezes itself and SVMDIS, which cannot be set under EFER.SVME (APM vol. 2 15.30.1). */
  #writeVmCr(lo: number, hi: number): void {
    const register = this.#registers.get(MSR.VM_CR);
    if (register === undefined || hi !== 0 || (lo & ~register.allowedLo) !== 0)
      this.#cpu.raiseGeneralProtection();
    if ((lo & VM_CR.SVMDIS) !== 0 && (this.#cpu.state.efer & EFER.SVME) !== 0)
      this.#cpu.raiseGeneralProtection();
    const frozen = (register.lo & VM_CR.LOCK) !== 0 ? VM_CR.LOCK | VM_CR.SVMDIS : 0;
    register.lo = ((lo & ~frozen) | (register.lo & frozen)) >>> 0;
  }

  #hasEfer(): boolean {
    return this.#cpu.hasFeature('nx') || this.#cpu.hasFeature('svm') || this.#cpu.hasFeature('syscall');
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
    const addressHi = 2 ** (this.#cpu.model.maxPhysicalAddressBits - 32) - 1;
    for (let n = 0; n < VARIABLE_RANGES * 2; n += 2) {
      this.#register(MSR.MTRR_PHYS_BASE0 + n, 0, 0, 0xffff_f0ff, addressHi);
      this.#register(MSR.MTRR_PHYS_MASK0 + n, 0, 0, 0xffff_f800, addressHi);
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
    const { model } = this.#cpu;
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
    for (const index of [
      MSR.SYSCFG,
      MSR.HWCR,
      MSR.NB_CFG,
      MSR.DE_CFG,
      MSR.LS_CFG,
      MSR.DC_CFG,
      MSR.IC_CFG,
      MSR.BU_CFG,
    ]) {
      this.#plain(index);
    }
    for (let n = 0; n < 4; n++) {
      this.#plain(MSR.K7_EVNTSEL0 + n);
      this.#plain(MSR.K7_PERFCTR0 + n);
    }
    this.#plain(MSR.DEBUGCTL);
    this.#plain(MSR.TOP_MEM);
    this.#plain(MSR.TOP_MEM2);
    this.#plain(MSR.INT_PENDING_MSG);
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

  /** Each of the eight PAT fields must be a memory type (SDM vol. 3A 11.12.2). */
  #checkPat(lo: number, hi: number): void {
    for (const half of [lo, hi]) {
      for (let shift = 0; shift < 32; shift += 8) {
        const type = (half >>> shift) & 0xff;
        if (type !== MEMORY_TYPE.UC_MINUS) this.#checkMtrrType(type);
      }
    }
  }

  /** The types that an MTRR may have (SDM vol. 3A table 11-8). */
  #checkMtrrType(type: number): void {
    if (type > MEMORY_TYPE.WB || type === 2 || type === 3) this.#cpu.raiseGeneralProtection();
  }
}
