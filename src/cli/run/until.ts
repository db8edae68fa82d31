/** Longest stretch of output in which a match is looked for. */
const WINDOW = 0x1_0000;

/**
 * Watches a stream of bytes for a regular expression, across whatever chunks they come in. A line is looked at when it
 * ends, so that `$` means the end of a line; a line that just rests (a prompt) when `rest` is called.
 */
export class UntilMatcher {
  readonly #pattern: RegExp;
  readonly #decoder = new TextDecoder();
  #window = '';
  #matched = false;

  constructor(pattern: RegExp) {
    this.#pattern = pattern;
  }

  get matched(): boolean {
    return this.#matched;
  }

  /** Takes one byte; true once the pattern has matched. */
  push(byte: number): boolean {
    this.#window += this.#decoder.decode(Uint8Array.of(byte), { stream: true });
    return byte === 0x0a ? this.rest() : this.#matched;
  }

  /** Looks at what has come so far, though its last line may go on. */
  rest(): boolean {
    this.#matched ||= this.#pattern.test(this.#window);
    if (this.#window.length > WINDOW) this.#window = this.#window.slice(-WINDOW / 2);
    return this.#matched;
  }
}
