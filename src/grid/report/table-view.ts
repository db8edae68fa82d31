import { ENTRY, type PagingFormat } from '../../arch/paging/format.ts';
import { listPages, type MappedPage } from '../../arch/paging/table-list.ts';
import { cpuRoleBase, roleString } from '../../l0/mmu/role.ts';
import type { ShadowPage } from '../../l0/mmu/shadow-page.ts';
import { isMmio, SPTE, SPTE_HI_NX } from '../../l0/mmu/spte.ts';
import type { HostedMachine } from '../../vmm/hosted-machine.ts';
import { GuestMemory, HostTables, NestedMemory } from './table-memory.ts';

/** A run of addresses that the guest's tables and those of L0 treat alike. */
export interface TableRow {
  /** First and last address. */
  readonly from: number;
  readonly to: number;
  /** What the guest's tables say, `P W U A D -> 304`; empty where they map nothing. */
  readonly guest: string;
  /** What L0's tables say, `rwxu -> 304`; empty where the first access will still fault. */
  readonly shadow: string;
}

/** The guest's tables beside L0's, as both were at one moment. */
export interface TableView {
  /** Of `rows`: those that the guest's instructions use, or those that L1's nested tables translate. */
  readonly addresses: 'linear' | 'L2-physical';
  readonly rows: readonly TableRow[];
  /**
   * Where L1 uses nested paging, L2's own tables by linear addresses: what they say, with the L2-physical frame, and what L0's
   * say of that frame. Absent while L2 has paging off.
   */
  readonly own?: readonly TableRow[];
  /** Shadow pages below the current root, `gfn 303 l1 8-byte q0 ...`. */
  readonly shadowPages: readonly string[];
}

/** An entry that maps a page, as it lies in memory. */
export interface LeafView {
  readonly lo: number;
  readonly hi: number;
  readonly level: number;
  /** First frame behind it; -1 for an MMIO entry. */
  readonly frame: number;
}

/** The entries behind one linear address. */
export interface PageView {
  /** The guest's own; absent without paging and where its tables map nothing. */
  readonly guest?: LeafView;
  /** L0's; absent where the next access will fault. */
  readonly shadow?: LeafView;
  /** Shadow page that L0's entry is in: `gfn 304 l1 8-byte q0 ...`. */
  readonly shadowPage?: string;
}

/** Entries listed at most: more than scenarios have, and an end to tables that refer to themselves. */
const MOST_ENTRIES = 65_536;
const GUEST_FLAGS = [
  ['P', ENTRY.P],
  ['W', ENTRY.W],
  ['U', ENTRY.U],
  ['A', ENTRY.A],
  ['D', ENTRY.D],
  ['G', ENTRY.G],
] as const;

/** A page by its number: the flags of its entry, and the frame behind it, a guest frame on either side. */
interface PageText {
  readonly flags: string;
  readonly frame: number;
}

/** The tables of whoever runs on a machine's vCPU now, with the current root of its MMU. */
export function viewTables(machine: HostedMachine): TableView {
  const { format, kind } = machine.vcpu.mmu.context;
  const guest = format === null ? new Map<number, PageText>() : guestPages(machine, format);
  const shadow = shadowPages(machine);
  if (kind !== 'nested') {
    // Nested tables that map memory as it is are entered by what the guest's own say.
    const through = kind === 'direct' && format !== null;
    const rows = through ? rowsThrough(guest, shadow.pages) : rowsBeside(guest, shadow.pages);
    return { addresses: 'linear', rows, shadowPages: shadow.tables };
  }
  const own = pagesOfL2(machine, guest);
  return {
    addresses: 'L2-physical',
    rows: rowsBeside(guest, shadow.pages),
    ...(own && { own: rowsThrough(own, shadow.pages) }),
    shadowPages: shadow.tables,
  };
}

type Pages = ReadonlyMap<number, PageText>;

/** Two sets of tables that translate the same addresses. */
const rowsBeside = (guest: Pages, shadow: Pages): TableRow[] =>
  rowsOf([...guest.keys(), ...shadow.keys()], guest, (number) => shadow.get(number));

/** Tables, and others that translate what those lead to. */
const rowsThrough = (guest: Pages, shadow: Pages): TableRow[] =>
  rowsOf([...guest.keys()], guest, (number) => shadow.get(guest.get(number)?.frame ?? -1));

function rowsOf(
  numbers: readonly number[],
  guestPage: Pages,
  shadowAt: (number: number) => PageText | undefined,
): TableRow[] {
  const rows: TableRow[] = [];
  let last: { number: number; guest: PageText | undefined; shadow: PageText | undefined } | undefined;
  for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
    const now = { number, guest: guestPage.get(number), shadow: shadowAt(number) };
    const goesOn =
      last !== undefined &&
      number === last.number + 1 &&
      follows(last.guest, now.guest) &&
      follows(last.shadow, now.shadow);
    const to = number * 4096 + 0xfff;
    const row = rows.at(-1);
    if (goesOn && row !== undefined) rows[rows.length - 1] = { ...row, to };
    else rows.push({ from: number * 4096, to, guest: textOf(now.guest), shadow: textOf(now.shadow) });
    last = now;
  }
  return rows;
}

/** What the tables of an L2 with nested paging map; undefined while it has paging off. */
function pagesOfL2(machine: HostedMachine, nested: Pages): Map<number, PageText> | undefined {
  const { state, mmu } = machine.vcpu;
  const role = cpuRoleBase(state.cr0, state.cr4, state.efer, true);
  const format = mmu.context.formats.of(role, true);
  if (format === null) return undefined;
  const roots = [{ lo: state.cr3, hi: 0 }];
  return pageTexts(
    listPages(format, roots, new NestedMemory(machine, (page) => nested.get(page)?.frame), MOST_ENTRIES),
    format,
  );
}

/** The entries behind an address of whoever runs on a machine's vCPU now: linear, or as `TableView.addresses` says. */
export function viewPage(machine: HostedMachine, address: number): PageView {
  const { context, tables } = machine.vcpu.mmu;
  const behind = (pages: Iterable<MappedPage>, number: number): MappedPage | undefined => {
    for (const page of pages)
      if (number >= page.pageNumber && number < page.pageNumber + page.pages) return page;
    return undefined;
  };
  const guest =
    context.format === null ? undefined : behind(guestLeaves(machine, context.format), address >>> 12);
  const through = context.kind === 'direct' ? guest : undefined;
  const number =
    through === undefined ? address >>> 12 : through.frame + ((address >>> 12) - through.pageNumber);
  const shadow = behind(shadowLeaves(machine), number);
  const owner = shadow && tables.pool.at(shadow.entryAddress - (shadow.entryAddress % 4096));
  return {
    ...(guest && { guest }),
    ...(shadow && owner && { shadow, shadowPage: shadowPageText(owner) }),
  };
}

const shadowPageText = ({ gfn, role }: ShadowPage): string => `gfn ${gfn.toString(16)} ${roleString(role)}`;

const textOf = (page: PageText | undefined): string =>
  page === undefined ? '' : page.frame < 0 ? page.flags : `${page.flags} -> ${page.frame.toString(16)}`;

const follows = (last: PageText | undefined, now: PageText | undefined): boolean =>
  last === undefined || now === undefined
    ? last === now
    : last.flags === now.flags && now.frame === last.frame + (now.frame < 0 ? 0 : 1);

/** What the guest's tables map. */
function guestLeaves(machine: HostedMachine, format: PagingFormat): Iterable<MappedPage> {
  const { pdptes, cr3 } = machine.vcpu.mmu.context.registers;
  const roots = format.rootIsEntry
    ? [0, 1, 2, 3].map((index) => ({ lo: pdptes[index * 2], hi: pdptes[index * 2 + 1] }))
    : [{ lo: cr3, hi: 0 }];
  return listPages(format, roots, new GuestMemory(machine), MOST_ENTRIES);
}

const guestPages = (machine: HostedMachine, format: PagingFormat): Map<number, PageText> =>
  pageTexts(guestLeaves(machine, format), format);

function pageTexts(leaves: Iterable<MappedPage>, format: PagingFormat): Map<number, PageText> {
  const pages = new Map<number, PageText>();
  for (const page of leaves) {
    const flags: string[] = GUEST_FLAGS.filter(([, bit]) => (page.lo & bit) !== 0).map(([name]) => name);
    if (page.level > 1) flags.push(`${page.pages * 4}K`);
    if (format.entrySize === 8 && page.hi >>> 31 !== 0) flags.push('NX');
    addPages(pages, page, flags.join(' '), page.frame);
  }
  return pages;
}

function addPages(map: Map<number, PageText>, page: MappedPage, flags: string, frame: number): void {
  for (let index = 0; index < page.pages; index += 1) {
    map.set(page.pageNumber + index, { flags, frame: frame < 0 ? frame : frame + index });
  }
}

/** What L0's tables below the current root map, read out of host memory as the processor reads it. */
function shadowLeaves(machine: HostedMachine): Iterable<MappedPage> {
  const { roots, context } = machine.vcpu.mmu;
  const { current } = roots;
  if (!current.hasPointers) {
    const { formats } = context;
    return listPages(
      formats.twoLevel,
      [{ lo: current.address, hi: 0 }],
      new HostTables(machine),
      MOST_ENTRIES,
    );
  }
  const directories = roots.current.directories.map((directory) => ({
    lo: directory === null ? 0 : directory.address + ENTRY.P,
    hi: 0,
  }));
  return listPages(context.formats.pae, directories, new HostTables(machine), MOST_ENTRIES);
}

function shadowPages(machine: HostedMachine): {
  readonly pages: Map<number, PageText>;
  readonly tables: readonly string[];
} {
  const { pool } = machine.vcpu.mmu.tables;
  const pages = new Map<number, PageText>();
  const used = new Set<string>();
  for (const page of shadowLeaves(machine)) {
    const owner = pool.at(page.entryAddress - (page.entryAddress % 4096));
    const entry = ((page.entryAddress % 4096) / 4096) * pool.format.entries;
    used.add(shadowPageText(owner));
    if (isMmio(page.lo, page.hi)) addPages(pages, page, 'MMIO', -1);
    else addPages(pages, page, rightsText(page), pool.frames[owner.reference(entry)]);
  }
  return { pages, tables: [...used] };
}

/** `rwxu`, with `-` for what an entry of L0's does not allow. */
export const rightsText = ({ lo, hi, level }: LeafView): string =>
  [
    'r',
    (lo & SPTE.W) !== 0 ? 'w' : '-',
    (hi & SPTE_HI_NX) === 0 ? 'x' : '-',
    (lo & SPTE.U) !== 0 ? 'u' : '-',
    level > 1 ? ' large' : '',
  ].join('');
