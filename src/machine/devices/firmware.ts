/**
 * The state in which a PC's firmware hands its devices to a boot loader: there is no firmware here to run, so these are
 * its register writes. Interrupts are masked at the 8259s, as a Linux boot loader finds or makes them.
 */
import type { IoBus } from '../io-bus.ts';
import type { MmioBus } from '../mmio-bus.ts';
import { IO_APIC_BASE } from './io-apic.ts';

// biome-ignore format: table
const PORT_WRITES: readonly (readonly [port: number, value: number])[] = [
  // 8259s: vectors 08h and 70h, cascade on input 2, 8086 mode, all but the cascade masked.
  [0x20, 0x11], [0x21, 0x08], [0x21, 0x04], [0x21, 0x01], [0x21, 0xfb],
  [0xa0, 0x11], [0xa1, 0x70], [0xa1, 0x02], [0xa1, 0x01], [0xa1, 0xff],
  // Level triggered: IRQ 9, the ACPI interrupt.
  [0x4d1, 0x02],
  // 8254: 18.2 ticks a second, memory refresh every 15 us.
  [0x43, 0x36], [0x40, 0x00], [0x40, 0x00],
  [0x43, 0x54], [0x41, 0x12],
  // 16550A: 115200 baud, 8N1.
  [0x3fb, 0x83], [0x3f8, 0x01], [0x3f9, 0x00], [0x3fb, 0x03],
  // Keyboard: interrupts, translation to scan code set 1, self-test passed; second port off.
  [0x64, 0x60], [0x60, 0x65],
];

// biome-ignore format: table
/** Virtual wire mode through the local APIC (MultiProcessor Specification 3.6.2.1): LINT0 is ExtINT, LINT1 is NMI. */
const LOCAL_APIC_WRITES: readonly (readonly [offset: number, value: number])[] = [
  [0x0f0, 0x1ff], [0x350, 0x700], [0x360, 0x400],
];

/** APIC ID of the I/O APIC, after those of the processors; the MADT tells. */
export const IO_APIC_ID = 1;

/** @param localApicBase physical address of the local APIC's page; without APICs undefined */
export function setUpAsFirmware(io: IoBus, mmio: MmioBus, localApicBase: number | undefined): void {
  for (const [port, value] of PORT_WRITES) io.write(port, 1, value);
  if (localApicBase === undefined) return;
  for (const [offset, value] of LOCAL_APIC_WRITES) mmio.write(localApicBase + offset, 4, value);
  mmio.write(IO_APIC_BASE, 4, 0);
  mmio.write(IO_APIC_BASE + 0x10, 4, IO_APIC_ID << 24);
}
