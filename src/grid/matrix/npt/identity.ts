import { AGENT_LAYOUT } from '../../../guest/agent-layout.ts';
import type { Entry, L2State, Page, Scenario } from '../../scenario.ts';
import { SETTLED } from './cell.ts';

const PAGE = 0x1000;
const SLOT = 0x40_0000;
const HALF = 0x20_0000;
/** A PDPT inside the page directory, so that one page is the root whatever L1's mode is. */
const PDPT_OFFSET = 0xfe0;
const ROOT = 'identity.pd';

/**
 * Nested tables of every format in which the pages of a scenario have the addresses for L2 that they have for L1. What lies
 * below the agents' end needs no entries of its own.
 */
function identityPages(scenario: Scenario): Record<string, Page> {
  const placed = Object.values(scenario.pages).flatMap(({ at }) =>
    at === undefined || at < AGENT_LAYOUT.END ? [] : [at],
  );
  const tables = new Map<number, Record<number, Entry>>();
  const halves: Record<number, Entry> = {};
  for (const at of placed) {
    const slot = Math.floor(at / SLOT);
    const table = tables.get(slot) ?? {};
    table[(at % SLOT) / PAGE] = { to: at, flags: SETTLED };
    tables.set(slot, table);
    const half = Math.floor(at / HALF);
    halves[half] = { to: half * HALF, flags: `${SETTLED} PS` };
  }
  const directory = [...tables.keys()].map((slot): [number, Entry] => [
    slot,
    { to: `identity.pt-${slot}`, flags: 'P W U A' },
  ]);
  return {
    [ROOT]: {
      entries4: Object.fromEntries(directory),
      entries8: { [PDPT_OFFSET / 8]: { to: 'identity.pae-pd', flags: 'P' } },
    },
    'identity.pae-pd': { entries8: halves },
    ...Object.fromEntries(
      [...tables].map(([slot, entries4]) => [`identity.pt-${slot}`, { entries4 }] as const),
    ),
  };
}

/** A scenario for shadow paging with every L2 under nested tables that map each address to itself. */
export function underIdentity(scenario: Scenario): Scenario {
  const nested = `${ROOT}+0x${PDPT_OFFSET.toString(16)}`;
  const l2 = Object.entries(scenario.l2).map(([name, state]): [string, L2State] => [
    name,
    { ...state, nested },
  ]);
  return {
    ...scenario,
    name: `npt/identity/${scenario.name}`,
    about: `Under nested tables that change no address. ${scenario.about}`,
    features: [...scenario.features, 'npt'],
    pages: { ...scenario.pages, ...identityPages(scenario) },
    l2: Object.fromEntries(l2),
  };
}
