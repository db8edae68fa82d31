import type { Entry, Flag, L2State, Page, Scenario, Step } from '../scenario.ts';
import { at, directed, hostIn, type SmallSpace, smallSpace, stateIn, type TableMode, USED } from './build.ts';

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

/** L2 maps pages of the window each to the L2-physical page of the same number, with all rights. */
export function throughAll(mode: TableMode, pages: readonly number[], prefix = 'l2'): SmallSpace {
  const entries = pages.map((page) => [page, { to: at(0, page), flags: USED }] as const);
  return smallSpace(
    prefix,
    mode,
    { 0: { to: `${prefix}.pt`, flags: 'P W U A' } },
    { pt: Object.fromEntries(entries) },
  );
}

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
