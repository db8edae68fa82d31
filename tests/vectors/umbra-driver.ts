/** The machine's own processor as a VectorDriver. */
import type { Hpa } from '../../src/arch/address.ts';
import { type CpuModel, cpuModelNamed } from '../../src/arch/cpu-models.ts';
import { attributesOfDescriptor, baseOfDescriptor, limitOfDescriptor } from '../../src/arch/descriptors.ts';
import { pushesErrorCode, VECTOR } from '../../src/arch/exceptions.ts';
import { ENTRY } from '../../src/arch/paging/format.ts';
import { GPR } from '../../src/arch/registers.ts';
import { Cpu } from '../../src/cpu/cpu.ts';
import { CS, FPU, LDTR, MXCSR, SS, SYSTEM, TR, XMM } from '../../src/cpu/layout.ts';
import { loadPdptes } from '../../src/cpu/system/control-registers.ts';
import { X87_LAYOUT } from '../../src/isa/x87/layout.ts';
import type { VectorDescriptor, VectorEnvironment, VectorFault } from './format.ts';
import type { VectorDriver } from './harness.ts';
import type { VectorState } from './state.ts';

const RAM_BYTES = 0x20_0000;
const PAGE = 4096;
/** Where the program's pages lie: physical address of linear 0. */
const PROGRAM = 0x10_0000;
/** One supervisor region holds everything else, far from any address that vectors use. */
const SYSTEM_LINEAR = 0x9ab0_0000;
const SYSTEM_PHYSICAL = 0x1_0000;
const SYSTEM_PAGES = 16;
// biome-ignore format: table
const PLACE = { gdt: 0x0000, ldt: 0x1000, idt: 0x2000, tss: 0x3000, handlers: 0x4000, stack: 0x8000 } as const;
const TABLES = 0x1000;

const HANDLER_BYTES = 16;
const HLT = 0xf4;
const KERNEL_CODE = 0x08;
const KERNEL_STACK = 0x18;
const INTERRUPT_GATE_32 = 0x8e00;
const GATE_DPL_3 = 0x6000;
const TSS_BYTES = 0x68;
const TSS_ATTRIBUTES = 0x8b;
const LDT_ATTRIBUTES = 0x82;
/** XD is bit 63. */
const EXECUTE_DISABLE_HI = 0x8000_0000;

/** Vectors were made on a current AMD processor. */
const MODEL = cpuModelNamed('current-amd') as CpuModel;

export class UmbraDriver implements VectorDriver {
  readonly cpu = new Cpu({ model: MODEL, ramBytes: RAM_BYTES });
  #descriptors = new Map<number, VectorDescriptor>();
  #fault: VectorFault | null = null;

  get features(): ReadonlySet<string> {
    return MODEL.features;
  }

  open(environment: VectorEnvironment): void {
    const { cpu } = this;
    const { state } = cpu;
    this.#descriptors = new Map(
      [...environment.gdt, ...environment.ldt].map((entry) => [entry.selector, entry]),
    );
    for (const entry of environment.gdt) this.#writeDescriptor(PLACE.gdt, entry);
    for (const entry of environment.ldt) this.#writeDescriptor(PLACE.ldt, entry);
    this.#writeGates(environment.userGates);
    this.#writeTaskState();
    this.#writePageTables(environment);
    state.setSystem(SYSTEM.GDT_BASE, SYSTEM_LINEAR + PLACE.gdt);
    state.setSystem(SYSTEM.GDT_LIMIT, environment.gdtLimit);
    state.setSystem(SYSTEM.IDT_BASE, SYSTEM_LINEAR + PLACE.idt);
    state.setSystem(SYSTEM.IDT_LIMIT, 256 * 8 - 1);
    state.setSegment(LDTR, 0x50, SYSTEM_LINEAR + PLACE.ldt, environment.ldtLimit, LDT_ATTRIBUTES);
    state.setSegment(TR, 0x40, SYSTEM_LINEAR + PLACE.tss, TSS_BYTES - 1, TSS_ATTRIBUTES);
    state.setSystem(SYSTEM.CR0, environment.cr0);
    state.setSystem(SYSTEM.CR3, TABLES);
    state.setSystem(SYSTEM.CR4, environment.cr4);
    state.setSystem(SYSTEM.EFER, environment.efer);
    loadPdptes(cpu, TABLES);
    cpu.paging.tlb.flushEverything();
    cpu.paging.modeChanged();
  }

  #writeDescriptor(table: number, { selector, low, high }: VectorDescriptor): void {
    this.#writeSystem(table + (selector & ~7), low, high);
  }

  #writeSystem(place: number, ...words: number[]): void {
    words.forEach((word, n) => {
      this.cpu.physical.write32(SYSTEM_PHYSICAL + place + n * 4, word >>> 0);
    });
  }

  #writeGates(userGates: readonly number[]): void {
    for (let vector = 0; vector < 256; vector++) {
      const handler = SYSTEM_LINEAR + PLACE.handlers + vector * HANDLER_BYTES;
      const dpl = userGates.includes(vector) ? GATE_DPL_3 : 0;
      const high = (handler & 0xffff_0000) | INTERRUPT_GATE_32 | dpl;
      this.#writeSystem(PLACE.idt + vector * 8, (KERNEL_CODE << 16) | (handler & 0xffff), high);
      this.cpu.physical.write8(SYSTEM_PHYSICAL + PLACE.handlers + vector * HANDLER_BYTES, HLT);
    }
  }

  #writeTaskState(): void {
    this.#writeSystem(PLACE.tss + 4, SYSTEM_LINEAR + PLACE.stack, KERNEL_STACK);
    this.#writeSystem(PLACE.tss + 0x64, TSS_BYTES << 16);
  }

  /** PAE tables, so that pages can be kept from execution; one table for the program, one for the rest. */
  #writePageTables(environment: VectorEnvironment): void {
    const [directoryLow, directoryHigh, programTable, systemTable] = [1, 2, 3, 4].map(
      (n) => TABLES + n * PAGE,
    );
    const tables: readonly (readonly [number, number])[] = [
      [0, directoryLow],
      [SYSTEM_LINEAR >>> 30, directoryHigh],
    ];
    for (const [index, directory] of tables) this.#writeEntry(TABLES + index * 8, directory | ENTRY.P, 0);
    const upper = ENTRY.P | ENTRY.W | ENTRY.U;
    this.#writeEntry(directoryLow, programTable | upper, 0);
    this.#writeEntry(directoryHigh + ((SYSTEM_LINEAR >>> 21) & 0x1ff) * 8, systemTable | upper, 0);
    for (const { address, size, access } of environment.pages) {
      for (let page = address; page < address + size; page += PAGE) {
        const low = (PROGRAM + page) | ENTRY.P | ENTRY.U | (access === 'rw' ? ENTRY.W : 0);
        this.#writeEntry(programTable + (page >>> 12) * 8, low, access === 'rx' ? 0 : EXECUTE_DISABLE_HI);
      }
    }
    for (let n = 0; n < SYSTEM_PAGES; n++) {
      const place = systemTable + (((SYSTEM_LINEAR >>> 12) & 0x1ff) + n) * 8;
      this.#writeEntry(place, (SYSTEM_PHYSICAL + n * PAGE) | ENTRY.P | ENTRY.W, 0);
    }
  }

  #writeEntry(address: number, low: number, high: number): void {
    this.cpu.physical.write32(address, low >>> 0);
    this.cpu.physical.write32(address + 4, high >>> 0);
  }

  writeMemory(linear: number, bytes: Uint8Array): void {
    this.cpu.physical.load((PROGRAM + linear) as Hpa, bytes);
  }

  readPage(linear: number): Uint8Array {
    const start = PROGRAM + (linear & ~(PAGE - 1));
    return this.cpu.physical.u8.subarray(start, start + PAGE);
  }

  setState(from: VectorState): void {
    const { cpu } = this;
    const { state } = cpu;
    this.#fault = null;
    cpu.halted = false;
    cpu.pendingDebug = 0;
    cpu.shadowAt = -1;
    for (let n = 0; n < 8; n++) state.setGpr(n, from.gpr(n));
    for (let segment = 0; segment < 6; segment++) this.#loadSegment(segment, from.segment(segment));
    state.eip = from.get('eip');
    state.eflags = from.get('eflags');
    cpu.cpl = from.get('cs') & 3;
    this.#setFloatingPoint(from);
    cpu.updateContext();
  }

  #loadSegment(segment: number, selector: number): void {
    const { state } = this.cpu;
    const descriptor = this.#descriptors.get(selector & ~3);
    if (descriptor === undefined) {
      state.setSegment(segment, selector, 0, 0, 0);
      return;
    }
    const { low, high } = descriptor;
    state.setSegment(
      segment,
      selector,
      baseOfDescriptor(low, high),
      limitOfDescriptor(low, high),
      attributesOfDescriptor(high),
    );
  }

  #setFloatingPoint(from: VectorState): void {
    const { u8, u32 } = this.cpu.state;
    const fpu = FPU >> 2;
    u32[fpu + (X87_LAYOUT.CONTROL >> 2)] = from.get('fcw');
    u32[fpu + (X87_LAYOUT.STATUS >> 2)] = from.get('fsw');
    u32[fpu + (X87_LAYOUT.VALID >> 2)] = from.get('ftw');
    u32[fpu + (X87_LAYOUT.OPCODE >> 2)] = from.get('fop');
    u32[fpu + (X87_LAYOUT.INSTRUCTION_POINTER >> 2)] = from.get('fip');
    u32[fpu + (X87_LAYOUT.DATA_POINTER >> 2)] = from.get('fdp');
    // The generator's image had no selectors.
    u32[fpu + (X87_LAYOUT.CODE_SEGMENT >> 2)] = 0;
    u32[fpu + (X87_LAYOUT.DATA_SEGMENT >> 2)] = 0;
    u32[MXCSR >> 2] = from.get('mxcsr');
    for (let n = 0; n < 8; n++) {
      u8.set(from.x87(n), FPU + X87_LAYOUT.REGISTERS + n * 16);
      u8.set(from.xmm(n), XMM + n * 16);
    }
  }

  run(steps: number): VectorFault | null {
    const { cpu } = this;
    for (let step = 0; step < steps && this.#fault === null; step++) {
      do cpu.run(cpu.now + 1);
      while (this.#isInterruptedRepeat());
      // A trap is taken before what would run next, which is then the handler's HLT.
      if (cpu.pendingDebug !== 0) cpu.run(cpu.now + 1);
      if (cpu.cpl === 0) this.#fault = this.#delivered();
    }
    return this.#fault;
  }

  /** A repeated string instruction ended early, to let interrupts in; for a vector it is one step. */
  #isInterruptedRepeat(): boolean {
    const { cpu } = this;
    const { instruction, state } = cpu;
    const goesOn =
      cpu.nextEip === cpu.instructionEip && state.eip === cpu.instructionEip && cpu.pendingDebug === 0;
    return goesOn && (instruction.rep || instruction.repne);
  }

  #delivered(): VectorFault {
    const { state } = this.cpu;
    const vector = (state.eip - SYSTEM_LINEAR - PLACE.handlers) >>> 4;
    const errorCode = pushesErrorCode(vector) ? this.#frame(0) : 0;
    return { vector, errorCode, cr2: vector === VECTOR.PF ? state.system(SYSTEM.CR2) : 0 };
  }

  /** A doubleword of the handler's frame. */
  #frame(index: number): number {
    const place = this.cpu.state.gpr(GPR.ESP) - SYSTEM_LINEAR + index * 4;
    return this.cpu.physical.read32(SYSTEM_PHYSICAL + place);
  }

  readState(into: VectorState): void {
    const { state } = this.cpu;
    for (let n = 0; n < 8; n++) into.setGpr(n, state.gpr(n));
    for (let segment = 0; segment < 6; segment++) into.setSegment(segment, state.selector(segment));
    into.set('eip', state.eip);
    into.set('eflags', state.eflags);
    if (this.#fault) this.#readFrame(into, pushesErrorCode(this.#fault.vector) ? 1 : 0);
    this.#readFloatingPoint(into);
  }

  #readFrame(into: VectorState, first: number): void {
    into.set('eip', this.#frame(first));
    into.setSegment(CS, this.#frame(first + 1));
    into.set('eflags', this.#frame(first + 2));
    into.set('esp', this.#frame(first + 3));
    into.setSegment(SS, this.#frame(first + 4));
  }

  #readFloatingPoint(into: VectorState): void {
    const { u8, u32 } = this.cpu.state;
    const fpu = FPU >> 2;
    into.set('fcw', u32[fpu + (X87_LAYOUT.CONTROL >> 2)]);
    into.set('fsw', u32[fpu + (X87_LAYOUT.STATUS >> 2)]);
    into.set('ftw', u32[fpu + (X87_LAYOUT.VALID >> 2)]);
    into.set('fop', u32[fpu + (X87_LAYOUT.OPCODE >> 2)]);
    into.set('fip', u32[fpu + (X87_LAYOUT.INSTRUCTION_POINTER >> 2)]);
    into.set('fdp', u32[fpu + (X87_LAYOUT.DATA_POINTER >> 2)]);
    into.set('mxcsr', u32[MXCSR >> 2]);
    for (let n = 0; n < 8; n++) {
      const place = FPU + X87_LAYOUT.REGISTERS + n * 16;
      into.x87(n).set(u8.subarray(place, place + 10));
      into.xmm(n).set(u8.subarray(XMM + n * 16, XMM + n * 16 + 16));
    }
  }
}
