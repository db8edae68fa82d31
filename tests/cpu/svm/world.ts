import type { Hpa } from '../../../src/arch/address.ts';
import { parseCpuModel } from '../../../src/arch/cpu-model-text.ts';
import { descriptorHi, descriptorLo } from '../../../src/arch/descriptors.ts';
import { MSR } from '../../../src/arch/msrs.ts';
import { CR0, EFER } from '../../../src/arch/registers.ts';
import { INTERCEPT2, IOPM_SIZE, MSRPM_SIZE, VMCB, VMCB_SAVE, VMCB_SEGMENT } from '../../../src/arch/vmcb.ts';
import { Cpu } from '../../../src/cpu/cpu.ts';
import type { Environment } from '../../../src/cpu/environment.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import type { MmioBus } from '../../../src/cpu/physical-memory.ts';
import { Assembler } from '../../../src/guest/assembler.ts';

/** Where everything lies in the 16 MiB of physical memory. */
export const PLACE = {
  HOST_CODE: 0x1000,
  HOST_STACK: 0x8000,
  HOST_IDT: 0x9000,
  HOST_HANDLERS: 0xa000,
  VMCB: 0x2_0000,
  HSAVE: 0x2_1000,
  IOPM: 0x2_2000,
  MSRPM: 0x2_5000,
  GUEST_CODE: 0x3_0000,
  GUEST_STACK: 0x3_8000,
  /** Four bytes per vector before; then the handlers, 16 bytes each. */
  HANDLERS: 0x3_9000,
  GDT: 0x3_a000,
  IDT: 0x3_b000,
  TSS: 0x3_c000,
  SECOND_TSS: 0x3_d000,
  DATA: 0x4_0000,
} as const;

export const SELECTOR = {
  CODE: 0x08,
  DATA: 0x10,
  USER_CODE: 0x1b,
  USER_DATA: 0x23,
  TSS: 0x28,
  SECOND_TSS: 0x30,
} as const;
export const ATTRIBUTES = {
  CODE: 0xc9b,
  DATA: 0xc93,
  USER_CODE: 0xcfb,
  USER_DATA: 0xcf3,
  TSS: 0x08b,
  FREE_TSS: 0x089,
} as const;
const FLAT = 0xffff_ffff;
const INTERRUPT_GATE = 0x8e00;
const HANDLER_BYTES = 16;
const MOV_EBX = 0xbb;
const HLT = [0xf4];
const VMMCALL = [0x0f, 0x01, 0xd9];

type Program = (a: Assembler) => void;

export interface WorldOptions {
  readonly model?: string;
  readonly environment?: Environment;
  readonly mmio?: MmioBus;
  /** The host: by default VMRUN of the VMCB, then HLT. EAX = VMCB at its start. */
  readonly host?: Program;
}

/** What a #VMEXIT left in the VMCB; values unsigned. */
export interface Exit {
  readonly code: number;
  readonly info1: number;
  readonly info1Hi: number;
  readonly info2: number;
  readonly info2Hi: number;
  readonly rip: number;
  readonly nextRip: number;
  readonly event: number;
  readonly eventError: number;
}

/**
 * A host in flat protected mode without paging, and a guest like it: GDT, TSS, stack, and an IDT whose handlers load
 * their vector into EBX and call the host. VMMCALL and VMRUN are intercepted.
 */
export class World {
  readonly cpu: Cpu;
  readonly labels: ReadonlyMap<string, number>;

  constructor(guest: Program, options: WorldOptions = {}) {
    this.cpu = new Cpu({
      model: parseCpuModel(options.model ?? 'current-amd'),
      ramBytes: 16 << 20,
      ...(options.environment && { environment: options.environment }),
      ...(options.mmio && { mmio: options.mmio }),
    });
    this.#setUpHost(
      options.host ??
        ((a) => {
          a.vmrun();
          a.hlt();
        }),
    );
    this.labels = this.load(PLACE.GUEST_CODE, guest);
    this.#setUpTables();
    this.#setUpVmcb();
  }

  /** Assembles a program and puts it into memory. */
  load(address: number, program: Program, bits: 16 | 32 = 32): ReadonlyMap<string, number> {
    const a = new Assembler(address, bits);
    program(a);
    const { bytes, labels } = a.finish();
    this.cpu.physical.load(address as Hpa, bytes);
    return labels as ReadonlyMap<string, number>;
  }

  #setUpHost(program: Program): void {
    const { cpu } = this;
    const { state } = cpu;
    for (let segment = 0; segment < 6; segment++) {
      const isCode = segment === 1;
      state.setSegment(segment, isCode ? 8 : 16, 0, FLAT, isCode ? ATTRIBUTES.CODE : ATTRIBUTES.DATA);
    }
    state.setSystem(SYSTEM.CR0, CR0.PE | CR0.ET);
    state.setSystem(SYSTEM.EFER, EFER.SVME);
    state.setSystem(SYSTEM.GDT_BASE, PLACE.GDT);
    state.setSystem(SYSTEM.GDT_LIMIT, 0xff);
    state.setSystem(SYSTEM.IDT_BASE, PLACE.HOST_IDT);
    state.setSystem(SYSTEM.IDT_LIMIT, 0x7ff);
    cpu.paging.modeChanged();
    cpu.updateContext();
    cpu.msrs.write(MSR.VM_HSAVE_PA, PLACE.HSAVE, 0);
    this.load(PLACE.HOST_CODE, program);
    this.#setUpIdt(PLACE.HOST_IDT, PLACE.HOST_HANDLERS, 0x100, HLT);
    state.eip = PLACE.HOST_CODE;
    state.setGpr(0, PLACE.VMCB);
    state.setGpr(4, PLACE.HOST_STACK);
  }

  /** Handlers that load `base` + vector into EBX and end with an instruction. */
  #setUpIdt(idt: number, handlers: number, base: number, end: readonly number[]): void {
    for (let vector = 0; vector < 256; vector++) {
      const place = handlers + vector * HANDLER_BYTES;
      this.cpu.physical.u8[place] = MOV_EBX;
      this.cpu.physical.write32(place + 1, base + vector);
      this.cpu.physical.load((place + 5) as Hpa, new Uint8Array(end));
      this.cpu.physical.write32(idt + vector * 8, (SELECTOR.CODE << 16) | (place & 0xffff));
      this.cpu.physical.write32(idt + vector * 8 + 4, (place & 0xffff_0000) | INTERRUPT_GATE);
    }
  }

  #setUpTables(): void {
    const gdt = [
      [0, 0, 0],
      [0, FLAT, ATTRIBUTES.CODE],
      [0, FLAT, ATTRIBUTES.DATA],
      [0, FLAT, ATTRIBUTES.USER_CODE],
      [0, FLAT, ATTRIBUTES.USER_DATA],
      [PLACE.TSS, 0x67, ATTRIBUTES.TSS],
      [PLACE.SECOND_TSS, 0x67, ATTRIBUTES.FREE_TSS],
    ];
    gdt.forEach(([base, limit, attributes], n) => {
      this.cpu.physical.write32(PLACE.GDT + n * 8, descriptorLo(base, limit, attributes));
      this.cpu.physical.write32(PLACE.GDT + n * 8 + 4, descriptorHi(base, limit, attributes));
    });
    this.#setUpIdt(PLACE.IDT, PLACE.HANDLERS, 0, VMMCALL);
    this.cpu.physical.write32(PLACE.TSS + 4, PLACE.GUEST_STACK - 0x1000);
    this.cpu.physical.write32(PLACE.TSS + 8, SELECTOR.DATA);
    // No I/O permission bitmap.
    this.cpu.physical.write16(PLACE.TSS + 0x66, 0x68);
    this.cpu.state.setSegment(7, SELECTOR.TSS, PLACE.TSS, 0x67, ATTRIBUTES.TSS);
  }

  #setUpVmcb(): void {
    const { physical } = this.cpu;
    this.write(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL);
    this.write(VMCB.IOPM_BASE_PA, PLACE.IOPM);
    this.write(VMCB.MSRPM_BASE_PA, PLACE.MSRPM);
    this.write(VMCB.GUEST_ASID, 1);
    this.segment(VMCB_SAVE.CS, SELECTOR.CODE, 0, FLAT, ATTRIBUTES.CODE);
    for (const place of [VMCB_SAVE.ES, VMCB_SAVE.SS, VMCB_SAVE.DS])
      this.segment(place, SELECTOR.DATA, 0, FLAT, ATTRIBUTES.DATA);
    this.segment(VMCB_SAVE.GDTR, 0, PLACE.GDT, 0xff, 0);
    this.segment(VMCB_SAVE.IDTR, 0, PLACE.IDT, 0x7ff, 0);
    this.write(VMCB_SAVE.EFER, EFER.SVME);
    this.write(VMCB_SAVE.CR0, CR0.PE | CR0.ET);
    this.write(VMCB_SAVE.DR6, 0xffff_0ff0);
    this.write(VMCB_SAVE.DR7, 0x400);
    this.write(VMCB_SAVE.RFLAGS, 2);
    this.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    this.write(VMCB_SAVE.RSP, PLACE.GUEST_STACK);
    physical.u8.fill(0, PLACE.IOPM, PLACE.IOPM + IOPM_SIZE);
    physical.u8.fill(0, PLACE.MSRPM, PLACE.MSRPM + MSRPM_SIZE);
  }

  // --- the VMCB ------------------------------------------------------------------------------------------------

  /** 32 bits of the VMCB, unsigned. */
  read(offset: number): number {
    return this.cpu.physical.read32(PLACE.VMCB + offset);
  }
  write(offset: number, value: number): void {
    this.cpu.physical.write32(PLACE.VMCB + offset, value >>> 0);
  }
  /** Sets bits of a 32-bit field. */
  set(offset: number, bits: number): void {
    this.write(offset, this.read(offset) | bits);
  }
  writeByte(offset: number, value: number): void {
    this.cpu.physical.write8(PLACE.VMCB + offset, value);
  }
  readByte(offset: number): number {
    return this.cpu.physical.read8(PLACE.VMCB + offset);
  }
  segment(place: number, selector: number, base: number, limit: number, attributes: number): void {
    this.write(place + VMCB_SEGMENT.SELECTOR, selector | (attributes << 16));
    this.write(place + VMCB_SEGMENT.LIMIT, limit);
    this.write(place + VMCB_SEGMENT.BASE, base);
  }

  /** Puts the guest at CPL 3 in flat segments. */
  atUserLevel(): this {
    this.segment(VMCB_SAVE.CS, SELECTOR.USER_CODE, 0, FLAT, ATTRIBUTES.USER_CODE);
    for (const place of [VMCB_SAVE.ES, VMCB_SAVE.SS, VMCB_SAVE.DS])
      this.segment(place, SELECTOR.USER_DATA, 0, FLAT, ATTRIBUTES.USER_DATA);
    this.writeByte(VMCB_SAVE.CPL, 3);
    return this;
  }

  // --- running -------------------------------------------------------------------------------------------------

  /** Runs until the host halts, at most a million instructions. */
  run(): Exit {
    const reason = this.cpu.run(this.cpu.now + 1_000_000);
    if (reason !== 'halted' || this.cpu.svm.inGuest)
      throw new Error(
        `ended with ${reason} at ${this.cpu.state.eip.toString(16)}, in guest: ${this.cpu.svm.inGuest}`,
      );
    return this.exit;
  }

  /** Lets the host execute VMRUN again, as after its HLT. */
  again(): Exit {
    this.cpu.halted = false;
    this.cpu.state.eip = PLACE.HOST_CODE;
    this.cpu.state.setGpr(0, PLACE.VMCB);
    return this.run();
  }

  get exit(): Exit {
    return {
      code: this.read(VMCB.EXITCODE),
      info1: this.read(VMCB.EXITINFO1),
      info1Hi: this.read(VMCB.EXITINFO1 + 4),
      info2: this.read(VMCB.EXITINFO2),
      info2Hi: this.read(VMCB.EXITINFO2 + 4),
      rip: this.read(VMCB_SAVE.RIP),
      nextRip: this.read(VMCB.NRIP),
      event: this.read(VMCB.EXITINTINFO),
      eventError: this.read(VMCB.EXITINTINFO + 4),
    };
  }

  /** A general register after the exit; RAX and RSP are in the VMCB. */
  gpr(number: number): number {
    return this.cpu.state.gpr(number);
  }
  word(address: number): number {
    return this.cpu.physical.read32(address);
  }

  /** Address of the guest's handler for a vector. */
  handler(vector: number): number {
    return PLACE.HANDLERS + vector * HANDLER_BYTES;
  }
}

/** An interrupt pin for tests. */
export class TestPin {
  pending = false;
  vector = 0x40;
  acknowledged = 0;
  acknowledge(): number {
    this.pending = false;
    this.acknowledged++;
    return this.vector;
  }
}

/** An environment whose pin a test holds, and a port that pulls it. */
export function testEnvironment(
  onWrite: (port: number, value: number) => void = () => {},
): Environment & { readonly interrupts: TestPin } {
  return {
    interrupts: new TestPin(),
    ports: { read: (port) => port & 0xff, write: (port, _size, value) => onWrite(port, value) },
  };
}
