import { msrpmBit } from '../../arch/vmcb.ts';
import type { PhysicalMemory } from '../physical-memory.ts';

/**
 * Whether the I/O permissions map has the bit of any byte of the access set (APM vol. 2 15.10). The map has three bits
 * behind port FFFFh, for accesses that begin below the end.
 *
 * @param map  physical address
 * @param size bytes
 */
export function portIntercepted(memory: PhysicalMemory, map: number, port: number, size: 1 | 2 | 4): boolean {
  const place = map + (port >>> 3);
  const first = port & 7;
  let bits = memory.read8(place);
  if (first + size > 8) bits |= memory.read8(place + 1) << 8;
  return ((bits >>> first) & ((1 << size) - 1)) !== 0;
}

/** Whether the MSR permissions map has an access intercepted; always for an MSR that it does not cover (APM vol. 2 15.11). */
export function msrIntercepted(memory: PhysicalMemory, map: number, index: number, write: boolean): boolean {
  const bit = msrpmBit(index);
  if (bit < 0) return true;
  const place = bit + (write ? 1 : 0);
  return ((memory.read8(map + (place >>> 3)) >>> (place & 7)) & 1) !== 0;
}
