import type { Readable } from 'node:stream';

/** Standard input as `umbra run` uses it: a terminal, a pipe or a file. */
export interface InputStream extends Readable {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

const CTRL_A = 0x01;

/**
 * Carries standard input to the guest. Ctrl-A is the escape: Ctrl-A x leaves, Ctrl-A Ctrl-A (or Ctrl-A a) sends one
 * Ctrl-A. A terminal is put into raw mode while it is open, so that Ctrl-C and the like reach the guest.
 */
export class GuestConsole {
  readonly #stream: InputStream;
  readonly #forward: (bytes: Uint8Array) => void;
  readonly #onData = (chunk: Buffer): void => this.#receive(chunk);
  readonly #onEnd = (): void => {
    this.#ended = true;
    this.wake();
  };
  #escaped = false;
  #left = false;
  #ended = false;
  #resolveWait: () => void = () => {};

  /** @param forward takes the bytes for the guest's serial port */
  constructor(stream: InputStream, forward: (bytes: Uint8Array) => void) {
    this.#stream = stream;
    this.#forward = forward;
  }

  /** The user asked to leave. */
  get left(): boolean {
    return this.#left;
  }

  /** No more input will come. */
  get ended(): boolean {
    return this.#ended;
  }

  get interactive(): boolean {
    return this.#stream.isTTY === true;
  }

  open(): void {
    if (this.interactive) this.#stream.setRawMode?.(true);
    this.#stream.on('data', this.#onData);
    this.#stream.on('end', this.#onEnd);
    this.#stream.on('close', this.#onEnd);
    // A descriptor that cannot be read (closed by the caller) is the same as an empty one.
    this.#stream.on('error', this.#onEnd);
    this.#stream.resume();
  }

  /** Gives the terminal back as it was and stops reading, so that the process can end. */
  close(): void {
    this.#stream.off('data', this.#onData);
    this.#stream.off('end', this.#onEnd);
    this.#stream.off('close', this.#onEnd);
    this.#stream.pause();
    if (this.interactive) this.#stream.setRawMode?.(false);
    this.#stream.destroy();
  }

  /** Resolves at the next input or at its end, or after so many milliseconds (Infinity: only then). */
  wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(milliseconds) ? setTimeout(resolve, milliseconds) : undefined;
      this.#resolveWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Ends a `wait` early. */
  wake(): void {
    this.#resolveWait();
  }

  #receive(chunk: Buffer): void {
    const bytes: number[] = [];
    for (const byte of chunk) {
      if (this.#left) break;
      if (this.#escaped) {
        this.#escaped = false;
        this.#escape(byte, bytes);
      } else if (byte === CTRL_A) {
        this.#escaped = true;
      } else {
        bytes.push(byte);
      }
    }
    if (bytes.length > 0) this.#forward(Uint8Array.from(bytes));
    this.wake();
  }

  #escape(byte: number, bytes: number[]): void {
    const key = String.fromCharCode(byte).toLowerCase();
    if (key === 'x') this.#left = true;
    else if (key === 'a' || byte === CTRL_A) bytes.push(CTRL_A);
    // Any other key: not an escape of ours, so the guest gets both.
    else bytes.push(CTRL_A, byte);
  }
}
