import type { Hpa } from '../../arch/address.ts';
import { ATTRIBUTE, descriptorHi, descriptorLo } from '../../arch/descriptors.ts';
import { CR0, EFLAGS, GPR } from '../../arch/registers.ts';

/** A segment register with its hidden part; `limit` in bytes, `attributes` in the 12-bit form of arch/descriptors.ts. */
export interface InitialSegment {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly attributes: number;
}

export interface InitialTable {
  readonly base: number;
  /** In bytes, the highest offset. */
  readonly limit: number;
}

/** The processor as a loader leaves it: interrupts off, paging off, every register not named here as after RESET. */
export interface InitialState {
  readonly mode: 'real' | 'protected';
  readonly eip: number;
  readonly eflags: number;
  readonly cr0: number;
  /** EAX ECX EDX EBX ESP EBP ESI EDI: encoding order, unsigned. */
  readonly gprs: readonly number[];
  readonly segments: Readonly<Record<'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs', InitialSegment>>;
  readonly gdtr: InitialTable;
  readonly idtr: InitialTable;
}

const { P, S, CODE, READABLE, WRITABLE, ACCESSED, DB, G } = ATTRIBUTE;
const FLAT_CODE = P | S | CODE | READABLE | ACCESSED | DB | G;
const FLAT_DATA = P | S | WRITABLE | ACCESSED | DB | G;
const REAL_MODE = P | S | WRITABLE | ACCESSED;
const FOUR_GIB = 0xffff_ffff;

/** General registers by name; those not named are zero. */
export type Gprs = Partial<Record<keyof typeof GPR, number>>;

function inEncodingOrder(gprs: Gprs): number[] {
  const values = new Array<number>(8).fill(0);
  for (const [name, value] of Object.entries(gprs)) values[GPR[name as keyof typeof GPR]] = value;
  return values;
}

/** A descriptor table whose entries at two selectors are the flat 4 GiB code and data segments; the rest is null. */
export function flatGdt(codeSelector: number, dataSelector: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(codeSelector, dataSelector) + 8);
  const view = new DataView(bytes.buffer);
  for (const [selector, attributes] of [
    [codeSelector, FLAT_CODE],
    [dataSelector, FLAT_DATA],
  ] as const) {
    view.setUint32(selector, descriptorLo(0, FOUR_GIB, attributes), true);
    view.setUint32(selector + 4, descriptorHi(0, FOUR_GIB, attributes), true);
  }
  return bytes;
}

/** 32-bit protected mode with flat segments, paging and interrupts off; `gdt` is where flatGdt's bytes were put. */
export function protectedState(
  eip: number,
  gprs: Gprs,
  codeSelector: number,
  dataSelector: number,
  gdt: Hpa,
): InitialState {
  const code = { selector: codeSelector, base: 0, limit: FOUR_GIB, attributes: FLAT_CODE };
  const data = { selector: dataSelector, base: 0, limit: FOUR_GIB, attributes: FLAT_DATA };
  return {
    mode: 'protected',
    eip,
    eflags: EFLAGS.ONE,
    cr0: CR0.PE | CR0.ET,
    gprs: inEncodingOrder(gprs),
    segments: { es: data, cs: code, ss: data, ds: data, fs: data, gs: data },
    gdtr: { base: gdt, limit: flatGdt(codeSelector, dataSelector).length - 1 },
    // No handlers: an exception before the guest has its own table is a triple fault.
    idtr: { base: 0, limit: 0 },
  };
}

/** Real mode at CS:IP = `code`:`eip`, the other segments at 0 (SDM vol. 3A 21.1). */
export function realState(code: number, eip: number, gprs: Gprs): InitialState {
  const segment = (selector: number): InitialSegment => ({
    selector,
    base: selector * 16,
    limit: 0xffff,
    attributes: REAL_MODE,
  });
  const zero = segment(0);
  return {
    mode: 'real',
    eip,
    eflags: EFLAGS.ONE,
    cr0: CR0.ET,
    gprs: inEncodingOrder(gprs),
    segments: { es: zero, cs: segment(code), ss: zero, ds: zero, fs: zero, gs: zero },
    gdtr: { base: 0, limit: 0xffff },
    // The real-mode vector table (SDM vol. 3A 21.1.4).
    idtr: { base: 0, limit: 0x3ff },
  };
}
