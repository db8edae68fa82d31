/**
 * The memory map that a PC's firmware reports, in the form of INT 15h function E820h (ACPI specification,
 * "System Address Map Interfaces"): what a Linux boot loader and multiboot hand on.
 */
import { type Hpa, hpa } from '../arch/address.ts';
import { checkMemorySize, PC_MEMORY } from '../arch/memory-size.ts';

/** Address range types (ACPI specification, table "Address Range Types"). */
export const E820_TYPE = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4, UNUSABLE: 5 } as const;
export type E820Type = (typeof E820_TYPE)[keyof typeof E820_TYPE];

/** `size` in bytes. */
export interface E820Entry {
  readonly base: Hpa;
  readonly size: number;
  readonly type: E820Type;
}

/** Start of the extended BIOS data area: the last KiB below 640 KiB belongs to the firmware. */
export const EBDA_BASE = 0x9fc00;
/** End of conventional memory; video memory and ROMs follow up to 1 MiB. */
export const LOW_MEMORY_END = 0xa0000;
export const ONE_MIB = 0x10_0000;

/**
 * Memory map of a machine with `memorySize` bytes of RAM from address 0 up: conventional memory, the firmware's hole
 * up to 1 MiB, and the rest. Entries are sorted and do not overlap.
 * @throws InputError unless the size is a multiple of 4096 from 1 MiB to 2 GiB
 */
export function e820Map(memorySize: number): E820Entry[] {
  checkMemorySize(memorySize, PC_MEMORY);
  const map: E820Entry[] = [
    { base: hpa(0), size: EBDA_BASE, type: E820_TYPE.RAM },
    { base: hpa(EBDA_BASE), size: LOW_MEMORY_END - EBDA_BASE, type: E820_TYPE.RESERVED },
    { base: hpa(LOW_MEMORY_END), size: ONE_MIB - LOW_MEMORY_END, type: E820_TYPE.RESERVED },
  ];
  if (memorySize > ONE_MIB) map.push({ base: hpa(ONE_MIB), size: memorySize - ONE_MIB, type: E820_TYPE.RAM });
  return map;
}
