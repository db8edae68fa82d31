import type { Hpa } from '../../../src/arch/address.ts';
import { ATTRIBUTE } from '../../../src/arch/descriptors.ts';
import { pushesErrorCode } from '../../../src/arch/exceptions.ts';
import { EFLAGS } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { CS, SYSTEM, TR } from '../../../src/cpu/layout.ts';

const IDT = 0x2_0000;
const HANDLERS = 0x2_0400;
const GDT = 0x2_1000;
/** Where tests may put an I/O bitmap behind the 104 bytes of the TSS. */
export const TSS = 0x2_2000;
const STACK = 0x2_4000;
const HLT = 0xf4;
const GATES = 32;
const FLAT_CODE_3 = 0xcfb;
const FLAT_DATA_3 = 0xcf3;
const V86_DATA = 0x0f3;

/** A handler for each exception that stops the processor, and a stack for it at CPL 0. */
export function catchExceptions(cpu: Cpu): void {
  const { physical, state } = cpu;
  for (let vector = 0; vector < GATES; vector++) {
    const handler = HANDLERS + vector * 16;
    physical.write32(IDT + vector * 8, (8 << 16) | (handler & 0xffff));
    physical.write32(IDT + vector * 8 + 4, (handler & 0xffff_0000) | 0x8e00);
    physical.write8(handler, HLT);
  }
  physical.load(
    GDT as Hpa,
    Uint8Array.of(
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0xff,
      0xff,
      0,
      0,
      0,
      0x9b,
      0xcf,
      0,
      0xff,
      0xff,
      0,
      0,
      0,
      0x93,
      0xcf,
      0,
    ),
  );
  physical.write32(TSS + 4, STACK);
  physical.write32(TSS + 8, 16);
  state.setSystem(SYSTEM.IDT_BASE, IDT);
  state.setSystem(SYSTEM.IDT_LIMIT, GATES * 8 - 1);
  state.setSystem(SYSTEM.GDT_BASE, GDT);
  state.setSystem(SYSTEM.GDT_LIMIT, 0x2f);
  setTaskLimit(cpu, 0x67);
}

/** Limit of the 32-bit TSS; its I/O bitmap begins where `bitmap` says. */
export function setTaskLimit(cpu: Cpu, limit: number, bitmap = 0x68): void {
  cpu.physical.write16(TSS + 0x66, bitmap);
  cpu.state.setSegment(TR, 0x28, TSS, limit, ATTRIBUTE.P | 0xb);
}

/** Flat segments and CPL 3. */
export function enterUser(cpu: Cpu): void {
  for (let segment = 0; segment < 6; segment++) {
    const code = segment === CS;
    cpu.state.setSegment(segment, code ? 0x1b : 0x23, 0, 0xffff_ffff, code ? FLAT_CODE_3 : FLAT_DATA_3);
  }
  cpu.cpl = 3;
  cpu.updateContext();
}

/** Virtual-8086 mode, all segments at 0, EIP as it is. */
export function enterV86(cpu: Cpu, iopl: number): void {
  const { state } = cpu;
  for (let segment = 0; segment < 6; segment++) state.setSegment(segment, 0, 0, 0xffff, V86_DATA);
  state.systemFlags = (state.systemFlags & ~EFLAGS.IOPL) | EFLAGS.VM | (iopl << 12);
  cpu.cpl = 3;
  cpu.updateContext();
}

export interface Caught {
  readonly vector: number;
  readonly errorCode: number;
  /** EIP and EFLAGS that the handler would return to. */
  readonly eip: number;
  readonly flags: number;
}

/** The exception whose handler stopped the processor; undefined if it stands elsewhere. */
export function caught(cpu: Cpu): Caught | undefined {
  const { state, physical } = cpu;
  const place = state.eip - HANDLERS;
  if (place < 0 || place >= GATES * 16) return undefined;
  const vector = place >> 4;
  const top = state.gpr(4);
  const skip = pushesErrorCode(vector) ? 4 : 0;
  return {
    vector,
    errorCode: skip ? physical.read32(top) : 0,
    eip: physical.read32(top + skip),
    flags: physical.read32(top + skip + 8),
  };
}
