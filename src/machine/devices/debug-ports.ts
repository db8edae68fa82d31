/** Ports for the people who watch a machine: POST codes (80h), a console (E9h), and an exit with a value (F4h). */
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, PortDevice } from '../ports.ts';

const POST_PORT = 0x80;
const CONSOLE_PORT = 0xe9;
const EXIT_PORT = 0xf4;
const EXIT_PORTS = 4;

export interface DebugPortsOptions {
  /** Takes each byte written to the debug console. */
  readonly consoleOut: (byte: number) => void;
  /** Takes `(v << 1) | 1` of the value v written to the exit port; the low 32 bits. */
  readonly onExit: (status: number) => void;
  /** Takes each byte written to port 80h. Linux writes there too, to let time pass. */
  readonly onPostCode?: ((code: number) => void) | undefined;
}

export class DebugPorts implements PortDevice {
  readonly #options: DebugPortsOptions;
  #postCode = 0;

  constructor(options: DebugPortsOptions) {
    this.#options = options;
  }

  attach(io: IoBus): void {
    io.claim({ name: 'POST codes', first: POST_PORT, count: 1, device: this });
    io.claim({ name: 'debug console', first: CONSOLE_PORT, count: 1, device: this });
    io.claim({ name: 'debug exit', first: EXIT_PORT, count: EXIT_PORTS, width: 4, device: this });
  }

  reset(): void {
    this.#postCode = 0;
  }

  /** The code written last. */
  get postCode(): number {
    return this.#postCode;
  }

  readPort(port: number, _size: AccessSize): number {
    if (port === POST_PORT) return this.#postCode;
    // The console answers with its own number, by which a guest knows that it is there.
    return port === CONSOLE_PORT ? CONSOLE_PORT : 0xffff_ffff;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    if (port === POST_PORT) {
      this.#postCode = value;
      this.#options.onPostCode?.(value);
    } else if (port === CONSOLE_PORT) {
      this.#options.consoleOut(value);
    } else if (port === EXIT_PORT) {
      this.#options.onExit(((value << 1) | 1) >>> 0);
    }
  }
}
