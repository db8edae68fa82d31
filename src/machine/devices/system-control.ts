/** System control ports A (92h) and B (61h) of a PC (Intel 82371SB data sheet, "NMI Status and Control", "Port 92"). */
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, PortDevice } from '../ports.ts';
import type { A20Gate } from './a20-gate.ts';
import type { Pit } from './pit.ts';

const PORT_A = 0x92;
const PORT_B = 0x61;

const A = { FAST_RESET: 0x01, A20: 0x02 } as const;
// biome-ignore format: table
const B = {
  SPEAKER_GATE: 0x01, SPEAKER_DATA: 0x02, WRITABLE: 0x0f,
  REFRESH: 0x10, SPEAKER_OUT: 0x20,
} as const;

export interface SystemControlOptions {
  readonly pit: Pit;
  readonly a20: A20Gate;
  /** Fast reset: the processor's INIT pin is pulsed. */
  readonly onInit: () => void;
}

export class SystemControl implements PortDevice {
  readonly #pit: Pit;
  readonly #a20: A20Gate;
  readonly #onInit: () => void;
  /** Low bits of port B: they read back. No device here reports parity or channel errors, so their NMI never comes. */
  #portB = 0;
  #fastReset = false;

  constructor({ pit, a20, onInit }: SystemControlOptions) {
    this.#pit = pit;
    this.#a20 = a20;
    this.#onInit = onInit;
  }

  attach(io: IoBus): void {
    io.claim({ name: 'system control port A', first: PORT_A, count: 1, device: this });
    io.claim({ name: 'system control port B', first: PORT_B, count: 1, device: this });
  }

  reset(): void {
    this.#portB = 0;
    this.#fastReset = false;
    this.#pit.speakerGate = false;
  }

  /** What the loudspeaker is driven with: the timer's tone, let through by bit 1 of port 61h. */
  get speaker(): boolean {
    return (this.#portB & B.SPEAKER_DATA) !== 0 && this.#pit.speakerOut;
  }

  readPort(port: number, _size: AccessSize): number {
    if (port === PORT_A) return (this.#fastReset ? A.FAST_RESET : 0) | (this.#a20.fast ? A.A20 : 0);
    return (
      this.#portB | (this.#pit.refreshToggle ? B.REFRESH : 0) | (this.#pit.speakerOut ? B.SPEAKER_OUT : 0)
    );
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    if (port === PORT_B) {
      this.#portB = value & B.WRITABLE;
      this.#pit.speakerGate = (value & B.SPEAKER_GATE) !== 0;
      return;
    }
    this.#a20.fast = (value & A.A20) !== 0;
    const reset = (value & A.FAST_RESET) !== 0;
    const rises = reset && !this.#fastReset;
    this.#fastReset = reset;
    if (rises) this.#onInit();
  }
}
