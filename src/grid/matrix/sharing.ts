import type { Entry, Page, Scenario, Step } from '../scenario.ts';
import { type Cell, cellScenarioName, withFeatures } from './cell.ts';
import { BASIC_PROBES, ProbeWriter } from './probes.ts';
import type { Target } from './space.ts';

/** Linear addresses: a shared page table, a private alias of its pages, and a directory seen as a table of pages. */
const SHARED = 0x8000_0000;
const RECURSIVE = 0x8040_0000;
const PAGE = 0x1000;
const SPAN = { '2-level': 0x40_0000, PAE: 0x20_0000 } as const;

type Format = '2-level' | 'PAE';
/** Entries of the shared page table, by format: what is at the index of one is not an entry of the other. */
const SLOTS = { '2-level': [3, 0x203], PAE: [0x40, 0x60] } as const;

/**
 * One page-table page serves L1 and L2, in the same format or, at other indices, in two; and a page directory is at
 * the same time a page table of its own space. L2 with paging off edits what L1 uses.
 */
export function sharingScenarios(cell: Cell): Scenario[] {
  const outer = formatOf(cell.l1)!;
  const inner = formatOf(cell.l2);
  const formats = new Set<Format>(inner === undefined ? [outer] : [outer, inner]);
  const pages: Record<string, Page> = { 'shared-pt': sharedTable(formats) };
  for (const name of ['a', 'b', 'c']) pages[name] = {};
  addSpace(pages, 'l1', outer);
  if (inner !== undefined) addSpace(pages, 'l2', inner);
  const root = (prefix: string, format: Format | undefined) =>
    format === undefined ? {} : { root: `${prefix}.${format === 'PAE' ? 'pdpt' : 'pd'}` };
  return [
    withFeatures({
      name: cellScenarioName(cell, 'sharing'),
      about: 'L1 and L2 have a page table in common, and each a directory that is a page table too.',
      pages,
      l1: { mode: cell.l1, ...root('l1', outer), flags: ['CR0.WP'] },
      l2: { A: { mode: cell.l2, ...root('l2', inner), flags: ['CR0.WP'], asid: 1 } },
      steps: sharingSteps(outer, inner),
    }),
  ];
}

const formatOf = (mode: Cell['l2']): Format | undefined =>
  mode === 'off' ? undefined : mode === 'PAE' ? 'PAE' : '2-level';
const widthOf = (format: Format): 4 | 8 => (format === 'PAE' ? 8 : 4);

function sharedTable(formats: ReadonlySet<Format>): Page {
  const entries = (format: Format): Record<number, Entry> => {
    const [first, second] = SLOTS[format];
    return { [first]: { to: 'a', flags: 'P W U' }, [second]: { to: 'b', flags: 'P U' } };
  };
  return {
    ...(formats.has('2-level') ? { entries4: entries('2-level') } : {}),
    ...(formats.has('PAE') ? { entries8: entries('PAE') } : {}),
  };
}

/** A space with the shared table, and an entry by which the directory maps itself as a table. */
function addSpace(pages: Record<string, Page>, prefix: string, format: Format): void {
  const directory = `${prefix}.pd`;
  const index = (linear: number): number =>
    format === 'PAE' ? Math.floor(linear / SPAN.PAE) % 512 : Math.floor(linear / SPAN['2-level']);
  const entries: Record<number, Entry> = {
    [index(SHARED)]: { to: 'shared-pt', flags: 'P W U' },
    [index(RECURSIVE)]: { to: directory, flags: 'P W U' },
  };
  pages[directory] = format === 'PAE' ? { entries8: entries } : { entries4: entries };
  if (format === 'PAE') pages[`${prefix}.pdpt`] = { entries8: { 2: { to: directory, flags: 'P' } } };
}

function targetsOf(format: Format): Target[] {
  const shared = SLOTS[format].map((slot, index) => ({
    at: SHARED + slot * PAGE,
    about: `page ${'ab'[index]} by the shared table`,
    page: 'ab'[index],
    leaf: { page: 'shared-pt', index: slot, width: widthOf(format) },
  }));
  // Through the directory as a table, the directory's own entries map pages: the shared table is one of them.
  const entry = format === 'PAE' ? Math.floor(SHARED / SPAN.PAE) % 512 : SHARED / SPAN['2-level'];
  return [
    ...shared,
    { at: RECURSIVE + entry * PAGE, about: 'the shared table as a page', page: 'shared-pt' },
  ];
}

function sharingSteps(outer: Format, inner: Format | undefined): Step[] {
  const writer = new ProbeWriter(4);
  const outerTargets = targetsOf(outer);
  const innerTargets = inner === undefined ? [] : targetsOf(inner);
  const look = (targets: readonly Target[]): Step[] => writer.some(targets);
  const steps: Step[] = [
    ...look(outerTargets),
    { do: 'enter', l2: 'A' },
    ...look(innerTargets),
    { do: 'leave' },
  ];
  const edits: readonly Entry[] = [
    { to: 'c', flags: 'P W U' },
    { to: 'a', flags: 'P U' },
    { to: 'a', flags: 'P W' },
    { to: 'b', flags: '' },
    { to: 'a', flags: 'P W U' },
  ];
  edits.forEach((entry, round) => {
    const [slot] = SLOTS[outer];
    const change: Step = { do: 'edit', page: 'shared-pt', index: slot, width: widthOf(outer), entry };
    const kind = BASIC_PROBES[round % BASIC_PROBES.length];
    const exact: Step[] = [{ do: 'invlpg', at: outerTargets[0].at }, writer.probe(outerTargets[0], kind)];
    // Either level edits; the other one looks.
    if (round % 2 === 0)
      steps.push(change, ...exact, { do: 'enter', l2: 'A' }, ...look(innerTargets), { do: 'leave' });
    else
      steps.push({ do: 'enter', l2: 'A' }, ...look(innerTargets), change, ...look(innerTargets), {
        do: 'leave',
      });
    steps.push(...look(outerTargets), { do: 'reload-cr3' }, ...look(outerTargets));
    if (inner !== undefined && inner !== outer) steps.push(...editOther(inner, entry, innerTargets, writer));
  });
  steps.push({ do: 'enter', l2: 'A', vmcb: { tlbControl: 'asid' } }, ...look(innerTargets), { do: 'leave' });
  return steps;
}

/** L2 edits its own entry of the shared table, which is no entry in L1's format. */
function editOther(format: Format, entry: Entry, targets: readonly Target[], writer: ProbeWriter): Step[] {
  const [slot] = SLOTS[format];
  return [
    { do: 'enter', l2: 'A' },
    { do: 'edit', page: 'shared-pt', index: slot, width: widthOf(format), entry },
    { do: 'invlpg', at: targets[0].at },
    ...writer.some(targets),
    { do: 'leave' },
  ];
}
