import type { EntryFlags, Flag, Scenario, Step } from '../../scenario.ts';
import { ProbeWriter } from '../probes.ts';
import type { Target } from '../space.ts';
import { type NptCell, nptScenario, nptSpaces, SETTLED, visitA } from './cell.ts';
import { type GuestLeaf, guestOver } from './guest.ts';

// biome-ignore format: table
/** What L2's own entry says of a page. Wide ones are for 8-byte entries. */
const GUEST_KINDS: readonly { flags: EntryFlags; about: string; wide?: true }[] = [
  { flags: SETTLED,           about: 'all rights' },      { flags: 'P U A',      about: 'read-only' },
  { flags: 'P W A D',         about: 'supervisor' },      { flags: 'P W U',      about: 'untouched' },
  { flags: 'P W U A D NX',    about: 'nx', wide: true },  { flags: 'P W U A 51', about: 'reserved', wide: true },
];

// biome-ignore format: table
/** Flags of L1, which do and do not matter to its nested tables, and those of L2 in two visits. */
const FLAGS: readonly (readonly [l1: readonly Flag[], first: readonly Flag[], second: readonly Flag[]])[] = [
  [[],                                               ['CR0.WP'],             []],
  [['CR0.WP', 'EFER.NX'],                            ['EFER.NX'],            ['CR0.WP', 'CR4.SMEP', 'EFER.NX']],
  [['CR0.WP', 'CR4.SMEP', 'CR4.SMAP'],               ['CR4.SMEP'],           ['CR0.WP', 'CR4.SMAP']],
  [['CR4.SMEP', 'CR4.PGE', 'EFER.NX'],               ['CR0.WP', 'EFER.NX'],  ['CR4.SMAP', 'CR4.PGE', 'EFER.NX']],
];

/** Rights of nested leaves and directories of all kinds, with the rights of L2's own entries. */
export const rightsScenarios = (cell: NptCell): Scenario[] =>
  FLAGS.map(([l1Flags, first, second], number): Scenario => {
    const spaces = nptSpaces(cell);
    const leaves = leavesOver(spaces.nested.targets, cell.l2 === 'PAE', number);
    const guest = guestOver(cell.l2, leaves);
    // Without paging L2 has no entries of its own to be of some kind.
    const isPlain = (index: number): boolean => cell.l2 === 'off' || leaves[index].flags === SETTLED;
    const plain = guest.targets.filter((_, index) => isPlain(index));
    const others = guest.targets.filter((target) => !plain.includes(target));
    const writer = new ProbeWriter(number * 5);
    const look = (targets: readonly Target[]): Step[] => writer.some(targets);
    return nptScenario(cell, {
      family: `rights-${number}`,
      about: 'Every kind of nested entry below every kind of L2 entry, with flags of L1 and L2.',
      spaces,
      guest,
      l1Flags,
      l2Flags: first,
      steps: [
        { do: 'registers' },
        ...look(spaces.outer.targets),
        ...visitA([{ do: 'registers' }, ...writer.all(plain), ...look(others)]),
        ...look(spaces.outer.targets),
        ...visitA(look(guest.targets), { flags: second }),
        ...visitA(look(plain), { tlbControl: 'asid' }),
      ],
    });
  });

/** Each nested target with all rights, and, changing from scenario to scenario, with two of the other kinds. */
function leavesOver(targets: readonly Target[], wide: boolean, turn: number): GuestLeaf[] {
  const kinds = GUEST_KINDS.filter((kind) => kind.wide !== true || wide);
  const leaf = (target: Target, number: number): GuestLeaf => {
    const { flags, about } = kinds[number];
    return { to: target.at, flags, target, about: `${about} over ${target.about}` };
  };
  return targets.flatMap((target, index) => {
    const others = kinds.length - 1;
    const [one, two] = [0, 1].map((step) => 1 + ((index + 2 * turn + step) % others));
    return [leaf(target, 0), leaf(target, one), leaf(target, two)];
  });
}
