import { PAGE_SIZE } from '../arch/address.ts';
import { InputError } from '../arch/input-error.ts';
import { AGENT_NESTED_TABLES, AGENT_TABLES, type AgentTables } from '../guest/agent-paging.ts';
import type { Segment } from '../guest/elf.ts';
import { entryValue } from './entry.ts';
import { MARKER_OFFSET, markerBytes } from './marker.ts';
import type { Placement } from './placement.ts';
import type { Scenario } from './scenario.ts';

/** A root in use: where CR3 or nCR3 points, what format reads it, and whose addresses it translates. */
export interface RootUse {
  /** Physical address of L1. */
  readonly cr3: number;
  readonly format: '2-level' | 'PAE';
  /** Nested: it maps L2's physical addresses. */
  readonly nested?: boolean;
}

const MAX_MARKERS = 255;
const ADDRESS_MASK = 0xffff_f000;

/** The pages of a scenario as bytes, being filled. */
export class MemoryImage {
  readonly #pages = new Map<number, DataView>();
  readonly #placement: Placement;
  readonly #claimed = new Set<number>();

  /** Fills the pages with markers, entries and words. */
  constructor(scenario: Scenario, placement: Placement) {
    this.#placement = placement;
    const names = Object.keys(scenario.pages);
    if (names.length > MAX_MARKERS) {
      throw new InputError(
        `Scenario "${scenario.name}" has ${names.length} pages; at most ${MAX_MARKERS} can be told apart.`,
      );
    }
    names.forEach((name, index) => {
      const page = scenario.pages[name];
      const bytes = new Uint8Array(PAGE_SIZE);
      const view = new DataView(bytes.buffer);
      bytes.set(markerBytes(index + 1), MARKER_OFFSET);
      this.#pages.set(placement.get(name)!, view);
      for (const [place, entry] of Object.entries(page.entries4 ?? {}))
        this.#entry(view, name, Number(place), 4, entry);
      for (const [place, entry] of Object.entries(page.entries8 ?? {}))
        this.#entry(view, name, Number(place), 8, entry);
      for (const [offset, word] of Object.entries(page.words ?? {}))
        view.setUint32(Number(offset), word, true);
    });
  }

  #entry(
    view: DataView,
    page: string,
    index: number,
    width: 4 | 8,
    entry: Parameters<typeof entryValue>[0],
  ): void {
    if (!Number.isInteger(index) || index < 0 || index >= PAGE_SIZE / width) {
      throw new InputError(
        `Page "${page}" has no entry ${index}: an entry of ${width} bytes has a number below ${PAGE_SIZE / width}.`,
      );
    }
    const { lo, hi } = entryValue(entry, width, this.#placement);
    view.setUint32(index * width, lo, true);
    if (width === 8) view.setUint32(index * width + 4, hi, true);
  }

  /** Addresses of the 4-byte words that the agents need as they are. */
  get claimed(): ReadonlySet<number> {
    return this.#claimed;
  }

  /** Adds the agents' own mapping to a root. Does nothing where it is there already. */
  addAgents({ cr3, format, nested = false }: RootUse): void {
    const tables = nested ? AGENT_NESTED_TABLES : AGENT_TABLES;
    if (format === '2-level') this.#addTwoLevel(cr3, tables);
    else this.#addPae(cr3, tables);
  }

  #addPae(cr3: number, tables: AgentTables): void {
    // A PDPT behind the start of a page leaves room for a page directory there: CR3 is good for both formats then, and a
    // level may change CR4.PAE without changing CR3.
    const behind = (cr3 & 0xfe0) >= tables.twoLevelEntries.length * 4;
    if (behind && this.#hasRoom(cr3, tables)) this.#addTwoLevel(cr3, tables);
    const table = this.#pageAt(cr3, 'a page-directory-pointer table');
    const offset = cr3 & 0xfe0;
    const first = table.getUint32(offset, true);
    this.#claimed.add(cr3 & ~0x1f).add((cr3 & ~0x1f) + 4);
    if (first === 0 || first === tables.pdpte) {
      table.setUint32(offset, tables.pdpte, true);
      return;
    }
    const directory = this.#pageAt(first & ADDRESS_MASK, 'a page directory');
    tables.paeEntries.forEach((entry, index) => {
      this.#claim(directory, first & ADDRESS_MASK, index * 8, entry);
      this.#claimed.add((first & ADDRESS_MASK) + index * 8 + 4);
    });
  }

  #addTwoLevel(cr3: number, { twoLevelEntries }: AgentTables): void {
    const directory = this.#pageAt(cr3, 'a page directory');
    twoLevelEntries.forEach((entry, index) => {
      this.#claim(directory, cr3 & ADDRESS_MASK, index * 4, entry);
    });
  }

  /** Whether the agents' entries of a page directory have room in a page. */
  #hasRoom(cr3: number, { twoLevelEntries }: AgentTables): boolean {
    const page = this.#pageAt(cr3, 'a page-directory-pointer table');
    return twoLevelEntries.every((entry, index) => [0, entry].includes(page.getUint32(index * 4, true)));
  }

  #claim(table: DataView, base: number, offset: number, entry: number): void {
    const there = table.getUint32(offset, true);
    if (there !== 0 && there !== entry) {
      throw new InputError(
        `The entry at offset 0x${offset.toString(16)} of a root table is not free; the first 16 MiB of every address space belong to the agents.`,
      );
    }
    table.setUint32(offset, entry, true);
    this.#claimed.add(base + offset);
  }

  #pageAt(address: number, what: string): DataView {
    const page = this.#pages.get(address - (address % PAGE_SIZE));
    if (page === undefined) {
      throw new InputError(
        `There is no page at 0x${address.toString(16)}, where ${what} with the agents' mapping must be.`,
      );
    }
    return page;
  }

  /** The pages as segments, neighbours joined. */
  segments(): Segment[] {
    const sorted = [...this.#pages].sort(([a], [b]) => a - b);
    const runs: { address: number; pages: DataView[] }[] = [];
    for (const [address, page] of sorted) {
      const last = runs.at(-1);
      if (last !== undefined && last.address + last.pages.length * PAGE_SIZE === address)
        last.pages.push(page);
      else runs.push({ address, pages: [page] });
    }
    return runs.map(({ address, pages }) => {
      const bytes = new Uint8Array(pages.length * PAGE_SIZE);
      pages.forEach((page, index) => {
        bytes.set(new Uint8Array(page.buffer), index * PAGE_SIZE);
      });
      return { address, bytes };
    });
  }
}
