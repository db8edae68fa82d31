import type { CpuidState } from '../arch/cpuid.ts';
import { MSR, VM_CR } from '../arch/msrs.ts';
import { EFER } from '../arch/registers.ts';
import { hasEfer } from '../arch/writable-bits.ts';
import type { Cpu } from './cpu.ts';
import type { ApicRegisters } from './environment.ts';
import { RegisterFile } from './register-file.ts';
import { hasApicBase, isApicBase } from './register-values.ts';
import { loadEfer, setEfer } from './system/control-registers.ts';

const TWO_TO_32 = 0x1_0000_0000;

/** The processor's model-specific registers, as its model has them (SDM vol. 4, APM vol. 2 appendix A). */
export class ModelRegisters {
  readonly #cpu: Cpu;
  readonly #file: RegisterFile;
  /** What is added to the time for the TSC, modulo 2^64: a JavaScript number could not hold all of it. */
  #tscOffsetLo = 0;
  #tscOffsetHi = 0;
  #resultHi = 0;
  /** The host's PAT while a guest under nested paging has its own in the register. */
  readonly #hostPat = { lo: 0, hi: 0 };
  #hasGuestPat = false;

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
    this.#file = new RegisterFile(cpu.model);
  }

  /** Value after RESET; TSC starts at zero. */
  reset(): void {
    this.#file.reset();
    this.#hasGuestPat = false;
    this.#cpu.paging.ignoresA20 = false;
    this.#cpu.branches.follow();
    this.#setTimestamp(this.#cpu.now, 0, 0);
  }

  /** RDMSR: returns the low half, leaves the high one in `high`. Raises #GP(0) if there is no such register. */
  read(index: number): number {
    this.#resultHi = 0;
    switch (index) {
      case MSR.TSC:
        return this.readTimestamp();
      case MSR.APIC_BASE:
        if (this.#apic === undefined) break;
        this.#resultHi = this.#apic.baseHi;
        return this.#apic.baseLo;
      case MSR.EFER:
        if (!hasEfer(this.#cpu.model)) break;
        return this.#cpu.state.efer;
    }
    const register = this.#file.read(index);
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
        if (this.#apic === undefined) break;
        if (!isApicBase(this.#cpu.model, lo, hi)) this.#cpu.raiseGeneralProtection();
        this.#apic.baseLo = lo >>> 0;
        this.#apic.baseHi = hi >>> 0;
        this.#cpu.endSlice();
        return;
      case MSR.EFER:
        if (!hasEfer(this.#cpu.model)) break;
        loadEfer(this.#cpu, lo, hi);
        return;
      case MSR.VM_CR:
        this.#checkVmCr(lo);
        break;
    }
    if (!this.#file.write(index, lo, hi)) this.#cpu.raiseGeneralProtection();
    if (index === MSR.MISC_ENABLE) this.#dropReservedEfer();
    else if (index === MSR.VM_CR) this.#followVmCr();
    else if (index === MSR.DEBUGCTL) {
      this.#cpu.branches.follow();
      this.#cpu.endSlice();
    }
  }

  /** The APIC, if the model has a register for its base. */
  get #apic(): ApicRegisters | undefined {
    return hasApicBase(this.#cpu.model) ? this.#cpu.environment.apic : undefined;
  }

  /** DIS_A20M (APM vol. 2 15.30.1). */
  #followVmCr(): void {
    const { paging } = this.#cpu;
    paging.ignoresA20 = ((this.#file.get(MSR.VM_CR)?.lo ?? 0) & VM_CR.DIS_A20M) !== 0;
    this.#cpu.updateContext();
  }

  /** The manual is silent about NX turned off while it is in use: it ends. */
  #dropReservedEfer(): void {
    const { efer } = this.#cpu.state;
    const reserved = this.#file.eferReserved & EFER.NXE;
    if ((efer & reserved) !== 0) setEfer(this.#cpu, (efer & ~reserved) >>> 0);
  }

  /** Bits of EFER that other registers make reserved. */
  get eferReserved(): number {
    return this.#file.eferReserved;
  }

  /** What CPUID shows of the processor's state. */
  get cpuidState(): CpuidState {
    return this.#file.cpuidState(0, this.#cpu.environment.apic?.baseLo);
  }

  /** Counter of RDPMC; `undefined`: there is none by this number. */
  performanceCounter(number: number): { readonly lo: number; readonly hi: number } | undefined {
    return this.#file.performanceCounter(number);
  }

  /** A register without checks and effects, for VMLOAD and the like; `undefined` if the model lacks it. */
  get(index: number): { lo: number; hi: number } | undefined {
    return this.#file.get(index);
  }

  /** G_PAT takes the PAT's place while a guest runs under nested paging (APM vol. 2 15.25.2). */
  enterGuestPat(lo: number, hi: number): void {
    const pat = this.#file.get(MSR.PAT);
    if (pat === undefined) return;
    this.#hostPat.lo = pat.lo;
    this.#hostPat.hi = pat.hi;
    this.#hasGuestPat = true;
    pat.lo = lo;
    pat.hi = hi;
  }
  leaveGuestPat(): void {
    const pat = this.#file.get(MSR.PAT);
    if (pat === undefined || !this.#hasGuestPat) return;
    pat.lo = this.#hostPat.lo;
    pat.hi = this.#hostPat.hi;
    this.#hasGuestPat = false;
  }

  /** The PAT that nested tables index: the host's, which a guest with G_PAT does not see. */
  get hostPat(): { readonly lo: number; readonly hi: number } | undefined {
    return this.#hasGuestPat ? this.#hostPat : this.#file.get(MSR.PAT);
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

  /** SVMDIS cannot be set under EFER.SVME (APM vol. 2 15.30.1). */
  #checkVmCr(lo: number): void {
    if ((lo & VM_CR.SVMDIS) !== 0 && (this.#cpu.state.efer & EFER.SVME) !== 0)
      this.#cpu.raiseGeneralProtection();
  }
}
