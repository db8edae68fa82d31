import { ATTRIBUTE } from '../arch/descriptors.ts';
import { CR0, CR4, EFLAGS, EFLAGS_STATUS } from '../arch/registers.ts';
import {
  EFLAGS_REST,
  EIP,
  FLAG_AUX,
  FLAG_CARRY,
  FLAG_RESULT,
  REGISTERS,
  SEGMENT,
  SIMD_ACCESS,
  SIMD_STOP,
  SS,
  STACK_MASK,
  SYSTEM,
  segmentAddress,
} from './layout.ts';

/** Reads the six arithmetic flags from their three words (see layout.ts). */
function arithmeticFlags(u32: Uint32Array): number {
  const resultLo = u32[FLAG_RESULT >> 2] as number;
  const resultHi = u32[(FLAG_RESULT >> 2) + 1] as number;
  const carryHi = u32[(FLAG_CARRY >> 2) + 1] as number;
  const auxLo = u32[FLAG_AUX >> 2] as number;
  const auxHi = u32[(FLAG_AUX >> 2) + 1] as number;
  let parity = (resultLo ^ (auxLo >>> 8)) & 0xff;
  parity ^= parity >> 4;
  parity = (0x9669 >> (parity & 0xf)) & 1;
  return (
    (carryHi >>> 31) |
    (parity << 2) |
    (auxLo & EFLAGS.AF) |
    ((resultLo | resultHi) === 0 ? EFLAGS.ZF : 0) |
    (((resultHi ^ auxHi) >>> 31) << 7) |
    (((carryHi ^ (carryHi << 1)) >>> 31) << 11)
  );
}

function setArithmeticFlags(u32: Uint32Array, flags: number): void {
  u32[FLAG_RESULT >> 2] = (flags & EFLAGS.ZF) !== 0 ? 0 : 0x100;
  u32[(FLAG_RESULT >> 2) + 1] = 0;
  // The result's low byte is zero, so parity is even unless bit 8 of aux says otherwise.
  u32[FLAG_AUX >> 2] = (flags & EFLAGS.AF) | ((flags & EFLAGS.PF) !== 0 ? 0 : 0x100);
  u32[(FLAG_AUX >> 2) + 1] = ((flags >>> 7) & 1) << 31;
  const carry = flags & 1;
  const overflow = (flags >>> 11) & 1;
  u32[FLAG_CARRY >> 2] = 0;
  u32[(FLAG_CARRY >> 2) + 1] = (carry << 31) | ((carry ^ overflow) << 30);
}

/** The registers, as TypeScript sees them: typed views of the processor's memory. */
export class CpuState {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;

  constructor(buffer: ArrayBuffer) {
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
  }

  /** A general register's low 32 bits, unsigned. */
  gpr(number: number): number {
    return this.u32[(REGISTERS >> 2) + number * 2] as number;
  }
  /** Writes 32 bits; the upper half of the slot becomes zero. */
  setGpr(number: number, value: number): void {
    this.u32[(REGISTERS >> 2) + number * 2] = value;
    this.u32[(REGISTERS >> 2) + number * 2 + 1] = 0;
  }
  gpr16(number: number): number {
    return this.u16[(REGISTERS >> 1) + number * 4] as number;
  }
  setGpr16(number: number, value: number): void {
    this.u16[(REGISTERS >> 1) + number * 4] = value;
  }
  get al(): number {
    return this.u8[REGISTERS] as number;
  }
  set al(value: number) {
    this.u8[REGISTERS] = value;
  }
  get ah(): number {
    return this.u8[REGISTERS + 1] as number;
  }
  set ah(value: number) {
    this.u8[REGISTERS + 1] = value;
  }

  get eip(): number {
    return this.u32[EIP >> 2] as number;
  }
  set eip(value: number) {
    this.u32[EIP >> 2] = value;
  }

  get eflags(): number {
    return (this.u32[EFLAGS_REST >> 2] as number) | arithmeticFlags(this.u32);
  }
  set eflags(value: number) {
    this.u32[EFLAGS_REST >> 2] = value & ~EFLAGS_STATUS;
    setArithmeticFlags(this.u32, value);
  }
  /** Sets the arithmetic flags as `left - right` does, in `bits` bits (8, 16 or 32). */
  setFlagsOfSubtraction(bits: number, left: number, right: number): void {
    const difference = left - right;
    const result = (difference << (32 - bits)) >> (32 - bits);
    const borrows = (~left & right) | ((~left | right) & result);
    this.i32[FLAG_RESULT >> 2] = result;
    this.i32[(FLAG_RESULT >> 2) + 1] = result >> 31;
    this.i32[FLAG_CARRY >> 2] = 0;
    this.i32[(FLAG_CARRY >> 2) + 1] = borrows << (32 - bits);
    this.i32[FLAG_AUX >> 2] = (left ^ right ^ result) & EFLAGS.AF;
    this.i32[(FLAG_AUX >> 2) + 1] = 0;
  }
  /** EFLAGS.ZF alone. */
  get zeroFlag(): boolean {
    return ((this.u32[FLAG_RESULT >> 2] as number) | (this.u32[(FLAG_RESULT >> 2) + 1] as number)) === 0;
  }
  /** EFLAGS without the arithmetic flags, which cost more to read. */
  get systemFlags(): number {
    return this.u32[EFLAGS_REST >> 2] as number;
  }
  set systemFlags(value: number) {
    this.u32[EFLAGS_REST >> 2] = value;
  }

  segmentBase(segment: number): number {
    return this.u32[segmentAddress(segment) >> 2] as number;
  }
  /** Highest offset in bytes, unsigned. */
  segmentLimit(segment: number): number {
    return this.u32[(segmentAddress(segment) + SEGMENT.LIMIT) >> 2] as number;
  }
  segmentAttributes(segment: number): number {
    return this.u16[(segmentAddress(segment) + SEGMENT.ATTRIBUTES) >> 1] as number;
  }
  selector(segment: number): number {
    return this.u16[(segmentAddress(segment) + SEGMENT.SELECTOR) >> 1] as number;
  }
  setSelector(segment: number, value: number): void {
    this.u16[(segmentAddress(segment) + SEGMENT.SELECTOR) >> 1] = value;
  }

  /**
   * Loads the hidden part of a segment register, with what the interpreter needs for its checks. `attributes` in
   * the 12-bit form; without P the segment allows no access.
   */
  setSegment(segment: number, selector: number, base: number, limit: number, attributes: number): void {
    const place = segmentAddress(segment);
    this.u32[place >> 2] = base;
    this.u32[(place >> 2) + 1] = 0;
    this.u32[(place + SEGMENT.LIMIT) >> 2] = limit;
    this.u16[(place + SEGMENT.ATTRIBUTES) >> 1] = attributes;
    this.u16[(place + SEGMENT.SELECTOR) >> 1] = selector;
    this.#setBounds(place, limit, attributes);
    if (segment === SS) this.u32[STACK_MASK >> 2] = (attributes & ATTRIBUTE.DB) !== 0 ? 0xffff_ffff : 0xffff;
  }

  /** SDM vol. 3A 5.3: an expand-down segment is what lies above its limit. */
  #setBounds(place: number, limit: number, attributes: number): void {
    const usable = (attributes & (ATTRIBUTE.P | ATTRIBUTE.S)) === (ATTRIBUTE.P | ATTRIBUTE.S);
    const code = (attributes & ATTRIBUTE.CODE) !== 0;
    const expandDown = !code && (attributes & ATTRIBUTE.EXPAND_DOWN) !== 0;
    const top = (attributes & ATTRIBUTE.DB) !== 0 ? 0xffff_ffff : 0xffff;
    const low = expandDown ? limit + 1 : 0;
    const span = (expandDown ? top : limit) - low;
    this.u32[(place + SEGMENT.LOW) >> 2] = low;
    this.#setSpan(
      place + SEGMENT.READ_SPAN,
      usable && (!code || (attributes & ATTRIBUTE.READABLE) !== 0) ? span : -1,
    );
    this.#setSpan(
      place + SEGMENT.WRITE_SPAN,
      usable && !code && (attributes & ATTRIBUTE.WRITABLE) !== 0 ? span : -1,
    );
  }

  #setSpan(place: number, span: number): void {
    this.u32[place >> 2] = span < 0 ? 0xffff_ffff : span;
    this.i32[(place >> 2) + 1] = span < 0 ? -1 : 0;
  }

  /** One of the `SYSTEM` registers, low 32 bits. */
  system(register: number): number {
    return this.u32[register >> 2] as number;
  }
  setSystem(register: number, value: number): void {
    this.u32[register >> 2] = value;
    if (register === SYSTEM.CR0 || register === SYSTEM.CR4) this.#setSimdAccess();
  }
  /** SDM vol. 3A tables 12-1 and 13-1: EM and TS stop both, a clear OSFXSR stops SSE. */
  #setSimdAccess(): void {
    const stopped = (this.cr0 & (CR0.EM | CR0.TS)) !== 0;
    const stopsSse = stopped || (this.cr4 & CR4.OSFXSR) === 0;
    this.u32[SIMD_ACCESS >> 2] = (stopped ? SIMD_STOP.MMX : 0) | (stopsSse ? SIMD_STOP.SSE : 0);
  }
  get cr0(): number {
    return this.u32[SYSTEM.CR0 >> 2] as number;
  }
  get cr3(): number {
    return this.u32[SYSTEM.CR3 >> 2] as number;
  }
  get cr4(): number {
    return this.u32[SYSTEM.CR4 >> 2] as number;
  }
  get efer(): number {
    return this.u32[SYSTEM.EFER >> 2] as number;
  }
}
