import { bits, ENTRY, has } from '../bits.ts';
import { executeDisableEnabled, type OracleCpu } from '../cpu.ts';
import {
  ABSENT,
  ALL_RIGHTS,
  type EntryPlace,
  type Meaning,
  RESERVED,
  rightsOf,
  SIZE_2M,
  SIZE_4K,
  type Start,
} from './entry.ts';

/** Reserved bits of a PDPTE with P = 1 under PAE paging (SDM vol. 3A table 4-8): 2:1, 8:5 and 63:MAXPHYADDR. */
export const paePdpteReserved = (maxPhyAddr: number): bigint =>
  bits(2, 1) | bits(8, 5) | bits(63, maxPhyAddr);

/** Address of PDPTE `index` (0 to 3) for a value of CR3: bits 31:5 count (SDM vol. 3A table 4-7). */
export const paePdpteAddress = (cr3: bigint, index: bigint): bigint => (cr3 & bits(31, 5)) + index * 8n;

/** PAE paging (SDM vol. 3A 4.4, APM vol. 2 5.2.3) starts at a PDPTE register, or at the PDPTE in memory. */
export function firstPaeEntry(cpu: OracleCpu, linear: bigint): Start {
  const index = (linear & bits(31, 30)) >> 30n;
  if (cpu.pdptesInMemory) {
    const address = paePdpteAddress(cpu.cr3, index);
    return { kind: 'entry', place: { name: 'PDPTE', format: 'pae', address, width: 8 } };
  }
  const pdpte = cpu.pdptes[Number(index)] as bigint;
  if (!has(pdpte, ENTRY.P)) return { kind: 'absent' };
  return { kind: 'entry', place: pageDirectoryEntry(cpu, pdpte, linear) };
}

/** Meaning of an entry of PAE paging (SDM vol. 3A tables 4-8 to 4-11). */
export function readPaeEntry(cpu: OracleCpu, place: EntryPlace, value: bigint, linear: bigint): Meaning {
  if (!has(value, ENTRY.P)) return ABSENT;
  if (place.name === 'PDPTE') {
    if (has(value, paePdpteReserved(cpu.maxPhyAddr))) return RESERVED;
    // A PDPTE of PAE paging has neither rights nor an accessed flag.
    return {
      kind: 'table',
      next: pageDirectoryEntry(cpu, value, linear),
      rights: ALL_RIGHTS,
      hasAccessed: false,
    };
  }
  const large = place.name === 'PDE' && has(value, ENTRY.PS);
  if (has(value, reservedBits(cpu, place, large))) return RESERVED;
  const rights = rightsOf(value, executeDisableEnabled(cpu));
  if (place.name === 'PDE' && !large) {
    const index = (linear & bits(20, 12)) >> 12n;
    const address = (value & bits(cpu.maxPhyAddr - 1, 12)) | (index << 3n);
    return {
      kind: 'table',
      next: { name: 'PTE', format: 'pae', address, width: 8 },
      rights,
      hasAccessed: true,
    };
  }
  const offsetBits = large ? 21 : 12;
  return {
    kind: 'page',
    page: {
      address: (value & bits(cpu.maxPhyAddr - 1, offsetBits)) | (linear & bits(offsetBits - 1, 0)),
      size: large ? SIZE_2M : SIZE_4K,
      global: has(value, ENTRY.G),
      protectionKey: 0,
    },
    rights,
  };
}

function pageDirectoryEntry(cpu: OracleCpu, pdpte: bigint, linear: bigint): EntryPlace {
  const index = (linear & bits(29, 21)) >> 21n;
  const address = (pdpte & bits(cpu.maxPhyAddr - 1, 12)) | (index << 3n);
  return { name: 'PDE', format: 'pae', address, width: 8 };
}

/** SDM vol. 3A 4.4.2, the list of reserved bits. */
function reservedBits(cpu: OracleCpu, place: EntryPlace, large: boolean): bigint {
  let reserved = bits(62, cpu.maxPhyAddr);
  if (!executeDisableEnabled(cpu)) reserved |= ENTRY.XD;
  if (large) reserved |= bits(20, 13);
  if (!cpu.features.pat && large) reserved |= ENTRY.PAT_LARGE;
  if (!cpu.features.pat && place.name === 'PTE') reserved |= ENTRY.PAT;
  return reserved;
}
