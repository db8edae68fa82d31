/** String instructions as SDM vol. 2 writes them down, one element at a time, on a model of paged memory. */

export interface StringCase {
  readonly name: 'movs' | 'stos' | 'lods' | 'scas' | 'cmps';
  readonly size: 1 | 2 | 4;
  readonly repeat: 'none' | 'rep' | 'repne';
  readonly backward: boolean;
  readonly address16: boolean;
  readonly eax: number;
  readonly ecx: number;
  readonly esi: number;
  readonly edi: number;
}

export interface StringOutcome {
  eax: number;
  ecx: number;
  esi: number;
  edi: number;
  /** Of the last comparison: left, right; undefined if there was none. */
  compared: readonly [number, number] | undefined;
  /** Linear address of the byte that faulted. */
  fault: number | undefined;
}

const PAGE = 4096;

/** Linear pages onto frames; two pages may share one. */
export class ModelMemory {
  readonly #frames: ReadonlyMap<number, number>;
  readonly #readOnly: ReadonlySet<number>;
  readonly ram: Uint8Array;

  constructor(ram: Uint8Array, frames: ReadonlyMap<number, number>, readOnly: ReadonlySet<number>) {
    this.ram = ram;
    this.#frames = frames;
    this.#readOnly = readOnly;
  }

  /** Throws the linear address that faults. */
  #place(linear: number, write: boolean): number {
    const page = Math.floor(linear / PAGE);
    const frame = this.#frames.get(page);
    if (frame === undefined || (write && this.#readOnly.has(page))) throw linear;
    return frame * PAGE + (linear % PAGE);
  }

  read(linear: number, size: number): number {
    let value = 0;
    for (let byte = 0; byte < size; byte++)
      value += this.ram[this.#place(linear + byte, false)] * 256 ** byte;
    return value;
  }

  write(linear: number, size: number, value: number): void {
    const places = Array.from({ length: size }, (_, byte) => this.#place(linear + byte, true));
    places.forEach((place, byte) => {
      this.ram[place] = Math.floor(value / 256 ** byte) % 256;
    });
  }
}

const low = (value: number, bits: number): number => value % 2 ** bits;

/** Replaces the low 16 bits, or all 32. */
const merge = (old: number, value: number, narrow: boolean): number => {
  const wrapped = ((value % 2 ** 32) + 2 ** 32) % 2 ** 32;
  return narrow ? old - low(old, 16) + low(wrapped, 16) : wrapped;
};

export function runModel(memory: ModelMemory, input: StringCase): StringOutcome {
  const { name, size, repeat, address16 } = input;
  const bits = size * 8;
  const state: StringOutcome = {
    eax: input.eax,
    ecx: input.ecx,
    esi: input.esi,
    edi: input.edi,
    compared: undefined,
    fault: undefined,
  };
  const offset = (value: number): number => (address16 ? low(value, 16) : value);
  const step = input.backward ? -size : size;
  const moves = { esi: name !== 'stos' && name !== 'scas', edi: name !== 'lods' };

  const element = (): void => {
    const [from, to] = [offset(state.esi), offset(state.edi)];
    if (name === 'movs') memory.write(to, size, memory.read(from, size));
    else if (name === 'stos') memory.write(to, size, low(state.eax, bits));
    else if (name === 'lods') state.eax = state.eax - low(state.eax, bits) + memory.read(from, size);
    else if (name === 'scas') state.compared = [low(state.eax, bits), memory.read(to, size)];
    else state.compared = [memory.read(from, size), memory.read(to, size)];
    if (moves.esi) state.esi = merge(state.esi, state.esi + step, address16);
    if (moves.edi) state.edi = merge(state.edi, state.edi + step, address16);
  };

  try {
    if (repeat === 'none') element();
    else {
      while (offset(state.ecx) !== 0) {
        element();
        state.ecx = merge(state.ecx, state.ecx - 1, address16);
        const equal = state.compared && state.compared[0] === state.compared[1];
        if (equal !== undefined && equal !== (repeat === 'rep')) break;
      }
    }
  } catch (linear) {
    if (typeof linear !== 'number') throw linear;
    state.fault = linear;
  }
  return state;
}
