import type { EditStep, Entry, Scenario, Step } from '../scenario.ts';
import { type Cell, cellScenarioName, pagesOf, withFeatures } from './cell.ts';
import { BASIC_PROBES, ProbeWriter } from './probes.ts';
import { type EntryPlace, type MatrixSpace, matrixSpace, stateOf, type Target } from './space.ts';

/** An entry that is edited again and again, what it maps at first, and an address below it. */
export interface Victim {
  readonly place: EntryPlace;
  readonly target: Target;
  readonly values: readonly Entry[];
}

// biome-ignore format: table
/** Flags that an entry goes through; between two of them it has all rights again. Wide ones are for 8-byte entries. */
const FLAG_TOUR: readonly { flags: string; wide?: true }[] = [
  { flags: '' }, { flags: 'P U' }, { flags: 'P W' }, { flags: 'P' }, { flags: 'W U' }, { flags: 'P W U A' },
  { flags: 'P U A' }, { flags: 'P W U A D' }, { flags: 'P W U NX', wide: true }, { flags: 'P U NX A', wide: true },
  { flags: 'P W U 51', wide: true }, { flags: 'P NX', wide: true },
];
const ALL_RIGHTS = 'P W U';

/** What a level does about an edit before it looks again. */
type Invalidation = 'nothing' | 'invlpg' | 'reload-cr3';
const INVALIDATIONS: readonly Invalidation[] = ['nothing', 'invlpg', 'reload-cr3'];

const SPACE_OPTIONS = {
  leaves: ['present', 'read-only', 'dirty'],
  directories: ['dir', 'dir-read-only', 'dir-supervisor', 'large', 'large-read-only'],
} as const;

/**
 * Table entries change at each level, with and without an invalidation: each level edits its own tables, L1 edits
 * L2's between two visits, and L2 edits L1's.
 */
export function editScenarios(cell: Cell): Scenario[] {
  const scenarios = [ownEdits(cell, 'l1'), editsFromOutside(cell, 'l2')];
  if (cell.l2 === 'off') return scenarios;
  return [...scenarios, ownEdits(cell, 'l2'), editsFromOutside(cell, 'l1')];
}

/** One level edits its own tables. L2's part comes in two visits, so that there is a way there and back between. */
function ownEdits(cell: Cell, who: 'l1' | 'l2'): Scenario {
  const { outer, inner } = spaces(cell, 1);
  const writer = new ProbeWriter();
  const mine = who === 'l1' ? outer : inner;
  const tours = victims(mine).map((victim, index) => ownTour(victim, index, writer));
  const half = Math.ceil(tours.length / 2);
  const parts = [tours.slice(0, half).flat(), tours.slice(half).flat()];
  const visit = (steps: readonly Step[]): Step[] => [{ do: 'enter', l2: 'A' }, ...steps, { do: 'leave' }];
  const look = (space: MatrixSpace): Step[] => writer.some(space.targets);
  const steps = parts.flatMap((part) =>
    who === 'l1' ? [...part, ...visit(look(inner)), ...look(outer)] : [...look(outer), ...visit(part)],
  );
  return scenario(
    cell,
    `edits-of-${who}`,
    `Table entries of ${who.toUpperCase()} change at every level, by itself.`,
    outer,
    inner,
    steps,
  );
}

/** Edits by the level itself: probe, edit, probe, invalidate, probe. */
function ownTour({ place, target, values }: Victim, number: number, writer: ProbeWriter): Step[] {
  return values.flatMap((entry, index) => {
    const kind = (offset: number) => BASIC_PROBES[(index + offset) % BASIC_PROBES.length];
    const invalidation = INVALIDATIONS[(index + number) % INVALIDATIONS.length];
    return [
      writer.probe(target, kind(0)),
      edit(place, entry, index),
      writer.probe(target, kind(1)),
      ...invalidate(invalidation, target),
      writer.probe(target, kind(3)),
      writer.probe(target, kind(4)),
      readEntry(place),
    ];
  });
}

/** The other level edits: L1 while L2 is away, or L2 while L1 waits. */
function editsFromOutside(cell: Cell, editor: 'l1' | 'l2'): Scenario {
  const { outer, inner } = spaces(cell, 2);
  const writer = new ProbeWriter(7);
  const edited = editor === 'l1' ? inner : outer;
  const steps: Step[] = [];
  const all = victims(edited);
  const rounds = Math.max(...all.map(({ values }) => values.length));
  for (let round = 0; round < rounds; round++) {
    const edits = all.flatMap(({ place, values }) =>
      round < values.length ? [edit(place, values[round], round)] : [],
    );
    const kind = (offset: number) => BASIC_PROBES[(round + offset) % BASIC_PROBES.length];
    const look = all.flatMap(({ place, target }, index): Step[] => [
      writer.probe(target, kind(index)),
      ...invalidate(INVALIDATIONS[(round + index) % INVALIDATIONS.length], target),
      writer.probe(target, kind(index + 1)),
      readEntry(place),
    ]);
    const flush = round % 4 === 3 ? ({ vmcb: { tlbControl: 'asid' } } as const) : {};
    if (editor === 'l1') steps.push(...edits, { do: 'enter', l2: 'A', ...flush }, ...look, { do: 'leave' });
    else steps.push(...look, { do: 'enter', l2: 'A', ...flush }, ...edits, { do: 'leave' });
  }
  const [by, of] = editor === 'l1' ? ['L1', 'L2'] : ['L2', 'L1'];
  return scenario(
    cell,
    `edits-by-${editor}`,
    `${by} changes table entries of ${of} while ${of} is away.`,
    outer,
    inner,
    steps,
  );
}

function spaces(cell: Cell, quadrant: 0 | 1 | 2 | 3): { outer: MatrixSpace; inner: MatrixSpace } {
  return {
    outer: matrixSpace('l1', cell.l1, { ...SPACE_OPTIONS, quadrant, frame: 0 }),
    inner: matrixSpace('l2', cell.l2, { ...SPACE_OPTIONS, quadrant, frame: 1 }),
  };
}

function scenario(
  cell: Cell,
  family: string,
  about: string,
  outer: MatrixSpace,
  inner: MatrixSpace,
  steps: readonly Step[],
): Scenario {
  const nx = cell.l1 === 'PAE' || cell.l2 === 'PAE' ? (['EFER.NX'] as const) : [];
  return withFeatures({
    name: cellScenarioName(cell, family),
    about,
    pages: pagesOf(outer, inner),
    l1: stateOf(outer, ['CR0.WP', ...nx]),
    l2: { A: { ...stateOf(inner, ['CR0.WP', ...nx]), asid: 1 } },
    steps,
  });
}

/** A leaf, a directory above a small page, and a large page. */
export function victims(space: MatrixSpace): Victim[] {
  const { targets, directories, prefix } = space;
  const target = (about: string): Target => targets.find((candidate) => candidate.about.startsWith(about))!;
  const wide = space.mode === 'PAE';
  const tour = FLAG_TOUR.filter((entry) => entry.wide !== true || wide).map(({ flags }) => flags);
  const through = (to: string | number, other: string | number, suffix = ''): Entry[] => {
    const full: Entry = { to, flags: ALL_RIGHTS + suffix };
    const changed = tour.flatMap((flags): Entry[] => [
      { to, flags: flags === '' ? '' : flags + suffix },
      full,
    ]);
    return [...changed, { to: other, flags: ALL_RIGHTS + suffix }, full];
  };
  const leaf = target('present');
  const below = target('dir-read-only');
  const large = target('large');
  const frame = space.pages;
  const frameName = Object.keys(frame).find((name) => /^large-frame-[01]$/.test(name))!;
  const directory = directories['dir-read-only'];
  const table = `${prefix}.pt-dir-read-only`;
  return [
    { place: leaf.leaf!, target: leaf, values: through(leaf.page, `${prefix}.read-only`) },
    {
      place: directory,
      target: below,
      values: [
        ...through(table, `${prefix}.pt-dir-supervisor`),
        // A large page in place of the table, and back; without large pages, another table.
        { to: frameName, flags: 'P W U PS' },
        { to: table, flags: ALL_RIGHTS },
      ],
    },
    { place: large.leaf!, target: large, values: through(frameName, `${frameName}-high`, ' PS') },
  ];
}

function edit({ page, index, width }: EntryPlace, entry: Entry, turn: number): EditStep {
  const stores = (['one', 'low-first', 'high-first'] as const)[turn % 3];
  return { do: 'edit', page, index, width, entry, ...(width === 8 && stores !== 'one' ? { stores } : {}) };
}

const invalidate = (how: Invalidation, target: Target): Step[] => {
  if (how === 'nothing') return [];
  return how === 'invlpg' ? [{ do: 'invlpg', at: target.at }] : [{ do: 'reload-cr3' }];
};

/** Reads an entry: its accessed and dirty flags. */
export const readEntry = ({ page, index, width }: EntryPlace): Step => ({
  do: 'read',
  page,
  offset: index * width,
  width,
});
