/** The 8042 keyboard controller of a PC, PS/2 kind (IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device"). */
import type { IoBus } from '../io-bus.ts';
import type { AccessSize, InterruptLine, PortDevice } from '../ports.ts';
import type { A20Gate } from './a20-gate.ts';
import { Keyboard } from './keyboard.ts';
import { ScanCodeTranslator } from './scan-codes.ts';

const DATA_PORT = 0x60;
const COMMAND_PORT = 0x64;

// biome-ignore format: table
const STATUS = {
  OUTPUT_FULL: 0x01, SYSTEM: 0x04, COMMAND: 0x08, UNLOCKED: 0x10, AUXILIARY: 0x20, TIMEOUT: 0x40,
} as const;

// biome-ignore format: table
/** The command byte, at address 0 of the controller's memory. */
const MODE = {
  KEYBOARD_IRQ: 0x01, AUXILIARY_IRQ: 0x02, SYSTEM: 0x04,
  KEYBOARD_OFF: 0x10, AUXILIARY_OFF: 0x20, TRANSLATE: 0x40,
} as const;

// biome-ignore format: table
const COMMAND = {
  READ_MEMORY: 0x20, WRITE_MEMORY: 0x60, TEST_PASSWORD: 0xa4,
  AUXILIARY_OFF: 0xa7, AUXILIARY_ON: 0xa8, TEST_AUXILIARY: 0xa9,
  SELF_TEST: 0xaa, TEST_KEYBOARD: 0xab, KEYBOARD_OFF: 0xad, KEYBOARD_ON: 0xae,
  READ_INPUT_PORT: 0xc0, READ_OUTPUT_PORT: 0xd0, WRITE_OUTPUT_PORT: 0xd1,
  WRITE_KEYBOARD_BUFFER: 0xd2, WRITE_AUXILIARY_BUFFER: 0xd3, WRITE_AUXILIARY: 0xd4,
  A20_OFF: 0xdd, A20_ON: 0xdf, READ_TEST_INPUTS: 0xe0, PULSE: 0xf0,
} as const;

// biome-ignore format: table
const OUTPUT_PORT = { NOT_RESET: 0x01, A20: 0x02, KEYBOARD_IRQ: 0x10, AUXILIARY_IRQ: 0x20, IDLE: 0xc0 } as const;

const SELF_TEST_PASSED = 0x55;
const NO_PASSWORD = 0xf1;
/** Reply in place of a device that does not answer. */
const NO_DEVICE = 0xfe;
const MEMORY_SIZE = 32;

interface Output {
  readonly byte: number;
  /** STATUS.AUXILIARY and STATUS.TIMEOUT as they go with the byte. */
  readonly status: number;
  readonly fromKeyboard: boolean;
}

export interface KeyboardControllerOptions {
  /** IRQ 1. */
  readonly keyboardIrq: InterruptLine;
  /** IRQ 12. */
  readonly auxiliaryIrq: InterruptLine;
  readonly a20: A20Gate;
  /** The processor's reset line is pulsed: INIT on every PC since the 286. */
  readonly onInit: () => void;
}

/** Answers at once: software never sees the input buffer full. There is a keyboard, and nothing on the second port. */
export class KeyboardController implements PortDevice {
  readonly keyboard: Keyboard;
  readonly #keyboardIrq: InterruptLine;
  readonly #auxiliaryIrq: InterruptLine;
  readonly #a20: A20Gate;
  readonly #onInit: () => void;
  readonly #memory = new Uint8Array(MEMORY_SIZE);
  readonly #translator = new ScanCodeTranslator();
  #output: Output | undefined;
  /** A keyboard byte that a reply of the controller pushed out of the output buffer. */
  #displaced: Output | undefined;
  /** An empty buffer reads as what it held last. */
  #lastByte = 0;
  #lastWasCommand = false;
  /** Command that waits for its byte at the data port. */
  #command: number | undefined;

  constructor({ keyboardIrq, auxiliaryIrq, a20, onInit }: KeyboardControllerOptions) {
    this.#keyboardIrq = keyboardIrq;
    this.#auxiliaryIrq = auxiliaryIrq;
    this.#a20 = a20;
    this.#onInit = onInit;
    this.keyboard = new Keyboard(() => this.#pump());
    this.#mode = MODE.KEYBOARD_OFF | MODE.AUXILIARY_OFF;
  }

  attach(io: IoBus): void {
    io.claim({ name: 'keyboard controller data', first: DATA_PORT, count: 1, device: this });
    io.claim({ name: 'keyboard controller command', first: COMMAND_PORT, count: 1, device: this });
  }

  reset(): void {
    this.#memory.fill(0);
    this.#mode = MODE.KEYBOARD_OFF | MODE.AUXILIARY_OFF;
    this.#translator.reset();
    this.#output = undefined;
    this.#displaced = undefined;
    this.#command = undefined;
    this.#lastWasCommand = false;
    this.keyboard.reset();
    this.#follow();
  }

  readPort(port: number, _size: AccessSize): number {
    return port === DATA_PORT ? this.#readData() : this.#status;
  }

  writePort(port: number, _size: AccessSize, value: number): void {
    this.#lastWasCommand = port === COMMAND_PORT;
    if (port === COMMAND_PORT) this.#execute(value);
    else this.#writeData(value);
    this.#pump();
  }

  get #mode(): number {
    return this.#memory[0];
  }

  set #mode(value: number) {
    this.#memory[0] = value;
  }

  get #status(): number {
    return (
      STATUS.UNLOCKED |
      (this.#output ? STATUS.OUTPUT_FULL | this.#output.status : 0) |
      (this.#mode & MODE.SYSTEM ? STATUS.SYSTEM : 0) |
      (this.#lastWasCommand ? STATUS.COMMAND : 0)
    );
  }

  #readData(): number {
    if (this.#output) this.#lastByte = this.#output.byte;
    this.#output = this.#displaced;
    this.#displaced = undefined;
    // The line falls between two bytes, so that each makes an edge.
    this.#keyboardIrq.set(false);
    this.#auxiliaryIrq.set(false);
    this.#pump();
    return this.#lastByte;
  }

  #execute(command: number): void {
    this.#command = undefined;
    if (command >= COMMAND.PULSE) this.#pulse(command);
    else if (command >= COMMAND.READ_MEMORY && command < COMMAND.READ_MEMORY + MEMORY_SIZE)
      this.#reply(this.#memory[command - COMMAND.READ_MEMORY]);
    else if (takesByte(command)) this.#command = command;
    else this.#act(command);
  }

  #act(command: number): void {
    switch (command) {
      case COMMAND.TEST_PASSWORD:
        this.#reply(NO_PASSWORD);
        break;
      case COMMAND.AUXILIARY_OFF:
        this.#mode |= MODE.AUXILIARY_OFF;
        break;
      case COMMAND.AUXILIARY_ON:
        this.#mode &= ~MODE.AUXILIARY_OFF;
        break;
      case COMMAND.KEYBOARD_OFF:
        this.#mode |= MODE.KEYBOARD_OFF;
        break;
      case COMMAND.KEYBOARD_ON:
        this.#mode &= ~MODE.KEYBOARD_OFF;
        break;
      case COMMAND.SELF_TEST:
        this.#mode |= MODE.SYSTEM;
        this.#reply(SELF_TEST_PASSED);
        break;
      case COMMAND.TEST_KEYBOARD:
      case COMMAND.TEST_AUXILIARY:
      case COMMAND.READ_TEST_INPUTS:
        this.#reply(0);
        break;
      case COMMAND.READ_INPUT_PORT:
        this.#reply(0x80);
        break;
      case COMMAND.READ_OUTPUT_PORT:
        this.#reply(this.#outputPort);
        break;
      case COMMAND.A20_OFF:
      case COMMAND.A20_ON:
        this.#a20.keyboard = command === COMMAND.A20_ON;
    }
  }

  #writeData(value: number): void {
    const command = this.#command;
    this.#command = undefined;
    switch (command) {
      case undefined:
        // Talking to the keyboard switches its port on.
        this.#mode &= ~MODE.KEYBOARD_OFF;
        this.keyboard.send(value);
        break;
      case COMMAND.WRITE_OUTPUT_PORT:
        this.#a20.keyboard = (value & OUTPUT_PORT.A20) !== 0;
        if ((value & OUTPUT_PORT.NOT_RESET) === 0) this.#onInit();
        break;
      case COMMAND.WRITE_KEYBOARD_BUFFER:
        this.#reply(value);
        break;
      case COMMAND.WRITE_AUXILIARY_BUFFER:
        this.#reply(value, STATUS.AUXILIARY);
        break;
      case COMMAND.WRITE_AUXILIARY:
        this.#mode &= ~MODE.AUXILIARY_OFF;
        this.#reply(NO_DEVICE, STATUS.AUXILIARY | STATUS.TIMEOUT);
        break;
      default:
        this.#memory[command - COMMAND.WRITE_MEMORY] = value;
    }
  }

  /** Pulses the output port lines whose bits are 0; of the four only the reset line leads anywhere. */
  #pulse(command: number): void {
    if ((command & OUTPUT_PORT.NOT_RESET) === 0) this.#onInit();
  }

  get #outputPort(): number {
    const full = this.#output !== undefined;
    const auxiliary = full && (this.#output!.status & STATUS.AUXILIARY) !== 0;
    return (
      OUTPUT_PORT.IDLE |
      OUTPUT_PORT.NOT_RESET |
      (this.#a20.keyboard ? OUTPUT_PORT.A20 : 0) |
      (full && !auxiliary ? OUTPUT_PORT.KEYBOARD_IRQ : 0) |
      (auxiliary ? OUTPUT_PORT.AUXILIARY_IRQ : 0)
    );
  }

  #reply(byte: number, status = 0): void {
    if (this.#output?.fromKeyboard) this.#displaced = this.#output;
    this.#output = { byte, status, fromKeyboard: false };
  }

  /** Moves the keyboard's next byte into an empty output buffer. */
  #pump(): void {
    while (!this.#output && (this.#mode & MODE.KEYBOARD_OFF) === 0) {
      const raw = this.keyboard.fetch();
      if (raw === undefined) break;
      const byte = this.#mode & MODE.TRANSLATE ? this.#translator.translate(raw) : raw;
      if (byte !== undefined) this.#output = { byte, status: 0, fromKeyboard: true };
    }
    this.#follow();
  }

  #follow(): void {
    const full = this.#output !== undefined;
    const auxiliary = full && (this.#output!.status & STATUS.AUXILIARY) !== 0;
    this.#keyboardIrq.set(full && !auxiliary && (this.#mode & MODE.KEYBOARD_IRQ) !== 0);
    this.#auxiliaryIrq.set(auxiliary && (this.#mode & MODE.AUXILIARY_IRQ) !== 0);
  }
}

const takesByte = (command: number): boolean =>
  (command >= COMMAND.WRITE_MEMORY && command < COMMAND.WRITE_MEMORY + MEMORY_SIZE) ||
  (command >= COMMAND.WRITE_OUTPUT_PORT && command <= COMMAND.WRITE_AUXILIARY);
