import { bit, bits, CR4, ENTRY, has } from '../bits.ts';
import type { OracleCpu } from '../cpu.ts';
import { ABSENT, type EntryPlace, type Meaning, RESERVED, rightsOf, SIZE_4K, SIZE_4M } from './entry.ts';

/** 32-bit paging, with or without CR4.PSE and PSE-36 (SDM vol. 3A 4.3, APM vol. 2 5.2.2). */
export function firstTwoLevelEntry(cr3: bigint, linear: bigint): EntryPlace {
  const index = (linear & bits(31, 22)) >> 22n;
  return { name: 'PDE', format: 'two-level', address: (cr3 & bits(31, 12)) | (index << 2n), width: 4 };
}

/** Meaning of a PDE or PTE of 32-bit paging (SDM vol. 3A tables 4-4 to 4-6). */
export function readTwoLevelEntry(cpu: OracleCpu, place: EntryPlace, value: bigint, linear: bigint): Meaning {
  if (!has(value, ENTRY.P)) return ABSENT;
  if (place.name === 'PTE') return readPte(cpu, value, linear);
  // Without CR4.PSE the PS flag is ignored.
  if (has(cpu.cr4, CR4.PSE) && has(value, ENTRY.PS)) return readLargePde(cpu, value, linear);
  const index = (linear & bits(21, 12)) >> 12n;
  return {
    kind: 'table',
    next: { name: 'PTE', format: 'two-level', address: (value & bits(31, 12)) | (index << 2n), width: 4 },
    rights: rightsOf(value, false),
    hasAccessed: true,
  };
}

function readPte(cpu: OracleCpu, value: bigint, linear: bigint): Meaning {
  // SDM vol. 3A 4.3: bit 7 is PAT, reserved where there is no PAT; with CR4.PSE = 0 no bit is reserved.
  if (!cpu.features.pat && has(cpu.cr4, CR4.PSE) && has(value, ENTRY.PAT)) return RESERVED;
  return {
    kind: 'page',
    page: {
      address: (value & bits(31, 12)) | (linear & bits(11, 0)),
      size: SIZE_4K,
      global: has(value, ENTRY.G),
      protectionKey: 0,
    },
    rights: rightsOf(value, false),
  };
}

function readLargePde(cpu: OracleCpu, value: bigint, linear: bigint): Meaning {
  // SDM vol. 3A 4.3: M is the width of a 4-MByte page's physical address; bits 21:(M-19) are reserved.
  const m = cpu.features.pse36 ? Math.min(40, cpu.maxPhyAddr) : 32;
  let reserved = bits(21, m - 19);
  if (!cpu.features.pat) reserved |= ENTRY.PAT_LARGE;
  if (has(value, reserved)) return RESERVED;
  const high = (value & bits(m - 20, 13)) >> 13n; // physical address bits (M-1):32
  return {
    kind: 'page',
    page: {
      address: high * bit(32) + (value & bits(31, 22)) + (linear & bits(21, 0)),
      size: SIZE_4M,
      global: has(value, ENTRY.G),
      protectionKey: 0,
    },
    rights: rightsOf(value, false),
  };
}
