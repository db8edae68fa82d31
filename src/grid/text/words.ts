import { InputError } from '../../arch/input-error.ts';

const COMMENT = '#';
const MOST_32_BIT = 0xffff_ffff;
/** Characters of a line: what is wrong in one is quoted on a terminal. */
const LONGEST_LINE = 1000;
/** What a terminal would obey instead of showing it. */
const CONTROL = /(?!\t)\p{Cc}/u;

/** One line of a scenario file, taken word by word from the left. Every complaint names the line. */
export class Words {
  readonly text: string;
  readonly #where: string;
  readonly #words: readonly string[];
  #at = 0;

  /** @param source what messages call the file; `line` counts from 1 */
  constructor(text: string, source: string, line: number) {
    this.text = text.trim();
    this.#where = `${source}, line ${line}`;
    if (!this.blank) this.#checkText();
    this.#words = this.text === '' ? [] : this.text.split(/\s+/);
  }

  #checkText(): void {
    const { length } = this.text;
    if (length > LONGEST_LINE)
      this.fail(`The line has ${length} characters`, `lines have ${LONGEST_LINE} at most`);
    const control = CONTROL.exec(this.text)?.[0].charCodeAt(0);
    if (control !== undefined)
      this.fail(`There is a control character, 0x${control.toString(16)}`, 'a scenario file is plain text');
  }

  /** Nothing but white space, or a comment. */
  get blank(): boolean {
    return this.text === '' || this.text.startsWith(COMMENT);
  }

  get peek(): string | undefined {
    return this.#words[this.#at];
  }

  get done(): boolean {
    return this.#at >= this.#words.length;
  }

  /** Throws the InputError that says what is wrong here and what would be right. */
  fail(wrong: string, right: string): never {
    throw new InputError(`${this.#where}: ${wrong}; ${right}.`);
  }

  /** The next word. */
  take(what: string): string {
    const word = this.#words[this.#at];
    if (word === undefined) this.fail(`"${this.text}" ends too early`, `${what} must follow`);
    this.#at++;
    return word;
  }

  /** Takes a word if it is the next one. */
  skip(word: string): boolean {
    if (this.peek !== word) return false;
    this.#at++;
    return true;
  }

  expect(word: string): void {
    const found = this.take(`"${word}"`);
    if (found !== word) this.fail(`"${found}" cannot stand there`, `"${word}" must`);
  }

  /** One of some words. */
  choose<Word extends string>(words: readonly Word[], what: string): Word {
    const found = this.take(what);
    const word = words.find((candidate) => candidate === found);
    return word ?? this.fail(`"${found}" is no ${what}`, `it is one of ${words.join(', ')}`);
  }

  /** The words from here on that are among some. */
  all<Word extends string>(words: readonly Word[]): Word[] {
    const found: Word[] = [];
    for (;;) {
      const word = words.find((candidate) => candidate === this.peek);
      if (word === undefined) return found;
      this.#at++;
      found.push(word);
    }
  }

  /** An unsigned number, decimal or with 0x, up to `most`. */
  number(what: string, most = MOST_32_BIT): number {
    return this.asNumber(this.take(what), what, most);
  }

  asNumber(word: string, what: string, most = MOST_32_BIT): number {
    const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(word) ? Number(word) : -1;
    if (value >= 0 && value <= most) return value;
    return this.fail(`"${word}" is no ${what}`, `it is a number from 0 to 0x${most.toString(16)}`);
  }

  /** The name of a page, or of a scenario's other things: letters, digits and some signs, beginning as `first` says. */
  name(what: string, first = '[a-z]'): string {
    return this.asName(this.take(what), what, first);
  }

  asName(word: string, what: string, first = '[a-z]'): string {
    if (new RegExp(`^${first}[A-Za-z0-9._/-]*$`).test(word) && word !== 'zero') return word;
    return this.fail(
      `"${word}" is no name of ${what}`,
      `names have letters, digits, dots, hyphens and slashes and begin with ${first}`,
    );
  }

  /** Takes all that is left, as it is written. */
  rest(): string {
    const rest = this.#words.slice(this.#at).join(' ');
    this.#at = this.#words.length;
    return rest;
  }

  /** Complains if words are left over. */
  end(): void {
    if (this.done) return;
    this.fail(`"${this.rest()}" is too much`, 'the line must end before it');
  }
}
