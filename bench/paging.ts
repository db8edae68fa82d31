import { CR0 } from '../src/arch/registers.ts';
import { type Assembler, cr0, cr3, eax, ecx, edi, mem32 } from '../src/guest/assembler.ts';
import { LAYOUT } from './frame.ts';

/** Bits of a 2-level paging entry (SDM vol. 3A tables 4-5 and 4-6). */
export const ENTRY = { P: 1, W: 2, U: 4 } as const;

export const PAGE = 4096;
const ENTRIES = 1024;
const DIRECTORY = LAYOUT.TABLES;
const FIRST_TABLE = LAYOUT.TABLES + PAGE;

/** Address of the 2-level entry that maps a linear address below 64 MiB once `emitIdentityPaging` has run. */
export const entryOf = (linear: number): number => FIRST_TABLE + (linear / PAGE) * 4;

/** Emits 2-level paging, on: linear = physical in 4 KiB pages below `bytes`, a multiple of 4 MiB, at most 64 MiB. */
export function emitIdentityPaging(a: Assembler, bytes: number): void {
  const tables = bytes / (ENTRIES * PAGE);
  for (let n = 0; n < tables; n++) {
    a.mov(mem32(DIRECTORY + n * 4), (FIRST_TABLE + n * PAGE) | ENTRY.P | ENTRY.W);
  }
  a.mov(edi, FIRST_TABLE);
  a.mov(eax, ENTRY.P | ENTRY.W);
  a.mov(ecx, tables * ENTRIES);
  a.label('map-page');
  a.mov(mem32(edi), eax);
  a.add(edi, 4);
  a.add(eax, PAGE);
  a.dec(ecx);
  a.jnz('map-page');
  a.mov(eax, DIRECTORY);
  a.mov(cr3, eax);
  a.mov(eax, cr0);
  a.or(eax, CR0.PG | CR0.WP);
  a.mov(cr0, eax);
}
