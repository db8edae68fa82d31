import type { Gva } from '../../arch/address.ts';
import { MSR } from '../../arch/msrs.ts';
import { EFLAGS } from '../../arch/registers.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { VMCB_SAVE, VMCB_SEGMENT, VMCB_SEGMENT_ORDER } from '../../arch/vmcb.ts';
import { Cpu } from '../cpu.ts';
import { CpuMemory } from '../cpu-memory.ts';
import { deliverEvent, type Event } from '../events/deliver.ts';
import { VmExit } from '../guest-exception.ts';
import { CODE_CONTEXT, CS, FPU, LDTR, MXCSR, SYSTEM, TR } from '../layout.ts';
import { type TaskSwitch, taskSwitch } from '../segmentation/task-switch.ts';
import { ExitInformation } from '../svm/exit-information.ts';
import { BusMemory, type SuppliedBus } from './bus-memory.ts';
import { EmulationGuard, NO_EXIT } from './guard.ts';

/** The guest's registers outside the VMCB; see `EmulatedState` in src/l0/hardware.ts. */
export interface EmulationState {
  readonly vmcb: number;
  readonly gpr: Uint32Array;
  cr0: number;
  cr2: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
}

/** What an intercepted task switch asked for. */
export interface EmulatedTaskSwitch extends TaskSwitch {
  readonly selector: number;
  readonly savedRip: number;
}

const DONE = 0;
const EXCEPTION = 1;
const EXIT = 2;
type Outcome = typeof DONE | typeof EXCEPTION | typeof EXIT;

/** The least memory a processor has; the emulated instruction never sees it. */
const NO_RAM = 65536;
/** It keeps no decoded code, only the TLB and jump cache that every interpreter has. */
const NO_CODE = 0x10_0000;
const LONGEST = 15;
const NOTHING = new ExitInformation();
const SYSENTER_MSRS = [
  [MSR.SYSENTER_CS, VMCB_SAVE.SYSENTER_CS],
  [MSR.SYSENTER_ESP, VMCB_SAVE.SYSENTER_ESP],
  [MSR.SYSENTER_EIP, VMCB_SAVE.SYSENTER_EIP],
] as const;
const DEBUG_ADDRESSES = [SYSTEM.DR0, SYSTEM.DR0 + 8, SYSTEM.DR0 + 16, SYSTEM.DR0 + 24] as const;

/**
 * Runs one instruction of a guest on the interpreter, or delivers one event, with everything outside its registers
 * supplied by the caller. It is a second processor that owns no memory: each access misses its TLB and goes to the bus.
 */
export class Emulator {
  readonly #host: Cpu;
  readonly #cpu: Cpu;
  readonly #memory: BusMemory;
  readonly #guard: EmulationGuard;
  readonly #bytes = new Uint8Array(16);
  #record = 0;
  /** Valid after an exception: `errorCode` is -1 for none, `address` is CR2 of a page fault. */
  readonly exception = { vector: 0, errorCode: -1, address: 0 };
  /** Valid after completion: the instruction left an interrupt shadow. */
  interruptShadow = false;
  /** Valid after completion: the instruction was INT n or its like, and this is its handler; nothing traps behind it. */
  delivered = false;
  /** Valid after completion: bits of DR6 whose #DB follows. */
  debugConditions = 0;

  /** @param host the processor whose VMCBs and FPU state are meant */
  constructor(host: Cpu) {
    this.#host = host;
    this.#cpu = new Cpu({
      model: host.model,
      ramBytes: NO_RAM,
      memory: new CpuMemory(NO_RAM, NO_CODE),
      environment: {
        interrupts: { pending: false, acknowledge: () => 0 },
        ports: {
          read: (port, size) => this.#bus.portIn(port, size),
          write: (port, size, value) => this.#bus.portOut(port, size, value),
        },
      },
      parts: {
        svm: (cpu) => new EmulationGuard(cpu, host.physical),
        memory: (cpu) => new BusMemory(cpu.exception),
        block: () => this.#record,
      },
    });
    this.#memory = this.#cpu.memory as BusMemory;
    this.#guard = this.#cpu.svm as EmulationGuard;
  }

  get #bus(): SuppliedBus {
    return this.#memory.bus as SuppliedBus;
  }

  /** After an exception or an intercept: what the processor would report of it in a VMCB. */
  get exit(): ExitInformation {
    return this.#guard.exit ?? NOTHING;
  }

  /** Runs exactly one instruction, or one iteration of a repeated one. */
  step(state: EmulationState, bus: SuppliedBus, disregarded: number = NO_EXIT): Outcome {
    this.#begin(state, bus, disregarded);
    if (!this.#fetch()) return this.#fail();
    this.#cpu.step();
    return this.#ended(state);
  }

  /**
   * Delivers an event. An exception on the way is the outcome; what becomes of the two is for the caller to say.
   *
   * @param faultEip where a fault leaves EIP
   */
  deliver(state: EmulationState, bus: SuppliedBus, event: Event, faultEip: number): Outcome {
    this.#begin(state, bus, NO_EXIT);
    const cpu = this.#cpu;
    this.#guard.beginDelivery(event, faultEip);
    try {
      deliverEvent(cpu, event);
    } catch (error) {
      if (error === cpu.exception) return this.#fail();
      if (!(error instanceof VmExit)) throw error;
    }
    cpu.delivered = true;
    return this.#ended(state);
  }

  /** Performs a task switch that was intercepted. */
  taskSwitch(state: EmulationState, bus: SuppliedBus, request: EmulatedTaskSwitch): Outcome {
    this.#begin(state, bus, VMEXIT.TASK_SWITCH);
    const cpu = this.#cpu;
    const oldEip = cpu.state.eip;
    cpu.state.eip = request.savedRip;
    try {
      taskSwitch(cpu, request.selector, request);
    } catch (error) {
      if (error !== cpu.exception) throw error;
      // Before the commit point this is the old task as it was, behind it the new one.
      cpu.state.eip = cpu.exception.takeEip(oldEip);
      this.#store(state);
      return this.#fail();
    }
    return this.#ended(state);
  }

  #begin(state: EmulationState, bus: SuppliedBus, disregarded: number): void {
    const cpu = this.#cpu;
    this.#memory.bus = bus;
    this.#guard.begin(state.vmcb, disregarded);
    this.#load(state);
    cpu.shadowAt = -1;
    cpu.resumeFlagUntil = cpu.completed;
    cpu.delivered = false;
    cpu.pendingDebug = 0;
  }

  #ended(state: EmulationState): Outcome {
    const cpu = this.#cpu;
    if (this.#guard.faulted) return this.#fail();
    if (this.#guard.exit !== undefined) return EXIT;
    this.interruptShadow = cpu.shadowAt === cpu.retired;
    this.delivered = cpu.delivered;
    this.debugConditions = cpu.pendingDebug;
    // An instruction that is over clears RF, as in the processor (SDM vol. 3B 17.3.1.1).
    if (cpu.resumeFlagUntil < cpu.retired) cpu.state.systemFlags &= ~EFLAGS.RF;
    this.#store(state);
    return DONE;
  }

  #fail(): Outcome {
    const { vector, errorCode, linear } = this.#cpu.exception;
    this.exception.vector = vector;
    this.exception.errorCode = errorCode;
    this.exception.address = linear;
    return EXCEPTION;
  }

  /** Fetches and decodes; false if the fetch faulted. Bytes behind the instruction are read within its page only. */
  #fetch(): boolean {
    const cpu = this.#cpu;
    const { eip } = cpu.state;
    const linear = (cpu.state.segmentBase(CS) + eip) >>> 0;
    const limit = cpu.state.segmentLimit(CS);
    const inPage = 4096 - (linear & 0xfff);
    let count = 0;
    for (let wanted = Math.min(LONGEST, inPage); ; wanted = count + 1) {
      for (; count < wanted; count++) {
        if (eip + count > limit || count >= LONGEST) return this.#raiseGeneralProtection();
        const byte = this.#bus.fetch(((linear + count) >>> 0) as Gva);
        if (byte < 0) {
          this.#memory.takeFault();
          return false;
        }
        this.#bytes[count] = byte;
      }
      this.#record = cpu.code.uncachedBlock(this.#bytes, count, linear & 0xfff, cpu.decodeMode);
      if (this.#record !== 0) break;
    }
    cpu.setBlockBase(eip - (linear & 0xfff));
    return true;
  }

  #raiseGeneralProtection(): boolean {
    this.#cpu.exception.vector = 13;
    this.#cpu.exception.errorCode = 0;
    return false;
  }

  #load(from: EmulationState): void {
    const cpu = this.#cpu;
    const { state } = cpu;
    const { u8, u16, u32 } = this.#host.physical;
    const vmcb = from.vmcb;
    const word = (offset: number): number => u32[(vmcb + offset) >>> 2] as number;
    for (let n = 0; n < 8; n++) state.setGpr(n, from.gpr[n * 2] as number);
    const load = (segment: number, offset: number): void => {
      const place = vmcb + offset;
      state.setSegment(
        segment,
        u16[(place + VMCB_SEGMENT.SELECTOR) >>> 1] as number,
        u32[(place + VMCB_SEGMENT.BASE) >>> 2] as number,
        u32[(place + VMCB_SEGMENT.LIMIT) >>> 2] as number,
        u16[(place + VMCB_SEGMENT.ATTRIBUTES) >>> 1] as number,
      );
    };
    for (let segment = 0; segment < 6; segment++) load(segment, VMCB_SEGMENT_ORDER[segment] as number);
    load(LDTR, VMCB_SAVE.LDTR);
    load(TR, VMCB_SAVE.TR);
    state.setSystem(SYSTEM.GDT_BASE, word(VMCB_SAVE.GDTR + VMCB_SEGMENT.BASE));
    state.setSystem(SYSTEM.GDT_LIMIT, word(VMCB_SAVE.GDTR + VMCB_SEGMENT.LIMIT) & 0xffff);
    state.setSystem(SYSTEM.IDT_BASE, word(VMCB_SAVE.IDTR + VMCB_SEGMENT.BASE));
    state.setSystem(SYSTEM.IDT_LIMIT, word(VMCB_SAVE.IDTR + VMCB_SEGMENT.LIMIT) & 0xffff);
    state.setSystem(SYSTEM.CR0, from.cr0);
    state.setSystem(SYSTEM.CR2, from.cr2);
    state.setSystem(SYSTEM.CR3, from.cr3);
    state.setSystem(SYSTEM.CR4, from.cr4);
    state.setSystem(SYSTEM.EFER, from.efer);
    state.setSystem(SYSTEM.DR6, word(VMCB_SAVE.DR6));
    state.setSystem(SYSTEM.DR7, word(VMCB_SAVE.DR7));
    for (const place of DEBUG_ADDRESSES) state.setSystem(place, this.#host.state.system(place));
    if (cpu.hasFeature('sep'))
      for (const [msr, offset] of SYSENTER_MSRS) cpu.msrs.write(msr, word(offset), 0);
    state.eflags = word(VMCB_SAVE.RFLAGS);
    state.eip = word(VMCB_SAVE.RIP);
    cpu.cpl = u8[vmcb + VMCB_SAVE.CPL] as number;
    this.#copyFpu(this.#host, cpu);
    cpu.updateContext();
    // The jump cache must not answer: the block is whatever `#record` says.
    state.i32[CODE_CONTEXT >> 2] = -1;
  }

  #store(to: EmulationState): void {
    const { state } = this.#cpu;
    const { u8, u16, u32 } = this.#host.physical;
    const vmcb = to.vmcb;
    const set = (offset: number, value: number): void => {
      u32[(vmcb + offset) >>> 2] = value;
    };
    for (let n = 0; n < 8; n++) to.gpr[n * 2] = state.gpr(n);
    const store = (segment: number, offset: number): void => {
      const place = vmcb + offset;
      u16[(place + VMCB_SEGMENT.SELECTOR) >>> 1] = state.selector(segment);
      u16[(place + VMCB_SEGMENT.ATTRIBUTES) >>> 1] = state.segmentAttributes(segment);
      set(offset + VMCB_SEGMENT.LIMIT, state.segmentLimit(segment));
      set(offset + VMCB_SEGMENT.BASE, state.segmentBase(segment));
    };
    for (let segment = 0; segment < 6; segment++) store(segment, VMCB_SEGMENT_ORDER[segment] as number);
    store(LDTR, VMCB_SAVE.LDTR);
    store(TR, VMCB_SAVE.TR);
    set(VMCB_SAVE.GDTR + VMCB_SEGMENT.BASE, state.system(SYSTEM.GDT_BASE));
    set(VMCB_SAVE.GDTR + VMCB_SEGMENT.LIMIT, state.system(SYSTEM.GDT_LIMIT));
    set(VMCB_SAVE.IDTR + VMCB_SEGMENT.BASE, state.system(SYSTEM.IDT_BASE));
    set(VMCB_SAVE.IDTR + VMCB_SEGMENT.LIMIT, state.system(SYSTEM.IDT_LIMIT));
    to.cr0 = state.cr0;
    to.cr2 = state.system(SYSTEM.CR2);
    for (const place of DEBUG_ADDRESSES) this.#host.state.setSystem(place, state.system(place));
    set(VMCB_SAVE.DR6, state.system(SYSTEM.DR6));
    set(VMCB_SAVE.DR7, state.system(SYSTEM.DR7));
    set(VMCB_SAVE.RFLAGS, state.eflags);
    set(VMCB_SAVE.RIP, state.eip);
    u8[vmcb + VMCB_SAVE.CPL] = this.#cpu.cpl;
    this.#copyFpu(this.#cpu, this.#host);
  }

  /** x87, MMX and SSE state are the processor's own and not switched by VMRUN. */
  #copyFpu(from: Cpu, to: Cpu): void {
    to.state.u8.set(from.state.u8.subarray(FPU, MXCSR + 4), FPU);
  }
}
