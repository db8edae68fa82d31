import {
  ATTRIBUTE,
  ATTRIBUTE_DPL_SHIFT,
  attributesOfDescriptor,
  baseOfDescriptor,
  limitOfDescriptor,
  SELECTOR,
} from '../../arch/descriptors.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import type { Cpu } from '../cpu.ts';
import { LDTR, SYSTEM } from '../layout.ts';

/** What an error code says of a selector: its index and table (SDM vol. 3A 6.13). */
export const selectorError = (selector: number): number => selector & ~SELECTOR.RPL & 0xffff;
export const isNullSelector = (selector: number): boolean => (selector & ~SELECTOR.RPL & 0xffff) === 0;

/** A segment or system descriptor as read from its table. */
export class Descriptor {
  readonly selector: number;
  readonly lo: number;
  readonly hi: number;
  /** Linear address of its eight bytes. */
  readonly address: number;

  constructor(selector: number, lo: number, hi: number, address: number) {
    this.selector = selector;
    this.lo = lo;
    this.hi = hi;
    this.address = address;
  }

  /** 12-bit form. */
  get attributes(): number {
    return attributesOfDescriptor(this.hi);
  }
  get base(): number {
    return baseOfDescriptor(this.lo, this.hi);
  }
  get limit(): number {
    return limitOfDescriptor(this.lo, this.hi);
  }
  get type(): number {
    return (this.hi >>> 8) & 0xf;
  }
  get dpl(): number {
    return (this.attributes & ATTRIBUTE.DPL) >> ATTRIBUTE_DPL_SHIFT;
  }
  get present(): boolean {
    return (this.attributes & ATTRIBUTE.P) !== 0;
  }
  /** Code or data; else a system descriptor. */
  get isSegment(): boolean {
    return (this.attributes & ATTRIBUTE.S) !== 0;
  }
  get isCode(): boolean {
    return this.isSegment && (this.type & ATTRIBUTE.CODE) !== 0;
  }
  get isData(): boolean {
    return this.isSegment && (this.type & ATTRIBUTE.CODE) === 0;
  }
  get isConforming(): boolean {
    return this.isCode && (this.type & ATTRIBUTE.CONFORMING) !== 0;
  }
  get isWritableData(): boolean {
    return this.isData && (this.type & ATTRIBUTE.WRITABLE) !== 0;
  }
  get isReadable(): boolean {
    return this.isData || (this.isCode && (this.type & ATTRIBUTE.READABLE) !== 0);
  }

  /** Gate fields (SDM vol. 3A 5.8.3, 6.11). */
  get gateSelector(): number {
    return this.lo >>> 16;
  }
  get gateOffset32(): number {
    return ((this.hi & 0xffff_0000) | (this.lo & 0xffff)) >>> 0;
  }
  get gateOffset16(): number {
    return this.lo & 0xffff;
  }
  get gateParameters(): number {
    return this.hi & 0x1f;
  }
}

/** The descriptor a selector names, or undefined if it lies beyond its table. The null selector is not special here. */
export function findDescriptor(cpu: Cpu, selector: number): Descriptor | undefined {
  const { state } = cpu;
  const local = (selector & SELECTOR.TI) !== 0;
  const offset = selector & SELECTOR.INDEX;
  const base = local ? state.segmentBase(LDTR) : state.system(SYSTEM.GDT_BASE);
  const limit = local ? state.segmentLimit(LDTR) : state.system(SYSTEM.GDT_LIMIT);
  if (local && (state.segmentAttributes(LDTR) & ATTRIBUTE.P) === 0) return undefined;
  if (offset + 7 > limit) return undefined;
  const address = (base + offset) >>> 0;
  const lo = cpu.memory.read(address, 4, ACCESS.IMPLICIT);
  const hi = cpu.memory.read((address + 4) >>> 0, 4, ACCESS.IMPLICIT);
  return new Descriptor(selector, lo, hi, address);
}

/** As `findDescriptor`; beyond the table raises `vector` with the selector. */
export function readDescriptor(cpu: Cpu, selector: number, vector: number = VECTOR.GP): Descriptor {
  return findDescriptor(cpu, selector) ?? cpu.raise(vector, selectorError(selector));
}

/** Sets the accessed bit of a code or data descriptor in memory (SDM vol. 3A 3.4.5.1); returns the attributes with it. */
export function markDescriptorAccessed(cpu: Cpu, descriptor: Descriptor): number {
  if ((descriptor.hi & 0x100) === 0) {
    const byte = (descriptor.address + 5) >>> 0;
    cpu.memory.write(byte, 1, ((descriptor.hi >>> 8) & 0xff) | ATTRIBUTE.ACCESSED, ACCESS.IMPLICIT);
  }
  return descriptor.attributes | ATTRIBUTE.ACCESSED;
}
