/** Multiple APIC description table (ACPI specification 6.4, 5.2.12): one processor, one I/O APIC, two overrides. */
import { APIC_BASE_RESET } from '../../arch/msrs.ts';
import { SCI_IRQ } from '../devices/acpi-pm.ts';
import { IO_APIC_ID } from '../devices/firmware.ts';
import { IO_APIC_BASE } from '../devices/io-apic.ts';
import { type Bytes, u16, u32 } from './encode.ts';

export const MADT_REVISION = 3;

const PCAT_COMPATIBLE = 1;
const ENABLED = 1;
const ISA_BUS = 0;
const ALL_PROCESSORS = 0xff;
const NMI_PIN = 1;
/** Interrupt flags: as the bus has it; active high and level triggered. */
const AS_THE_BUS = 0;
const HIGH_LEVEL = 0x000d;

/** What follows the table's header. */
export function madtBody(apicId: number): Bytes {
  return [
    ...u32(APIC_BASE_RESET),
    ...u32(PCAT_COMPATIBLE),
    ...localApic(apicId),
    ...ioApic(),
    ...sourceOverride(0, 2, AS_THE_BUS),
    ...sourceOverride(SCI_IRQ, SCI_IRQ, HIGH_LEVEL),
    ...localNmi(),
  ];
}

const localApic = (id: number): Bytes => [0, 8, 0, id, ...u32(ENABLED)];
const ioApic = (): Bytes => [1, 12, IO_APIC_ID, 0, ...u32(IO_APIC_BASE), ...u32(0)];
const sourceOverride = (irq: number, input: number, flags: number): Bytes => [
  2,
  10,
  ISA_BUS,
  irq,
  ...u32(input),
  ...u16(flags),
];
const localNmi = (): Bytes => [4, 6, ALL_PROCESSORS, ...u16(AS_THE_BUS), NMI_PIN];
