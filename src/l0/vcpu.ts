/**
 * A virtual CPU: VMRUN, look at the exit, handle it, again. The run loop is here; what an exit means is in exits/, events
 * that go in are in injection.ts, and L1's own guests in nested/.
 */
import type { Gva } from '../arch/address.ts';
import { VECTOR } from '../arch/exceptions.ts';
import { MSR } from '../arch/msrs.ts';
import { DR6, DR7, EFER, EFLAGS } from '../arch/registers.ts';
import { CLEAN, EVENT, NESTED_CTL, V_INTR, VMCB, VMCB_SAVE } from '../arch/vmcb.ts';
import { RegisterFile } from '../cpu/register-file.ts';
import { Monitor } from '../cpu/system/monitor.ts';
import { collectControlRegisters } from './control-registers.ts';
import { Emulation } from './emulation.ts';
import { EventQueue, NO_EVENT } from './events.ts';
import { handleExit } from './exits/dispatch.ts';
import { instructionLength } from './exits/instruction.ts';
import { GuestState } from './guest-state.ts';
import type { Hardware } from './hardware.ts';
import { prepareEvents } from './injection.ts';
import { type GuestPagingRegisters, MmuContext, type MmuKind } from './mmu/context.ts';
import { Mmu } from './mmu/mmu.ts';
import { type LinearWalk, NestedWalk } from './mmu/nested-walk.ts';
import { Nested } from './nested/nested.ts';
import type { Statistics } from './statistics.ts';
import { AsidContext } from './svm/asid.ts';
import { setGuestPat } from './svm/guest-pat.ts';
import { Intercepts } from './svm/intercepts.ts';
import { Vmcb } from './svm/vmcb.ts';
import { HALTED, KICKED, SHUTDOWN, STOPPED, type VcpuExit } from './vcpu-exit.ts';
import { resetVcpu } from './vcpu-registers.ts';
import type { Vm } from './vm.ts';

export class Vcpu {
  readonly vm: Vm;
  /** Initial APIC ID. */
  readonly index: number;
  readonly hardware: Hardware;
  readonly statistics: Statistics;
  readonly state: GuestState;
  /** Serves L1, and an L2 without nested paging, told apart by the role. */
  readonly rootMmu: Mmu;
  /** Shadows L1's nested tables for an L2 that has them; null where L0 itself uses shadow paging. */
  readonly guestMmu: Mmu | null;
  readonly #nestedWalk: NestedWalk | null;
  readonly events = new EventQueue();
  readonly intercepts: Intercepts;
  readonly monitor = new Monitor();
  readonly msrs: RegisterFile;
  readonly emulation: Emulation;
  /** L1's VMCB, and all about the guests that L1 runs. */
  readonly vmcb01: Vmcb;
  readonly asid01 = new AsidContext();
  readonly nested: Nested;
  /** DR0 to DR3, while another vCPU or the host is in the processor. */
  readonly debugAddresses = new Uint32Array(4);
  readonly pdpteScratch = new Uint32Array(8);
  halted = false;
  /** Global interrupt flag of L1 (APM vol. 2 15.17). */
  gif = true;
  /** EVENTINJ of the running entry, NO_EVENT for none. The processor may clear the field. */
  injected: number = NO_EVENT;
  /** Set by whoever finds that user space must decide. */
  exit: VcpuExit | null = null;
  #mmu: Mmu;
  #kicked = false;
  /** VMRUN was not over when the machine was stopped. */
  #inGuest = false;
  /** RIP at the last entry: an event that L0 injected was in delivery there, one of the guest's own elsewhere. */
  #entryRip = 0;

  /** Use `Vm.createVcpu`. */
  constructor(vm: Vm, index: number) {
    const { hardware, pages, iopm, msrpm } = vm.hypervisor;
    this.vm = vm;
    this.intercepts = new Intercepts(vm.model.features, vm.hypervisor.paging);
    this.index = index;
    this.hardware = hardware;
    this.statistics = vm.statistics;
    this.vmcb01 = new Vmcb(hardware.memory, pages.allocate(1));
    this.vmcb01.write64(VMCB.IOPM_BASE_PA, iopm, 0);
    this.vmcb01.write64(VMCB.MSRPM_BASE_PA, msrpm, 0);
    this.vmcb01.write(VMCB.V_INTR, V_INTR.INTR_MASKING);
    if (vm.nestedPaging) this.vmcb01.write(VMCB.NESTED_CTL, NESTED_CTL.NP_ENABLE);
    this.state = new GuestState(this.vmcb01);
    this.msrs = new RegisterFile(vm.model);
    setGuestPat(this.vmcb01, this.msrs.get(MSR.PAT));
    this.emulation = new Emulation(this);
    this.nested = new Nested(this);
    const mmu = (registers: GuestPagingRegisters, kind: MmuKind): Mmu => {
      const made = new Mmu(vm.tables, pages, vm.formats, registers, kind);
      made.checker = vm.checker;
      return made;
    };
    this.rootMmu = mmu(this.state, vm.nestedPaging ? 'direct' : 'shadow');
    this.guestMmu = vm.nestedPaging ? mmu(this.nested.pagingRegisters, 'nested') : null;
    this.#nestedWalk = this.guestMmu === null ? null : this.#walkOfL2(this.guestMmu);
    this.#mmu = this.rootMmu;
    resetVcpu(this);
  }

  // --- memory management -------------------------------------------------------------------------------------------

  #walkOfL2(nestedTables: Mmu): NestedWalk {
    const { tables, formats, rules } = this.vm;
    const own = new MmuContext(formats, this.state, rules, 'direct', tables.format);
    return new NestedWalk(tables, own, nestedTables);
  }

  /** The MMU whose root the next VMRUN uses. */
  get mmu(): Mmu {
    return this.#mmu;
  }

  /** L2 with nested paging begins to run, or ends. */
  useMmu(mmu: Mmu): void {
    this.#mmu = mmu;
  }

  /** Linear addresses of whoever runs, translated in software. */
  get walk(): LinearWalk {
    const nested = this.#nestedWalk;
    return nested !== null && this.#mmu === this.guestMmu ? nested : this.rootMmu;
  }

  // --- running -------------------------------------------------------------------------------------------------

  /**
   * Runs the guest until user space must look. Devices are called on the way.
   *
   * After 'stopped' the guest may still be in the processor. Its registers are in `state` to be read; who wants to change
   * anything calls `leaveGuest` first.
   */
  run(): VcpuExit {
    const { hypervisor } = this.vm;
    hypervisor.load(this);
    try {
      while (this.exit === null) this.#runOnce();
      return this.exit;
    } finally {
      this.exit = null;
      this.#kicked = false;
      if (this.#inGuest) this.#showRegisters();
      else hypervisor.unload();
    }
  }

  /** The vCPU's INIT pin, to be called from a device. */
  signalInit(): void {
    this.events.initPending = true;
  }

  /** An NMI for the vCPU, to be called from a device. */
  signalNmi(): void {
    this.events.nmiPending = true;
  }

  /** Makes `run` return 'kicked' before the next guest instruction; to be called from a timer or a device. */
  kick(): void {
    this.#kicked = true;
  }

  /** Takes the guest out of the processor, as an interrupt for the host would, if the machine was stopped with it there. */
  leaveGuest(): void {
    if (!this.#inGuest) return;
    this.hardware.interruptHost();
    this.#resume();
    this.vm.hypervisor.unload();
  }

  #runOnce(): void {
    const { hardware, state } = this;
    if (this.#kicked) {
      this.exit = KICKED;
      return;
    }
    if (hardware.stopped) {
      this.exit = STOPPED;
      return;
    }
    if (this.#inGuest) {
      this.#resume();
      return;
    }
    if (this.halted && !this.#waitForInterrupt()) return;
    prepareEvents(this);
    if (this.exit !== null || this.halted) return;

    hardware.clgi();
    this.#enter();
    this.#inGuest = !hardware.vmrun(state.vmcb.address);
    if (!this.#inGuest) this.#afterExit();
  }

  #resume(): void {
    this.#inGuest = !this.hardware.resume();
    if (!this.#inGuest) this.#afterExit();
  }

  #afterExit(): void {
    this.#leave();
    this.hardware.stgi();
    if (this.vm.trace !== null) this.#traceExit();
    handleExit(this);
  }

  /** The registers of a guest that is in the processor, to where they are after an exit. */
  #showRegisters(): void {
    const { hardware, state } = this;
    hardware.showGuest();
    state.collectRegisters(hardware.gpr);
    collectControlRegisters(this);
    this.saveUnswitched();
  }

  #enter(): void {
    const { state, hardware, vm } = this;
    const { vmcb } = state;
    this.#entryRip = state.rip;
    const root = this.mmu.load();
    const [field, group] = vm.nestedPaging ? NESTED_ROOT : SHADOW_ROOT;
    if (vmcb.read(field) !== root.address) {
      vmcb.write64(field, root.address, 0);
      vmcb.dirty(group);
    }
    this.asid.prepare(vm.hypervisor.asids, vm.tables, vmcb, root);
    state.deliverRegisters(hardware.gpr);
    this.statistics.entries += 1;
    const switched = vmcb.read(VMCB_SAVE.EFER) ^ vm.hypervisor.host.efer;
    if ((switched & EFER.NXE) !== 0) this.statistics.nxSwitches += 1;
    if (vm.trace !== null) vm.trace.entry(state.rip, state.guestMode);
  }

  #leave(): void {
    const { state, hardware } = this;
    const { vmcb } = state;
    state.collectRegisters(hardware.gpr);
    vmcb.allClean();
    collectControlRegisters(this);
    this.statistics.countExit(vmcb.read(VMCB.EXITCODE) | 0);
    const { injected } = this;
    const info = vmcb.read(VMCB.EXITINTINFO);
    if ((info & EVENT.VALID) !== 0) {
      this.events.redeliver(
        info,
        vmcb.readHigh(VMCB.EXITINTINFO),
        info === injected && state.rip === this.#entryRip,
      );
    }
    this.injected = NO_EVENT;
    vmcb.write64(VMCB.EVENTINJ, NO_EVENT, 0);
    hardware.elapse(1);
  }

  /** HLT: time passes until an interrupt. False if `run` must return or look again. */
  #waitForInterrupt(): boolean {
    if (this.#wakes()) {
      this.halted = false;
      return true;
    }
    if (!this.interruptsOpen || !this.hardware.hlt()) this.exit = HALTED;
    return false;
  }

  /** HLT ends with an interrupt that could be taken, and with an NMI (APM vol. 3 HLT). */
  #wakes(): boolean {
    if (!this.events.empty) return true;
    if (this.gif && this.events.initPending) return true;
    if (this.gif && this.events.nmiPending && !this.events.nmiBlocked) return true;
    if (this.state.guestMode && this.nested.virtualInterruptOpen) return true;
    return this.vm.environment.interrupts.pending && this.interruptsOpen;
  }

  /** ASID of whoever runs. */
  get asid(): AsidContext {
    return this.vm.rules.hasOwnAsid(this.state.guestMode) ? this.nested.asid02 : this.asid01;
  }

  // --- for the handlers ----------------------------------------------------------------------------------------

  /** Whether an interrupt for L1 would be looked at now: GIF and IF, and for L2 as L1 arranged (APM vol. 2 15.21). */
  get interruptsOpen(): boolean {
    if (!this.gif) return false;
    if (this.state.guestMode) return this.nested.interruptsOpen;
    return (this.state.rflags & EFLAGS.IF) !== 0;
  }

  get cr2(): number {
    return this.state.vmcb.read(VMCB_SAVE.CR2);
  }

  /** Goes on behind the intercepted instruction, as its completion would: shadow and RF end, TF traps. */
  skipInstruction(): void {
    const { state } = this;
    const trap = (state.rflags & EFLAGS.TF) !== 0;
    const next = this.vm.hypervisor.nextRip ? state.vmcb.read(VMCB.NRIP) : 0;
    state.rip = next !== 0 ? next : (state.rip + instructionLength(this)) >>> 0;
    state.rflags &= ~EFLAGS.RF;
    state.interruptShadow = false;
    if (trap) this.raiseSingleStep();
  }

  /** The #DB of TF behind an instruction that L0 carried out (SDM vol. 3B 17.3.1.4). */
  raiseSingleStep(): void {
    this.raiseDebugTrap(DR6.BS);
  }

  /**
   * #DB for these bits of DR6: the breakpoints reported are those of one exception, and GD is cleared so that the handler may
   * use the registers (SDM vol. 3B 17.2.3, 17.2.4).
   */
  raiseDebugTrap(conditions: number): void {
    const { vmcb } = this.state;
    vmcb.write(VMCB_SAVE.DR6, (vmcb.read(VMCB_SAVE.DR6) & ~DR6_HITS) | conditions);
    vmcb.write(VMCB_SAVE.DR7, vmcb.read(VMCB_SAVE.DR7) & ~DR7.GD);
    vmcb.dirty(CLEAN.DRX);
    this.events.raise(VECTOR.DB);
  }

  raiseGeneralProtection(): void {
    this.events.raise(VECTOR.GP, 0);
  }

  raiseUndefined(): void {
    this.events.raise(VECTOR.UD);
  }

  /**
   * A page fault that is the guest's. Like the processor's own it drops what is cached of the page, so that an entry
   * changed without INVLPG counts from now on (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3).
   *
   * @param fetching the instruction at RIP is the one that could not be read
   */
  raisePageFault(errorCode: number, linear: number, fetching = false): void {
    if (this.vm.rules.faultInvalidates()) this.invalidatePage(linear);
    this.events.fetching = fetching;
    this.events.raise(VECTOR.PF, errorCode, linear);
  }

  /** The guest invalidated all its translations, or L0 must. Nested tables of L0's know nothing of the guest's own. */
  flushGuestTlb(): void {
    if (!this.vm.nestedPaging) this.mmu.flush();
    this.asid.flush();
  }

  /** INVLPG on the guest's behalf. */
  invalidatePage(linear: number): void {
    if (!this.vm.nestedPaging) this.mmu.invalidatePage(linear);
    this.hardware.invlpga(linear as Gva, this.asid.asid);
  }

  applyIntercepts(): void {
    const { state, nested } = this;
    this.intercepts.apply(state.vmcb, state.guestMode ? nested.interceptWords : null);
  }

  shutdown(): void {
    this.exit = SHUTDOWN;
  }

  /** Gives up on the guest, with a clause that says why. */
  fail(clause: string): void {
    this.exit = { reason: 'internal-error', message: `L0 cannot go on: ${clause}.` };
  }

  // --- what VMRUN does not switch --------------------------------------------------------------------------------

  loadUnswitched(): void {
    const { hardware } = this;
    hardware.vmload(this.state.vmcb.address);
    for (const n of DEBUG_ADDRESSES) hardware.writeDr(n, this.debugAddresses[n]);
    const aux = this.msrs.get(MSR.TSC_AUX);
    if (aux !== undefined) hardware.wrmsr(MSR.TSC_AUX, aux.lo, aux.hi);
  }

  saveUnswitched(): void {
    const { hardware } = this;
    hardware.vmsave(this.state.vmcb.address);
    for (const n of DEBUG_ADDRESSES) this.debugAddresses[n] = hardware.readDr(n);
  }

  #traceExit(): void {
    const { vmcb, guestMode } = this.state;
    const wide = (field: number): bigint => (BigInt(vmcb.readHigh(field)) << 32n) | BigInt(vmcb.read(field));
    const event = vmcb.read(VMCB.EXITINTINFO);
    this.vm.trace?.exit({
      code: vmcb.read(VMCB.EXITCODE) | 0,
      rip: this.state.rip,
      info1: wide(VMCB.EXITINFO1),
      info2: wide(VMCB.EXITINFO2),
      event: (event & EVENT.VALID) !== 0 ? event : 0,
      eventErrorCode: (event & EVENT.EV) !== 0 ? vmcb.readHigh(VMCB.EXITINTINFO) : 0,
      nested: guestMode,
    });
  }
}

/** Where a root goes: the VMCB field and its group of CLEAN bits (APM vol. 2 15.15.3). */
const SHADOW_ROOT = [VMCB_SAVE.CR3, CLEAN.CRX] as const;
const NESTED_ROOT = [VMCB.N_CR3, CLEAN.NP] as const;
/** B0 to B3. */
const DR6_HITS = 0xf;
const DEBUG_ADDRESSES = [0, 1, 2, 3] as const;
