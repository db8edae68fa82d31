import type { Entry, Flag, L2State, Page, Scenario, Step, VmcbChanges } from '../scenario.ts';
import { directed, type SmallSpace, smallSpace, stateIn, type TableMode } from './build.ts';

/** Used before: an entry that L0 may map without an access at hand. */
export const USED = 'P W U A D';

/** An L1 with nothing to do but run its L2 under nested tables of its own format. */
export const hostIn = (mode: TableMode, prefix = 'l1'): SmallSpace => {
  const page = `${prefix}.page`;
  const space = smallSpace(
    prefix,
    mode,
    { 0: { to: `${prefix}.pt`, flags: 'P W U' } },
    { pt: { 0: { to: page, flags: 'P W U' } } },
  );
  return { ...space, pages: { ...space.pages, [page]: {} } };
};

/** Nested tables and what they map: linear addresses of `at` are L2-physical ones there. */
export function nestedSpace(
  mode: TableMode,
  slots: Readonly<Record<number, Entry>>,
  tables: Readonly<Record<string, Readonly<Record<number, Entry>>>>,
  prefix = 'npt',
): SmallSpace {
  const space = smallSpace(prefix, mode, slots, tables);
  const named = Object.values(tables).flatMap((entries) => Object.values(entries).map(({ to }) => to));
  const data = named.flatMap((to): [string, Page][] => (typeof to === 'string' ? [[to, {}]] : []));
  return { ...space, pages: { ...Object.fromEntries(data), ...space.pages } };
}

/** Pages of nested tables with these flags, `npt.page-0` and so on, in slot 0. */
export const pagesWith = (mode: TableMode, flags: Readonly<Record<number, string>>): SmallSpace =>
  nestedSpace(
    mode,
    { 0: { to: 'npt.pt', flags: 'P W U A' } },
    {
      pt: Object.fromEntries(
        Object.entries(flags).map(([page, text]) => [page, { to: `npt.page-${page}`, flags: text }]),
      ),
    },
  );

/** An L1 that runs an L2, named A, under nested tables. */
export interface NestedSetting {
  readonly nested: SmallSpace;
  readonly hostFlags?: readonly Flag[];
  /** L2's own tables; without, its linear addresses are L2-physical. */
  readonly guest?: SmallSpace;
  readonly guestFlags?: readonly Flag[];
  readonly pages?: Readonly<Record<string, Page>>;
  readonly l2?: Readonly<Record<string, L2State>>;
}

export function underNested(
  name: string,
  about: string,
  setting: NestedSetting,
  steps: readonly Step[],
): Scenario {
  const { nested, guest, hostFlags = ['CR0.WP'], guestFlags = ['CR0.WP'], pages, l2 } = setting;
  const host = hostIn(nested.mode);
  const state = guest === undefined ? ({ mode: 'off', flags: [] } as const) : stateIn(guest, ...guestFlags);
  return directed({
    name: `nested-${name}`,
    about,
    pages: { ...host.pages, ...nested.pages, ...guest?.pages, ...pages },
    l1: stateIn(host, ...hostFlags),
    l2: { A: { ...state, asid: 1, nested: nested.root }, ...l2 },
    steps,
  });
}

/** A visit of an L2 with changes of its VMCB. */
export const visitWith = (vmcb: VmcbChanges, ...steps: Step[]): Step[] => [
  { do: 'enter', l2: 'A', vmcb },
  ...steps,
  { do: 'leave' },
];
export const FLUSHED: VmcbChanges = { tlbControl: 'asid' };

/** How a mode is called in names of scenarios. */
export const slug = (mode: TableMode): string =>
  mode === '2-level+PSE' ? 'pse' : mode === 'PAE' ? 'pae' : '2-level';
