import { AGENT_LAYOUT } from './agent-layout.ts';

/**
 * The tables with which every address space maps the agents' region (0 to AGENT_LAYOUT.END) to itself: supervisor
 * and writable, but for the two pages that run at CPL 3. Accessed and dirty are set from the start, so that no
 * processor writes to them. The same tables serve L1 and every L2: in a 2-level address space through 4 entries of
 * the page directory, under PAE through 8. Others like them serve nested paging, so that the region has the same
 * addresses for L2 as for L1.
 */

const PRESENT = 0x001;
const WRITABLE = 0x002;
const USER = 0x004;
const ACCESSED = 0x020;
const DIRTY = 0x040;
const PAGE = 0x1000;
const ADDRESS = ~0xfff;

const TWO_LEVEL_SPAN = 0x40_0000;
const PAE_SPAN = 0x20_0000;
const TWO_LEVEL_TABLES = AGENT_LAYOUT.END / TWO_LEVEL_SPAN;
const PAE_TABLES = AGENT_LAYOUT.END / PAE_SPAN;

/** Tables for one stage of translation: addresses of its page tables, and the entries that lead to them. */
export interface AgentTables {
  /** Entries 0 to 3 of a 2-level page directory: 4 bytes each. */
  readonly twoLevelEntries: readonly number[];
  /** Entries 0 to 7 of the PAE page directory below 1 GiB: low halves; the high halves are zero. */
  readonly paeEntries: readonly number[];
  /** PDPTE 0 of a PAE address space that has no page directory of its own below 1 GiB. */
  readonly pdpte: number;
}

/** Page tables of both formats, and a PAE page directory with nothing but the agents' entries. */
const STAGE_PAGES = TWO_LEVEL_TABLES + PAE_TABLES + 1;

const directoryEntries = (base: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => (base + index * PAGE) | PRESENT | WRITABLE | USER | ACCESSED);

function stageTables(base: number): AgentTables {
  const pae = base + TWO_LEVEL_TABLES * PAGE;
  return {
    twoLevelEntries: directoryEntries(base, TWO_LEVEL_TABLES),
    paeEntries: directoryEntries(pae, PAE_TABLES),
    pdpte: (pae + PAE_TABLES * PAGE) | PRESENT,
  };
}

/** The tables of L1's and L2's own address spaces. */
export const AGENT_TABLES = stageTables(AGENT_LAYOUT.TABLES);
/**
 * The tables for nested paging: every page is a user page, as all that a guest does is a user access to them (APM vol. 2
 * 15.25.5).
 */
export const AGENT_NESTED_TABLES = stageTables(AGENT_LAYOUT.TABLES + STAGE_PAGES * PAGE);

const isUserPage = (address: number): boolean =>
  address === AGENT_LAYOUT.USER_CODE || address === AGENT_LAYOUT.USER_STACK;

/** The bytes of the tables, for AGENT_LAYOUT.TABLES. */
export function agentPageTables(): Uint8Array {
  const bytes = new Uint8Array(2 * STAGE_PAGES * PAGE);
  const view = new DataView(bytes.buffer);
  const set = (address: number, value: number): void =>
    view.setUint32(address - AGENT_LAYOUT.TABLES, value >>> 0, true);
  for (const tables of [AGENT_TABLES, AGENT_NESTED_TABLES]) {
    const { twoLevelEntries, paeEntries, pdpte } = tables;
    for (let page = 0; page < AGENT_LAYOUT.END / PAGE; page++) {
      const address = page * PAGE;
      const user = tables === AGENT_NESTED_TABLES || isUserPage(address) ? USER : 0;
      const entry = address | PRESENT | WRITABLE | user | ACCESSED | DIRTY;
      set((twoLevelEntries[0] & ADDRESS) + page * 4, entry);
      set((paeEntries[0] & ADDRESS) + page * 8, entry);
    }
    paeEntries.forEach((entry, index) => {
      set((pdpte & ADDRESS) + index * 8, entry);
    });
  }
  return bytes;
}
