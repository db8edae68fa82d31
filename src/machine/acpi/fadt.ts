/** Fixed ACPI description table, revision 3 (ACPI specification 6.4, table 5-9, up to the extended addresses). */
import { ACPI_PM, SCI_IRQ } from '../devices/acpi-pm.ts';
import { RTC } from '../devices/rtc-time.ts';
import { type Bytes, u8, u16, u32, u64, zeros } from './encode.ts';

export const FADT_REVISION = 3;

const DESKTOP = 1;
/** Longer than this means: there is no such idle state. */
const NO_C2_LATENCY = 0x0fff;
const NO_C3_LATENCY = 0x0fff;

// biome-ignore format: table
/** IAPC_BOOT_ARCH. */
const BOOT = { LEGACY_DEVICES: 0x0001, KEYBOARD_CONTROLLER: 0x0002, NO_VGA: 0x0004 } as const;

// biome-ignore format: table
/** Fixed feature flags. SLP_BUTTON and FIX_RTC mean that these are not among the fixed registers. */
const FLAG = {
  WBINVD: 0x0001, PROC_C1: 0x0004, SLP_BUTTON: 0x0020, FIX_RTC: 0x0040, RESET_REGISTER: 0x0400,
} as const;

const RESET_PORT = 0xcf9;
const RESET_VALUE = 0x06;

/** Generic address structure: I/O space, width in bits, access size code (1 byte, 2 word, 3 dword). */
const ioAddress = (port: number, bits: number, access: number): Bytes => [1, bits, 0, access, ...u64(port)];
const NO_ADDRESS = zeros(12);

/** What follows the table's header. Addresses are physical. */
export function fadtBody(facs: number, dsdt: number): Bytes {
  const { EVENT_PORT, EVENT_LENGTH, CONTROL_PORT, CONTROL_LENGTH, TIMER_PORT, TIMER_LENGTH } = ACPI_PM;
  return [
    ...u32(facs),
    ...u32(dsdt),
    ...u8(0),
    ...u8(DESKTOP),
    ...u16(SCI_IRQ),
    ...zeros(8), // SMI_CMD and its values: none, ACPI is on
    ...[EVENT_PORT, 0, CONTROL_PORT, 0, 0, TIMER_PORT, 0, 0].flatMap(u32), // PM1a, PM1b, ..., GPE0, GPE1
    ...[EVENT_LENGTH, CONTROL_LENGTH, 0, TIMER_LENGTH, 0, 0, 0, 0],
    ...u16(NO_C2_LATENCY),
    ...u16(NO_C3_LATENCY),
    ...zeros(6), // cache flush, duty cycle
    ...[0, 0, RTC.CENTURY], // no day and month alarm
    ...u16(BOOT.LEGACY_DEVICES | BOOT.KEYBOARD_CONTROLLER | BOOT.NO_VGA),
    ...u8(0),
    ...u32(FLAG.WBINVD | FLAG.PROC_C1 | FLAG.SLP_BUTTON | FLAG.FIX_RTC | FLAG.RESET_REGISTER),
    ...ioAddress(RESET_PORT, 8, 1),
    ...u8(RESET_VALUE),
    ...zeros(3),
    ...u64(0), // X_FIRMWARE_CTRL: the 32-bit field serves
    ...u64(dsdt),
    ...ioAddress(EVENT_PORT, EVENT_LENGTH * 8, 2),
    ...NO_ADDRESS,
    ...ioAddress(CONTROL_PORT, CONTROL_LENGTH * 8, 2),
    ...NO_ADDRESS,
    ...NO_ADDRESS,
    ...ioAddress(TIMER_PORT, TIMER_LENGTH * 8, 3),
    ...NO_ADDRESS,
    ...NO_ADDRESS,
  ];
}
