import { VECTOR } from '../../arch/exceptions.ts';
import { MSR, VM_CR } from '../../arch/msrs.ts';
import { CR0, EFLAGS } from '../../arch/registers.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { CR_ACCESS, EVENT_TYPE, INTERCEPT1, INTERCEPT2 } from '../../arch/vmcb.ts';
import { FORMS } from '../../isa/table.ts';
import type { Cpu } from '../cpu.ts';
import type { Event } from '../events/deliver.ts';
import { deliverInterrupt } from '../events/exceptions.ts';
import type { GuestException } from '../guest-exception.ts';
import type { Instruction } from '../instruction.ts';
import type { PhysicalMemory } from '../physical-memory.ts';
import type { TaskSwitch } from '../segmentation/task-switch.ts';
import type { GuestControls } from './controls.ts';
import type { ExitInformation } from './exit-information.ts';
import { EXIT, GuestExit } from './guest-exit.ts';
import { injectEvent } from './injection.ts';
import { LoadSave } from './load-save.ts';
import { msrIntercepted, portIntercepted } from './permission-maps.ts';
import { SIMPLE_INTERCEPTS, type SimpleIntercept, TABLE_INTERCEPTS } from './simple-intercepts.ts';
import type { VmcbPage } from './vmcb-page.ts';
import { WorldSwitch } from './world-switch.ts';

export type { SimpleIntercept } from './simple-intercepts.ts';

/** Writes of CR0 that change nothing but these are let through by the selective intercept (APM vol. 2 15.9). */
const NOT_SELECTED = CR0.TS | CR0.MP;
/** Where the write intercepts of a register word begin. */
const WRITES = 16;

/** Other parts than the usual ones, for a processor that emulates single instructions. */
export interface SvmParts {
  readonly exits: GuestExit;
  /** Where the permission maps lie. */
  readonly maps: PhysicalMemory;
}

/**
 * AMD's virtual machine extension as this processor has it: APM vol. 2 chapter 15. Instructions and events ask here
 * whether they are intercepted; a #VMEXIT is thrown as VmExit after the host's state has been restored. While the host
 * runs, nothing is intercepted: all controls are zero.
 */
export class Svm {
  readonly #cpu: Cpu;
  readonly #switch: WorldSwitch;
  readonly #controls: GuestControls;
  readonly #exits: GuestExit;
  readonly #loadSave: LoadSave;
  readonly #maps: PhysicalMemory;
  readonly #decodeAssists: boolean;
  /** A guest runs: VMRUN was executed, #VMEXIT not yet. */
  inGuest = false;
  /** Global interrupt flag (APM vol. 2 15.17). */
  gif = true;
  /** The host is no code that the processor runs: after #VMEXIT `Cpu.run` returns. */
  hostReturns = false;

  constructor(cpu: Cpu, parts?: SvmParts) {
    this.#cpu = cpu;
    this.#switch = new WorldSwitch(cpu);
    this.#controls = this.#switch.controls;
    this.#exits = parts?.exits ?? new GuestExit(cpu, this.#switch);
    this.#maps = parts?.maps ?? cpu.physical;
    this.#loadSave = new LoadSave(cpu);
    this.#decodeAssists = cpu.hasFeature('decodeassists');
  }

  reset(): void {
    this.#switch.reset();
    this.#exits.delivering = undefined;
    this.inGuest = false;
    this.gif = true;
    this.#cpu.paging.switchAsid(0, false);
  }

  /**
   * VMRUN behind its checks. Afterwards EIP is the guest's, or that of its handler if an event was injected; or the host's
   * again, after a #VMEXIT.
   *
   * @param vmcb    physical address, a multiple of 4096
   * @param hostEip where the host goes on
   */
  vmrun(vmcb: number, hostEip: number): void {
    const cpu = this.#cpu;
    this.#switch.saveHost(hostEip);
    if (!this.#switch.enter(vmcb)) {
      this.#exits.refuse();
      return;
    }
    this.inGuest = true;
    this.gif = true;
    injectEvent(cpu, this.#switch.vmcb);
    // Whatever waits is looked at before the first instruction.
    if (this.#eventsWait) cpu.endSlice();
  }

  /** VMLOAD and VMSAVE behind their checks, with the VMCB at a physical address. */
  vmload(vmcb: number): void {
    this.#loadSave.load(vmcb);
  }
  vmsave(vmcb: number): void {
    this.#loadSave.save(vmcb);
  }

  /** INVLPGA; an ASID that the processor does not have holds nothing. */
  invalidatePage(linear: number, asid: number): void {
    const { model, paging } = this.#cpu;
    if (asid >= model.asidCount) return;
    paging.invalidatePage(linear, asid);
    this.#cpu.updateContext();
  }

  get #eventsWait(): boolean {
    const { initPending, nmiPending, environment, state, breakpointsEnabled } = this.#cpu;
    return (
      initPending ||
      nmiPending ||
      breakpointsEnabled ||
      environment.interrupts.pending ||
      (state.systemFlags & EFLAGS.TF) !== 0 ||
      this.#controls.virtualInterruptPending
    );
  }

  /** The guest of `vmcb` is the one whose intercepts count, but for that of the exit code `disregarded`. */
  protected useControls(vmcb: VmcbPage, disregarded: number): void {
    this.inGuest = true;
    this.#controls.load(vmcb);
    this.#controls.disregard(disregarded);
  }

  // --- exceptions and interrupts -------------------------------------------------------------------------------

  /**
   * An exception was raised and is about to be combined with what is in delivery (APM vol. 2 15.7.3). `eip` is what its
   * frame would say, but for INT3, INTO and BOUND the instruction itself. True after a #VMEXIT.
   */
  exitForException(vector: number, errorCode: number, linear: number, eip: number): boolean {
    // Vectors 2 and 9 have no intercept (15.12.3, 15.12.10).
    if (((this.#controls.exceptions >>> vector) & 1) === 0 || vector === VECTOR.NMI || vector === VECTOR.CSO)
      return false;
    const exit = this.#exits.begin(VMEXIT.EXCP + vector);
    const inDelivery = this.#exits.delivering !== undefined;
    if (errorCode >= 0) exit.info1 = errorCode;
    if (vector === VECTOR.PF) {
      exit.info2 = linear;
      if (this.#reportsBytes) exit.fetchInstruction(this.#cpu, eip);
    }
    const byInstruction = vector === VECTOR.BP || vector === VECTOR.OF || vector === VECTOR.BR;
    if (byInstruction && !inDelivery) exit.nextRip = this.#cpu.nextEip;
    this.#exits.leave(exit, eip);
    return true;
  }

  /** The same for the instructions that raise an exception themselves. */
  interceptException(vector: number, errorCode: number, linear: number): void {
    if (this.exitForException(vector, errorCode, linear, this.#cpu.instructionEip)) throw EXIT;
  }

  /** #VMEXIT(NPF) with the guest at `eip`: no intercept decides about it (APM vol. 2 15.25.6). */
  exitForNestedFault(fault: GuestException, eip: number): void {
    const exit = this.#exits.begin(VMEXIT.NPF);
    exit.setNestedFault(fault);
    if (this.#reportsBytes) exit.fetchInstruction(this.#cpu, eip);
    this.#exits.leave(exit, eip);
  }

  /**
   * Whether a page fault has instruction bytes to report (APM vol. 2 15.8.4). A fetch has none: it happens between two
   * instructions.
   */
  get #reportsBytes(): boolean {
    const isData = this.#exits.delivering !== undefined || this.#cpu.chargedAhead !== 0;
    return this.#decodeAssists && isData;
  }

  /**
   * Between these, a #VMEXIT reports the event in EXITINTINFO (APM vol. 2 15.7.2); `eip` is where a fault on the way
   * leaves RIP.
   */
  beginDelivery(event: Event, eip: number): void {
    this.#exits.delivering = event;
    this.#exits.deliveryEip = eip;
  }
  endDelivery(): void {
    this.#exits.delivering = undefined;
  }

  /** A triple fault, with the guest at `eip` (APM vol. 2 15.14.3). */
  interceptShutdown(eip: number): void {
    if (this.#has(INTERCEPT1.SHUTDOWN)) this.#exits.throw(this.#exits.begin(VMEXIT.SHUTDOWN), eip);
  }

  /** A task switch whose TSS was found to be right. */
  interceptTaskSwitch(selector: number, request: TaskSwitch): void {
    if (!this.#has(INTERCEPT1.TASK_SWITCH)) return;
    const cpu = this.#cpu;
    const exit = this.#exits.begin(VMEXIT.TASK_SWITCH);
    const { delivering, deliveryEip } = this.#exits;
    // An instruction that switches tasks completes and so clears RF; an exception's frame keeps it.
    const resumeFlag = delivering !== undefined && (cpu.state.systemFlags & EFLAGS.RF) !== 0;
    exit.setTaskSwitch(selector, request, resumeFlag);
    this.#exits.throw(exit, delivering === undefined ? cpu.instructionEip : deliveryEip);
  }

  /** #VMEXIT(NMI), (INTR) or (INIT) instead of taking it, which stays pending (APM vol. 2 15.13); true if so. */
  interceptNmi(): boolean {
    if (!this.#has(INTERCEPT1.NMI)) return false;
    this.#cpu.nmiPending = true;
    return this.#leaveBetween(VMEXIT.NMI);
  }
  interceptInterrupt(): boolean {
    return this.#has(INTERCEPT1.INTR) && this.#leaveBetween(VMEXIT.INTR);
  }
  interceptInit(): boolean {
    return this.#has(INTERCEPT1.INIT) && this.#leaveBetween(VMEXIT.INIT);
  }

  /** VM_CR.R_INIT makes an INIT that nobody intercepts a #SX (APM vol. 2 15.30.1). */
  get redirectsInit(): boolean {
    return ((this.#cpu.msrs.get(MSR.VM_CR)?.lo ?? 0) & VM_CR.R_INIT) !== 0;
  }

  /** #VMEXIT between two instructions. */
  #leaveBetween(code: number): true {
    this.#exits.leave(this.#exits.begin(code), this.#cpu.state.eip);
    return true;
  }

  /**
   * Whether a physical interrupt may be taken now. The guest's interrupt shadow does not hold up what the host intercepts:
   * a guest could make an endless one.
   */
  physicalInterruptsOpen(shadow: boolean): boolean {
    if (shadow && !this.#has(INTERCEPT1.INTR)) return false;
    // EFLAGS.IF is the guest's own business under V_INTR_MASKING (APM vol. 2 15.21.1).
    if (this.#controls.masksVirtually) return this.#switch.hostInterrupts;
    return (this.#cpu.state.systemFlags & EFLAGS.IF) !== 0;
  }

  get interceptsInterrupts(): boolean {
    return this.#has(INTERCEPT1.INTR);
  }
  /** The host has an interrupt of its own, on no pin of this processor: #VMEXIT(INTR) if that is open; true if so. */
  interruptGuest(): boolean {
    const { shadowAt, shadowFromStack, retired, pendingDebug } = this.#cpu;
    const shadow = shadowAt === retired;
    // Debug traps of the instruction that is over come first (SDM vol. 3A table 6-2, APM vol. 2 8.5); no VMCB keeps them.
    if (pendingDebug !== 0 && !(shadow && shadowFromStack)) return false;
    return this.physicalInterruptsOpen(shadow) && this.interceptInterrupt();
  }

  /** Writes the registers of the running guest to its VMCB, between two instructions and without a #VMEXIT. */
  showGuest(): void {
    this.#switch.saveGuest(this.#cpu.state.eip, false);
  }

  /** Whether an NMI may be taken now; an intercepted one always. `shadow` is that of MOV SS or POP SS. */
  nmiOpen(shadow: boolean): boolean {
    return this.#has(INTERCEPT1.NMI) || !(shadow || this.#cpu.nmiBlocked);
  }

  /** A virtual interrupt is pending that nothing but an interrupt shadow holds back (APM vol. 2 15.21.4). */
  get virtualInterruptOpen(): boolean {
    return this.#controls.virtualInterruptPending && (this.#cpu.state.systemFlags & EFLAGS.IF) !== 0;
  }

  /** Takes V_IRQ if it is pending and open. */
  takeVirtualInterrupt(shadow: boolean): void {
    if (shadow || !this.virtualInterruptOpen) return;
    if (this.#has(INTERCEPT1.VINTR)) {
      this.#leaveBetween(VMEXIT.VINTR);
      return;
    }
    const cpu = this.#cpu;
    const vector = this.#controls.virtualVector;
    this.#controls.virtualInterruptTaken();
    cpu.halted = false;
    const returnEip = cpu.state.eip;
    deliverInterrupt(cpu, { type: EVENT_TYPE.INTR, vector, errorCode: -1, software: false, returnEip });
  }

  // --- instructions --------------------------------------------------------------------------------------------

  #has(bit: number): boolean {
    return (this.#controls.first & bit) !== 0;
  }

  /** Instructions whose intercept is one bit and whose exit says no more: by the key of INTERCEPT1 or INTERCEPT2. */
  intercept(name: SimpleIntercept): void {
    if (name === 'MWAIT') this.#interceptArmedWait();
    if (this.exitForInstruction(name)) throw EXIT;
  }

  /** As `intercept`, but without the cost of unwinding: true after a #VMEXIT, and then EIP is the host's. */
  exitForInstruction(name: SimpleIntercept): boolean {
    if (!this.inGuest) return false;
    const { first, second } = this.#controls;
    const { isSecond, bit, code } = SIMPLE_INTERCEPTS[name];
    if (((isSecond ? second : first) & bit) === 0) return false;
    this.#exits.leaveInstruction(this.#exits.begin(code));
    return true;
  }

  /** The conditional intercept comes first, and only an MWAIT that would wait has it (APM vol. 2 15.9). */
  #interceptArmedWait(): void {
    const { monitor, physical } = this.#cpu;
    if ((this.#controls.second & INTERCEPT2.MWAIT_ARMED) === 0 || !monitor.waits(physical.u8)) return;
    this.#exits.throwInstruction(this.#exits.begin(VMEXIT.MWAIT_CONDITIONAL));
  }

  interceptSoftwareInterrupt(vector: number): void {
    if (!this.#has(INTERCEPT1.SWINT)) return;
    const exit = this.#exits.begin(VMEXIT.SWINT);
    if (this.#decodeAssists) exit.info1 = vector;
    this.#exits.throwInstruction(exit);
  }
  interceptInterruptReturn(): void {
    if (this.#has(INTERCEPT1.IRET)) this.#exits.throwInstruction(this.#exits.begin(VMEXIT.IRET));
  }
  interceptCacheInvalidation(which: 'invd' | 'wbinvd'): void {
    this.intercept(which === 'invd' ? 'INVD' : 'WBINVD');
  }

  /** SGDT and LGDT, SIDT and LIDT, SLDT and LLDT, STR and LTR. */
  interceptTable(which: 'gdt' | 'idt' | 'ldt' | 'tr', kind: 'read' | 'write'): void {
    const name = TABLE_INTERCEPTS[which][kind];
    if (this.#has(INTERCEPT1[name])) this.#exits.throwInstruction(this.#exits.begin(VMEXIT[name]));
  }

  /** MOV CR0, LMSW and CLTS, with the value CR0 would get; that of LMSW does not matter (APM vol. 2 15.9). */
  interceptCr0Write(value: number, lmsw: boolean, instruction: Instruction): void {
    this.interceptCr(0, 'write', instruction);
    if (!this.#has(INTERCEPT1.CR0_SEL_WRITE)) return;
    if (!lmsw && ((this.#cpu.state.cr0 ^ value) & ~NOT_SELECTED) === 0) return;
    this.#exitCrAccess(VMEXIT.CR0_SEL_WRITE, instruction);
  }
  interceptCr(number: number, kind: 'read' | 'write', instruction: Instruction): void {
    const write = kind === 'write';
    if (((this.#controls.registers >>> (write ? number + WRITES : number)) & 1) === 0) return;
    this.#exitCrAccess((write ? VMEXIT.CR0_WRITE : VMEXIT.CR0_READ) + number, instruction);
  }

  /** Which register MOV CRx names; SMSW, LMSW and CLTS say nothing (APM vol. 2 15.8.1). */
  #exitCrAccess(code: number, instruction: Instruction): never {
    const exit = this.#exits.begin(code);
    if (this.#decodeAssists && FORMS[instruction.form].name === 'MOV') {
      exit.info1 = instruction.rmRegister & CR_ACCESS.GPR;
      exit.info1Hi = CR_ACCESS.HI_MOV;
    }
    this.#exits.throwInstruction(exit);
  }

  interceptDr(number: number, kind: 'read' | 'write', instruction: Instruction): void {
    const write = kind === 'write';
    if (((this.#controls.debugRegisters >>> (write ? number + WRITES : number)) & 1) === 0) return;
    const exit = this.#exits.begin((write ? VMEXIT.DR0_WRITE : VMEXIT.DR0_READ) + number);
    if (this.#decodeAssists) exit.info1 = instruction.rmRegister & CR_ACCESS.GPR;
    this.#exits.throwInstruction(exit);
  }

  interceptMsr(index: number, kind: 'read' | 'write'): void {
    const write = kind === 'write';
    if (!this.#has(INTERCEPT1.MSR)) return;
    if (!msrIntercepted(this.#maps, this.#controls.msrpm, index, write)) return;
    const exit = this.#exits.begin(VMEXIT.MSR);
    exit.info1 = write ? 1 : 0;
    this.#exits.throwInstruction(exit);
  }

  interceptInvalidatePage(linear: number): void {
    if (!this.#has(INTERCEPT1.INVLPG)) return;
    const exit = this.#exits.begin(VMEXIT.INVLPG);
    if (this.#decodeAssists) exit.info1 = linear;
    this.#exits.throwInstruction(exit);
  }

  /** IN, OUT, INS, OUTS after the permission checks; sizes in bytes. `segment`: of OUTS' source (APM vol. 2 15.10). */
  interceptIo(
    port: number,
    size: 1 | 2 | 4,
    isInput: boolean,
    isString: boolean,
    isRepeated: boolean,
    addressSize: 2 | 4,
    segment: number,
  ): void {
    if (!this.#has(INTERCEPT1.IOIO)) return;
    if (!portIntercepted(this.#maps, this.#controls.iopm, port, size)) return;
    const exit: ExitInformation = this.#exits.begin(VMEXIT.IOIO);
    exit.setIo(port, size, isInput, isString, isRepeated, addressSize, segment);
    exit.info2 = this.#cpu.nextEip;
    this.#exits.throwInstruction(exit);
  }

  // --- registers that a guest has for itself -------------------------------------------------------------------

  /** CR8 under virtual interrupt masking (APM vol. 2 15.21.2). */
  readTaskPriority(): number {
    if (this.#controls.masksVirtually) return this.#controls.virtualTaskPriority;
    return this.#cpu.environment.apic?.taskPriority ?? 0;
  }
  writeTaskPriority(value: number): void {
    const { apic } = this.#cpu.environment;
    if (this.inGuest) this.#controls.virtualTaskPriority = value;
    if (!this.#controls.masksVirtually && apic !== undefined) apic.taskPriority = value;
    // A lower priority may let an interrupt in.
    this.#cpu.endSlice();
  }

  /** CR0 of the host while its guest runs; else 0. */
  get hostCr0(): number {
    return this.inGuest ? this.#switch.hostCr0 : 0;
  }

  /** What the guest's TSC is ahead of the processor's, modulo 2^64, in halves; zero in the host. */
  get tscOffsetLo(): number {
    return this.#controls.tscOffsetLo;
  }
  get tscOffsetHi(): number {
    return this.#controls.tscOffsetHi;
  }
}
