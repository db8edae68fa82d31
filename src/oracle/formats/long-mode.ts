import { bits, ENTRY, has } from '../bits.ts';
import { executeDisableEnabled, type OracleCpu } from '../cpu.ts';
import {
  ABSENT,
  type EntryPlace,
  type Meaning,
  RESERVED,
  rightsOf,
  SIZE_1G,
  SIZE_2M,
  SIZE_4K,
  type Start,
} from './entry.ts';

type LevelName = EntryPlace['name'];

/** Lowest linear-address bit that each entry's 9-bit index takes (SDM vol. 3A 4.5.4, figures 4-8 to 4-11). */
const INDEX_SHIFT: Record<LevelName, number> = { PML5E: 48, PML4E: 39, PDPTE: 30, PDE: 21, PTE: 12 };
const BELOW: Record<Exclude<LevelName, 'PTE'>, LevelName> = {
  PML5E: 'PML4E',
  PML4E: 'PDPTE',
  PDPTE: 'PDE',
  PDE: 'PTE',
};

/** 4-level and 5-level paging (SDM vol. 3A 4.5, APM vol. 2 5.3). `levels` is 4 or 5. */
export function firstLongModeEntry(cpu: OracleCpu, linear: bigint, levels: 4 | 5): Start {
  // Canonical: all bits from the most significant translated one up are equal (SDM vol. 3A 4.5.2).
  const sign = linear & bits(63, levels === 5 ? 56 : 47);
  if (sign !== 0n && sign !== bits(63, levels === 5 ? 56 : 47)) return { kind: 'noncanonical' };
  const name = levels === 5 ? 'PML5E' : 'PML4E';
  return { kind: 'entry', place: entryAt(name, cpu.cr3 & bits(cpu.maxPhyAddr - 1, 12), linear) };
}

/** Meaning of an entry of 4-level or 5-level paging (SDM vol. 3A tables 4-14 to 4-20). */
export function readLongModeEntry(cpu: OracleCpu, place: EntryPlace, value: bigint, linear: bigint): Meaning {
  if (!has(value, ENTRY.P)) return ABSENT;
  const isPage = place.name === 'PTE' || has(value, ENTRY.PS);
  if (has(value, reservedBits(cpu, place.name, isPage))) return RESERVED;
  const rights = rightsOf(value, executeDisableEnabled(cpu));
  if (!isPage) {
    const name = BELOW[place.name as Exclude<LevelName, 'PTE'>];
    const next = entryAt(name, value & bits(cpu.maxPhyAddr - 1, 12), linear);
    return { kind: 'table', next, rights, hasAccessed: true };
  }
  const offsetBits = INDEX_SHIFT[place.name];
  return {
    kind: 'page',
    page: {
      address: (value & bits(cpu.maxPhyAddr - 1, offsetBits)) | (linear & bits(offsetBits - 1, 0)),
      size: place.name === 'PTE' ? SIZE_4K : place.name === 'PDE' ? SIZE_2M : SIZE_1G,
      global: has(value, ENTRY.G),
      protectionKey: Number((value & bits(62, 59)) >> 59n),
    },
    rights,
  };
}

function entryAt(name: LevelName, table: bigint, linear: bigint): EntryPlace {
  const index = (linear >> BigInt(INDEX_SHIFT[name])) & bits(8, 0);
  return { name, format: 'long', address: table | (index << 3n), width: 8 };
}

/** SDM vol. 3A 4.5.4, the list of reserved bits; PAT is always there in long mode. */
function reservedBits(cpu: OracleCpu, name: LevelName, isPage: boolean): bigint {
  let reserved = bits(51, cpu.maxPhyAddr);
  if (!executeDisableEnabled(cpu)) reserved |= ENTRY.XD;
  if (name === 'PML5E' || name === 'PML4E') {
    reserved |= ENTRY.PS;
    // APM vol. 2 figures 5-19 and 5-20 mark bits 8:7 as MBZ; the SDM ignores bit 8.
    if (cpu.features.vendor === 'amd') reserved |= ENTRY.G;
  }
  if (name === 'PDPTE' && !cpu.features.gigabytePages) reserved |= ENTRY.PS;
  if (name === 'PDPTE' && isPage) reserved |= bits(29, 13);
  if (name === 'PDE' && isPage) reserved |= bits(20, 13);
  return reserved;
}
