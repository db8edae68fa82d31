import { PAGE_SIZE } from './address.ts';
import { InputError } from './input-error.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Bytes of a PC's RAM. Above 2 GiB begins what the PCI bus may claim (see the host bridge's windows). */
export const PC_MEMORY = { least: MIB, most: 2 * GIB } as const;

/** What a machine can have, in bytes. */
export interface MemoryLimits {
  readonly least: number;
  readonly most: number;
}

/** The one rule for an amount of RAM: whole pages, within limits. */
export const isMemorySize = (bytes: number, { least, most }: MemoryLimits): boolean =>
  Number.isInteger(bytes) && bytes >= least && bytes <= most && bytes % PAGE_SIZE === 0;

/** The rule as what a size must be. */
export const memoryRule = ({ least, most }: MemoryLimits): string =>
  `${sizeText(least)} to ${sizeText(most)}, a multiple of 4K`;

/** @throws InputError that says what is possible */
export function checkMemorySize(bytes: number, limits: MemoryLimits): void {
  if (isMemorySize(bytes, limits)) return;
  throw new InputError(`Memory of ${bytes} bytes is not possible: it must be ${memoryRule(limits)}.`);
}

/** A size as the command line takes it: `256M`, `2G`, `1028K`. */
export function sizeText(bytes: number): string {
  if (bytes >= GIB && bytes % GIB === 0) return `${bytes / GIB}G`;
  if (bytes >= MIB && bytes % MIB === 0) return `${bytes / MIB}M`;
  return bytes % KIB === 0 ? `${bytes / KIB}K` : String(bytes);
}
