/** The namespace of the machine: soft off, the PCI root, and the ISA devices that software cannot find by itself. */
import { ACPI_PM, SLEEP_TYPE_SOFT_OFF } from '../devices/acpi-pm.ts';
import { COM1_PORT } from '../devices/uart.ts';
import { type Aml, device, eisaId, integer, name, packageOf, scope } from './aml.ts';
import type { Bytes } from './encode.ts';
import { busNumbers, ioPorts, ioWindow, isaIrq, memoryWindow, resourceTemplate } from './resources.ts';

/** Above the largest memory; the I/O APIC ends the window. */
const LOWEST_PCI_MEMORY = 0x8000_0000;
const LAST_PCI_MEMORY = 0xfebf_ffff;
const WINDOW_ALIGNMENT = 0x100_0000;

/** Slots for devices to come: pins A to D of the first take these interrupts, each next slot starts one further. */
const SLOTS = [2, 3, 4, 5] as const;
const SLOT_INTERRUPTS = [10, 11, 10, 11] as const;

/** AML of the definition block. @param memoryBytes RAM from address 0 up */
export function definitionBlock(memoryBytes: number): Aml[] {
  return [
    name(
      '\\_S5',
      packageOf(integer(SLEEP_TYPE_SOFT_OFF), integer(SLEEP_TYPE_SOFT_OFF), integer(0), integer(0)),
    ),
    scope('\\_SB', pciRoot(memoryBytes)),
  ];
}

function pciRoot(memoryBytes: number): Aml {
  const memoryEnd = Math.ceil(memoryBytes / WINDOW_ALIGNMENT) * WINDOW_ALIGNMENT;
  return device(
    'PCI0',
    name('_HID', eisaId('PNP0A03')),
    name('_UID', integer(0)),
    name('_BBN', integer(0)),
    name(
      '_CRS',
      resourceTemplate(
        busNumbers(0x00, 0xff),
        ioPorts(0xcf8, 8),
        ioWindow(0x0000, 0x0cf7),
        ioWindow(0x0d00, 0xffff),
        memoryWindow(0x000a_0000, 0x000b_ffff),
        memoryWindow(Math.max(memoryEnd, LOWEST_PCI_MEMORY), LAST_PCI_MEMORY),
      ),
    ),
    name('_PRT', interruptRouting()),
    isaBridge(),
  );
}

/** Entries of device address, pin, no link device, and the interrupt itself (ACPI specification 6.4, 6.2.13). */
function interruptRouting(): Aml {
  const entries = SLOTS.flatMap((slot, index) =>
    [0, 1, 2, 3].map((pin) =>
      packageOf(
        integer(slot * 0x1_0000 + 0xffff),
        integer(pin),
        integer(0),
        integer(SLOT_INTERRUPTS[(pin + index) % SLOT_INTERRUPTS.length]),
      ),
    ),
  );
  return packageOf(...entries);
}

function isaBridge(): Aml {
  const resources = (...descriptors: readonly Bytes[]) => name('_CRS', resourceTemplate(...descriptors));
  return device(
    'ISA',
    name('_ADR', integer(0x1_0000)),
    device(
      'COM1',
      name('_HID', eisaId('PNP0501')),
      name('_UID', integer(1)),
      resources(ioPorts(COM1_PORT, 8), isaIrq(4)),
    ),
    device('RTC', name('_HID', eisaId('PNP0B00')), resources(ioPorts(0x70, 2), isaIrq(8))),
    device('KBD', name('_HID', eisaId('PNP0303')), resources(ioPorts(0x60, 1), ioPorts(0x64, 1), isaIrq(1))),
    // Ports of the board itself, so that nobody else is put there.
    device('SYSR', name('_HID', eisaId('PNP0C02')), resources(ioPorts(ACPI_PM.EVENT_PORT, 12))),
  );
}
