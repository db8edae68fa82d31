import { CR0, CR4, EFER } from '../../src/oracle/bits.ts';
import { type OracleCpu, oracleCpu, oracleFeatures } from '../../src/oracle/cpu.ts';
import type { Expected } from '../../src/oracle/expected.ts';
import { type PhysicalMemory, SparseMemory } from '../../src/oracle/memory.ts';
import type { Outcome } from '../../src/oracle/translate.ts';

/** Bits of an entry, by the letters of the manuals. */
export const P = 1n;
export const W = 2n;
export const U = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PS = 0x80n;
export const G = 0x100n;
export const NX = 1n << 63n;

/** 16 MiB of RAM from 0 and nothing else. */
export const ram = (): SparseMemory => new SparseMemory([{ base: 0n, size: 0x100_0000n }]);

export const CR3 = 0x1000n;

/** 2-level paging with the root at 0x1000. */
export const twoLevel = (changes: Partial<OracleCpu> = {}, cr4 = 0n): OracleCpu =>
  oracleCpu({ cr0: CR0.PE | CR0.PG | CR0.WP, cr3: CR3, cr4, ...changes });

/** PAE paging; PDPTE 0 points to 0x2000, the others are absent. */
export const pae = (changes: Partial<OracleCpu> = {}, cr4 = 0n): OracleCpu =>
  oracleCpu({
    cr0: CR0.PE | CR0.PG | CR0.WP,
    cr3: CR3,
    cr4: CR4.PAE | cr4,
    efer: EFER.NXE,
    pdptes: [0x2000n | P, 0n, 0n, 0n],
    ...changes,
  });

/** 4-level paging with the root at 0x1000. */
export const fourLevel = (changes: Partial<OracleCpu> = {}, cr4 = 0n): OracleCpu =>
  oracleCpu({
    cr0: CR0.PE | CR0.PG | CR0.WP,
    cr3: CR3,
    cr4: CR4.PAE | cr4,
    efer: EFER.LME | EFER.LMA | EFER.NXE,
    features: oracleFeatures({ longMode: true, gigabytePages: true, la57: true, pku: true }),
    csLong: true,
    ...changes,
  });

/** Stores 4-byte entries: address, value, address, value... */
export function entries32(memory: PhysicalMemory, ...list: bigint[]): void {
  for (let i = 0; i < list.length; i += 2) memory.write(list[i]!, 4, list[i + 1]!);
}

/** Stores 8-byte entries. */
export function entries64(memory: PhysicalMemory, ...list: bigint[]): void {
  for (let i = 0; i < list.length; i += 2) memory.write(list[i]!, 8, list[i + 1]!);
}

/** A permitted outcome in short: the address, `#14(code)`, or `NPF(EXITINFO1)EXITINFO2` in hexadecimal. */
export function show(expected: Expected): string {
  switch (expected.outcome) {
    case 'ok':
      return expected.address.toString(16);
    case 'fault':
      return `#${expected.vector}(${expected.errorCode})`;
    case 'nested fault': {
      const info = expected.exitInfo1.map((value) => value.toString(16)).join('|');
      return `NPF(${info})${expected.exitInfo2.toString(16)}`;
    }
  }
}

/** An outcome in short: the address, or `#14(code)`. */
export const short = (outcome: Outcome): string =>
  outcome.outcome === 'ok'
    ? `0x${outcome.address.toString(16)}`
    : `#${outcome.vector}(0x${outcome.errorCode.toString(16)})`;
