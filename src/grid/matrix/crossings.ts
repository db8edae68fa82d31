import type { ProbeFormName } from '../../guest/probe-forms.ts';
import type {
  Entry,
  EntryFlags,
  Page,
  PagingMode,
  ProbeStep,
  Scenario,
  SpaceState,
  Step,
} from '../scenario.ts';
import { type Cell, cellScenarioName, flagSet, withFeatures } from './cell.ts';

const PAGE = 0x1000;
/** First page of the run of pages; its number in its page table is 8 in both formats. */
export const CROSSING_BASE = 0x4000_8000;

// biome-ignore format: table
/**
 * Neighbours in this order: each of them is crossed into from the one before. Accessed and dirty are set but for one
 * page: whether a processor sets them on one side before it faults on the other is its own affair.
 */
const RUN: readonly { flags: EntryFlags; about: string; wide?: true }[] = [
  { flags: 'P W U A D',    about: 'present' },   { flags: 'P U A D',   about: 'read-only' },
  { flags: 'P W U A D',    about: 'present' },   { flags: 'P W A D',   about: 'supervisor' },
  { flags: 'P W U',        about: 'untouched' }, { flags: '',          about: 'absent' },
  { flags: 'P A D',        about: 'supervisor-read-only' }, { flags: 'P W U A D', about: 'present' },
  { flags: 'P W U A D NX', about: 'nx', wide: true },       { flags: 'P W U A D', about: 'present', wide: true },
  { flags: 'P W U A D 51', about: 'reserved', wide: true }, { flags: 'P W U A D', about: 'present', wide: true },
];

/** Pages of a run of 8-byte entries; one of 4-byte entries has fewer. */
export const CROSSING_PAGES = RUN.length;

// biome-ignore format: table
/** Accesses of bytes on both sides of a page boundary, and how far before it they begin. */
const CROSSING: readonly (readonly [ProbeFormName, number])[] = [
  ['fetch', 3], ['read4', 2], ['write4', 2], ['rmw4', 2], ['read2', 1], ['read4', 3], ['read4.ss', 1],
];

/** The code that a fetch across the boundary runs: MOV ECX, imm32 with two bytes of imm32 on each side, JMP EDX. */
const CODE_BEFORE = (number: number): number => ((number << 24) | (number << 16) | 0xb900) >>> 0;
const CODE_AFTER = (number: number): number => (0xe2ff_0000 | (number << 8) | number) >>> 0;

interface CrossingSpace {
  readonly state: SpaceState;
  readonly pages: Record<string, Page>;
  readonly probes: readonly ProbeStep[];
}

/** Accesses that cross from a page into its neighbour, for pages of all kinds, in L1 and L2. */
export function crossingScenarios(cell: Cell): Scenario[] {
  const outer = crossingSpace('l1', cell.l1);
  const inner = crossingSpace('l2', cell.l2);
  const steps: Step[] = [...outer.probes, { do: 'enter', l2: 'A' }, ...inner.probes, { do: 'leave' }];
  // The second time everything is accessed, dirty, and cached where it can be.
  const again: Step[] = [...outer.probes, { do: 'enter', l2: 'A' }, ...inner.probes, { do: 'leave' }];
  return [5, 12].map((flags) =>
    withFeatures({
      name: cellScenarioName(cell, `crossings-${flags}`),
      about: 'Accesses cross from each page into its neighbour.',
      pages: { ...outer.pages, ...inner.pages },
      l1: { ...outer.state, flags: flagSet(flags) },
      l2: { A: { ...inner.state, flags: flagSet(flags ^ 7), asid: 1 } },
      steps: [...steps, ...again],
    }),
  );
}

/** Neighbours of all kinds, from CROSSING_BASE on, and the accesses that cross from one into the next. */
export function crossingSpace(prefix: string, mode: PagingMode): CrossingSpace {
  const width = mode === 'PAE' ? 8 : 4;
  const run = RUN.filter(({ wide }) => wide !== true || width === 8);
  const first = mode === 'off' ? FLAT_BASE : CROSSING_BASE;
  const pages: Record<string, Page> = {};
  const entries: Record<number, Entry> = {};
  // Neighbours by linear address are none by physical address: they lie the other way round.
  for (let index = run.length - 1; index >= 0; index--) {
    const name = `${prefix}.run-${index}`;
    pages[name] = {
      ...(mode === 'off' ? { at: first + index * PAGE } : {}),
      words: { 0: CODE_AFTER(index + 1), 4092: CODE_BEFORE(index + 1) },
    };
    entries[(Math.floor(first / PAGE) % 512) + index] = { to: name, flags: run[index].flags };
  }
  const probes = run.slice(1).flatMap(({ about }, index) =>
    CROSSING.flatMap(([form, before]) =>
      ([0, 3] as const).map((cpl): ProbeStep => {
        const at = first + (index + 1) * PAGE - before;
        const stores = form === 'write4' || form === 'rmw4' ? { value: 0x5a00_0000 + at } : {};
        return { do: 'probe', form, cpl, at, ...stores, about: `from ${run[index].about} into ${about}` };
      }),
    ),
  );
  if (mode === 'off') return { state: { mode, flags: [] }, pages, probes };
  const table = `${prefix}.pt`;
  const directory = `${prefix}.pd`;
  if (width === 4) {
    pages[table] = { entries4: entries };
    pages[directory] = { entries4: { [CROSSING_BASE >>> 22]: { to: table, flags: 'P W U A' } } };
    return { state: { mode, root: directory, flags: [] }, pages, probes };
  }
  pages[table] = { entries8: entries };
  pages[directory] = { entries8: { 0: { to: table, flags: 'P W U A' } } };
  pages[`${prefix}.pdpt`] = { entries8: { 1: { to: directory, flags: 'P' } } };
  return { state: { mode, root: `${prefix}.pdpt`, flags: [] }, pages, probes };
}

/** With paging off, the run lies in memory as it is. */
const FLAT_BASE = 0x0100_8000;
