import type { CpuModel } from '../arch/cpu-models.ts';
import { ATTRIBUTE } from '../arch/descriptors.ts';
import { VECTOR } from '../arch/exceptions.ts';
import { ACCESS } from '../arch/paging/permissions.ts';
import { CR0, EFLAGS } from '../arch/registers.ts';
import { CodeCache } from './code-cache.ts';
import { CpuMemory } from './cpu-memory.ts';
import { DECODE_MODE, Decoder } from './decode/decoder.ts';
import { type Environment, NO_ENVIRONMENT } from './environment.ts';
import { BranchTrace } from './events/branch-trace.ts';
import { meetDataBreakpoints } from './events/breakpoints.ts';
import { X87Binding } from './fpu/x87-binding.ts';
import { GuestException } from './guest-exception.ts';
import { Instruction } from './instruction.ts';
import { type InterpreterExports, instantiate, interpreterCore } from './interpreter/core.ts';
import {
  BUDGET,
  CODE_CONTEXT,
  CS,
  DS,
  EIP_BASE,
  ES,
  LEAVE_RECORD,
  RECORD,
  SEGMENT,
  SS,
  SYSTEM,
  segmentAddress,
} from './layout.ts';
import type { LinearMemory } from './linear-memory.ts';
import { ModelRegisters } from './model-registers.ts';
import { PagedMemory } from './paged-memory.ts';
import { type MmioBus, NO_MMIO, PhysicalMemory } from './physical-memory.ts';
import { reset } from './reset.ts';
import { runSlices, type StopReason } from './run.ts';
import { SlowPaths } from './slow-paths.ts';
import { CpuState } from './state.ts';
import { Svm } from './svm/svm.ts';
import { Monitor } from './system/monitor.ts';

export interface CpuOptions {
  readonly model: CpuModel;
  /** Bytes of RAM, a multiple of 4 KiB, at most 2 GiB. */
  readonly ramBytes: number;
  /** Memory of that size, which no other processor uses any more; fresh unless given. */
  readonly memory?: CpuMemory;
  readonly mmio?: MmioBus;
  readonly environment?: Environment;
  /** Other parts than the usual ones, for a processor that emulates single instructions. */
  readonly parts?: CpuParts;
}

function memoryFor({ memory, ramBytes }: CpuOptions): CpuMemory {
  if (memory === undefined) return new CpuMemory(ramBytes);
  if (memory.ramBytes !== ramBytes)
    throw new RangeError(
      `A processor with ${ramBytes} bytes of RAM was given memory with ${memory.ramBytes}.`,
    );
  memory.clear();
  return memory;
}

/** The event whose delivery failed, and that of its double fault: what a triple fault began with. */
export interface ShutdownCause {
  readonly vector: number;
  /** -1 for none. */
  readonly errorCode: number;
  /** EIP of the instruction that raised it. */
  readonly eip: number;
  /** Linear address of a page fault, else 0. */
  readonly linear: number;
}

export interface CpuParts {
  svm(cpu: Cpu): Svm;
  memory(cpu: Cpu): LinearMemory;
  /** Where `find` gets its block from, instead of memory; 0 to end the run. */
  block(): number;
}

/**
 * The processor: state in WebAssembly memory, common instructions in the interpreter's module, everything else in
 * TypeScript functions that take this object. Time is the number of retired instructions.
 */
export class Cpu {
  readonly model: CpuModel;
  readonly environment: Environment;
  readonly state: CpuState;
  readonly physical: PhysicalMemory;
  readonly paging: PagedMemory;
  /** Linear memory; `paging`, unless an instruction is being emulated. */
  readonly memory: LinearMemory;
  readonly code: CodeCache;
  readonly msrs: ModelRegisters;
  readonly svm: Svm;
  readonly branches: BranchTrace;
  /** TR3 to TR7, by number. */
  readonly testRegisters = new Uint32Array(8);
  readonly monitor = new Monitor();
  readonly x87: X87Binding;
  /** The exception that is being raised; there is only ever one. */
  readonly exception = new GuestException();
  /** The instruction that TypeScript is carrying out. */
  readonly instruction: Instruction;
  readonly #interpreter: InterpreterExports;

  /** Current privilege level, 0..3. */
  cpl = 0;
  /** EIP of the instruction that TypeScript is carrying out, and of the one behind it. */
  instructionEip = 0;
  nextEip = 0;
  /** HLT or MWAIT: nothing runs until an interrupt. */
  halted = false;
  /** Shutdown after a triple fault; only RESET (or INIT under SVM) ends it. */
  shutdown = false;
  /** Why the last shutdown came. */
  shutdownCause: ShutdownCause | undefined;
  /** Instructions paid for that are not over yet, while TypeScript carries one of them out; else 0. */
  chargedAhead = 0;
  /** Set by `endSlice`; the slice ends when the instruction is complete. */
  sliceEndRequested = false;
  /** `run` is asked to return. */
  stopRequested = false;
  /** Retired instructions at the end of the running slice. */
  sliceEnd = 0;
  /** Ticks that passed without instructions, while halted. */
  idleTicks = 0;
  /** Retired-instruction count at which interrupts stay inhibited (STI, MOV SS); -1 for none. */
  shadowAt = -1;
  /** The shadow is that of MOV SS or POP SS, which inhibits NMI and debug traps as well. */
  shadowFromStack = false;
  /** Retired-instruction count up to which EFLAGS.RF stays set: the next instruction clears it (SDM vol. 3B 17.3.1.1). */
  resumeFlagUntil = -1;
  /** INIT was signalled and not taken yet. */
  initPending = false;
  nmiPending = false;
  /** An NMI handler runs: further NMIs wait for IRET. */
  nmiBlocked = false;
  /** Debug conditions (DR6 bits) met by the instruction that just ran. */
  pendingDebug = 0;
  /** An exception or interrupt was delivered in this slice. */
  delivered = false;

  constructor(options: CpuOptions) {
    const { model } = options;
    const memory = memoryFor(options);
    const { buffer } = memory.wasm;
    const core = interpreterCore();
    this.model = model;
    this.environment = options.environment ?? NO_ENVIRONMENT;
    this.state = new CpuState(buffer);
    this.physical = new PhysicalMemory(memory, options.mmio ?? NO_MMIO);
    this.paging = new PagedMemory(this.state, this.physical, model, this.exception);
    this.paging.onCodeLost = () => this.updateContext();
    this.paging.onWatched = (linear, size, write) => meetDataBreakpoints(this, linear, size, write);
    this.memory = options.parts?.memory(this) ?? this.paging;
    const decoder = new Decoder(core, memory.wasm, (name) => this.hasFeature(name));
    this.code = new CodeCache(buffer, memory.ramBase, this.physical, decoder, core.special, (frame) =>
      this.paging.protect(frame),
    );
    this.physical.onCodeWrite = (frame, offset, bytes) => this.code.written(frame, offset, bytes);
    this.instruction = new Instruction(this.state);
    this.branches = new BranchTrace(this);
    this.msrs = new ModelRegisters(this);
    this.svm = options.parts?.svm(this) ?? new Svm(this);
    const slowPaths = new SlowPaths(this, options.parts?.block);
    this.#interpreter = instantiate(core, memory.wasm, slowPaths);
    this.x87 = new X87Binding(this, this.#interpreter as unknown as Record<string, unknown>);
    slowPaths.bindOperations();
    this.state.u16[(LEAVE_RECORD + RECORD.HANDLER) >> 1] = core.special.leave;
    this.code.clear();
    reset(this);
  }

  /** Whether the model announces a feature, or has one that nothing announces: CPUID itself, the 486's test registers. */
  hasFeature(name: string): boolean {
    if (name === 'cpuid') return this.model.hasCpuid;
    if (name === 'test_registers') return this.model.family === 4;
    return (this.model.features as ReadonlySet<string>).has(name);
  }

  /** Instructions retired so far; while one is being carried out, those before it. */
  get retired(): number {
    return this.sliceEnd - (this.state.i32[BUDGET >> 2] as number);
  }

  /** Instructions that are over: those before the one that TypeScript carries out, or all. */
  get completed(): number {
    return this.retired - this.chargedAhead;
  }

  /** Virtual time in ticks: the unscaled TSC between instructions. */
  get now(): number {
    return this.retired + this.idleTicks;
  }

  /** Whether an interrupt could end a halt: IF is set, or an interrupt goes to the host anyway. */
  get wakeable(): boolean {
    return this.svm.physicalInterruptsOpen(false);
  }

  /** Virtual time as devices see it: at the instruction that runs, or between two. */
  get instructionNow(): number {
    return this.now - this.chargedAhead;
  }

  /** Virtual time at the instruction that TypeScript is carrying out. */
  get instructionTime(): number {
    return this.now - this.instruction.remaining;
  }

  /**
   * Runs until `until` (in ticks), or until it halts, shuts down or `stopRequested` is set. Returns why it stopped.
   */
  run(until: number): StopReason {
    return runSlices(this, until, this.#interpreter);
  }

  /** Runs one instruction, the block that `parts.block` gives, without looking at events. */
  step(): void {
    this.sliceEndRequested = false;
    this.sliceEnd += 1;
    this.state.i32[BUDGET >> 2] = 1;
    this.#interpreter.run();
    this.sliceEnd = this.retired;
    this.state.i32[BUDGET >> 2] = 0;
  }

  /** Ends the running slice with the present instruction, so that events are looked at before the next one. */
  endSlice(): void {
    this.sliceEndRequested = true;
  }

  /** Time passes without instructions, in the middle of one: the rest of the slice becomes shorter by as much. */
  passTime(ticks: number): void {
    this.idleTicks += ticks;
    if ((this.state.i32[BUDGET >> 2] as number) <= ticks) this.endSlice();
    else {
      this.state.i32[BUDGET >> 2] -= ticks;
      this.sliceEnd -= ticks;
    }
  }

  /** The block that holds `record` is left behind that instruction: gives back what it was charged for the rest. */
  leaveBlock(record: number): void {
    this.state.i32[BUDGET >> 2] += (this.state.u8[record + RECORD.REMAINING] as number) - 1;
    if (this.sliceEndRequested) this.#cutSlice();
  }

  /** Something that is no instruction happened between blocks; it counts as one, so that time passes. */
  countEvent(): void {
    this.state.i32[BUDGET >> 2] -= 1;
    if (this.sliceEndRequested) this.#cutSlice();
  }

  #cutSlice(): void {
    this.sliceEndRequested = false;
    this.sliceEnd -= this.state.i32[BUDGET >> 2] as number;
    this.state.i32[BUDGET >> 2] = 0;
  }

  /** Protected mode without virtual-8086. */
  get isProtected(): boolean {
    return (this.state.cr0 & CR0.PE) !== 0 && (this.state.systemFlags & EFLAGS.VM) === 0;
  }
  get isVirtual8086(): boolean {
    return (this.state.cr0 & CR0.PE) !== 0 && (this.state.systemFlags & EFLAGS.VM) !== 0;
  }
  get isReal(): boolean {
    return (this.state.cr0 & CR0.PE) === 0;
  }

  /** ACCESS bits of an explicit data access by the running code. */
  get dataAccess(): number {
    return this.cpl === 3 ? ACCESS.USER : ACCESS.READ;
  }

  /** Raises an exception; it never returns. `errorCode` -1 for vectors without one. */
  raise(vector: number, errorCode = -1): never {
    this.exception.vector = vector;
    this.exception.errorCode = errorCode;
    throw this.exception;
  }
  raiseGeneralProtection(errorCode = 0): never {
    return this.raise(VECTOR.GP, errorCode);
  }
  raiseUndefined(): never {
    return this.raise(VECTOR.UD);
  }

  /**
   * CPL, segments, EFLAGS.AC or VM, paging or ASID changed: works out again what decoded code and fast memory accesses
   * depend on.
   */
  updateContext(): void {
    const { state } = this;
    this.paging.setAccessClass(this.cpl === 3, state.systemFlags);
    const mode = this.decodeMode;
    const flat = (mode & DECODE_MODE.FLAT) !== 0;
    const user = this.cpl === 3 ? 4 : 0;
    state.i32[CODE_CONTEXT >> 2] = flat ? (this.paging.codeContext << 3) | user | mode : -1;
  }

  /** Devices came or went in so many frames from the first one: RAM that they hide is out of reach. */
  devicesMoved(firstFrame: number, frames: number): void {
    if (!this.physical.coverChanged(firstFrame, frames)) return;
    this.paging.dropAllCopies();
    this.updateContext();
  }

  /** DR7 changed: data breakpoints need every access to be looked at (SDM vol. 3B 17.2.5). */
  watchDataBreakpoints(): void {
    const dr7 = this.state.system(SYSTEM.DR7);
    let watched = false;
    for (let n = 0; n < 4; n++) watched ||= ((dr7 >> (n * 2)) & 3) !== 0 && ((dr7 >> (16 + n * 4)) & 3) !== 0;
    this.paging.watch = watched;
    this.paging.dropCopies();
    this.updateContext();
  }

  /** Any breakpoint of DR7 is enabled. */
  get breakpointsEnabled(): boolean {
    return (this.state.system(SYSTEM.DR7) & 0xff) !== 0;
  }

  /** OR of DECODE_MODE for the present segments. */
  get decodeMode(): number {
    const code32 = (this.state.segmentAttributes(CS) & ATTRIBUTE.DB) !== 0;
    return (code32 ? DECODE_MODE.CODE32 : 0) | (this.#isFlat() ? DECODE_MODE.FLAT : 0);
  }

  #isFlat(): boolean {
    const { state } = this;
    if (state.segmentBase(CS) !== 0 || state.segmentLimit(CS) !== 0xffff_ffff) return false;
    if ((state.segmentAttributes(SS) & ATTRIBUTE.DB) === 0) return false;
    return this.#isFlatData(SS) && this.#isFlatData(DS) && this.#isFlatData(ES);
  }

  #isFlatData(segment: number): boolean {
    const { i32, u32 } = this.state;
    const place = segmentAddress(segment);
    return (
      u32[place >> 2] === 0 &&
      u32[(place + SEGMENT.LOW) >> 2] === 0 &&
      // A span of 2^32 - 1, not the -1 of "no access".
      u32[(place + SEGMENT.WRITE_SPAN) >> 2] === 0xffff_ffff &&
      i32[(place + SEGMENT.WRITE_SPAN + 4) >> 2] === 0
    );
  }

  /** Makes a block current whose records count their offsets from `base`. */
  setBlockBase(base: number): void {
    this.state.u32[EIP_BASE >> 2] = base;
  }

  /** EIP of a record of the running block. */
  eipOf(record: number): number {
    const base = this.state.u32[EIP_BASE >> 2] as number;
    return (base + (this.state.u16[(record + RECORD.OFFSET) >> 1] as number)) >>> 0;
  }
}
