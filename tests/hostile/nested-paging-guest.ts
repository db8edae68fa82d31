/**
 * An L1 with nested paging whose nested tables are in a mess: they lead into themselves and each other, to the VMCB, the
 * permission maps, L1's own tables, devices and nowhere. L2 reaches many of them, and L1 changes them before each VMRUN.
 */

import { MSR } from '../../src/arch/msrs.ts';
import { CR0, CR4, EFER } from '../../src/arch/registers.ts';
import { NESTED_CTL, VMCB, VMCB_SAVE } from '../../src/arch/vmcb.ts';
import { HOST_MEMORY } from '../../src/guest/agent-layout.ts';
import { cr0, cr3, cr4, dx, eax, ebx, ecx, edx, esi, mem32 } from '../../src/guest/assembler.ts';
import { hostileGuest, MACHINE_MEMORY, MODES, PAGING } from './guest.ts';
import { PLACE as L1, nestingGuest, spoil } from './nesting-guest.ts';
import type { Random } from './random.ts';

const NESTED_PAGING = ['2-level', 'pse', 'pae'] as const;
type NestedPaging = (typeof NESTED_PAGING)[number];

const PLACE = {
  /** L1's tables: two pages of 2-level ones, and of PAE ones a PDPT, a directory and a table. */
  DIRECTORY: 0xc_0000,
  TABLE: 0xc_1000,
  PDPT: 0xc_2000,
  /** Where L1 writes what before each VMRUN, and what it asks its host: 256 words each. */
  EDIT_PLACES: 0xc_8000,
  EDITS: 0xc_8400,
  ASKED: 0xc_8800,
  /** Nested tables: a root, then directories and tables in any role. */
  NESTED: 0xd_0000,
} as const;
const NESTED_PAGES = 16;
const EDITS = 256;
const PAGES = MACHINE_MEMORY / 0x1000;
/** Most entries that L2 uses are among the first of a table. */
const USED = 0x90;

/** The memory of an L1 that starts as `nestingGuest` says. `nx`: the processor has it. */
export function nestedPagingGuest(random: Random, nx: boolean): Uint8Array {
  const paging = random.pick(NESTED_PAGING);
  const mode = random.pick(MODES);
  const guest = hostileGuest(random, {
    mode,
    paging: random.pick(PAGING),
    nx,
    vme: true,
    runsOn: !random.oneIn(3),
  });
  const asks = random.oneIn(3);
  const nxe = nx && paging === 'pae' && random.oneIn(2) ? EFER.NXE : 0;
  const bytes = nestingGuest(random, guest, {
    exitsEach: random.pick([1, 4, 16]),
    spoil: (vmcb) => fillNested(random, vmcb),
    prepare: (a) => {
      a.mov(ecx, MSR.EFER);
      a.mov(eax, EFER.SVME | nxe);
      a.mov(edx, 0);
      a.wrmsr();
      a.mov(
        eax,
        (paging === 'pse' ? CR4.PSE : paging === 'pae' ? CR4.PAE : 0) | (random.oneIn(3) ? CR4.SMEP : 0),
      );
      a.mov(cr4, eax);
      a.mov(eax, paging === 'pae' ? PLACE.PDPT : PLACE.DIRECTORY);
      a.mov(cr3, eax);
      a.mov(eax, (CR0.PE | CR0.ET | CR0.PG | (random.oneIn(2) ? CR0.WP : 0)) >>> 0);
      a.mov(cr0, eax);
    },
    before: (a) => {
      a.mov(ebx, mem32(L1.COUNT));
      a.and(ebx, EDITS - 1);
      a.shl(ebx, 2);
      a.mov(esi, mem32(ebx, PLACE.EDIT_PLACES));
      a.mov(eax, mem32(ebx, PLACE.EDITS));
      a.mov(mem32(esi), eax);
      if (!asks) return;
      a.mov(edx, HOST_MEMORY.PORT);
      a.mov(eax, mem32(ebx, PLACE.ASKED));
      a.out(dx, eax);
    },
  });
  const view = new DataView(bytes.buffer);
  identity(view);
  nestedTables(random, view, paging, nxe !== 0);
  edits(random, view, paging, nxe !== 0);
  return bytes;
}

/** L1's own tables, in both formats: every page as it is. */
function identity(view: DataView): void {
  view.setUint32(PLACE.DIRECTORY, PLACE.TABLE | 7, true);
  view.setUint32(PLACE.PDPT, (PLACE.PDPT + 0x1000) | 1, true);
  view.setUint32(PLACE.PDPT + 0x1000, (PLACE.PDPT + 0x2000) | 7, true);
  for (let page = 0; page < PAGES; page++) {
    view.setUint32(PLACE.TABLE + page * 4, (page << 12) | 7, true);
    view.setUint32(PLACE.PDPT + 0x2000 + page * 8, (page << 12) | 7, true);
  }
}

function fillNested(random: Random, vmcb: DataView): void {
  const set = (offset: number, value: number): void => vmcb.setUint32(offset, value >>> 0, true);
  if (!random.oneIn(12)) set(VMCB.NESTED_CTL, NESTED_CTL.NP_ENABLE);
  set(VMCB.N_CR3, random.oneIn(4) ? anyPage(random) : PLACE.NESTED);
  if (random.oneIn(8)) set(VMCB.N_CR3, random.boundary());
  if (random.oneIn(24)) set(VMCB.N_CR3 + 4, random.boundary());
  if (random.oneIn(3)) for (const half of [0, 4]) set(VMCB_SAVE.G_PAT + half, anyPat(random));
  if (random.oneIn(3)) {
    // An L2 that has paging from its first instruction on, with whatever tables.
    set(VMCB_SAVE.CR0, CR0.PE | CR0.ET | CR0.PG | (random.oneIn(2) ? CR0.WP : 0));
    set(VMCB_SAVE.CR3, random.oneIn(2) ? anyPage(random) : random.pick([0x1_0000, 0x1_8000]));
    set(VMCB_SAVE.CR4, random.pick([0, CR4.PSE, CR4.PAE, CR4.PAE | CR4.PGE]));
  }
  if (random.oneIn(10)) spoil(vmcb, random);
}

/** Mostly types that there are. */
const anyPat = (random: Random): number =>
  random.oneIn(6) ? random.u32() : random.pick([0x0007_0406, 0x0607_0501, 0]);

/** Somewhere in memory or out of it, where something is that matters. */
function anyPage(random: Random): number {
  switch (random.below(8)) {
    case 0:
      return random.pick([L1.VMCB, L1.IOPM, L1.MSRPM, L1.HSAVE, L1.CODE & ~0xfff, L1.VMCBS]);
    case 1:
      return random.pick([
        PLACE.DIRECTORY,
        PLACE.TABLE,
        PLACE.PDPT,
        PLACE.PDPT + 0x1000,
        PLACE.PDPT + 0x2000,
      ]);
    case 2:
      return random.pick([0xfee0_0000, 0xfec0_0000, 0xb_8000, 0x1000_0000, 0xffff_f000, 0x8000_0000]);
    case 3:
    case 4:
      return PLACE.NESTED + random.below(NESTED_PAGES) * 0x1000;
    default:
      return random.below(PAGES) * 0x1000;
  }
}

const flags = (random: Random): number =>
  random.oneIn(5) ? random.below(0x1000) : 7 | (random.u32() & 0x60);

function anyEntry(random: Random): number {
  if (random.oneIn(24)) return random.u32();
  return (anyPage(random) | flags(random)) >>> 0;
}

function high(random: Random, nx: boolean): number {
  if (random.oneIn(40)) return random.u32();
  return nx && random.oneIn(8) ? 0x8000_0000 : random.oneIn(60) ? 1 + random.below(0x1_0000) : 0;
}

/** Tables in the format of L1's mode. Most pages are where they are for L1; some guests have many that are not. */
function nestedTables(random: Random, view: DataView, paging: NestedPaging, nx: boolean): void {
  const mess = random.pick([4, 16, 64]);
  const set = (page: number, index: number, lo: number, hi: number): void => {
    const at = PLACE.NESTED + page * 0x1000;
    if (paging !== 'pae') view.setUint32(at + index * 4, lo >>> 0, true);
    else {
      view.setUint32(at + index * 8, lo >>> 0, true);
      view.setUint32(at + index * 8 + 4, hi >>> 0, true);
    }
  };
  const entries = paging === 'pae' ? 512 : 1024;
  for (let page = 0; page < NESTED_PAGES; page++) {
    for (let index = 0; index < entries; index++) set(page, index, anyEntry(random), high(random, nx));
  }
  const table = paging === 'pae' ? 5 : 1;
  if (paging === 'pae') {
    for (let n = 0; n < 4; n++) set(0, n, (PLACE.NESTED + (n + 1) * 0x1000) | 1, 0);
    set(1, 0, (PLACE.NESTED + table * 0x1000) | 7, 0);
  } else set(0, 0, (PLACE.NESTED + table * 0x1000) | 7, 0);
  for (let page = 0; page < PAGES; page++) {
    if (random.oneIn(mess)) continue;
    set(table, page, (page << 12) | 7, 0);
  }
}

/** Changes of nested tables, sometimes of L1's own or of a VMCB; and what the host is to do with pages. */
function edits(random: Random, view: DataView, paging: NestedPaging, nx: boolean): void {
  const width = paging === 'pae' ? 8 : 4;
  for (let n = 0; n < EDITS; n++) {
    const page = random.below(paging === 'pae' ? 6 : 3);
    let place = PLACE.NESTED + page * 0x1000 + random.below(random.oneIn(4) ? 0x1000 / width : USED) * width;
    let value = anyEntry(random);
    if (width === 8 && random.oneIn(5)) {
      place += 4;
      value = high(random, nx);
    } else if (!random.oneIn(3)) value = (((place & 0xfff) / width) << 12) | flags(random);
    if (random.oneIn(12)) [place, value] = [L1.VMCB + VMCB.N_CR3, anyPage(random)];
    if (random.oneIn(12)) [place, value] = [L1.VMCB + VMCB.TLB_CONTROL, random.pick([0, 1, 3, 7])];
    if (random.oneIn(16)) [place, value] = [L1.VMCB + VMCB.NESTED_CTL, random.below(2)];
    view.setUint32(PLACE.EDIT_PLACES + n * 4, place, true);
    view.setUint32(PLACE.EDITS + n * 4, value >>> 0, true);
    const action = random.pick([HOST_MEMORY.MOVE, HOST_MEMORY.MOVE, HOST_MEMORY.REMOVE, HOST_MEMORY.RETURN]);
    const asked = random.oneIn(3)
      ? random.below(0x80) * 0x1000
      : PLACE.NESTED + random.below(NESTED_PAGES) * 0x1000;
    view.setUint32(PLACE.ASKED + n * 4, random.oneIn(4) ? 0 : asked + action, true);
  }
}
