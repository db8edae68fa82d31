/** Resource descriptors (ACPI specification 6.4, 6.4.2 and 6.4.3) for _CRS. */
import { type Aml, buffer } from './aml.ts';
import { type Bytes, u8, u16, u32 } from './encode.ts';

// biome-ignore format: table
const TAG = {
  IRQ_NO_FLAGS: 0x22, IO_PORT: 0x47, END: 0x79,
  DWORD_ADDRESS_SPACE: 0x87, WORD_ADDRESS_SPACE: 0x88,
} as const;

const DECODES_16_BITS = 1;
/** Address space descriptors: what the bridge passes on, both ends fixed. */
const MEMORY = 0;
const IO = 1;
const BUS_NUMBERS = 2;
const PRODUCER_FIXED = 0x0c;
const ENTIRE_RANGE = 0x03;
const READ_WRITE = 0x01;

/** `ResourceTemplate () { descriptors }` */
export const resourceTemplate = (...descriptors: readonly Bytes[]): Aml =>
  buffer([...descriptors.flat(), TAG.END, 0]);

/** Ports of the device's own. */
export const ioPorts = (first: number, count: number): Bytes => [
  TAG.IO_PORT,
  DECODES_16_BITS,
  ...u16(first),
  ...u16(first),
  1,
  count,
];

/** An edge-triggered ISA interrupt. */
export const isaIrq = (irq: number): Bytes => [TAG.IRQ_NO_FLAGS, ...u16(1 << irq)];

/** Bus numbers behind a bridge; `last` inclusive, as below. */
export const busNumbers = (first: number, last: number): Bytes => wordSpace(BUS_NUMBERS, 0, first, last);

/** Ports behind a bridge. */
export const ioWindow = (first: number, last: number): Bytes => wordSpace(IO, ENTIRE_RANGE, first, last);

/** Memory behind a bridge, not cached. */
export const memoryWindow = (first: number, last: number): Bytes => [
  TAG.DWORD_ADDRESS_SPACE,
  ...u16(23),
  ...u8(MEMORY),
  PRODUCER_FIXED,
  READ_WRITE,
  ...[0, first, last, 0, last - first + 1].flatMap(u32),
];

const wordSpace = (type: number, flags: number, first: number, last: number): Bytes => [
  TAG.WORD_ADDRESS_SPACE,
  ...u16(13),
  type,
  PRODUCER_FIXED,
  flags,
  ...[0, first, last, 0, last - first + 1].flatMap(u16),
];
