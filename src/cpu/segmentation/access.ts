import { VECTOR } from '../../arch/exceptions.ts';
import type { Cpu } from '../cpu.ts';
import { SEGMENT, SS, segmentAddress } from '../layout.ts';

/** A highest offset of an access, compared with the segment: false if any byte lies outside or may not be accessed so. */
function within(cpu: Cpu, segment: number, offset: number, size: number, write: boolean): boolean {
  const place = segmentAddress(segment);
  const low = cpu.state.u32[(place + SEGMENT.LOW) >> 2] as number;
  const spanPlace = place + (write ? SEGMENT.WRITE_SPAN : SEGMENT.READ_SPAN);
  if (cpu.state.i32[(spanPlace + 4) >> 2] !== 0) return false;
  return ((offset - low) >>> 0) + size - 1 <= (cpu.state.u32[spanPlace >> 2] as number);
}

/**
 * Linear address of `size` bytes at an offset of a segment register's segment. Raises #SS(0) for SS and #GP(0) for
 * others when the segment does not allow the access (SDM vol. 3A 5.3, 5.5).
 */
export function segmentLinear(
  cpu: Cpu,
  segment: number,
  offset: number,
  size: number,
  write: boolean,
): number {
  if (!within(cpu, segment, offset >>> 0, size, write)) cpu.raise(segment === SS ? VECTOR.SS : VECTOR.GP, 0);
  return (cpu.state.segmentBase(segment) + offset) >>> 0;
}

/** Explicit data accesses of the running code. */
export function readSegment(cpu: Cpu, segment: number, offset: number, size: 1 | 2 | 4): number {
  return cpu.memory.read(segmentLinear(cpu, segment, offset, size, false), size, cpu.dataAccess);
}
export function writeSegment(
  cpu: Cpu,
  segment: number,
  offset: number,
  size: 1 | 2 | 4,
  value: number,
): void {
  cpu.memory.write(segmentLinear(cpu, segment, offset, size, true), size, value, cpu.dataAccess);
}
/** Raises what a write would raise. */
export function checkWrite(cpu: Cpu, segment: number, offset: number, size: number): void {
  cpu.memory.check(segmentLinear(cpu, segment, offset, size, true), size, cpu.dataAccess | 2);
}
