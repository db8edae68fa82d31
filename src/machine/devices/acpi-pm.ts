/** ACPI fixed hardware: PM1a event and control registers and the PM timer (ACPI specification 6.4, section 4.8). */
import type { Clock, Timer } from '../clock.ts';
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, InterruptLine, PortDevice } from '../ports.ts';
import { Oscillator } from './oscillator.ts';

/** Where the registers are; the FADT tells. */
export const ACPI_PM = {
  EVENT_PORT: 0x600,
  EVENT_LENGTH: 4,
  CONTROL_PORT: 0x604,
  CONTROL_LENGTH: 2,
  TIMER_PORT: 0x608,
  TIMER_LENGTH: 4,
} as const;
const PORTS = 12;

/** The system control interrupt's ISA IRQ; level triggered. */
export const SCI_IRQ = 9;

/** SLP_TYP of the state "soft off"; the DSDT's \_S5 tells. */
export const SLEEP_TYPE_SOFT_OFF = 5;

export const PM_TIMER_HERTZ = 3_579_545;
const TIMER_BITS = 24;
const TIMER_HALF = 2 ** (TIMER_BITS - 1);

// biome-ignore format: table
/** PM1 status and enable; in the status register writing 1 clears. */
const EVENT = { TIMER: 0x0001, GLOBAL: 0x0020, POWER_BUTTON: 0x0100, SLEEP_BUTTON: 0x0200, RTC: 0x0400 } as const;
const EVENT_BITS = EVENT.TIMER | EVENT.GLOBAL | EVENT.POWER_BUTTON | EVENT.SLEEP_BUTTON | EVENT.RTC;
const WAKE_STATUS = 0x8000;

// biome-ignore format: table
const CONTROL = { SCI_ENABLE: 0x0001, RELOAD: 0x0002, SLEEP_TYPE_SHIFT: 10, SLEEP_TYPE: 0x1c00, SLEEP_ENABLE: 0x2000 } as const;

export interface AcpiPmOptions {
  readonly clock: Clock;
  readonly sci: InterruptLine;
  readonly onPowerOff: () => void;
}

/** There is no legacy mode: without an SMI command port, SCI_EN is set for good ("PM1 Control Registers"). */
export class AcpiPm implements PortDevice {
  readonly #clock: Clock;
  readonly #oscillator: Oscillator;
  readonly #sci: InterruptLine;
  readonly #onPowerOff: () => void;
  readonly #timer: Timer;
  #status = 0;
  #enable = 0;
  #control = 0;
  /** Half periods of the timer that are worked into TMR_STS. */
  #halves = 0;

  constructor({ clock, sci, onPowerOff }: AcpiPmOptions) {
    this.#clock = clock;
    this.#oscillator = new Oscillator(clock, PM_TIMER_HERTZ);
    this.#sci = sci;
    this.#onPowerOff = onPowerOff;
    this.#timer = clock.timer(() => this.#follow());
    this.#halves = this.#halvesNow;
  }

  attach(io: IoBus): void {
    io.claim({ name: 'ACPI registers', first: ACPI_PM.EVENT_PORT, count: PORTS, width: 4, device: this });
  }

  reset(): void {
    this.#status = 0;
    this.#enable = 0;
    this.#control = 0;
    this.#halves = this.#halvesNow;
    this.#follow();
  }

  /** Somebody presses the power button: the guest is asked to shut down. */
  pressPowerButton(): void {
    this.#status |= EVENT.POWER_BUTTON;
    this.#follow();
  }

  readPort(port: number, size: AccessSize): number {
    this.#follow();
    const offset = port - ACPI_PM.EVENT_PORT;
    const dword = [this.#status | (this.#enable << 16), this.#control | CONTROL.SCI_ENABLE, this.#count][
      offset >> 2
    ];
    const shifted = dword >>> ((offset & 3) * 8);
    return size === 4 ? shifted : shifted & (size === 2 ? 0xffff : 0xff);
  }

  writePort(port: number, size: AccessSize, value: number): void {
    this.#follow();
    for (let byte = 0; byte < size; byte++) this.#writeByte(port + byte, (value >>> (byte * 8)) & 0xff);
    this.#follow();
  }

  #writeByte(port: number, value: number): void {
    const shift = (port & 1) * 8;
    const bits = value << shift;
    const others = 0xff00 >> shift;
    switch (port & ~1) {
      case ACPI_PM.EVENT_PORT:
        this.#status &= ~bits;
        break;
      case ACPI_PM.EVENT_PORT + 2:
        this.#enable = (this.#enable & others) | (bits & EVENT_BITS);
        break;
      case ACPI_PM.CONTROL_PORT:
        this.#control = (this.#control & others) | (bits & (CONTROL.RELOAD | CONTROL.SLEEP_TYPE));
        if (bits & CONTROL.SLEEP_ENABLE) this.#sleep((bits & CONTROL.SLEEP_TYPE) >> CONTROL.SLEEP_TYPE_SHIFT);
    }
  }

  /** Only soft off is announced; a request for another state returns at once, as awakened. */
  #sleep(type: number): void {
    if (type === SLEEP_TYPE_SOFT_OFF) this.#onPowerOff();
    else this.#status |= WAKE_STATUS;
  }

  get #count(): number {
    return this.#oscillator.cycles % (2 * TIMER_HALF);
  }

  get #halvesNow(): number {
    return Math.floor(this.#oscillator.cycles / TIMER_HALF);
  }

  /** Works in the timer's carries (TMR_STS: its top bit changed), drives the SCI, waits for the next carry. */
  #follow(): void {
    const halves = this.#halvesNow;
    if (halves !== this.#halves) this.#status |= EVENT.TIMER;
    this.#halves = halves;
    this.#sci.set((this.#status & this.#enable & EVENT_BITS) !== 0);
    const waits = (this.#enable & EVENT.TIMER) !== 0 && (this.#status & EVENT.TIMER) === 0;
    const next = waits ? (halves + 1) * TIMER_HALF : Number.POSITIVE_INFINITY;
    this.#clock.arm(this.#timer, this.#oscillator.tickOf(next));
  }
}
