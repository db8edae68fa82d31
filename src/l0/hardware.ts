/**
 * What L0 may touch of the processor: exactly what software can. Physical memory, registers that VMRUN does not
 * switch, MSRs, and instructions. No member looks into the TLB, and none translates a guest address.
 *
 * The processor (src/cpu) implements `Hardware` and `InstructionEmulator`; the MMU test bench implements them too,
 * with a plain software walk in place of the processor.
 */
import type { Gva, Hpa } from '../arch/address.ts';
import type { EventType } from '../arch/vmcb.ts';

/**
 * Host physical memory, RAM from address 0 upwards. The three views show the same little-endian bytes; `u8[hpa]`,
 * `u16[hpa >>> 1]` and `u32[hpa >>> 2]` is the cell at a host-physical address. They never move while the machine lives.
 *
 * Stores through the views are ordinary stores: the page walker of the processor sees them at its next walk, its TLB
 * does not (SDM vol. 3A 4.10.2.3, APM vol. 2 5.5.2).
 */
export interface HostMemory {
  /** Bytes of RAM, a multiple of 4096. */
  readonly size: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  /**
   * Tells that `bytes` bytes from `address` were stored through the views in a page which a guest may execute, so that
   * the processor sees modified code (SDM vol. 3A 12.6). Pages that only L0 uses (shadow pages, VMCBs, permission
   * maps) need one call, when they are taken for that: who uses the memory next must find it clear.
   */
  written(address: Hpa, bytes: number): void;
}

/** A run of host-physical pages. `base` and `size` are multiples of 4096, in bytes. */
export interface HostRange {
  readonly base: Hpa;
  readonly size: number;
}

/** The two halves of a 64-bit register, each unsigned (EAX and EDX of RDMSR). */
export interface Halves {
  readonly lo: number;
  readonly hi: number;
}

/** Answer of CPUID; every field unsigned 32 bits. */
export interface CpuidAnswer {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** A processor on which L0 runs at CPL 0, in the state that the host kernel's boot code left. */
export interface Hardware {
  readonly memory: HostMemory;

  /**
   * The general registers as 16 pairs of unsigned halves in encoding order: `gpr[2 * n]` is the low half of register n
   * (0 RAX, 1 RCX, 2 RDX, 3 RBX, 4 RSP, 5 RBP, 6 RSI, 7 RDI, 8..15 R8..R15). A live view. VMRUN takes RAX and RSP
   * from the VMCB and #VMEXIT puts them there; all others are the guest's when VMRUN starts and when it returns
   * (APM vol. 2 15.5.1), so software saves and restores them around it. After VMRUN, RAX and RSP here are the host's and mean
   * nothing to L0. x87, MMX, SSE state and XCR0 are likewise left in the processor and shared.
   */
  readonly gpr: Uint32Array;

  /** MOV from CRn: 0, 2, 3, 4 (low 32 bits, unsigned). CR2 is switched by VMRUN through the VMCB. */
  readCr(index: 0 | 2 | 3 | 4): number;
  /** MOV to CRn, with its TLB effects and its checks; L0 writes only values that are legal. */
  writeCr(index: 0 | 2 | 3 | 4, value: number): void;
  /** DR0..DR3, DR6, DR7 (low 32 bits). VMRUN switches DR6 and DR7 only (APM vol. 2 15.5.1). */
  readDr(index: 0 | 1 | 2 | 3 | 6 | 7): number;
  writeDr(index: 0 | 1 | 2 | 3 | 6 | 7, value: number): void;
  /** RDMSR. Throws an Error where the instruction would raise #GP: L0 asked for what there is not. */
  rdmsr(index: number): Halves;
  /** WRMSR. Throws an Error where the instruction would raise #GP: L0 asked for what there is not. */
  wrmsr(index: number, lo: number, hi: number): void;
  /** CPUID of this processor. */
  cpuid(leaf: number, subleaf: number): CpuidAnswer;

  /**
   * VMRUN with rAX = `vmcb`: saves the host state to VM_HSAVE_PA, loads the guest's, runs it, and returns after the
   * next #VMEXIT, with the exit's fields in the VMCB, the host state back and GIF = 0 (APM vol. 2 15.5, 15.6). An
   * illegal VMCB returns at once with VMEXIT_INVALID. CR0.PG = 1 with CR0.PE = 0 is legal here and only here: paged real
   * mode (APM vol. 2 15.19), in which L0 shadows a guest's real mode. It always returns: a pending host interrupt or a due deadline of
   * the machine's clock is #VMEXIT(INTR) where INTR is intercepted, which L0 always does.
   *
   * True after the #VMEXIT. False if the machine was stopped first, with the guest in the processor: `resume` goes on.
   */
  vmrun(vmcb: Hpa): boolean;
  /**
   * The machine stands still, because whoever simulates it wants to look: nothing may happen in it until it goes on. No
   * software notices that, and neither does a guest; L0 only has to know since its own code is not in the machine.
   */
  readonly stopped: boolean;
  /** Goes on with a VMRUN that returned false; the answer is as there. */
  resume(): boolean;
  /**
   * Writes the registers of the guest that is in the processor to its VMCB, as #VMEXIT would, for whoever looks at a
   * stopped machine. The guest does not leave, and what is in the VMCB means nothing to it.
   */
  showGuest(): void;
  /**
   * An interrupt for the host itself, as another processor would send it: a guest in the processor leaves before its next
   * instruction, even if the machine should stand still. Nothing happens if there is none.
   */
  interruptHost(): void;
  /** VMLOAD with rAX = `vmcb` (APM vol. 2 15.5.2): FS, GS, TR, LDTR with hidden parts, KernelGSBase, STAR, LSTAR, CSTAR, SFMASK, SYSENTER_*. */
  vmload(vmcb: Hpa): void;
  /** VMSAVE with rAX = `vmcb`: the counterpart of VMLOAD. */
  vmsave(vmcb: Hpa): void;
  /** INVLPGA: drops the translation of the page of `linear` (global ones too) under `asid` (APM vol. 2 15.16.2). */
  invlpga(linear: Gva, asid: number): void;
  /**
   * STGI with RFLAGS.IF = 1: every host interrupt that is pending is taken now, by the host kernel's handler, before the
   * call returns. That handler runs the clock's due timers (`Clock.advance`), which may raise lines of a VM's devices.
   */
  stgi(): void;
  /** CLGI: holds interrupts back until STGI or VMRUN. */
  clgi(): void;
  /**
   * HLT in the host with interrupts open: virtual time moves to the clock's next deadline and the interrupt is taken as
   * in `stgi`. Returns false, at once, when no timer is armed, so that nothing could ever end the wait.
   */
  hlt(): boolean;
  /**
   * L0 itself runs for `ticks` ticks of virtual time. What L0 does in TypeScript retires no instruction, but a guest must not
   * be able to stop the clock by exiting for ever: L0 counts one tick per exit and per instruction that it emulates.
   */
  elapse(ticks: number): void;
  /** Virtual time: retired instructions plus halted time, in ticks (see src/machine/clock.ts). The unscaled TSC. */
  rdtsc(): Halves;

  readonly emulator: InstructionEmulator;
}

/** What a data access does. A write that follows a read of the same operand (ADD, XCHG, BTS...) is checked as `write` first. */
export const EmulatedAccess = {
  read: 0,
  write: 1,
} as const;
export type EmulatedAccess = (typeof EmulatedAccess)[keyof typeof EmulatedAccess];

/**
 * Memory and ports as the emulated instruction sees them; L0 implements it. All addresses are linear: segmentation
 * (limits, types, alignment checks) is the instruction's business and done before.
 *
 * Order per operand: `check` for every operand the instruction will touch, and only if all of them pass, `read` and
 * `write`. So an instruction that faults has changed nothing and touched no device. `read` and `write` cannot fault.
 */
export interface EmulatorBus {
  /**
   * One byte of the instruction, 0..255. Called in order of the bytes, for no byte behind the last one. Returns -1 when
   * the fetch faults: the instruction ends with the exception in `fault`.
   */
  fetch(linear: Gva): number;
  /**
   * Asks whether `size` bytes (1..16; may cross a page) from `linear` may be accessed. `supervisor` is true for accesses
   * at CPL < 3 and for implicit ones (descriptor tables, TSS), which are supervisor accesses at any CPL (SDM vol. 3A 4.6).
   * `implicit` tells the latter apart, because EFLAGS.AC does not open SMAP for them. False: the instruction
   * ends with the exception in `fault`.
   */
  check(linear: Gva, size: number, access: EmulatedAccess, supervisor: boolean, implicit: boolean): boolean;
  /**
   * Reads `size` = 1, 2, 4 or 8 bytes, unsigned: the low 32 bits are returned, the upper ones are in `high`.
   * Larger operands (10, 16 bytes) take several calls, lowest address first. `supervisor` and `implicit` as in `check`.
   */
  read(linear: Gva, size: number, supervisor: boolean, implicit: boolean): number;
  readonly high: number;
  /** Writes `size` = 1, 2, 4 or 8 bytes; `hi` matters for 8 only. One call per operand of up to 8 bytes, so that L0 sees a CMPXCHG8B whole. */
  write(linear: Gva, size: number, lo: number, hi: number, supervisor: boolean, implicit: boolean): void;
  /** Port input of 1, 2 or 4 bytes, after IOPL and the TSS bitmap allowed it. */
  portIn(port: number, size: 1 | 2 | 4): number;
  portOut(port: number, size: 1 | 2 | 4, value: number): void;
  /**
   * The CR3 load of a task switch: from here on `fetch`, `check`, `read` and `write` use the new tables. False when the
   * value is refused (PAE page-directory pointers with reserved bits): the exception is in `fault`.
   */
  loadCr3(value: number): boolean;
  /** The exception behind the last -1 or false: a #PF, or what `loadCr3` refused with. */
  readonly fault: EmulatedException;
}

/** An exception as hardware would raise it. `errorCode` is -1 for vectors without one; `address` is CR2 for #PF, else 0. */
export interface EmulatedException {
  readonly vector: number;
  readonly errorCode: number;
  readonly address: number;
}

/**
 * The guest's state for one emulated instruction. Segments, GDTR, IDTR, LDTR, TR, CPL, RFLAGS, RIP, DR6, DR7 and the
 * SYSENTER MSRs are those of the save area of the VMCB at `vmcb` (complete: L0 has executed VMSAVE). RAX, RSP, CR0, CR2,
 * CR3, CR4 and EFER of that save area are *not* used, because under shadow paging they hold L0's values: the guest's own
 * are here.
 */
export interface EmulatedState {
  readonly vmcb: Hpa;
  /** 16 pairs as in Hardware.gpr, RAX and RSP included. Updated in place when the instruction completes. */
  readonly gpr: Uint32Array;
  /** As CR2, updated in place: TS and MP may change without an intercept. */
  cr0: number;
  cr2: number;
  readonly cr3: number;
  readonly cr4: number;
  /** Low half of EFER. */
  readonly efer: number;
}

/** How the one instruction ended. */
export const Emulated = {
  /** Completed: `gpr` and the VMCB's save area (RIP, RFLAGS, segments...) hold the new state. */
  done: 0,
  /** It raised a fault, in `exception`; no state changed. The event in whose delivery that was, if any, is in `exit`. */
  exception: 1,
  /**
   * It met an intercept: the VMCB's, or that of what L0 alone can do (time, MSRs, task switches). What #VMEXIT would
   * report is in `exit`. No state changed.
   */
  exit: 2,
} as const;
export type Emulated = (typeof Emulated)[keyof typeof Emulated];

/** The exit fields of a VMCB (APM vol. 2 15.7.1), in unsigned halves. */
export interface EmulatedExit {
  readonly code: number;
  readonly info1: number;
  readonly info1Hi: number;
  readonly info2: number;
  readonly info2Hi: number;
  readonly nextRip: number;
  /** EXITINTINFO, 0 for none. */
  readonly event: number;
  readonly eventError: number;
}

/** An event to deliver: what EVENTINJ says (APM vol. 2 15.20). */
export interface EmulatedEvent {
  readonly type: EventType;
  readonly vector: number;
  /** -1 for none. */
  readonly errorCode: number;
  /** INT n, INT3, INTO: the gate's DPL counts, and EXT is clear in error codes (SDM vol. 3A 6.12.1.2, 6.13). */
  readonly software: boolean;
  /** RIP for the handler's frame. */
  readonly returnEip: number;
}

/** What a task-switch intercept reported (EXITINFO1, EXITINFO2). */
export interface TaskSwitchRequest {
  /** Selector of the new task's TSS. */
  readonly selector: number;
  /** Far JMP, IRET with NT, or CALL, exception and interrupt through a task gate (those three nest the tasks). */
  readonly source: 'jump' | 'iret' | 'call';
  /** Error code to push on the new task's stack, -1 for none. */
  readonly errorCode: number;
  /** RIP to save in the old TSS: behind the instruction for JMP, CALL, IRET and software interrupts, at it for faults. */
  readonly savedRip: number;
  /** An exception or interrupt caused the switch, no instruction: EXT in error codes, and RF is saved as it is. */
  readonly external: boolean;
}

/** Runs instructions and delivers events of a guest as the processor does, with memory and ports supplied by L0. */
export interface InstructionEmulator {
  /**
   * Runs exactly one instruction, or one iteration of a repeated string instruction (RIP then stays until the count is
   * used up, as after an interrupted one). Breakpoints, TF and pending events are not looked at. x87, MMX and SSE state are
   * the processor's own. The interrupt shadow that the instruction leaves (STI, MOV SS, POP SS) is in
   * `interruptShadow`.
   *
   * @param disregarded the exit code of an intercept that does not count, because it is what L0 is handling
   */
  step(state: EmulatedState, bus: EmulatorBus, disregarded?: number): Emulated;
  /**
   * Makes one attempt to deliver an event, through whatever gate. On `exception` it is L0 that combines the two; on `exit`
   * the gate is a task gate.
   *
   * @param faultEip RIP for what a fault on the way pushes
   */
  deliver(state: EmulatedState, bus: EmulatorBus, event: EmulatedEvent, faultEip: number): Emulated;
  /**
   * Performs the task switch that was intercepted (APM vol. 2 15.14.1), because its CR3 load is L0's business. On
   * `done` the new task's state is in `gpr` and the VMCB's save area. On `exception` the fault is
   * to be delivered in the context that the VMCB and `gpr` then hold: the old task before the commit point, the new one behind
   * it (SDM vol. 3A 8.3).
   */
  taskSwitch(state: EmulatedState, bus: EmulatorBus, request: TaskSwitchRequest): Emulated;
  /** Valid after `Emulated.exception`. */
  readonly exception: EmulatedException;
  /** Valid after `Emulated.done`: the next instruction is under an interrupt shadow. */
  readonly interruptShadow: boolean;
  /** Valid after `Emulated.done`: the instruction went to an event handler, as INT n does; TF does not trap behind it. */
  readonly delivered: boolean;
  /** Valid after `Emulated.done`: bits of DR6 for a #DB that follows, as for T in a TSS (SDM vol. 3B 17.3.1.5). */
  readonly debugConditions: number;
  /** Valid after `Emulated.exception` and `Emulated.exit`. */
  readonly exit: EmulatedExit;
}
