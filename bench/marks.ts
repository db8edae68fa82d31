import { MARK, RESULT_BYTES } from './frame.ts';

/** Listens to what a program sends on COM1: a mark, a mark, its result. */
export class MarkListener {
  #begun = false;
  #ended = false;
  #result = 0;
  #missing = RESULT_BYTES;

  /** Takes a byte and says what it means. Bytes before the first mark mean nothing. */
  push(byte: number): 'nothing' | 'begin' | 'end' | 'result' {
    if (!this.#begun) {
      if (byte !== MARK.BEGIN) return 'nothing';
      this.#begun = true;
      return 'begin';
    }
    if (!this.#ended) {
      this.#ended = byte === MARK.END;
      return this.#ended ? 'end' : 'nothing';
    }
    this.#result += byte * 2 ** (8 * (RESULT_BYTES - this.#missing));
    this.#missing--;
    return this.#missing === 0 ? 'result' : 'nothing';
  }

  /** Unsigned; complete once `push` said "result". */
  get result(): number {
    return this.#result;
  }
}
