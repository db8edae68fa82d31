import type { ProbeForm } from '../guest/probe-forms.ts';

/**
 * What probes find in a page: 32 bytes that answer every kind of access with the page's own number, so that the
 * outcome tells which page was reached.
 */
export const MARKER_SIZE = 32;
/** Where in a page the marker lies: beyond the entries that scenarios give to tables. */
export const MARKER_OFFSET = 0xf80;

const READ = 0;
const WRITE = 4;
const FETCH = 8;
const DESCRIPTOR = 16;
const DESCRIPTOR_NOT_ACCESSED = 24;

/** MOV ECX, imm32; JMP EDX; NOP: the code that a fetch probe runs. */
const MOV_ECX = 0xb9;
const JMP_EDX = [0xff, 0xe2];
const NOP = 0x90;
/** A flat data segment of DPL 3, accessed and not (SDM vol. 3A 3.4.5). */
const DATA_SEGMENT = [0xff, 0xff, 0x00, 0x00, 0x00, 0xf3, 0xcf, 0x00];
const DATA_SEGMENT_NOT_ACCESSED = [0xff, 0xff, 0x00, 0x00, 0x00, 0xf2, 0xcf, 0x00];

/** Offset in the marker that a form of probe goes to. */
export function markerOffset(form: ProbeForm): number {
  if (form.name === 'descriptor') return DESCRIPTOR;
  if (form.name === 'descriptor.write') return DESCRIPTOR_NOT_ACCESSED;
  if (form.access === 'fetch') return FETCH;
  return form.access === 'write' ? WRITE : READ;
}

/** The 32 bytes of a marker. `number` is 1 to 255. */
export function markerBytes(number: number): Uint8Array {
  const bytes = new Uint8Array(MARKER_SIZE);
  const word = [number, number, number, number];
  bytes.set(word, READ);
  bytes.set(word, WRITE);
  bytes.set([MOV_ECX, ...word, ...JMP_EDX, NOP], FETCH);
  bytes.set(DATA_SEGMENT, DESCRIPTOR);
  bytes.set(DATA_SEGMENT_NOT_ACCESSED, DESCRIPTOR_NOT_ACCESSED);
  return bytes;
}

/** The flat data segment as the 8 bytes of its descriptor. */
export const MARKER_DESCRIPTOR = DATA_SEGMENT.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

/** What runs at the start of a marker's code, as bytes; the word it answers is at offset 1. */
export const FETCH_CODE = { opcode: MOV_ECX, wordOffset: 1, tail: [...JMP_EDX] } as const;
