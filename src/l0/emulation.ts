/**
 * Running one instruction of the guest, or delivering one event, in software: it touches a device, or a page table that L0
 * protects. Instruction and delivery are the processor's own (InstructionEmulator); memory and ports are the guest's, seen through its own page tables.
 */
import type { Gva, Hpa } from '../arch/address.ts';
import { VECTOR } from '../arch/exceptions.ts';
import { ACCESS } from '../arch/paging/permissions.ts';
import { CR0, DR6, EFLAGS } from '../arch/registers.ts';
import { CLEAN, VMCB, VMCB_SAVE } from '../arch/vmcb.ts';
import { NESTED_PAGE_FAULT } from '../cpu/guest-exception.ts';
import { writeCr3 } from './control-registers.ts';
import { handleExit } from './exits/dispatch.ts';
import {
  Emulated,
  EmulatedAccess,
  type EmulatedEvent,
  type EmulatedException,
  type EmulatedState,
  type EmulatorBus,
  type TaskSwitchRequest,
} from './hardware.ts';
import type { NestedFault } from './mmu/nested-walk.ts';
import { trackWrite } from './mmu/write-track.ts';
import { exitForNestedFault } from './nested/nested-fault.ts';
import { Intercepts } from './svm/intercepts.ts';
import type { Vcpu } from './vcpu.ts';

const PAGE = 4096;
/** Registers that an emulated instruction may have changed. */
const EMULATION_DIRTIES = CLEAN.SEG | CLEAN.DT | CLEAN.CR2 | CLEAN.DRX | CLEAN.CRX;

class Fault implements EmulatedException {
  vector = 0;
  errorCode = 0;
  address = 0;
  nested: NestedFault | null = null;
  fetch = false;
}

/** What the emulator may know of a vCPU's registers. */
class StateView implements EmulatedState {
  readonly #vcpu: Vcpu;
  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
  }
  get vmcb(): Hpa {
    return this.#vcpu.state.vmcb.address;
  }
  get gpr(): Uint32Array {
    return this.#vcpu.state.gpr;
  }
  get cr0(): number {
    return this.#vcpu.state.cr0;
  }
  /** TS and MP: whatever else changes is intercepted. */
  set cr0(value: number) {
    const { state } = this.#vcpu;
    if (value === state.cr0) return;
    state.cr0 = value;
    const kept = state.vmcb.read(VMCB_SAVE.CR0) & ~(CR0.TS | CR0.MP);
    state.vmcb.write(VMCB_SAVE.CR0, kept | (value & (CR0.TS | CR0.MP)));
  }
  get cr2(): number {
    return this.#vcpu.cr2;
  }
  set cr2(value: number) {
    this.#vcpu.state.vmcb.write(VMCB_SAVE.CR2, value);
  }
  get cr3(): number {
    return this.#vcpu.state.cr3;
  }
  get cr4(): number {
    return this.#vcpu.state.cr4;
  }
  get efer(): number {
    return this.#vcpu.state.efer;
  }
}

export class Emulation implements EmulatorBus {
  high = 0;
  readonly fault = new Fault();
  readonly #vcpu: Vcpu;
  readonly #state: StateView;
  /** The last page that code was fetched from: linear and guest-physical address of it. */
  #codePage = -1;
  #codeAddress = -1;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
    this.#state = new StateView(vcpu);
  }

  /**
   * Runs the instruction at CS:RIP; what it raises is queued, and an intercept that it meets is handled. A string
   * instruction is repeated while nothing else wants the vCPU.
   *
   * @param handled the exit code whose handler calls, and whose intercept is not met again; none after a #PF
   */
  run(handled?: number): void {
    const { state, hardware, events } = this.#vcpu;
    const start = state.rip;
    const { trace } = this.#vcpu.vm;
    if (trace !== null) trace.emulate(state.vmcb.base(VMCB_SAVE.CS), start);
    let again = 0;
    const outcome = this.#emulate(() => {
      let last = this.#step(handled);
      for (
        ;
        last === Emulated.done && state.rip === start && events.empty && again < MOST_ITERATIONS;
        again += 1
      ) {
        last = this.#step(handled);
      }
      return last;
    });
    hardware.elapse(again);
    if (outcome === Emulated.exit) this.#handleExit();
  }

  #step(handled: number | undefined): Emulated {
    const { hardware, state, statistics } = this.#vcpu;
    const { emulator } = hardware;
    const trap = (state.rflags & EFLAGS.TF) !== 0;
    this.#codePage = -1;
    const outcome = emulator.step(this.#state, this, handled);
    if (outcome === Emulated.exception) {
      const { event, eventError, nextRip } = emulator.exit;
      state.vmcb.write64(VMCB.EXITINTINFO, event, eventError);
      state.vmcb.write64(VMCB.NRIP, nextRip, 0);
      this.#raise(emulator.exception);
    } else if (outcome === Emulated.done) {
      statistics.emulatedInstructions += 1;
      this.#complete(trap && !emulator.delivered ? DR6.BS : 0);
    }
    return outcome;
  }

  /** Makes an attempt to deliver an event; a fault on the way is combined with it. */
  deliver(event: EmulatedEvent): void {
    const { hardware, state } = this.#vcpu;
    const outcome = this.#emulate(() => hardware.emulator.deliver(this.#state, this, event, state.rip));
    this.#arrive(outcome);
    // A task gate.
    if (outcome === Emulated.exit) this.#handleExit();
  }

  /** Performs an intercepted task switch, and so delivers the event that caused it, if one did. */
  taskSwitch(request: TaskSwitchRequest): void {
    const { hardware } = this.#vcpu;
    this.#arrive(this.#emulate(() => hardware.emulator.taskSwitch(this.#state, this, request)));
  }

  #arrive(outcome: Emulated): void {
    const { emulator } = this.#vcpu.hardware;
    if (outcome === Emulated.exception) this.#raise(emulator.exception);
    if (outcome !== Emulated.done) return;
    this.#vcpu.events.arrived();
    this.#complete(0);
  }

  #complete(trap: number): void {
    const { hardware, state } = this.#vcpu;
    // What was in delivery has arrived, and is nothing that a later exit interrupted.
    state.vmcb.write64(VMCB.EXITINTINFO, 0, 0);
    state.interruptShadow = hardware.emulator.interruptShadow;
    const conditions = hardware.emulator.debugConditions | trap;
    if (conditions !== 0) this.#vcpu.raiseDebugTrap(conditions);
  }

  /** FS, GS, LDTR, TR and the SYSENTER MSRs are in the processor, and come to the VMCB for as long as `work` takes. */
  #emulate(work: () => Emulated): Emulated {
    const { state, hardware } = this.#vcpu;
    // Afterwards L1 may be current, which goes on with what L2 left in the processor.
    const { vmcb } = state;
    hardware.vmsave(vmcb.address);
    const saved = Intercepts.beginEmulation(vmcb);
    const outcome = work();
    Intercepts.endEmulation(vmcb, saved);
    hardware.vmload(vmcb.address);
    vmcb.dirty(EMULATION_DIRTIES);
    return outcome;
  }

  /** The emulator stopped at an intercept: the VMCB gets to say what the processor would have put there. */
  #handleExit(): void {
    const { state, hardware } = this.#vcpu;
    const { vmcb } = state;
    const { exit } = hardware.emulator;
    vmcb.write64(VMCB.EXITCODE, exit.code, 0);
    vmcb.write64(VMCB.EXITINFO1, exit.info1, exit.info1Hi);
    vmcb.write64(VMCB.EXITINFO2, exit.info2, exit.info2Hi);
    vmcb.write64(VMCB.EXITINTINFO, exit.event, exit.eventError);
    vmcb.write64(VMCB.NRIP, exit.nextRip, 0);
    vmcb.bytes[VMCB.INSTRUCTION_COUNT] = 0;
    handleExit(this.#vcpu);
  }

  #raise({ vector, errorCode, address }: EmulatedException): void {
    if (vector === NESTED_PAGE_FAULT) this.#exitForNestedFault();
    else if (vector === VECTOR.PF) this.#vcpu.raisePageFault(errorCode, address, this.fault.fetch);
    else this.#vcpu.events.raise(vector, Math.max(errorCode, 0), address);
  }

  /** The last walk that failed is what ended the emulation: nothing is read behind it. */
  #exitForNestedFault(): void {
    const { nested } = this.fault;
    if (nested !== null) exitForNestedFault(this.#vcpu, nested);
  }

  // --- EmulatorBus ---------------------------------------------------------------------------------------------

  fetch(linear: Gva): number {
    const page = linear & ~(PAGE - 1);
    if (page !== this.#codePage) {
      const user = this.#vcpu.state.cpl === 3 ? ACCESS.USER : 0;
      const address = this.#translate(linear, ACCESS.FETCH | user);
      this.fault.fetch = address < 0;
      if (address < 0) return -1;
      this.#codePage = page;
      this.#codeAddress = address - (address % PAGE);
    }
    return this.#readPhysical(this.#codeAddress + (linear & (PAGE - 1)), 1);
  }

  check(linear: Gva, size: number, access: EmulatedAccess, supervisor: boolean, implicit: boolean): boolean {
    const wanted = accessBits(access, supervisor, implicit);
    const { state, walk } = this.#vcpu;
    for (let at: number = linear, left = size; left > 0; ) {
      const address = walk.probe(at, wanted, state.alignmentCheck);
      if (address < 0) return this.#pageFault(at);
      const here = Math.min(left, PAGE - (at & (PAGE - 1)));
      left -= here;
      at = (at + here) >>> 0;
    }
    return true;
  }

  read(linear: Gva, size: number, supervisor: boolean, implicit: boolean): number {
    const access = accessBits(EmulatedAccess.read, supervisor, implicit);
    this.high = 0;
    const room = PAGE - (linear & (PAGE - 1));
    if (size > room) return this.#readAcross(linear, size, access);
    const address = this.#translate(linear, access);
    if (size < 8) return this.#readPhysical(address, size);
    const low = this.#readPhysical(address, 4);
    this.high = this.#readPhysical(address + 4, 4);
    return low;
  }

  write(linear: Gva, size: number, lo: number, hi: number, supervisor: boolean, implicit: boolean): void {
    const access = accessBits(EmulatedAccess.write, supervisor, implicit);
    const room = PAGE - (linear & (PAGE - 1));
    if (size > room) {
      this.#writeAcross(linear, size, lo, hi, access);
      return;
    }
    const address = this.#translate(linear, access);
    this.#writePhysical(address, size, lo, hi);
  }

  portIn(port: number, size: 1 | 2 | 4): number {
    return this.#vcpu.vm.environment.ports.read(port, size);
  }

  portOut(port: number, size: 1 | 2 | 4, value: number): void {
    this.#vcpu.vm.environment.ports.write(port, size, value);
  }

  loadCr3(value: number): boolean {
    if (writeCr3(this.#vcpu, value)) return true;
    this.fault.vector = VECTOR.GP;
    this.fault.errorCode = 0;
    this.fault.address = 0;
    this.fault.nested = null;
    return false;
  }

  // --- guest memory --------------------------------------------------------------------------------------------

  /** Guest-physical address of an access in one page, A and D set; -1 with `fault` filled in. */
  #translate(linear: number, access: number): number {
    const address = this.#vcpu.walk.translate(linear, access, this.#vcpu.state.alignmentCheck);
    if (address < 0) this.#pageFault(linear);
    return address;
  }

  /** What the guest walk failed with. */
  #pageFault(linear: number): false {
    const { walk } = this.#vcpu;
    this.fault.nested = walk.nestedFault ?? null;
    this.fault.vector = this.fault.nested === null ? VECTOR.PF : NESTED_PAGE_FAULT;
    this.fault.errorCode = walk.errorCode;
    this.fault.address = linear;
    this.fault.fetch = false;
    return false;
  }

  #readAcross(linear: number, size: number, access: number): number {
    let lo = 0;
    for (let i = 0; i < size; i += 1) {
      const byte = this.#readPhysical(this.#translate((linear + i) >>> 0, access), 1);
      if (i < 4) lo |= byte << (8 * i);
      else this.high |= byte << (8 * (i - 4));
    }
    this.high >>>= 0;
    return lo >>> 0;
  }

  #writeAcross(linear: number, size: number, lo: number, hi: number, access: number): void {
    for (let i = 0; i < size; i += 1) {
      const byte = (i < 4 ? lo >>> (8 * i) : hi >>> (8 * (i - 4))) & 0xff;
      this.#writePhysical(this.#translate((linear + i) >>> 0, access), 1, byte, 0);
    }
  }

  #readPhysical(address: number, size: number): number {
    if (address < 0) return 0xffff_ffff >>> (32 - 8 * size);
    const host = this.#vcpu.vm.slots.hostAddress(address);
    if (host < 0) return this.#readDevice(address, size as 1 | 2 | 4);
    const { u8 } = this.#vcpu.hardware.memory;
    let value = 0;
    for (let i = 0; i < size; i += 1) value |= u8[host + i] << (8 * i);
    return value >>> 0;
  }

  #writePhysical(address: number, size: number, lo: number, hi: number): void {
    if (address < 0) return;
    const { vm, hardware } = this.#vcpu;
    const slot = vm.slots.find(Math.floor(address / PAGE));
    if (slot === undefined || slot.readOnly) {
      this.#writeDevice(address, Math.min(size, 4) as 1 | 2 | 4, lo);
      if (size === 8) this.#writeDevice(address + 4, 4, hi);
      return;
    }
    const host = vm.slots.hostAddress(address);
    const { u8 } = hardware.memory;
    for (let i = 0; i < size; i += 1) u8[host + i] = i < 4 ? lo >>> (8 * i) : hi >>> (8 * (i - 4));
    hardware.memory.written(host as Hpa, size);
    trackWrite(vm.tables, address, size);
  }

  // --- devices -------------------------------------------------------------------------------------------------

  /** Devices see aligned accesses only (see MmioBus). */
  #readDevice(address: number, size: 1 | 2 | 4): number {
    if (address % size !== 0) {
      const half = (size >>> 1) as 1 | 2;
      return (this.#readDevice(address, half) | (this.#readDevice(address + half, half) << (8 * half))) >>> 0;
    }
    return this.#vcpu.vm.mmio.read(address as Hpa, size);
  }

  #writeDevice(address: number, size: 1 | 2 | 4, value: number): void {
    if (address % size !== 0) {
      const half = (size >>> 1) as 1 | 2;
      this.#writeDevice(address, half, value);
      this.#writeDevice(address + half, half, value >>> (8 * half));
      return;
    }
    const masked = size === 4 ? value >>> 0 : value & ((1 << (8 * size)) - 1);
    this.#vcpu.vm.mmio.write(address as Hpa, size, masked);
  }
}

/** Iterations of a repeated string instruction in one go. */
const MOST_ITERATIONS = 256;

function accessBits(access: EmulatedAccess, supervisor: boolean, implicit: boolean): number {
  return (
    (access === EmulatedAccess.write ? ACCESS.WRITE : ACCESS.READ) |
    (supervisor ? 0 : ACCESS.USER) |
    (implicit ? ACCESS.IMPLICIT : 0)
  );
}
