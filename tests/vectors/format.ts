/** Reads the vector files that tools/vectors makes; the format is described in tools/vectors/README.md. */
import { readdirSync, readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { SLOTS, type SlotName, slotTable, VectorState } from './state.ts';

/** Bytes at a linear address. */
export interface MemoryPatch {
  readonly address: number;
  readonly bytes: Uint8Array;
}

export interface MemoryRange {
  readonly address: number;
  readonly length: number;
}

export interface VectorFault {
  /** Exception vector, e.g. 14 for #PF. */
  readonly vector: number;
  /** Error code as pushed; 0 where the exception has none. */
  readonly errorCode: number;
  /** Linear address in CR2 for #PF, else 0. */
  readonly cr2: number;
}

export interface Vector {
  readonly family: string;
  readonly form: VectorForm;
  /** Number of the vector within its form. */
  readonly index: number;
  /** Bytes at CS:EIP of `before`; INT3 fills the rest of the code pages. */
  readonly code: Uint8Array;
  /** Instructions in `code` (a repeated string instruction counts as one). */
  readonly steps: number;
  readonly before: VectorState;
  /** Written over the base pattern before the run. */
  readonly memoryBefore: readonly MemoryPatch[];
  /** After the last instruction, or as the exception handler's frame would show it. */
  readonly after: VectorState;
  /** What the run changed; all other bytes of the mapped pages stay. */
  readonly memoryAfter: readonly MemoryPatch[];
  readonly fault: VectorFault | null;
  /** EFLAGS bits that the manuals leave undefined after this very vector; `after` has this processor's. */
  readonly undefinedFlags: number;
  /** The same for the x87 status word. */
  readonly undefinedStatus: number;
  /**
   * The manuals leave the destination undefined; `after` has this processor's. With a fault: the instruction makes
   * several accesses in no promised order, so CR2 and what it loaded before the fault are this processor's.
   */
  readonly undefinedResult: boolean;
  /** Memory that the instruction may or may not write, model by model (reserved parts of FXSAVE images). */
  readonly looseMemory: readonly MemoryRange[];
}

export interface VectorForm {
  readonly name: string;
  readonly count: number;
  /** CPUID feature that the form needs, if it is not in every processor with CPUID. */
  readonly feature?: string;
  /** The result is not defined to the last bit (transcendental functions, reciprocal estimates). */
  readonly approximate?: boolean;
}

export interface VectorDescriptor {
  /** Selector with RPL 0 (bit 2 tells GDT from LDT) and the two halves of the descriptor. */
  readonly selector: number;
  readonly low: number;
  readonly high: number;
}

/** The world that every vector of a file expects around it. */
export interface VectorEnvironment {
  readonly cpl: number;
  /** Control bits that the instructions can feel: AM, WP, NE; OSFXSR, OSXMMEXCPT; NXE. IOPL is 0. */
  readonly cr0: number;
  readonly cr4: number;
  readonly efer: number;
  /** IDT gates with DPL 3; the others of the 256 have DPL 0. */
  readonly userGates: readonly number[];
  /** User pages; everything else below 4 GiB is not mapped. rx cannot be written, rw and r cannot be fetched. */
  readonly pages: readonly { address: number; size: number; access: 'rx' | 'rw' | 'r' }[];
  readonly gdt: readonly VectorDescriptor[];
  readonly gdtLimit: number;
  readonly ldt: readonly VectorDescriptor[];
  readonly ldtLimit: number;
}

export interface VectorHeader {
  readonly family: string;
  readonly seed: number;
  readonly count: number;
  readonly processor: { vendor: string; family: number; model: number; stepping: number };
  readonly environment: VectorEnvironment;
  readonly slots: readonly { name: string; width: number; baseline: string }[];
  readonly forms: readonly VectorForm[];
}

/** Byte that a mapped page holds at a linear address before any vector: INT3 where code runs, else a hash. */
export function baseByte(linear: number): number {
  if (linear >= 0x2000 && linear < 0x4000) return 0xcc;
  return Math.imul(linear, 0x9e3779b1) >>> 24;
}

const HAS = {
  fault: 1,
  beforeMemory: 2,
  afterMemory: 4,
  undefinedFlags: 8,
  looseMemory: 16,
  undefinedResult: 32,
  undefinedStatus: 64,
  steps: 128,
} as const;

const MAGIC = 0x56424d55; // "UMBV"
const VERSION = 1;

/** Takes bytes off the front; running past the end is reported by name of what was being read. */
class Cursor {
  at: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  #take(count: number): number {
    const at = this.at;
    if (at + count > this.#bytes.length) {
      throw new RangeError(`Vector file ends at byte ${this.#bytes.length}, inside a record (at ${at}).`);
    }
    this.at = at + count;
    return at;
  }

  u8 = (): number => this.#bytes[this.#take(1)];
  u16 = (): number => this.#view.getUint16(this.#take(2), true);
  u32 = (): number => this.#view.getUint32(this.#take(4), true);
  bytes = (count: number): Uint8Array => {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  };
}

function readSlots(cursor: Cursor, state: VectorState): boolean {
  let namesEip = false;
  for (let left = cursor.u8(); left > 0; left--) {
    const number = cursor.u8();
    const slot = slotTable[number];
    if (!slot) throw new RangeError(`Vector record names slot ${number}; there are ${slotTable.length}.`);
    state.bytes.set(cursor.bytes(slot.width), slot.offset);
    namesEip ||= slot.name === 'eip';
  }
  return namesEip;
}

function readPatches(cursor: Cursor): MemoryPatch[] {
  return Array.from({ length: cursor.u8() }, () => {
    const address = cursor.u32();
    return { address, bytes: cursor.bytes(cursor.u16()) };
  });
}

const readRanges = (cursor: Cursor): MemoryRange[] =>
  Array.from({ length: cursor.u8() }, () => ({ address: cursor.u32(), length: cursor.u16() }));

function readFault(cursor: Cursor): VectorFault {
  const vector = cursor.u8();
  const errorCode = cursor.u32();
  return { vector, errorCode, cr2: vector === 14 ? cursor.u32() : 0 };
}

const NOTHING: readonly never[] = [];

export class VectorFamily {
  readonly header: VectorHeader;
  readonly baseline = new VectorState();
  readonly #bytes: Uint8Array;
  readonly #start: number;

  /** From the decompressed bytes of a family file. Throws a sentence if they are not one. */
  constructor(bytes: Uint8Array) {
    const cursor = new Cursor(bytes, 0);
    if (cursor.u32() !== MAGIC) throw new Error('This is not a vector file: it does not begin with "UMBV".');
    const version = cursor.u32();
    if (version !== VERSION)
      throw new Error(`Vector file of version ${version}; this reader knows ${VERSION}.`);
    this.header = JSON.parse(new TextDecoder().decode(cursor.bytes(cursor.u32()))) as VectorHeader;
    this.#bytes = bytes;
    this.#start = cursor.at;
    this.#readBaseline();
  }

  #readBaseline(): void {
    const { slots } = this.header;
    const expected = SLOTS.map(([name, width]) => `${name}:${width}`).join();
    const found = slots.map(({ name, width }) => `${name}:${width}`).join();
    if (found !== expected) throw new Error(`Vector file has slots ${found}; this reader knows ${expected}.`);
    for (const { name, baseline } of slots) {
      this.baseline.raw(name as SlotName).set(Buffer.from(baseline, 'hex'));
    }
  }

  /** All vectors in file order. */
  *vectors(): Generator<Vector> {
    const cursor = new Cursor(this.#bytes, this.#start);
    for (const form of this.header.forms) {
      for (let index = 0; index < form.count; index++) yield this.#read(cursor, form, index);
    }
    if (cursor.at !== this.#bytes.length) {
      throw new RangeError(`${this.#bytes.length - cursor.at} bytes follow the last vector of the file.`);
    }
  }

  #read(cursor: Cursor, form: VectorForm, index: number): Vector {
    const has = cursor.u8();
    const code = cursor.bytes(cursor.u8());
    const steps = has & HAS.steps ? cursor.u8() : 1;
    const before = new VectorState();
    before.copyFrom(this.baseline);
    readSlots(cursor, before);
    const after = new VectorState();
    after.copyFrom(before);
    if (!readSlots(cursor, after) && !(has & HAS.fault)) after.set('eip', before.get('eip') + code.length);
    return {
      family: this.header.family,
      form,
      index,
      code,
      steps,
      before,
      after,
      memoryBefore: has & HAS.beforeMemory ? readPatches(cursor) : NOTHING,
      memoryAfter: has & HAS.afterMemory ? readPatches(cursor) : NOTHING,
      fault: has & HAS.fault ? readFault(cursor) : null,
      undefinedFlags: has & HAS.undefinedFlags ? cursor.u32() : 0,
      undefinedStatus: has & HAS.undefinedStatus ? cursor.u16() : 0,
      undefinedResult: (has & HAS.undefinedResult) !== 0,
      looseMemory: has & HAS.looseMemory ? readRanges(cursor) : NOTHING,
    };
  }
}

const DATA = new URL('./data/', import.meta.url);
const SUFFIX = '.bin.br';

/** Names of the families that are checked in. */
export function familyNames(): string[] {
  return readdirSync(DATA)
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => name.slice(0, -SUFFIX.length))
    .sort();
}

/** Reads and decompresses one family. */
export function loadFamily(name: string): VectorFamily {
  return new VectorFamily(brotliDecompressSync(readFileSync(new URL(name + SUFFIX, DATA))));
}
