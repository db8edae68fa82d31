import fc from 'fast-check';
import type { Entry } from '../scenario.ts';
import { type LinearPage, linearAddress, otherHalf, PDPT_OFFSET, type Shape } from './shape.ts';

/** A place of a paging-structure entry that a walk for one of the linear pages comes by. */
export interface Slot {
  readonly kind: 'PDE4' | 'PTE4' | 'PDE8' | 'PTE8' | 'PDPTE';
  readonly page: string;
  readonly index: number;
  /** For nested tables, which lead to L1's pages; what this translates then. */
  readonly nested?: 'tables' | 'data';
}

export const widthOf = ({ kind }: Slot): 4 | 8 => (kind === 'PDE4' || kind === 'PTE4' ? 4 : 8);

/** Every place that some walk may come by: any table may be met at any level. */
export function slotsOf(ground: Shape): Slot[] {
  const { roots, linear } = ground;
  const own = linear.flatMap((page) => slotsOn(ground, roots, page));
  // Where a table of L2 and a nested one share a slot, it is made for the former.
  const slots = [...nestedSlotsOf(ground), ...own];
  const unique = new Map(slots.map((slot) => [`${slot.kind} ${slot.page} ${slot.index}`, slot]));
  return [...unique.values()];
}

/** Those that nested walks come by, for L2-physical pages. */
export function nestedSlotsOf(ground: Shape): Slot[] {
  const { nested, linear } = ground;
  if (nested === undefined) return [];
  const { roots, pages } = nested;
  // A large page of L2 leads to the place in a nested one that its linear address has.
  const inLarge = pages.flatMap((start) => linear.map(({ page }) => ({ ...start, page })));
  return [...inLarge, ...pages].flatMap((page) =>
    slotsOn(ground, roots, page).map(
      (slot): Slot => ({ ...slot, nested: page === pages[0] ? 'tables' : 'data' }),
    ),
  );
}

/** The slots on the way from some roots to a page. The first PDPTE is the agents'. */
function slotsOn(
  { tables, frames }: Shape,
  roots: readonly string[],
  { gib, span, page }: LinearPage,
): Slot[] {
  const half = page >>> 9;
  const pde4 = roots.map((root): Slot => ({ kind: 'PDE4', page: root, index: gib * 256 + span }));
  const pdpte = (gib === 0 ? [] : roots).map(
    (root): Slot => ({ kind: 'PDPTE', page: root, index: PDPT_OFFSET / 8 + gib }),
  );
  const below = [...tables, ...frames].flatMap((table): Slot[] => [
    { kind: 'PTE4', page: table, index: page },
    { kind: 'PDE8', page: table, index: span * 2 + half },
    { kind: 'PTE8', page: table, index: page % 512 },
  ]);
  return [...pde4, ...pdpte, ...below];
}

/** Numbers of the 4-KiB pages, in their 4 MiB, at which probes may end in a large page. */
export function pagesInFrames({ linear, nested }: Shape): number[] {
  const probed = new Set(
    [...linear, ...(nested?.pages ?? [])].flatMap(({ page }) => [page, otherHalf(page)]),
  );
  return [...probed].sort((a, b) => a - b);
}

// biome-ignore format: table
const RIGHTS = ['P W U', 'P U', 'P W', 'P', 'W U', ''];

const flagText = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join(' ');
const sometimes = (weight: number, ...texts: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof({ weight, arbitrary: fc.constant('') }, { weight: 1, arbitrary: fc.constantFrom(...texts) });

const rightsIn = (weight: number): fc.Arbitrary<string> =>
  fc.oneof({ weight, arbitrary: fc.constant('P W U') }, { weight: 1, arbitrary: fc.constantFrom(...RIGHTS) });
/** What leads on mostly does, so that something stands behind it; what is there differs. */
const tableRights = rightsIn(6);
const rights = rightsIn(1);
const seen = sometimes(2, 'A', 'A D');

/** What an entry at a slot may become: mostly what leads on. */
export function entryFor(slot: Slot, { roots, tables, data, frames, nested }: Shape): fc.Arbitrary<Entry> {
  const wide = widthOf(slot) === 8;
  // L2 names L1's pages, which nested tables always map where they are, and its own.
  const l2Physical = slot.nested === undefined ? (nested?.pages ?? []).map(linearAddress) : [];
  const tableLike = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom<Target>(...tables) },
    { weight: 1, arbitrary: fc.constantFrom<Target>(...frames, ...roots, ...data) },
    ...among(4, l2Physical.slice(0, 1)),
    ...among(1, l2Physical),
  );
  const further = wide
    ? sometimes(3, 'NX', 'NX', 'NX', 'G', '51', '40', 'PCD')
    : sometimes(6, 'G', 'PWT', 'PCD');
  switch (slot.kind) {
    case 'PDPTE':
      // Anything but P and the address is mostly illegal (SDM vol. 3A table 4-8).
      return entry(
        tableLike,
        sometimes(12, 'W', '5', '51').map((extra) => flagText('P', extra)),
      );
    case 'PDE4':
    case 'PDE8': {
      const shape36 = wide ? sometimes(8, '13', '20') : sometimes(6, '21', '13', '16');
      const largeFlags = fc.tuple(rights, seen, further, shape36).map((parts) => flagText(...parts, 'PS'));
      return fc.oneof(
        {
          weight: 3,
          arbitrary: entry(
            tableLike,
            fc.tuple(tableRights, seen, further).map((parts) => flagText(...parts)),
          ),
        },
        { weight: 1, arbitrary: entry(largePage(frames, l2Physical, wide), largeFlags) },
      );
    }
    default: {
      const [toData, toTables] = slot.nested === 'tables' ? [1, 6] : [5, 2];
      const page = fc.oneof(
        { weight: toData, arbitrary: fc.constantFrom<Target>(...data) },
        { weight: toTables, arbitrary: fc.constantFrom<Target>(...tables) },
        { weight: 1, arbitrary: fc.constantFrom<Target>(...roots, ...frames) },
        ...among(8, l2Physical),
      );
      // Nested tables that forbid as much as others would hide what is behind them.
      const own = slot.nested === undefined ? rights : rightsIn(3);
      return entry(page, fc.tuple(own, seen, further, sometimes(12, 'G')).map(unrepeated));
    }
  }
}

/** What an entry names: a page of L1, or an L2-physical address. */
type Target = string | number;

const among = (
  weight: number,
  addresses: readonly number[],
): { weight: number; arbitrary: fc.Arbitrary<Target> }[] =>
  addresses.length === 0 ? [] : [{ weight, arbitrary: fc.constantFrom<Target>(...addresses) }];

/** A frame, or the 4 MiB around an L2-physical address; of 8-byte entries one half of it. */
function largePage(
  frames: readonly string[],
  l2Physical: readonly number[],
  wide: boolean,
): fc.Arbitrary<Target> {
  const half = fc.constantFrom('', '+0x200000');
  const frame = fc
    .tuple(fc.constantFrom(...frames), half)
    .map(([name, offset]): Target => (wide ? name + offset : name));
  const bases = l2Physical.map((address) => address - (address % LARGE));
  const halves = wide ? bases.flatMap((base) => [base, base + LARGE / 2]) : bases;
  return halves.length === 0 ? frame : fc.oneof({ weight: 1, arbitrary: frame }, ...among(1, halves));
}
const LARGE = 0x40_0000;

const unrepeated = (parts: readonly string[]): string =>
  [...new Set(flagText(...parts).split(' '))].join(' ').trim();

const entry = (to: fc.Arbitrary<Target>, text: fc.Arbitrary<string>): fc.Arbitrary<Entry> =>
  fc.tuple(to, text).map(([page, flagsText]) => ({ to: page, flags: flagsText }));
