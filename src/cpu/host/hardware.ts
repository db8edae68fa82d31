/**
 * The processor as software at CPL 0 has it, for a hypervisor that is TypeScript instead of code in memory: registers,
 * physical memory and the privileged instructions, no more. src/l0/hardware.ts says what each member promises.
 */
import type { Gva, Hpa } from '../../arch/address.ts';
import { type CpuidResult, cpuid } from '../../arch/cpuid.ts';
import type { Cpu } from '../cpu.ts';
import { REGISTERS, SYSTEM } from '../layout.ts';
import type { PhysicalMemory } from '../physical-memory.ts';
import { loadCr0, loadCr3, loadCr4 } from '../system/control-registers.ts';
import { setDebugRegister } from '../system/system-registers.ts';

/** Sixteen registers of two halves. */
const GPR_WORDS = 32;
const PAGE_OFFSET = 0xfff;

/** The machine's timers: their interrupts are what interrupts this host. */
export interface HostClock {
  /** Tick at which the next timer is due; Infinity for none. */
  readonly nextDeadline: number;
  /** Runs what is due. */
  advance(): void;
}

/** An instruction of the host faulted: it asked for what this processor does not have. */
export class HostFault extends Error {
  override readonly name = 'HostFault';
}

const CR_PLACES = { 0: SYSTEM.CR0, 2: SYSTEM.CR2, 3: SYSTEM.CR3, 4: SYSTEM.CR4 } as const;
const DR_PLACES = {
  0: SYSTEM.DR0,
  1: SYSTEM.DR0 + 8,
  2: SYSTEM.DR0 + 16,
  3: SYSTEM.DR0 + 24,
  6: SYSTEM.DR6,
  7: SYSTEM.DR7,
} as const;

/**
 * `Hardware` of src/l0/hardware.ts on a processor. The host is this object's caller: its code is not in memory, so that
 * what the processor runs is always a guest. The clock's deadlines are the host's interrupts.
 */
export class CpuHardware<Emulator> {
  readonly memory: PhysicalMemory;
  readonly gpr: Uint32Array;
  readonly emulator: Emulator;
  readonly #cpu: Cpu;
  readonly #clock: HostClock;
  /** Tick from which on the machine stands still. */
  stopAt = Number.POSITIVE_INFINITY;
  #interrupted = false;

  /** @param cpu in the state that the host's boot code left */
  constructor(cpu: Cpu, clock: HostClock, emulator: Emulator) {
    this.#cpu = cpu;
    this.#clock = clock;
    this.emulator = emulator;
    this.memory = cpu.physical;
    this.gpr = cpu.state.u32.subarray(REGISTERS >> 2, (REGISTERS >> 2) + GPR_WORDS);
  }

  // --- registers -----------------------------------------------------------------------------------------------

  readCr(index: 0 | 2 | 3 | 4): number {
    return this.#cpu.state.system(CR_PLACES[index]);
  }

  writeCr(index: 0 | 2 | 3 | 4, value: number): void {
    const cpu = this.#cpu;
    this.#privileged(`MOV CR${index}, 0x${value.toString(16)}`, () => {
      if (index === 0) loadCr0(cpu, value);
      else if (index === 3) loadCr3(cpu, value);
      else if (index === 4) loadCr4(cpu, value);
      else cpu.state.setSystem(SYSTEM.CR2, value);
    });
  }

  readDr(index: 0 | 1 | 2 | 3 | 6 | 7): number {
    return this.#cpu.state.system(DR_PLACES[index]);
  }

  writeDr(index: 0 | 1 | 2 | 3 | 6 | 7, value: number): void {
    // Every write makes the processor look at its breakpoints anew.
    if (this.readDr(index) !== value >>> 0) setDebugRegister(this.#cpu, index, value);
  }

  rdmsr(index: number): { lo: number; hi: number } {
    const { msrs } = this.#cpu;
    const lo = this.#privileged(`RDMSR 0x${index.toString(16)}`, () => msrs.read(index));
    return { lo, hi: msrs.high };
  }

  wrmsr(index: number, lo: number, hi: number): void {
    this.#privileged(`WRMSR 0x${index.toString(16)}`, () => this.#cpu.msrs.write(index, lo, hi));
  }

  cpuid(leaf: number, subleaf: number): CpuidResult {
    const { model, msrs } = this.#cpu;
    return cpuid(model, leaf, subleaf, msrs.cpuidState);
  }

  /** Runs what an instruction does; its exception becomes a HostFault. */
  #privileged<T>(instruction: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      const { exception } = this.#cpu;
      if (error !== exception) throw error;
      throw new HostFault(`The host's ${instruction} raised exception ${exception.vector}.`);
    }
  }

  // --- SVM -----------------------------------------------------------------------------------------------------

  vmrun(vmcb: Hpa): boolean {
    const cpu = this.#cpu;
    this.#checkAddress('VMRUN', vmcb);
    cpu.svm.hostReturns = true;
    cpu.svm.vmrun(vmcb, cpu.state.eip);
    return this.resume();
  }

  resume(): boolean {
    const { svm } = this.#cpu;
    while (svm.inGuest) {
      if (this.#interruptIsDue) this.#interruptGuest();
      else if (this.stopped) return false;
      else this.#runGuest();
    }
    svm.hostReturns = false;
    this.#interrupted = false;
    if (this.#cpu.shutdown)
      throw new HostFault('The processor shut down: it found no legal host state to return to.');
    return true;
  }

  get stopped(): boolean {
    return this.#cpu.now >= this.stopAt;
  }

  showGuest(): void {
    this.#cpu.svm.showGuest();
  }

  interruptHost(): void {
    this.#interrupted = this.#cpu.svm.inGuest;
  }

  get #interruptIsDue(): boolean {
    return this.#interrupted || this.#cpu.now >= this.#clock.nextDeadline;
  }

  /** #VMEXIT(INTR) if that is open now; else the interrupt waits for the guest, or, without an intercept, for nobody. */
  #interruptGuest(): void {
    const cpu = this.#cpu;
    if (cpu.svm.interruptGuest()) return;
    if (cpu.svm.interceptsInterrupts) this.#runUntil(cpu.now + 1);
    else this.#clock.advance();
  }

  /** Until #VMEXIT, the next interrupt of the host, or the end of the machine's time. */
  #runGuest(): void {
    const halted = this.#runUntil(Math.min(this.#clock.nextDeadline, this.stopAt));
    if (halted) this.#waitForDeadline();
  }

  /** True if the guest is still in the processor and halts. */
  #runUntil(tick: number): boolean {
    const cpu = this.#cpu;
    const reason = cpu.run(tick);
    if (!cpu.svm.inGuest) return false;
    if (reason === 'shutdown')
      throw new HostFault('The guest shut the processor down, and SHUTDOWN is not intercepted.');
    return reason === 'halted';
  }

  #waitForDeadline(): void {
    const cpu = this.#cpu;
    const { nextDeadline } = this.#clock;
    if (nextDeadline === Number.POSITIVE_INFINITY)
      throw new HostFault(
        'The guest halts, HLT is not intercepted, and no timer is armed that could wake it.',
      );
    cpu.idleTicks += Math.max(nextDeadline - cpu.now, 0);
  }

  vmload(vmcb: Hpa): void {
    this.#checkAddress('VMLOAD', vmcb);
    this.#cpu.svm.vmload(vmcb);
  }

  vmsave(vmcb: Hpa): void {
    this.#checkAddress('VMSAVE', vmcb);
    this.#cpu.svm.vmsave(vmcb);
  }

  /** APM vol. 3 VMRUN: #GP for what is no page of this processor's address space. */
  #checkAddress(instruction: string, vmcb: number): void {
    if ((vmcb & PAGE_OFFSET) !== 0 || vmcb < 0 || vmcb >= 2 ** this.#cpu.model.maxPhysicalAddressBits)
      throw new HostFault(
        `The host's ${instruction} with rAX = 0x${vmcb.toString(16)} raised #GP: that is no page.`,
      );
  }

  invlpga(linear: Gva, asid: number): void {
    this.#cpu.svm.invalidatePage(linear, asid);
  }

  // --- interrupts and time -------------------------------------------------------------------------------------

  stgi(): void {
    this.#cpu.svm.gif = true;
    this.#takeInterrupts();
  }

  clgi(): void {
    this.#cpu.svm.gif = false;
  }

  hlt(): boolean {
    const cpu = this.#cpu;
    const { nextDeadline } = this.#clock;
    if (nextDeadline === Number.POSITIVE_INFINITY) return false;
    cpu.idleTicks += Math.max(nextDeadline - cpu.now, 0);
    this.#takeInterrupts();
    return true;
  }

  /** The host kernel's handler: timers run, and anything else on the pin is acknowledged and dropped. */
  #takeInterrupts(): void {
    const cpu = this.#cpu;
    if (this.#clock.nextDeadline <= cpu.now) this.#clock.advance();
    if (cpu.environment.interrupts.pending) cpu.environment.interrupts.acknowledge();
  }

  /** The host's own code takes time that no retired instruction counts. */
  elapse(ticks: number): void {
    this.#cpu.idleTicks += ticks;
  }

  rdtsc(): { lo: number; hi: number } {
    const now = Math.floor(this.#cpu.now);
    return { lo: now % 0x1_0000_0000, hi: Math.floor(now / 0x1_0000_0000) };
  }
}
