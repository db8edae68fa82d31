/**
 * Address spaces as branded numbers, so that an L2 address where an L1 address belongs does not compile.
 *
 * Linear addresses and physical addresses are plain JavaScript numbers: physical addresses have at most 52 bits
 * (SDM vol. 3A 4.1.4, APM vol. 2 5.1), which a double holds exactly.
 */
declare const space: unique symbol;
type Address<Space extends string> = number & { readonly [space]: Space };

/** Linear address of whoever runs (SDM vol. 3A 3.1); 32 bits, unsigned, outside 64-bit mode. */
export type Gva = Address<'gva'>;
/** Physical address as an L1 guest sees it. */
export type Gpa = Address<'gpa'>;
/** Physical address as an L2 guest sees it ("nested gpa"). */
export type Ngpa = Address<'ngpa'>;
/** Physical address of the machine itself. */
export type Hpa = Address<'hpa'>;

/** Frame numbers: an address of the same space shifted right by 12. */
export type Gfn = Address<'gfn'>;
export type Pfn = Address<'pfn'>;

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;
export const PAGE_OFFSET_MASK = 0xfff;

export const gva = (value: number): Gva => (value >>> 0) as Gva;
export const gpa = (value: number): Gpa => value as Gpa;
export const ngpa = (value: number): Ngpa => value as Ngpa;
export const hpa = (value: number): Hpa => value as Hpa;
export const gfn = (value: number): Gfn => value as Gfn;
export const pfn = (value: number): Pfn => value as Pfn;

export const gfnOf = (address: Gpa): Gfn => Math.floor(address / PAGE_SIZE) as Gfn;
export const gpaOf = (frame: Gfn): Gpa => (frame * PAGE_SIZE) as Gpa;
export const pfnOf = (address: Hpa): Pfn => Math.floor(address / PAGE_SIZE) as Pfn;
export const hpaOf = (frame: Pfn): Hpa => (frame * PAGE_SIZE) as Hpa;
