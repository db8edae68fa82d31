/** 16550A serial port (National Semiconductor PC16550D data sheet), wired as COM1 of a PC. */
import type { Clock } from '../clock.ts';
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, InterruptLine, PortDevice } from '../ports.ts';
import { LINE_ERRORS, UartReceiver } from './uart-receiver.ts';
import { FCR, IER, IIR, LCR, LSR, MCR, MSR, UART } from './uart-registers.ts';

export const COM1_PORT = 0x3f8;

export interface UartOptions {
  readonly clock: Clock;
  readonly irq: InterruptLine;
  /** Takes each byte that leaves the port. */
  readonly transmit: (byte: number) => void;
  /**
   * The far end heeds RTS: what is sent before the guest listens waits for it, instead of getting lost while a driver
   * probes the port. Without it bytes come whenever there is room.
   */
  readonly flowControl?: boolean | undefined;
}

/** The far end is there and ready. */
const CONNECTED = MSR.CTS | MSR.DSR | MSR.DCD;

/**
 * Bytes leave at once, so the transmitter is empty whenever it is looked at: a console costs no time that a faster
 * machine would not save too. The transmit-empty interrupt comes as from a chip that has just finished.
 */
export class Uart implements PortDevice {
  readonly #irq: InterruptLine;
  readonly #transmit: (byte: number) => void;
  readonly #flowControl: boolean;
  readonly #receiver: UartReceiver;

  #ier = 0;
  #lcr = 0;
  #mcr = 0;
  #scratch = 0;
  #divisor = 0;
  #modemLines: number = CONNECTED;
  #modemDeltas = 0;
  #transmitEmptyDue = false;

  constructor({ clock, irq, transmit, flowControl = false }: UartOptions) {
    this.#irq = irq;
    this.#transmit = transmit;
    this.#flowControl = flowControl;
    this.#receiver = new UartReceiver(clock, () => this.#follow());
    this.#receiver.setFormat(this.#lcr, this.#divisor);
  }

  attach(io: IoBus): void {
    io.claim({ name: 'COM1', first: COM1_PORT, count: 8, device: this });
  }

  /** Master reset. The divisor latch and the scratch register keep what they have. */
  reset(): void {
    this.#ier = 0;
    this.#lcr = 0;
    this.#mcr = 0;
    this.#modemLines = CONNECTED;
    this.#modemDeltas = 0;
    this.#transmitEmptyDue = false;
    this.#receiver.clear();
    this.#receiver.clearErrors();
    this.#receiver.setFifo(false, 0);
    this.#receiver.setFormat(this.#lcr, this.#divisor);
    this.#follow();
  }

  /** Sends bytes to the guest; they wait in order at the far end until the port has room. */
  receive(bytes: Iterable<number>): void {
    for (const byte of bytes) this.#receiver.queue(byte & 0xff);
    this.#letIn();
    this.#follow();
  }

  /** Sends a break condition, by which Linux takes a magic SysRq key. */
  receiveBreak(): void {
    this.#receiver.queue(0, LSR.BREAK);
    this.#letIn();
    this.#follow();
  }

  readPort(port: number, _size: AccessSize): number {
    const value = this.#read(port & 7);
    this.#follow();
    return value;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    this.#write(port & 7, value);
    this.#letIn();
    this.#follow();
  }

  #read(register: number): number {
    switch (register) {
      case UART.DATA:
        if (this.#lcr & LCR.DIVISOR_LATCH) return this.#divisor & 0xff;
        return this.#readData();
      case UART.IER:
        return this.#lcr & LCR.DIVISOR_LATCH ? this.#divisor >> 8 : this.#ier;
      case UART.IIR_FCR: {
        const source = this.#source;
        if (source === IIR.TRANSMIT_EMPTY) this.#transmitEmptyDue = false;
        return source | (this.#receiver.fifoEnabled ? IIR.FIFOS_ENABLED : 0);
      }
      case UART.LCR:
        return this.#lcr;
      case UART.MCR:
        return this.#mcr;
      case UART.LSR: {
        const status = this.#receiver.status | LSR.TRANSMIT_EMPTY | LSR.TRANSMITTER_IDLE;
        this.#receiver.clearErrors();
        return status;
      }
      case UART.MSR: {
        const status = this.#modemLines | this.#modemDeltas;
        this.#modemDeltas = 0;
        return status;
      }
      default:
        return this.#scratch;
    }
  }

  #readData(): number {
    const byte = this.#receiver.read();
    this.#letIn();
    return byte;
  }

  #write(register: number, value: number): void {
    switch (register) {
      case UART.DATA:
        if (this.#lcr & LCR.DIVISOR_LATCH) this.#setDivisor((this.#divisor & 0xff00) | value);
        else this.#send(value);
        break;
      case UART.IER:
        if (this.#lcr & LCR.DIVISOR_LATCH) this.#setDivisor((this.#divisor & 0xff) | (value << 8));
        else this.#writeIer(value & 0x0f);
        break;
      case UART.IIR_FCR:
        this.#writeFcr(value);
        break;
      case UART.LCR:
        this.#lcr = value;
        this.#receiver.setFormat(this.#lcr, this.#divisor);
        break;
      case UART.MCR:
        this.#mcr = value & 0x1f;
        this.#followModem();
        break;
      case UART.SCR:
        this.#scratch = value;
    }
  }

  #setDivisor(divisor: number): void {
    this.#divisor = divisor;
    this.#receiver.setFormat(this.#lcr, divisor);
  }

  #send(value: number): void {
    const byte = value & (0xff >> (3 - (this.#lcr & LCR.WORD_LENGTH)));
    if (this.#mcr & MCR.LOOP) this.#receiver.loop(byte);
    else if ((this.#lcr & LCR.BREAK) === 0) this.#transmit(byte);
    this.#transmitEmptyDue = true;
  }

  /** Enabling the transmit-empty interrupt while the transmitter is empty makes it due at once; drivers rely on it. */
  #writeIer(value: number): void {
    if (value & ~this.#ier & IER.TRANSMIT_EMPTY) this.#transmitEmptyDue = true;
    this.#ier = value;
  }

  /** Without the enable bit the other bits are not programmed. */
  #writeFcr(value: number): void {
    const enable = (value & FCR.ENABLE) !== 0;
    this.#receiver.setFifo(enable, enable ? value >> FCR.TRIGGER_SHIFT : 0);
    if (enable && value & FCR.CLEAR_RECEIVER) this.#receiver.clear();
  }

  /** In loopback the four modem outputs arrive at the inputs: DTR at DSR, RTS at CTS, OUT1 at RI, OUT2 at DCD. */
  #followModem(): void {
    const lines =
      this.#mcr & MCR.LOOP
        ? (this.#mcr & MCR.RTS ? MSR.CTS : 0) |
          (this.#mcr & MCR.DTR ? MSR.DSR : 0) |
          (this.#mcr & MCR.OUT1 ? MSR.RI : 0) |
          (this.#mcr & MCR.OUT2 ? MSR.DCD : 0)
        : CONNECTED;
    const changed = lines ^ this.#modemLines;
    this.#modemDeltas |= (changed >> 4) & (MSR.DELTA_CTS | MSR.DELTA_DSR | MSR.DELTA_DCD);
    if (changed & MSR.RI && (lines & MSR.RI) === 0) this.#modemDeltas |= MSR.TRAILING_RI;
    this.#modemLines = lines;
  }

  #letIn(): void {
    if (this.#mcr & MCR.LOOP) return;
    if (!this.#flowControl || this.#mcr & MCR.RTS) this.#receiver.fill();
  }

  /** The interrupt of highest priority, as IIR names it. */
  get #source(): number {
    if (this.#ier & IER.LINE_STATUS && this.#receiver.status & LINE_ERRORS) return IIR.LINE_STATUS;
    if (this.#ier & IER.RECEIVED) {
      if (this.#receiver.dataAvailable) return IIR.RECEIVED;
      if (this.#receiver.timedOut) return IIR.TIMEOUT;
    }
    if (this.#ier & IER.TRANSMIT_EMPTY && this.#transmitEmptyDue) return IIR.TRANSMIT_EMPTY;
    if (this.#ier & IER.MODEM_STATUS && this.#modemDeltas) return IIR.MODEM_STATUS;
    return IIR.NONE;
  }

  /** On a PC, OUT2 lets the interrupt through to the bus; loopback holds that pin inactive. */
  #follow(): void {
    const gate = (this.#mcr & (MCR.OUT2 | MCR.LOOP)) === MCR.OUT2;
    this.#irq.set(gate && this.#source !== IIR.NONE);
  }
}
