import { ATTRIBUTE, SELECTOR, SYSTEM_TYPE } from '../../arch/descriptors.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import type { Cpu } from '../cpu.ts';
import { CS, DS, ES, FS, GS, LDTR, SS, TR } from '../layout.ts';
import {
  type Descriptor,
  isNullSelector,
  markDescriptorAccessed,
  readDescriptor,
  selectorError,
} from './descriptor.ts';

const REAL_ATTRIBUTES = ATTRIBUTE.P | ATTRIBUTE.S | ATTRIBUTE.WRITABLE | ATTRIBUTE.ACCESSED;
/** Virtual-8086 segments: data, writable, DPL 3, limit 64 KiB (SDM vol. 3B 20.2.1). */
export const V86_ATTRIBUTES = REAL_ATTRIBUTES | ATTRIBUTE.DPL;

/** MOV, POP or LxS to a data segment register or SS, in any mode. Raises before anything has changed. */
export function loadSegment(cpu: Cpu, segment: number, selector: number): void {
  if (cpu.isProtected) loadProtected(cpu, segment, selector);
  else loadReal(cpu, segment, selector);
}

/**
 * Real mode keeps limit and attributes of the hidden part, whatever protected mode left there ("unreal" mode);
 * only base and selector change (SDM vol. 3A 9.9.2).
 */
export function loadReal(cpu: Cpu, segment: number, selector: number): void {
  const { state } = cpu;
  if (cpu.isVirtual8086) {
    state.setSegment(segment, selector, selector << 4, 0xffff, V86_ATTRIBUTES);
    return;
  }
  // CS becomes writable and readable again; its limit stays.
  const attributes = segment === CS ? REAL_ATTRIBUTES : state.segmentAttributes(segment);
  state.setSegment(segment, selector, selector << 4, state.segmentLimit(segment), attributes);
}

function loadProtected(cpu: Cpu, segment: number, selector: number): void {
  if (segment === SS) loadStackSegment(cpu, selector, cpu.cpl, VECTOR.GP);
  else loadDataSegment(cpu, segment, selector, VECTOR.GP);
}

/** SDM vol. 3A 5.7 and MOV: SS must be writable data with RPL and DPL equal to `cpl`. */
export function loadStackSegment(cpu: Cpu, selector: number, cpl: number, vector: number): void {
  const descriptor = checkStackSegment(cpu, selector, cpl, vector);
  fillSegment(cpu, SS, descriptor);
}

export function checkStackSegment(cpu: Cpu, selector: number, cpl: number, vector: number): Descriptor {
  if (isNullSelector(selector)) cpu.raise(vector, selectorError(selector));
  const descriptor = readDescriptor(cpu, selector, vector);
  const rpl = selector & SELECTOR.RPL;
  if (rpl !== cpl || descriptor.dpl !== cpl || !descriptor.isWritableData)
    cpu.raise(vector, selectorError(selector));
  if (!descriptor.present) cpu.raise(VECTOR.SS, selectorError(selector));
  return descriptor;
}

/** DS, ES, FS, GS: null is allowed and makes the segment unusable. */
export function loadDataSegment(cpu: Cpu, segment: number, selector: number, vector: number): void {
  if (isNullSelector(selector)) {
    unusable(cpu, segment, selector);
    return;
  }
  const descriptor = readDescriptor(cpu, selector, vector);
  const error = selectorError(selector);
  if (!descriptor.isReadable) cpu.raise(vector, error);
  if (!descriptor.isConforming) {
    const rpl = selector & SELECTOR.RPL;
    if (rpl > descriptor.dpl || cpu.cpl > descriptor.dpl) cpu.raise(vector, error);
  }
  if (!descriptor.present) cpu.raise(VECTOR.NP, error);
  fillSegment(cpu, segment, descriptor);
}

/** A segment register that holds nothing: every access through it faults. */
export function unusable(cpu: Cpu, segment: number, selector: number): void {
  cpu.state.setSegment(segment, selector, 0, 0, 0);
}

/** Loads the hidden part from a checked descriptor and sets its accessed bit. */
export function fillSegment(
  cpu: Cpu,
  segment: number,
  descriptor: Descriptor,
  selector = descriptor.selector,
): void {
  const attributes = markDescriptorAccessed(cpu, descriptor);
  cpu.state.setSegment(segment, selector, descriptor.base, descriptor.limit, attributes);
}

/** On a return to an outer level, segments the new level may not use become null (SDM vol. 3A 5.8.6). */
export function dropInaccessibleSegments(cpu: Cpu): void {
  for (const segment of [ES, FS, GS, DS]) {
    const attributes = cpu.state.segmentAttributes(segment);
    const conforming =
      (attributes & (ATTRIBUTE.CODE | ATTRIBUTE.CONFORMING)) === (ATTRIBUTE.CODE | ATTRIBUTE.CONFORMING);
    const dpl = (attributes & ATTRIBUTE.DPL) >> 5;
    if (!conforming && dpl < cpu.cpl) unusable(cpu, segment, 0);
  }
}

/** LLDT. */
export function loadLdt(cpu: Cpu, selector: number, vector: number = VECTOR.GP): void {
  if (isNullSelector(selector)) {
    unusable(cpu, LDTR, selector);
    return;
  }
  const error = selectorError(selector);
  if ((selector & SELECTOR.TI) !== 0) cpu.raise(vector, error);
  const descriptor = readDescriptor(cpu, selector, vector);
  if (descriptor.isSegment || descriptor.type !== SYSTEM_TYPE.LDT) cpu.raise(vector, error);
  if (!descriptor.present) cpu.raise(vector === VECTOR.TS ? VECTOR.TS : VECTOR.NP, error);
  cpu.state.setSegment(LDTR, selector, descriptor.base, descriptor.limit, descriptor.attributes);
}

/** LTR: marks the TSS busy. */
export function loadTaskRegister(cpu: Cpu, selector: number): void {
  const error = selectorError(selector);
  if (isNullSelector(selector) || (selector & SELECTOR.TI) !== 0) cpu.raiseGeneralProtection(error);
  const descriptor = readDescriptor(cpu, selector);
  const available =
    !descriptor.isSegment &&
    (descriptor.type === SYSTEM_TYPE.TSS_16_AVAILABLE || descriptor.type === SYSTEM_TYPE.TSS_32_AVAILABLE);
  if (!available) cpu.raiseGeneralProtection(error);
  if (!descriptor.present) cpu.raise(VECTOR.NP, error);
  const busy = 0x2;
  cpu.memory.write((descriptor.address + 4) >>> 0, 4, (descriptor.hi | (busy << 8)) >>> 0, ACCESS.IMPLICIT);
  cpu.state.setSegment(TR, selector, descriptor.base, descriptor.limit, descriptor.attributes | busy);
}
