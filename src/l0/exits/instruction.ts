/**
 * What L0 must know of an intercepted instruction that the processor does not tell: its length where there is no next rIP
 * (NRIPS), and its operand where there are no decode assists. Only instructions that can be intercepted come here, so this
 * is a prefix scanner and a ModRM reader, no decoder.
 */
import { type Hpa, PAGE_OFFSET_MASK, PAGE_SIZE } from '../../arch/address.ts';
import { ATTRIBUTE } from '../../arch/descriptors.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { GPR, SEGMENT } from '../../arch/registers.ts';
import { EVENT, VMCB, VMCB_SAVE, VMCB_SEGMENT_ORDER } from '../../arch/vmcb.ts';
import { raiseWalkFault } from '../nested/nested-fault.ts';
import type { Vcpu } from '../vcpu.ts';

/** SDM vol. 2A 2.3.11: longer ones raise #GP before any intercept. */
const LONGEST = 15;
const SP = 4;
const BP = 5;

// biome-ignore format: table
/** Prefix bytes and the segment that an override names (SDM vol. 2A 2.1.1). */
const SEGMENT_PREFIX = new Map<number, number>([
  [0x26, SEGMENT.ES], [0x2e, SEGMENT.CS], [0x36, SEGMENT.SS], [0x3e, SEGMENT.DS], [0x64, SEGMENT.FS], [0x65, SEGMENT.GS],
]);
const OPERAND_SIZE = 0x66;
const ADDRESS_SIZE = 0x67;
const OTHER_PREFIXES: ReadonlySet<number> = new Set([OPERAND_SIZE, ADDRESS_SIZE, 0xf0, 0xf2, 0xf3]);

/** Opcodes in 0F xx with a ModRM byte, of those that can be intercepted. */
const WITH_MODRM: ReadonlySet<number> = new Set([0x00, 0x01, 0x20, 0x21, 0x22, 0x23, 0xc7]);
/** MOV to and from control and debug registers take their operand as a register whatever mod says (SDM vol. 2B MOV). */
const MOV_CR_DR = 0x20;

/** The intercepted instruction, as far as it was read. */
export interface InterceptedInstruction {
  readonly length: number;
  /** Second opcode byte after 0F, or 0 for one-byte opcodes. */
  readonly opcode: number;
  readonly modrm: number;
  /** Linear address of a memory operand, -1 without one. */
  readonly linear: number;
  /** FFFFh or FFFF_FFFFh by address size. */
  readonly addressMask: number;
  /** That a prefix names, by SEGMENT; -1 for none. */
  readonly segment: number;
}

/** One byte of the guest's code, -1 if it cannot be fetched. */
function codeByte(vcpu: Vcpu, linear: number): number {
  const { state, walk, vm, hardware } = vcpu;
  const access = ACCESS.FETCH | (state.cpl === 3 ? ACCESS.USER : 0);
  const address = walk.probe(linear, access, state.alignmentCheck);
  if (address < 0) return -1;
  const host = vm.slots.hostAddress(address);
  if (host >= 0) return hardware.memory.u8[host];
  return vm.mmio.read(address as Hpa, 1);
}

/**
 * Reads the code at CS:RIP as far as segment, paging and memory let it; how many bytes that was, which fill `bytes` up with zeros
 * (APM vol. 2 15.8.4).
 */
function readCodeBytes(vcpu: Vcpu, bytes: Uint8Array): number {
  const { state, walk, vm, hardware } = vcpu;
  const start = (state.vmcb.base(VMCB_SAVE.CS) + state.rip) >>> 0;
  const access = ACCESS.FETCH | (state.cpl === 3 ? ACCESS.USER : 0);
  const reach = Math.min(bytes.length, state.vmcb.limit(VMCB_SAVE.CS) - state.rip + 1);
  bytes.fill(0);
  let count = 0;
  while (count < reach) {
    const linear = (start + count) >>> 0;
    const address = walk.probe(linear, access, state.alignmentCheck);
    const host = address < 0 ? -1 : vm.slots.hostAddress(address);
    if (host < 0) return count;
    const here = Math.min(reach - count, PAGE_SIZE - (linear & PAGE_OFFSET_MASK));
    bytes.set(hardware.memory.u8.subarray(host, host + here), count);
    count += here;
  }
  return count;
}

/** Puts them, and their count, where the processor does. */
export function fillInstructionBytes(vcpu: Vcpu): void {
  const { bytes } = vcpu.state.vmcb;
  const field = bytes.subarray(VMCB.INSTRUCTION_BYTES, VMCB.INSTRUCTION_BYTES + LONGEST);
  bytes[VMCB.INSTRUCTION_COUNT] = readCodeBytes(vcpu, field);
}

/**
 * The processor read the instruction of a page fault through L0's tables, and ended early where those lack what the guest's own
 * have: the rest of it. A fetch has no bytes; but there are some to an event whose delivery faults (APM vol. 2 15.8.4).
 */
export function completeInstructionBytes(vcpu: Vcpu): void {
  const { vmcb } = vcpu.state;
  const count = vmcb.bytes[VMCB.INSTRUCTION_COUNT];
  const delivering = (vmcb.read(VMCB.EXITINTINFO) & EVENT.VALID) !== 0;
  if (count < LONGEST && (count > 0 || delivering)) fillInstructionBytes(vcpu);
}

const isCode32 = (vcpu: Vcpu): boolean => (vcpu.state.vmcb.attributes(VMCB_SAVE.CS) & ATTRIBUTE.DB) !== 0;

/** Reads the instruction at CS:RIP. Null if its bytes are out of reach. */
export function readInstruction(vcpu: Vcpu): InterceptedInstruction | null {
  const reader = new CodeReader(vcpu);
  let address32 = isCode32(vcpu);
  let operand32 = address32;
  let segment = -1;
  let byte = reader.next();
  while (OTHER_PREFIXES.has(byte) || SEGMENT_PREFIX.has(byte)) {
    if (byte === ADDRESS_SIZE) address32 = !isCode32(vcpu);
    if (byte === OPERAND_SIZE) operand32 = !isCode32(vcpu);
    segment = SEGMENT_PREFIX.get(byte) ?? segment;
    byte = reader.next();
  }
  if (byte !== 0x0f) {
    reader.skipOperand(byte, operand32, address32);
    return reader.finish(0, 0, -1, address32, segment);
  }
  const opcode = reader.next();
  if (!WITH_MODRM.has(opcode)) return reader.finish(opcode, 0, -1, address32, segment);
  const modrm = reader.next();
  const register = modrm >= 0xc0 || (opcode & ~3) === MOV_CR_DR;
  const linear = register
    ? -1
    : address32
      ? reader.address32(modrm, segment)
      : reader.address16(modrm, segment);
  return reader.finish(opcode, modrm, linear, address32, segment);
}

/** Length of the instruction at CS:RIP in bytes; 0 if it is out of reach, which cannot be for one that was just intercepted. */
export const instructionLength = (vcpu: Vcpu): number => readInstruction(vcpu)?.length ?? 0;

/** Bytes of an SVM instruction without prefixes. */
const UNPREFIXED = 3;

/** rAX as wide as the address size of the intercepted SVM instruction (APM vol. 3 VMRUN). */
export function addressInRax(vcpu: Vcpu): number {
  const { state, vm } = vcpu;
  const eax = state.register(GPR.EAX);
  const length = vm.hypervisor.nextRip ? state.vmcb.read(VMCB.NRIP) - state.rip : 0;
  if (length === UNPREFIXED && isCode32(vcpu)) return eax;
  const instruction = readInstruction(vcpu);
  return instruction === null ? eax : (eax & instruction.addressMask) >>> 0;
}

class CodeReader {
  length = 0;
  failed = false;
  readonly #vcpu: Vcpu;
  readonly #start: number;
  readonly #wrap: number;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
    this.#start = vcpu.state.rip;
    this.#wrap = isCode32(vcpu) ? 0xffff_ffff : 0xffff;
  }

  /** What was read; null if not all of it could be. */
  finish(
    opcode: number,
    modrm: number,
    linear: number,
    address32: boolean,
    segment: number,
  ): InterceptedInstruction | null {
    if (this.failed) return null;
    return {
      length: this.length,
      opcode,
      modrm,
      linear,
      addressMask: address32 ? -1 >>> 0 : 0xffff,
      segment,
    };
  }

  next(): number {
    const { vmcb } = this.#vcpu.state;
    const offset = (this.#start + this.length) & this.#wrap;
    const byte = codeByte(this.#vcpu, (vmcb.base(VMCB_SAVE.CS) + offset) >>> 0);
    this.length += 1;
    if (byte < 0 || this.length > LONGEST) this.failed = true;
    return byte;
  }

  /**
   * What follows a one-byte opcode: INT n has an immediate byte, far JMP and CALL, which switch tasks, a pointer or a ModRM
   * byte (SDM vol. 2A CALL, JMP). HLT, IRET, PAUSE, PUSHF, POPF, INT3, INTO, ICEBP have nothing.
   */
  skipOperand(opcode: number, operand32: boolean, address32: boolean): void {
    if (opcode === 0xcd) this.next();
    else if (opcode === 0x9a || opcode === 0xea) this.#little(operand32 ? 6 : 4);
    else if (opcode === 0xff) {
      const modrm = this.next();
      if (address32) this.address32(modrm, -1);
      else this.address16(modrm, -1);
    }
  }

  #signed8(): number {
    return (this.next() << 24) >> 24;
  }

  #little(bytes: number): number {
    let value = 0;
    for (let i = 0; i < bytes; i += 1) value |= this.next() << (8 * i);
    return value;
  }

  #linear(segment: number, override: number, offset: number): number {
    const { vmcb } = this.#vcpu.state;
    const base = vmcb.base(VMCB_SEGMENT_ORDER[override < 0 ? segment : override]);
    return (base + offset) >>> 0;
  }

  /** SDM vol. 2A tables 2-2 and 2-3. */
  address32(modrm: number, override: number): number {
    const { state } = this.#vcpu;
    const mod = modrm >>> 6;
    let base = modrm & 7;
    let offset = 0;
    let segment: number = SEGMENT.DS;
    if (base === SP) {
      const sib = this.next();
      const index = (sib >>> 3) & 7;
      base = sib & 7;
      if (index !== SP) offset = state.register(index) << (sib >>> 6);
    }
    if (base === BP && mod === 0) offset += this.#little(4);
    else {
      offset += state.register(base);
      if (base === BP || base === SP) segment = SEGMENT.SS;
    }
    if (mod === 1) offset += this.#signed8();
    else if (mod === 2) offset += this.#little(4);
    return this.#linear(segment, override, offset >>> 0);
  }

  /** SDM vol. 2A table 2-1. */
  address16(modrm: number, override: number): number {
    const { state } = this.#vcpu;
    const mod = modrm >>> 6;
    const rm = modrm & 7;
    let offset = 0;
    let segment: number = SEGMENT.DS;
    if (rm === 6 && mod === 0) offset = this.#little(2);
    else {
      for (const register of ADDRESS16[rm]) offset += state.register(register);
      if (ADDRESS16[rm].includes(BP)) segment = SEGMENT.SS;
    }
    if (mod === 1) offset += this.#signed8();
    else if (mod === 2) offset += this.#little(2);
    return this.#linear(segment, override, offset & 0xffff);
  }
}

/** Registers added up for each r/m of 16-bit addressing: BX, BP, SI, DI. */
const ADDRESS16: readonly (readonly number[])[] = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]];

/** Reads two bytes of the guest's memory as its CPL may; -1 after raising what the access ended in. For LMSW. */
export function readOperand16(vcpu: Vcpu, linear: number): number {
  const low = operandByte(vcpu, linear);
  const high = low < 0 ? -1 : operandByte(vcpu, (linear + 1) >>> 0);
  return high < 0 ? -1 : low | (high << 8);
}

function operandByte(vcpu: Vcpu, linear: number): number {
  const { state, walk, vm, hardware } = vcpu;
  const user = state.cpl === 3 ? ACCESS.USER : 0;
  const address = walk.translate(linear, ACCESS.READ | user, state.alignmentCheck);
  if (address < 0) {
    raiseWalkFault(vcpu, linear);
    return -1;
  }
  const host = vm.slots.hostAddress(address);
  return host < 0 ? vm.mmio.read(address as never, 1) : hardware.memory.u8[host];
}
