/** A PS/2 keyboard at the far end of the controller's cable (IBM PS/2 Technical Reference, "Keyboards"). */

const ACK = 0xfa;
const RESEND = 0xfe;
const SELF_TEST_PASSED = 0xaa;
const ECHO = 0xee;
const IDENTIFIER = [0xab, 0x83] as const;
const BUFFER_SIZE = 16;
/** Sent in place of codes that the buffer could not take. */
const OVERRUN = 0x00;

// biome-ignore format: table
const COMMAND = {
  SET_LEDS: 0xed, ECHO: 0xee, SCAN_CODE_SET: 0xf0, IDENTIFY: 0xf2, TYPEMATIC: 0xf3,
  ENABLE: 0xf4, DISABLE: 0xf5, DEFAULTS: 0xf6, ALL_KEYS_FIRST: 0xf7,
  KEY_FIRST: 0xfb, KEY_LAST: 0xfd, RESEND: 0xfe, RESET: 0xff,
} as const;

/** The host's side: what the keyboard has to say is fetched byte by byte. */
export class Keyboard {
  readonly #replies: number[] = [];
  readonly #codes: number[] = [];
  readonly #ready: () => void;
  #scanning = true;
  #leds = 0;
  #scanCodeSet = 2;
  /** Command whose argument comes next. */
  #command: number | undefined;
  #lastSent = 0;

  /** @param ready called when there is something to fetch */
  constructor(ready: () => void) {
    this.#ready = ready;
  }

  reset(): void {
    this.#replies.length = 0;
    this.#command = undefined;
    this.#defaults();
  }

  /** Scroll lock, num lock and caps lock in bits 0 to 2. */
  get leds(): number {
    return this.#leds;
  }

  /** Keys move: codes of set 2 as a keyboard sends them. Lost while the host has scanning off. */
  type(codes: Iterable<number>): void {
    if (!this.#scanning) return;
    for (const code of codes) {
      if (this.#codes.length < BUFFER_SIZE - 1) this.#codes.push(code & 0xff);
      else if (this.#codes.length < BUFFER_SIZE) this.#codes.push(OVERRUN);
    }
    this.#ready();
  }

  /** The next byte for the host: replies go before keys. */
  fetch(): number | undefined {
    const byte = this.#replies.shift() ?? this.#codes.shift();
    if (byte !== undefined && byte !== RESEND) this.#lastSent = byte;
    return byte;
  }

  /** A byte from the host. */
  send(byte: number): void {
    const command = this.#command;
    this.#command = undefined;
    // A command where an argument should be is taken as a command.
    if (command !== undefined && byte < COMMAND.SET_LEDS) this.#argument(command, byte);
    else this.#execute(byte);
    if (this.#replies.length > 0) this.#ready();
  }

  #execute(command: number): void {
    switch (command) {
      case COMMAND.SET_LEDS:
      case COMMAND.SCAN_CODE_SET:
      case COMMAND.TYPEMATIC:
        this.#command = command;
        this.#replies.push(ACK);
        return;
      case COMMAND.ECHO:
        this.#replies.push(ECHO);
        return;
      case COMMAND.IDENTIFY:
        this.#replies.push(ACK, ...IDENTIFIER);
        return;
      case COMMAND.ENABLE:
        this.#codes.length = 0;
        this.#scanning = true;
        this.#replies.push(ACK);
        return;
      case COMMAND.DISABLE:
      case COMMAND.DEFAULTS:
        this.#defaults();
        this.#scanning = command === COMMAND.DEFAULTS;
        this.#replies.push(ACK);
        return;
      case COMMAND.RESEND:
        this.#replies.push(this.#lastSent);
        return;
      case COMMAND.RESET:
        this.#defaults();
        this.#replies.push(ACK, SELF_TEST_PASSED);
        return;
    }
    const aboutKeyTypes = command >= COMMAND.ALL_KEYS_FIRST && command <= COMMAND.KEY_LAST;
    if (command >= COMMAND.KEY_FIRST && aboutKeyTypes) this.#command = command;
    this.#replies.push(aboutKeyTypes ? ACK : RESEND);
  }

  #argument(command: number, value: number): void {
    this.#replies.push(ACK);
    if (command === COMMAND.SET_LEDS) this.#leds = value & 7;
    if (command !== COMMAND.SCAN_CODE_SET) return;
    if (value === 0) this.#replies.push(this.#scanCodeSet);
    else if (value <= 3) this.#scanCodeSet = value;
  }

  #defaults(): void {
    this.#codes.length = 0;
    this.#scanning = true;
    this.#leds = 0;
    this.#scanCodeSet = 2;
  }
}
