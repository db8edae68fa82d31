/**
 * What an exported image carries besides its programs: a catalogue of scenarios, and for each scenario a block, packed
 * in the LZ4 block format. Everything is made of little-endian dwords; offsets are bytes from the block's start.
 */

// biome-ignore format: table
/** Dwords of a catalogue entry. */
export const CATALOGUE = {
  /** Address of the name, zero-terminated. */
  NAME:       0,
  /** Features that the processor must have, and must not have: bits by SUITE_FEATURES. */
  NEEDS:      1,
  LACKS:      2,
  /** ASIDs that the processor must have, 0 included (APM vol. 2 15.5.1). */
  ASIDS:      3,
  /** MAXPHYADDR that the processor may have at most: more, and what is to be reserved would be an address. */
  MAX_BITS:   4,
  /** Where the packed block begins and ends. */
  PACKED:     5,
  PACKED_END: 6,
  /** Address of why no processor can run it: what it needs; 0 for all others. */
  IMPOSSIBLE: 7,
} as const;
export const CATALOGUE_ENTRY_SIZE = 32;

// biome-ignore format: table
/** Dwords at the start of a block. */
export const BLOCK = {
  /** Offset of the pieces of memory to load. */
  PIECES:  0,
  /** Offset of the first expectation table's description; the guest takes the first one that is for its processor. */
  TABLES:  1,
  /** Steps of the scenario. */
  STEPS:   2,
} as const;
export const BLOCK_HEADER_SIZE = 12;

/**
 * A piece of memory: address, length in dwords, then runs until a dword of 0. A run is a dword with the dwords to skip
 * in bits 31:16 and the number of dwords that follow it in bits 15:0; what runs leave out is zero. After the last piece
 * comes END_OF_PIECES.
 */
export const END_OF_PIECES = 0xffff_ffff;

// biome-ignore format: table
/** Dwords of a table's description. */
export const TABLE = {
  /** Bits of PDPTES: for which processors. */
  PDPTES:   0,
  /** MAXPHYADDR that the processor may have at most. */
  MAX_BITS: 1,
  /** Offset of its first step. */
  STEPS:    2,
} as const;
export const TABLE_SIZE = 12;

// biome-ignore format: table
/** Where PAE paging has its PDPTEs, a bit each (APM vol. 2 5.5.3). */
export const PDPTES = {
  /** In registers, which MOV CR3 and VMRUN load and check. */
  REGISTERS:      1,
  /** In memory, read on use. */
  MEMORY:         2,
  /** The same, but VMRUN looks at them. */
  MEMORY_CHECKED: 4,
} as const;

// biome-ignore format: table
/** Dwords of a step in a table. Texts are offsets of zero-terminated lines of YAML for the report. */
export const STEP = {
  /** Bytes from this step to the next one. */
  LENGTH:       0,
  ALTERNATIVES: 1,
  STEP_TEXT:    2,
  EXPECTED:     3,
  REGISTERS:    4,
} as const;
export const STEP_HEADER_SIZE = 20;

/**
 * An alternative is a dword with its length in bytes in bits 31:16 and the number of its records in bits 15:0, then the
 * records: a dword with the status word in bits 15:0, a bit for each of the fields A to F that is looked at in bits
 * 21:16, and in bits 29:24 a bit for each field of which only some bits are; then for each field its value, followed by
 * the mask if there is one.
 */
export const ALTERNATIVE_HEADER_SIZE = 4;
export const COMPARED_SHIFT = 16;
export const MASKED_SHIFT = 24;
/** Fields A to F. */
export const FIELD_COUNT = 6;

// biome-ignore format: table
/** Features that scenarios need or must not find, and where CPUID has them: the index is the bit in the catalogue. */
export const SUITE_FEATURES = [
  { name: 'pse',  word: 'cpuid-1-edx',        bit: 3 },
  { name: 'pae',  word: 'cpuid-1-edx',        bit: 6 },
  { name: 'pge',  word: 'cpuid-1-edx',        bit: 13 },
  { name: 'nx',   word: 'cpuid-80000001-edx', bit: 20 },
  { name: 'smep', word: 'cpuid-7-ebx',        bit: 7 },
  { name: 'smap', word: 'cpuid-7-ebx',        bit: 20 },
  { name: 'npt',  word: 'cpuid-8000000a-edx', bit: 0 },
] as const;

/** What the image writes to the debug exit port: every scenario as expected (or none possible), or not. */
export const SUITE_EXIT = { OK: 0, MISMATCHES: 1 } as const;
