import fc from 'fast-check';
import type { Entry } from '../scenario.ts';
import { PDPT_OFFSET, type Shape } from './shape.ts';

/** A place of a paging-structure entry that a walk for one of the linear pages comes by. */
export interface Slot {
  readonly kind: 'PDE4' | 'PTE4' | 'PDE8' | 'PTE8' | 'PDPTE';
  readonly page: string;
  readonly index: number;
}

export const widthOf = ({ kind }: Slot): 4 | 8 => (kind === 'PDE4' || kind === 'PTE4' ? 4 : 8);

/** Every place that some walk may come by: any table may be met at any level. The first PDPTE is the agents'. */
export function slotsOf({ roots, tables, frames, linear }: Shape): Slot[] {
  const slots = linear.flatMap(({ gib, span, page }): Slot[] => {
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
  });
  const unique = new Map(slots.map((slot) => [`${slot.kind} ${slot.page} ${slot.index}`, slot]));
  return [...unique.values()];
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
export function entryFor(slot: Slot, { roots, tables, data, frames }: Shape): fc.Arbitrary<Entry> {
  const wide = widthOf(slot) === 8;
  const tableLike = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...tables) },
    { weight: 1, arbitrary: fc.constantFrom(...frames, ...roots, ...data) },
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
      const half = fc.constantFrom('', '+0x200000');
      const large = fc
        .tuple(fc.constantFrom(...frames), half)
        .map(([frame, offset]) => (wide ? frame + offset : frame));
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
        { weight: 1, arbitrary: entry(large, largeFlags) },
      );
    }
    default: {
      const page = fc.oneof(
        { weight: 5, arbitrary: fc.constantFrom(...data) },
        { weight: 2, arbitrary: fc.constantFrom(...tables) },
        { weight: 1, arbitrary: fc.constantFrom(...roots, ...frames) },
      );
      return entry(page, fc.tuple(rights, seen, further, sometimes(12, 'G')).map(unrepeated));
    }
  }
}

const unrepeated = (parts: readonly string[]): string =>
  [...new Set(flagText(...parts).split(' '))].join(' ').trim();

const entry = (to: fc.Arbitrary<string>, text: fc.Arbitrary<string>): fc.Arbitrary<Entry> =>
  fc.tuple(to, text).map(([page, flagsText]) => ({ to: page, flags: flagsText }));
