/** The state of the processor as vectors describe it: one flat block of bytes with named slots. */

// biome-ignore format: table
export const SLOTS = [
  ['eax', 4], ['ecx', 4], ['edx', 4], ['ebx', 4], ['esp', 4], ['ebp', 4], ['esi', 4], ['edi', 4],
  ['eip', 4], ['eflags', 4],
  ['es', 2], ['cs', 2], ['ss', 2], ['ds', 2], ['fs', 2], ['gs', 2],
  // x87: control, status, abridged tags (bit n set = physical register n in use), last opcode (11 bits),
  // instruction and data pointer offsets.
  ['fcw', 2], ['fsw', 2], ['ftw', 1], ['fop', 2], ['fip', 4], ['fdp', 4],
  ['mxcsr', 4],
  // x87 registers by physical number (R0-R7, not ST order), 80 bits each; MMn is the significand of Rn.
  ['r0', 10], ['r1', 10], ['r2', 10], ['r3', 10], ['r4', 10], ['r5', 10], ['r6', 10], ['r7', 10],
  ['xmm0', 16], ['xmm1', 16], ['xmm2', 16], ['xmm3', 16], ['xmm4', 16], ['xmm5', 16], ['xmm6', 16], ['xmm7', 16],
] as const;

export type SlotName = (typeof SLOTS)[number][0];

export interface Slot {
  readonly name: SlotName;
  /** Where the slot lies in VectorState.bytes, and its size in bytes. */
  readonly offset: number;
  readonly width: number;
}

let total = 0;
/** Slots in the order of their number in the files. */
export const slotTable: readonly Slot[] = SLOTS.map(([name, width]) => {
  const slot = { name, offset: total, width };
  total += width;
  return slot;
});
export const STATE_BYTES = total;

const byName = new Map<SlotName, Slot>(slotTable.map((slot) => [slot.name, slot]));

/** The slot of that name. */
export const slotOf = (name: SlotName): Slot => byName.get(name)!;

const GPR_NAMES = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const;
const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;

export class VectorState {
  readonly bytes = new Uint8Array(STATE_BYTES);
  readonly #view = new DataView(this.bytes.buffer);

  /** Value of a slot of up to four bytes, unsigned. */
  get(name: SlotName): number {
    const { offset, width } = slotOf(name);
    if (width === 4) return this.#view.getUint32(offset, true);
    if (width === 2) return this.#view.getUint16(offset, true);
    if (width === 1) return this.bytes[offset];
    throw new RangeError(`${name} has ${width} bytes: read it with raw().`);
  }

  /** Sets a slot of up to four bytes; higher bits of the value are dropped. */
  set(name: SlotName, value: number): void {
    const { offset, width } = slotOf(name);
    if (width === 4) this.#view.setUint32(offset, value, true);
    else if (width === 2) this.#view.setUint16(offset, value, true);
    else if (width === 1) this.bytes[offset] = value;
    else throw new RangeError(`${name} has ${width} bytes: write it with raw().`);
  }

  /** The bytes of a slot, little-endian, as a view that can be written. */
  raw(name: SlotName): Uint8Array {
    const { offset, width } = slotOf(name);
    return this.bytes.subarray(offset, offset + width);
  }

  /** General register by its number in encodings: 0 EAX, 1 ECX, 2 EDX, 3 EBX, 4 ESP, 5 EBP, 6 ESI, 7 EDI. */
  gpr(index: number): number {
    return this.get(GPR_NAMES[index]);
  }

  setGpr(index: number, value: number): void {
    this.set(GPR_NAMES[index], value);
  }

  /** Selector by segment number in encodings: 0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS. */
  segment(index: number): number {
    return this.get(SEGMENT_NAMES[index]);
  }

  setSegment(index: number, selector: number): void {
    this.set(SEGMENT_NAMES[index], selector);
  }

  /** x87 register Rn as ten bytes (significand, then sign and exponent). */
  x87(index: number): Uint8Array {
    return this.raw(`r${index}` as SlotName);
  }

  xmm(index: number): Uint8Array {
    return this.raw(`xmm${index}` as SlotName);
  }

  copyFrom(other: VectorState): void {
    this.bytes.set(other.bytes);
  }
}
