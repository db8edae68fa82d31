/** What PC firmware leaves in the battery-backed memory behind the clock (IBM PC AT, extended by common custom). */

// biome-ignore format: table
const CMOS = {
  EQUIPMENT:        0x14,
  BASE_MEMORY:      0x15, // KiB, 16 bits
  EXTENDED_MEMORY:  0x17, // KiB above 1 MiB, 16 bits
  CHECKSUM:         0x2e, // of 10h..2Dh, high byte first
  EXTENDED_ACTUAL:  0x30, // KiB above 1 MiB, 16 bits
  ABOVE_16_MIB:     0x34, // units of 64 KiB, 16 bits
} as const;

const EQUIPMENT_FPU = 0x02;
const CHECKED_FIRST = 0x10;
const KIB = 1024;
const MIB = 1024 * KIB;

/** @param memoryBytes RAM from address 0 up */
export function setUpCmos(cmos: Uint8Array, memoryBytes: number): void {
  cmos[CMOS.EQUIPMENT] = EQUIPMENT_FPU;
  put16(cmos, CMOS.BASE_MEMORY, Math.min(memoryBytes / KIB, 640));
  const extended = Math.floor(Math.max(0, memoryBytes - MIB) / KIB);
  put16(cmos, CMOS.EXTENDED_MEMORY, extended);
  put16(cmos, CMOS.EXTENDED_ACTUAL, extended);
  put16(cmos, CMOS.ABOVE_16_MIB, Math.floor(Math.max(0, memoryBytes - 16 * MIB) / (64 * KIB)));
  const sum = cmos.subarray(CHECKED_FIRST, CMOS.CHECKSUM).reduce((total, byte) => total + byte, 0);
  cmos[CMOS.CHECKSUM] = sum >> 8;
  cmos[CMOS.CHECKSUM + 1] = sum & 0xff;
}

/** Little endian; what does not fit is shown as the largest value. */
function put16(cmos: Uint8Array, at: number, value: number): void {
  const shown = Math.min(value, 0xffff);
  cmos[at] = shown & 0xff;
  cmos[at + 1] = shown >> 8;
}
