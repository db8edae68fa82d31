import { AGENT_LAYOUT } from './agent-layout.ts';

/**
 * The tables with which every address space maps the agents' region (0 to AGENT_LAYOUT.END) to itself: supervisor
 * and writable, but for the two pages that run at CPL 3. Accessed and dirty are set from the start, so that no
 * processor writes to them. The same tables serve L1 and every L2: in a 2-level address space through 4 entries of
 * the page directory, under PAE through 8.
 */

const PRESENT = 0x001;
const WRITABLE = 0x002;
const USER = 0x004;
const ACCESSED = 0x020;
const DIRTY = 0x040;
const PAGE = 0x1000;

const TWO_LEVEL_SPAN = 0x40_0000;
const PAE_SPAN = 0x20_0000;
const TWO_LEVEL_TABLES = AGENT_LAYOUT.END / TWO_LEVEL_SPAN;
const PAE_TABLES = AGENT_LAYOUT.END / PAE_SPAN;

const TWO_LEVEL_BASE = AGENT_LAYOUT.TABLES;
const PAE_BASE = TWO_LEVEL_BASE + TWO_LEVEL_TABLES * PAGE;
/** A PAE page directory with nothing but the agents' entries, for address spaces that need no more below 1 GiB. */
export const AGENT_PAE_DIRECTORY = PAE_BASE + PAE_TABLES * PAGE;

const directoryEntries = (base: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => (base + index * PAGE) | PRESENT | WRITABLE | USER | ACCESSED);

/** Entries 0 to 3 of a 2-level page directory: 4 bytes each. */
export const AGENT_TWO_LEVEL_ENTRIES: readonly number[] = directoryEntries(TWO_LEVEL_BASE, TWO_LEVEL_TABLES);
/** Entries 0 to 7 of the PAE page directory below 1 GiB: low halves; the high halves are zero. */
export const AGENT_PAE_ENTRIES: readonly number[] = directoryEntries(PAE_BASE, PAE_TABLES);
/** PDPTE 0 of a PAE address space that has no page directory of its own below 1 GiB. */
export const AGENT_PDPTE = AGENT_PAE_DIRECTORY | PRESENT;

const isUserPage = (address: number): boolean =>
  address === AGENT_LAYOUT.USER_CODE || address === AGENT_LAYOUT.USER_STACK;

/** The bytes of the tables, for AGENT_LAYOUT.TABLES. */
export function agentPageTables(): Uint8Array {
  const bytes = new Uint8Array(AGENT_PAE_DIRECTORY + PAGE - AGENT_LAYOUT.TABLES);
  const view = new DataView(bytes.buffer);
  const set = (address: number, value: number): void =>
    view.setUint32(address - AGENT_LAYOUT.TABLES, value >>> 0, true);
  for (let page = 0; page < AGENT_LAYOUT.END / PAGE; page++) {
    const address = page * PAGE;
    const entry = address | PRESENT | WRITABLE | (isUserPage(address) ? USER : 0) | ACCESSED | DIRTY;
    set(TWO_LEVEL_BASE + page * 4, entry);
    set(PAE_BASE + page * 8, entry);
  }
  AGENT_PAE_ENTRIES.forEach((entry, index) => {
    set(AGENT_PAE_DIRECTORY + index * 8, entry);
  });
  return bytes;
}
