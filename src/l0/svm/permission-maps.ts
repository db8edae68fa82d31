/** The I/O and MSR permission maps (APM vol. 2 15.10.1, 15.11): which accesses of the guest L0 wants to see. */
import { type Hpa, PAGE_SIZE } from '../../arch/address.ts';
import { MSR } from '../../arch/msrs.ts';
import { IOPM_SIZE, MSRPM_SIZE, msrpmBit } from '../../arch/vmcb.ts';
import type { HostMemory } from '../hardware.ts';
import type { HostPages } from '../pages.ts';

/**
 * MSRs that the guest has for itself: VMLOAD and VMSAVE switch them with the VMCB, and no write to them needs L0's eye.
 * In 32-bit mode only the SYSENTER MSRs matter.
 */
const PASSED_THROUGH = [MSR.SYSENTER_CS, MSR.SYSENTER_ESP, MSR.SYSENTER_EIP] as const;

/** Every port exits. */
export function allPorts(memory: HostMemory, pages: HostPages): Hpa {
  const map = pages.allocate(IOPM_SIZE / PAGE_SIZE);
  memory.u8.fill(0xff, map, map + IOPM_SIZE);
  return map;
}

/** Every MSR exits but those passed through. */
export function guestMsrs(memory: HostMemory, pages: HostPages): Hpa {
  const map = pages.allocate(MSRPM_SIZE / PAGE_SIZE);
  memory.u8.fill(0xff, map, map + MSRPM_SIZE);
  for (const msr of PASSED_THROUGH) {
    const bit = msrpmBit(msr);
    memory.u8[map + (bit >>> 3)] &= ~(3 << (bit & 7));
  }
  return map;
}

/** Byte offsets of the 32-bit words of an MSR map in which L0 lets anything through. */
const OPEN_WORDS = [...new Set(PASSED_THROUGH.map((msr) => (msrpmBit(msr) >>> 5) * 4))];

/**
 * Brings the map for L2 up to date: an MSR exits if L0 or L1 wants it to. L0 wants nearly all, so only the words in which it
 * does not are read from L1's map.
 *
 * @param merged      map for L2, which began as a copy of `own`
 * @param hostAddress host-physical address of a byte offset in L1's map, -1 if no memory is there: then all exits
 */
export function mergeMsrMaps(
  memory: HostMemory,
  merged: Hpa,
  own: Hpa,
  hostAddress: (offset: number) => number,
): void {
  const { u32 } = memory;
  for (const offset of OPEN_WORDS) {
    const theirs = hostAddress(offset);
    const wanted = theirs < 0 ? 0xffff_ffff : u32[theirs >>> 2];
    u32[(merged + offset) >>> 2] = u32[(own + offset) >>> 2] | wanted;
  }
}
