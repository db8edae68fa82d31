import { cr3, eax, ebx, ecx, edx, esi, mem32 } from '../../src/guest/assembler.ts';
import { LAYOUT } from '../frame.ts';
import { ENTRY, emitIdentityPaging, PAGE } from '../paging.ts';
import type { BenchProgram } from '../program.ts';

const PAGES = 32;
/** The second address space: a directory, and a table for the pages that differ. */
const OTHER_DIRECTORY = LAYOUT.DATA;
const OTHER_TABLE = LAYOUT.DATA + PAGE;
const LINEAR = 8 << 20;
const OTHER_FRAMES = 12 << 20;
/** Every page is read at another place, so that not all share one line of a cache. */
const placeIn = (page: number): number => page * (PAGE + 64);

/** Switches between two address spaces (MOV to CR3) and touches 32 pages in each, as processes do. */
export const pageTables: BenchProgram = {
  name: 'page-tables',
  unit: 'CR3 loads, 32 pages touched',
  iterations: 100_000,
  setUp(a) {
    emitIdentityPaging(a, 16 << 20);
    for (let page = 0; page < PAGES; page++) {
      a.mov(mem32(LINEAR + placeIn(page)), page + 1);
      a.mov(mem32(OTHER_FRAMES + placeIn(page)), (page + 1) * 1000);
      a.mov(mem32(OTHER_TABLE + page * 4), (OTHER_FRAMES + page * PAGE) | ENTRY.P | ENTRY.W);
    }
    a.mov(eax, mem32(LAYOUT.TABLES));
    a.mov(mem32(OTHER_DIRECTORY), eax);
    a.mov(mem32(OTHER_DIRECTORY + (LINEAR >>> 22) * 4), OTHER_TABLE | ENTRY.P | ENTRY.W);
  },
  emit(a) {
    a.label('work');
    a.mov(esi, LAYOUT.TABLES);
    a.xor(eax, eax);
    a.mov(ebx, LINEAR);
    a.label('switch');
    a.xor(esi, LAYOUT.TABLES ^ OTHER_DIRECTORY);
    a.mov(cr3, esi);
    for (let page = 0; page < PAGES; page++) a.add(eax, mem32(ebx, placeIn(page)));
    a.dec(ecx);
    a.jnz('switch');
    a.mov(edx, LAYOUT.TABLES);
    a.mov(cr3, edx);
    a.ret();
  },
  model: () => (units) => {
    const sum = (PAGES * (PAGES + 1)) / 2;
    return (sum * 1000 * Math.ceil(units / 2) + sum * Math.floor(units / 2)) >>> 0;
  },
};
