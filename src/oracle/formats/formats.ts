import { type OracleCpu, pagingMode } from '../cpu.ts';
import type { EntryPlace, Meaning, Start } from './entry.ts';
import { firstLongModeEntry, readLongModeEntry } from './long-mode.ts';
import { firstPaeEntry, readPaeEntry } from './pae.ts';
import { firstTwoLevelEntry, readTwoLevelEntry } from './two-level.ts';

/** Where the walk for a linear address begins in the processor's paging mode. */
export function firstEntry(cpu: OracleCpu, linear: bigint): Start {
  switch (pagingMode(cpu)) {
    case 'off':
      return { kind: 'identity' };
    case '2-level':
      return { kind: 'entry', place: firstTwoLevelEntry(cpu.cr3, linear) };
    case 'pae':
      return firstPaeEntry(cpu, linear);
    case '4-level':
      return firstLongModeEntry(cpu, linear, 4);
    case '5-level':
      return firstLongModeEntry(cpu, linear, 5);
  }
}

/** What the value read at `place` means for `linear`. */
export function readEntry(cpu: OracleCpu, place: EntryPlace, value: bigint, linear: bigint): Meaning {
  switch (place.format) {
    case 'two-level':
      return readTwoLevelEntry(cpu, place, value, linear);
    case 'pae':
      return readPaeEntry(cpu, place, value, linear);
    case 'long':
      return readLongModeEntry(cpu, place, value, linear);
  }
}
