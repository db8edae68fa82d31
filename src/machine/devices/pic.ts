/** One 8259A programmable interrupt controller (Intel 8259A data sheet, order number 231468). */
import type { InterruptLine } from '../ports.ts';

// biome-ignore format: table
/** ICW1, told from the OCWs by bit 4. */
const ICW1 = { NEEDS_ICW4: 0x01, SINGLE: 0x02, SELECT: 0x10 } as const;
const ICW4 = { AUTO_EOI: 0x02, SPECIAL_FULLY_NESTED: 0x10 } as const;
// biome-ignore format: table
/** OCW3, told from OCW2 by bit 3. */
const OCW3 = {
  READ_ISR: 0x01, READ_REGISTER: 0x02, POLL: 0x04, SELECT: 0x08, SPECIAL_MASK: 0x20, SET_SPECIAL_MASK: 0x40,
} as const;

/** The commands in bits 7:5 of OCW2: rotate, specific level, end of interrupt. */
const OCW2_EOI = 0x20;
const OCW2_SPECIFIC = 0x40;
const OCW2_ROTATE = 0x80;

/** What the next write to the odd address is. */
type Step = 'ocw1' | 'icw2' | 'icw3' | 'icw4';

const NONE = -1;

/**
 * The chip by its register-level behaviour in 8086 mode. Requests are edge or level triggered per input: as in all PCs
 * with an ELCR, that register replaces the LTIM bit of ICW1.
 */
export class Pic {
  readonly #output: InterruptLine;
  readonly #cascadedInputs: number;

  /** Inputs as they are, rising edges not yet acknowledged, and which inputs are level triggered. */
  #lines = 0;
  #edges = 0;
  #levelTriggered = 0;

  #inService = 0;
  #mask = 0;
  #vectorBase = 0;
  #step: Step = 'ocw1';
  #single = false;
  #needsIcw4 = false;
  #autoEoi = false;
  #specialFullyNested = false;
  #specialMask = false;
  #rotateOnAutoEoi = false;
  #readInService = false;
  #poll = false;
  /** The input of lowest priority; the next one up, circularly, has the highest. */
  #lowest = 7;
  #asserted = false;

  /**
   * @param output         the INT pin
   * @param cascadedInputs bit mask of inputs that lead to slaves
   */
  constructor(output: InterruptLine, cascadedInputs = 0) {
    this.#output = output;
    this.#cascadedInputs = cascadedInputs;
  }

  /** Power-on reset; the inputs stay as the devices drive them. */
  reset(): void {
    this.#levelTriggered = 0;
    this.#vectorBase = 0;
    this.#initialise(ICW1.SELECT | ICW1.SINGLE);
    this.#step = 'ocw1';
    this.#update();
  }

  /** Level of INT. */
  get asserted(): boolean {
    return this.#asserted;
  }

  /** Which inputs are level triggered, a bit each (the chip's half of the ELCR). */
  get levelTriggered(): number {
    return this.#levelTriggered;
  }

  set levelTriggered(inputs: number) {
    this.#levelTriggered = inputs;
    this.#edges &= ~inputs;
    this.#update();
  }

  /** Drives one input, 0..7. A request that goes away before it is acknowledged is forgotten. */
  setInput(input: number, level: boolean): void {
    const bit = 1 << input;
    if (level === ((this.#lines & bit) !== 0)) return;
    if (level) {
      this.#lines |= bit;
      this.#edges |= bit & ~this.#levelTriggered;
    } else {
      this.#lines &= ~bit;
      this.#edges &= ~bit;
    }
    this.#update();
  }

  /**
   * The INTA sequence: takes the request of highest priority and returns its input; without a request, input 7
   * with nothing set in service ("default IR7"). The vector is `vector(input)`, or the slave's.
   */
  acknowledge(): number {
    const input = this.#winner();
    if (input === NONE) return 7;
    this.#take(input);
    return input;
  }

  vector(input: number): number {
    return this.#vectorBase | input;
  }

  /** Reads address line A0 = 0 (IRR, ISR or the poll word) or 1 (IMR). */
  read(a0: number): number {
    if (this.#poll) {
      this.#poll = false;
      const input = this.#winner();
      if (input === NONE) return 0;
      this.#take(input);
      return 0x80 | input;
    }
    if (a0 === 1) return this.#mask;
    return this.#readInService ? this.#inService : this.#requests;
  }

  write(a0: number, value: number): void {
    if (a0 === 1) this.#writeOdd(value);
    else if (value & ICW1.SELECT) this.#initialise(value);
    else if (value & OCW3.SELECT) this.#writeOcw3(value);
    else this.#writeOcw2(value);
    this.#update();
  }

  get #requests(): number {
    return this.#edges | (this.#lines & this.#levelTriggered);
  }

  /** ICW1: clears the edge latches, the mask, priorities and all modes. */
  #initialise(icw1: number): void {
    this.#edges = 0;
    this.#inService = 0;
    this.#mask = 0;
    this.#lowest = 7;
    this.#specialMask = false;
    this.#readInService = false;
    this.#poll = false;
    this.#rotateOnAutoEoi = false;
    this.#autoEoi = false;
    this.#specialFullyNested = false;
    this.#single = (icw1 & ICW1.SINGLE) !== 0;
    this.#needsIcw4 = (icw1 & ICW1.NEEDS_ICW4) !== 0;
    this.#step = 'icw2';
  }

  #writeOdd(value: number): void {
    switch (this.#step) {
      case 'ocw1':
        this.#mask = value;
        return;
      case 'icw2':
        this.#vectorBase = value & 0xf8;
        this.#step = this.#single ? this.#afterIcw3() : 'icw3';
        return;
      case 'icw3':
        // The wiring of the cascade is fixed on a PC: what software says about it changes nothing.
        this.#step = this.#afterIcw3();
        return;
      case 'icw4':
        this.#autoEoi = (value & ICW4.AUTO_EOI) !== 0;
        this.#specialFullyNested = (value & ICW4.SPECIAL_FULLY_NESTED) !== 0;
        this.#step = 'ocw1';
    }
  }

  #afterIcw3(): Step {
    return this.#needsIcw4 ? 'icw4' : 'ocw1';
  }

  #writeOcw2(value: number): void {
    const rotate = (value & OCW2_ROTATE) !== 0;
    const specific = (value & OCW2_SPECIFIC) !== 0;
    if (value & OCW2_EOI) {
      const input = specific ? value & 7 : this.#highest(this.#endable);
      if (input === NONE) return;
      this.#inService &= ~(1 << input);
      if (rotate) this.#lowest = input;
    } else if (!specific) {
      this.#rotateOnAutoEoi = rotate;
    } else if (rotate) {
      this.#lowest = value & 7;
    }
  }

  /** What a non-specific EOI may end: in special mask mode it leaves masked inputs alone. */
  get #endable(): number {
    return this.#specialMask ? this.#inService & ~this.#mask : this.#inService;
  }

  #writeOcw3(value: number): void {
    if (value & OCW3.SET_SPECIAL_MASK) this.#specialMask = (value & OCW3.SPECIAL_MASK) !== 0;
    if (value & OCW3.POLL) this.#poll = true;
    else if (value & OCW3.READ_REGISTER) this.#readInService = (value & OCW3.READ_ISR) !== 0;
  }

  #take(input: number): void {
    this.#edges &= ~(1 << input);
    if (!this.#autoEoi) this.#inService |= 1 << input;
    else if (this.#rotateOnAutoEoi) this.#lowest = input;
    // INT drops during every INTA sequence, so a master sees a new edge if more is waiting here.
    this.#drive(false);
    this.#update();
  }

  /** The unmasked request that nothing in service holds back, or NONE. */
  #winner(): number {
    if (this.#step !== 'ocw1') return NONE;
    const input = this.#highest(this.#requests & ~this.#mask);
    if (input === NONE) return NONE;
    const blocking = this.#highest(this.#specialMask ? this.#inService & ~this.#mask : this.#inService);
    if (blocking === NONE || this.#rank(input) < this.#rank(blocking)) return input;
    // Special fully nested mode: a slave in service does not lock itself out.
    const sameSlave =
      this.#specialFullyNested && input === blocking && (this.#cascadedInputs & (1 << input)) !== 0;
    return sameSlave ? input : NONE;
  }

  /** Priority of an input under the current rotation; 0 is the highest. */
  #rank(input: number): number {
    return (input - this.#lowest - 1) & 7;
  }

  #highest(inputs: number): number {
    if (inputs === 0) return NONE;
    for (let rank = 1; rank <= 8; rank++) {
      const input = (this.#lowest + rank) & 7;
      if (inputs & (1 << input)) return input;
    }
    return NONE;
  }

  #update(): void {
    this.#drive(this.#winner() !== NONE);
  }

  #drive(level: boolean): void {
    if (level === this.#asserted) return;
    this.#asserted = level;
    this.#output.set(level);
  }
}
