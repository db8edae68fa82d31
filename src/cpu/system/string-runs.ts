/**
 * Runs of string operations: as many elements as lie in one page of RAM on each side, with one translation for all of
 * them. Each function does up to `limit` elements in the direction of EFLAGS.DF, moves the index registers and
 * returns how many it did. 0 means that nothing happened: the next element crosses a page or a segment's end, faults,
 * or lies in a device, and has to be done by itself.
 */
import { ACCESS } from '../../arch/paging/permissions.ts';
import { EFLAGS } from '../../arch/registers.ts';
import { RAX, RDI, RSI } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { ES, SEGMENT, segmentAddress } from '../layout.ts';
import type { PhysicalMemory } from '../physical-memory.ts';
import type { CpuState } from '../state.ts';

export type ElementSize = 1 | 2 | 4;

const PAGE = 4096;

/** Adds to SI, DI, ESI or EDI, by the address size. */
export function moveIndex(state: CpuState, instruction: Instruction, register: number, bytes: number): void {
  if (instruction.addressSize === 2) state.setGpr16(register, state.gpr16(register) + bytes);
  else state.setGpr(register, state.gpr(register) + bytes);
}

/** An index register as an offset, by the address size. */
export function index(state: CpuState, instruction: Instruction, register: number): number {
  return instruction.addressSize === 2 ? state.gpr16(register) : state.gpr(register);
}

export const isBackward = (state: CpuState): boolean => (state.systemFlags & EFLAGS.DF) !== 0;

/** The accumulator as wide as an element. */
export function accumulator(state: CpuState, size: ElementSize): number {
  return size === 1 ? state.al : size === 2 ? state.gpr16(RAX) : state.gpr(RAX);
}

/**
 * How many elements from an offset on, in the direction of DF, lie within one page, the segment and the address size.
 */
function reach(
  cpu: Cpu,
  instruction: Instruction,
  segment: number,
  offset: number,
  size: ElementSize,
  write: boolean,
): number {
  const { u32, i32 } = cpu.state;
  const place = segmentAddress(segment);
  const span = place + (write ? SEGMENT.WRITE_SPAN : SEGMENT.READ_SPAN);
  if (i32[(span + 4) >> 2] !== 0) return 0;
  const last = u32[span >> 2] as number;
  const into = (offset - (u32[(place + SEGMENT.LOW) >> 2] as number)) >>> 0;
  const pageOffset = (offset + (u32[place >> 2] as number)) & (PAGE - 1);
  const top = instruction.addressMask >>> 0;
  const above = Math.min(PAGE - pageOffset, last - into + 1, top - offset + 1);
  if (above < size) return 0;
  if (!isBackward(cpu.state)) return above >> (size >> 1);
  return (Math.min(pageOffset, into, offset) >> (size >> 1)) + 1;
}

/** Offset in RAM of the element at `offset`; -1 if a run cannot go there. */
function locate(cpu: Cpu, segment: number, offset: number, access: number): number {
  return cpu.paging.ramOffset((cpu.state.segmentBase(segment) + offset) >>> 0, access);
}

/** MOVS */
export function moveRun(cpu: Cpu, instruction: Instruction, size: ElementSize, limit: number): number {
  const { state, physical, dataAccess } = cpu;
  if (cpu.memory !== cpu.paging) return 0;
  const source = index(state, instruction, RSI);
  const destination = index(state, instruction, RDI);
  const { segment } = instruction;
  const count = Math.min(
    limit,
    reach(cpu, instruction, segment, source, size, false),
    reach(cpu, instruction, ES, destination, size, true),
  );
  if (count === 0) return 0;
  const from = locate(cpu, segment, source, dataAccess);
  if (from < 0) return 0;
  const to = locate(cpu, ES, destination, dataAccess | ACCESS.WRITE);
  if (to < 0) return 0;
  const bytes = count * size;
  if (isBackward(state)) {
    const back = bytes - size;
    moveBackward(physical.u8, from - back, to - back, bytes, size);
    physical.written(to - back, bytes);
    moveIndex(state, instruction, RSI, -bytes);
    moveIndex(state, instruction, RDI, -bytes);
  } else {
    moveForward(physical.u8, from, to, bytes, size);
    physical.written(to, bytes);
    moveIndex(state, instruction, RSI, bytes);
    moveIndex(state, instruction, RDI, bytes);
  }
  return count;
}

/** As if element after element were copied: where the destination begins inside the source, elements repeat. */
function moveForward(u8: Uint8Array, from: number, to: number, bytes: number, size: number): void {
  const distance = to - from;
  if (distance <= 0 || distance >= bytes) {
    u8.copyWithin(to, from, from + bytes);
    return;
  }
  if (distance < size) {
    for (let done = 0; done < bytes; done += size) u8.copyWithin(to + done, from + done, from + done + size);
    return;
  }
  // The result has period `distance`; what is already there doubles with each copy.
  for (let done = 0; done < bytes; ) {
    const length = Math.min(distance + done, bytes - done);
    u8.copyWithin(to + done, from, from + length);
    done += length;
  }
}

/** From the last element down; `from` and `to` are the lowest bytes. */
function moveBackward(u8: Uint8Array, from: number, to: number, bytes: number, size: number): void {
  if (to >= from || from - to >= bytes) {
    u8.copyWithin(to, from, from + bytes);
    return;
  }
  for (let left = bytes - size; left >= 0; left -= size)
    u8.copyWithin(to + left, from + left, from + left + size);
}

/** STOS */
export function storeRun(cpu: Cpu, instruction: Instruction, size: ElementSize, limit: number): number {
  const { state, physical } = cpu;
  if (cpu.memory !== cpu.paging) return 0;
  const destination = index(state, instruction, RDI);
  const count = Math.min(limit, reach(cpu, instruction, ES, destination, size, true));
  if (count === 0) return 0;
  const place = locate(cpu, ES, destination, cpu.dataAccess | ACCESS.WRITE);
  if (place < 0) return 0;
  const bytes = count * size;
  const backward = isBackward(state);
  const to = backward ? place - bytes + size : place;
  const value = accumulator(state, size);
  if (size === 1) physical.u8.fill(value, to, to + bytes);
  else if (size === 2 && (to & 1) === 0) physical.u16.fill(value, to >> 1, (to + bytes) >> 1);
  else if (size === 4 && (to & 3) === 0) physical.u32.fill(value, to / 4, (to + bytes) / 4);
  else fillUnaligned(physical.u8, to, bytes, value, size);
  physical.written(to, bytes);
  moveIndex(state, instruction, RDI, backward ? -bytes : bytes);
  return count;
}

function fillUnaligned(u8: Uint8Array, to: number, bytes: number, value: number, size: number): void {
  for (let byte = 0; byte < size; byte++) u8[to + byte] = value >>> (byte * 8);
  for (let done = size; done < bytes; ) {
    const length = Math.min(done, bytes - done);
    u8.copyWithin(to + done, to, to + length);
    done += length;
  }
}

/** LODS: of a run only the last element is seen. */
export function loadRun(cpu: Cpu, instruction: Instruction, size: ElementSize, limit: number): number {
  const { state, physical } = cpu;
  if (cpu.memory !== cpu.paging) return 0;
  const source = index(state, instruction, RSI);
  const { segment } = instruction;
  const count = Math.min(limit, reach(cpu, instruction, segment, source, size, false));
  if (count === 0) return 0;
  const from = locate(cpu, segment, source, cpu.dataAccess);
  if (from < 0) return 0;
  const bytes = isBackward(state) ? -count * size : count * size;
  setAccumulator(
    state,
    size,
    element(physical, isBackward(state) ? from + bytes + size : from + bytes - size, size),
  );
  moveIndex(state, instruction, RSI, bytes);
  return count;
}

export function setAccumulator(state: CpuState, size: ElementSize, value: number): void {
  if (size === 1) state.al = value;
  else if (size === 2) state.setGpr16(RAX, value);
  else state.setGpr(RAX, value);
}

/** SCAS: stops behind the first element that equals the accumulator, or with REPE the first that does not. */
export function scanRun(cpu: Cpu, instruction: Instruction, size: ElementSize, limit: number): number {
  const { state, physical } = cpu;
  if (cpu.memory !== cpu.paging) return 0;
  const destination = index(state, instruction, RDI);
  const reachable = Math.min(limit, reach(cpu, instruction, ES, destination, size, false));
  if (reachable === 0) return 0;
  const from = locate(cpu, ES, destination, cpu.dataAccess);
  if (from < 0) return 0;
  const wanted = accumulator(state, size);
  const step = isBackward(state) ? -size : size;
  const count = scan(physical, from, reachable, step, size, wanted, !instruction.rep);
  state.setFlagsOfSubtraction(size * 8, wanted, element(physical, from + (count - 1) * step, size));
  moveIndex(state, instruction, RDI, count * step);
  return count;
}

/** From how many elements on a search by the host costs less than a loop. */
const WORTH_A_SEARCH = 32;

/** Number of elements up to the first one whose equality with `wanted` is `until`, that one included. */
function scan(
  physical: PhysicalMemory,
  from: number,
  limit: number,
  step: number,
  size: ElementSize,
  wanted: number,
  until: boolean,
): number {
  if (until && step === size && limit >= WORTH_A_SEARCH && from % size === 0) {
    const elements = size === 1 ? physical.u8 : size === 2 ? physical.u16 : physical.u32;
    const found = elements.subarray(from / size, from / size + limit).indexOf(wanted);
    return found < 0 ? limit : found + 1;
  }
  let place = from;
  for (let count = 1; count < limit; count++) {
    if ((element(physical, place, size) === wanted) === until) return count;
    place += step;
  }
  return limit;
}

/** CMPS: stops behind the first pair that is equal, or with REPE the first that is not. */
export function compareRun(cpu: Cpu, instruction: Instruction, size: ElementSize, limit: number): number {
  const { state, physical, dataAccess } = cpu;
  if (cpu.memory !== cpu.paging) return 0;
  const source = index(state, instruction, RSI);
  const destination = index(state, instruction, RDI);
  const { segment } = instruction;
  const reachable = Math.min(
    limit,
    reach(cpu, instruction, segment, source, size, false),
    reach(cpu, instruction, ES, destination, size, false),
  );
  if (reachable === 0) return 0;
  const left = locate(cpu, segment, source, dataAccess);
  if (left < 0) return 0;
  const right = locate(cpu, ES, destination, dataAccess);
  if (right < 0) return 0;
  const step = isBackward(state) ? -size : size;
  const count = compare(physical, left, right, reachable, step, size, !instruction.rep);
  const last = (count - 1) * step;
  const x = element(physical, left + last, size);
  state.setFlagsOfSubtraction(size * 8, x, element(physical, right + last, size));
  moveIndex(state, instruction, RSI, count * step);
  moveIndex(state, instruction, RDI, count * step);
  return count;
}

/** Number of pairs up to the first one whose equality is `until`, that one included. */
function compare(
  physical: PhysicalMemory,
  left: number,
  right: number,
  limit: number,
  step: number,
  size: ElementSize,
  until: boolean,
): number {
  if (!until && step === size) {
    const same = equalBytes(physical, left, right, limit * size);
    return Math.min(limit, Math.trunc(same / size) + 1);
  }
  for (let count = 1, way = 0; count < limit; count++, way += step) {
    if ((element(physical, left + way, size) === element(physical, right + way, size)) === until)
      return count;
  }
  return limit;
}

/** How many bytes from the first on are the same at both places. */
function equalBytes({ view, u8 }: PhysicalMemory, left: number, right: number, bytes: number): number {
  let same = 0;
  while (same + 4 <= bytes && view.getInt32(left + same, true) === view.getInt32(right + same, true))
    same += 4;
  while (same < bytes && u8[left + same] === u8[right + same]) same++;
  return same;
}

function element({ u8, view }: PhysicalMemory, place: number, size: ElementSize): number {
  if (size === 1) return u8[place] as number;
  return size === 2 ? view.getUint16(place, true) : view.getUint32(place, true);
}
