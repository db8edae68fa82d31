import type { Entry, EntryFlags, Flag, Page, PagingMode, SpaceState } from '../scenario.ts';

/** A linear address worth probing: the start of a page, and what is special about it. */
export interface Target {
  readonly at: number;
  readonly about: string;
  /** The entry that maps it, for edits. */
  readonly leaf?: EntryPlace;
  /** Page that answers there when all is permitted. */
  readonly page: string;
}

/** Where a paging-structure entry lives, by page name. */
export interface EntryPlace {
  readonly page: string;
  readonly index: number;
  readonly width: 4 | 8;
}

/** An address space of the matrix: its tables and data pages, its root, and what to probe. */
export interface MatrixSpace {
  readonly prefix: string;
  readonly mode: PagingMode;
  readonly root: string | undefined;
  readonly pages: Readonly<Record<string, Page>>;
  readonly targets: readonly Target[];
  /** Entry of each directory of the window, by name; the PDPTE of the window under PAE. */
  readonly directories: Readonly<Record<string, EntryPlace>>;
  readonly pdpte: EntryPlace | undefined;
}

const PAGE = 0x1000;
const SPAN = 0x40_0000;
const HALF = 0x20_0000;
/** First linear address of the window in each GiB; below it, in the first GiB, are the agents. */
const WINDOW = 0x0100_0000;
/** Two frames of 4 MiB that the agents can read through their own mapping. */
const LARGE_FRAMES = [0x0080_0000, 0x00c0_0000] as const;

interface LeafKind {
  readonly name: string;
  readonly flags: EntryFlags;
  /** PAE only: it needs bits above 31. */
  readonly wide?: true;
}

// biome-ignore format: table
const LEAVES: readonly LeafKind[] = [
  { name: 'present',              flags: 'P W U' },
  { name: 'read-only',            flags: 'P U' },
  { name: 'supervisor',           flags: 'P W' },
  { name: 'supervisor-read-only', flags: 'P' },
  { name: 'accessed',             flags: 'P W U A' },
  { name: 'dirty',                flags: 'P W U A D' },
  { name: 'global',               flags: 'P W U G' },
  { name: 'absent',               flags: 'W U' },
  { name: 'nx',                   flags: 'P W U NX',  wide: true },
  { name: 'nx-read-only',         flags: 'P U NX',    wide: true },
  { name: 'nx-supervisor',        flags: 'P W NX',    wide: true },
  { name: 'reserved',             flags: 'P W U 51',  wide: true },
  { name: 'absent-reserved',      flags: 'W U 51 NX', wide: true },
];

interface DirectoryKind extends LeafKind {
  readonly large?: true;
}

// biome-ignore format: table
/** Each covers 4 MiB of the window. Large ones lead to a page table where large pages are off. */
const DIRECTORIES: readonly DirectoryKind[] = [
  { name: 'dir',                  flags: 'P W U' },
  { name: 'dir-read-only',        flags: 'P U' },
  { name: 'dir-supervisor',       flags: 'P W' },
  { name: 'dir-absent',           flags: 'W U' },
  { name: 'large',                flags: 'P W U PS',   large: true },
  { name: 'large-read-only',      flags: 'P U PS',     large: true },
  { name: 'large-supervisor',     flags: 'P W PS',     large: true },
  { name: 'large-reserved',       flags: 'P W U PS',   large: true },
  { name: 'dir-nx',               flags: 'P W U NX',   wide: true },
  { name: 'dir-reserved',         flags: 'P W U 51',   wide: true },
];
/** A bit of a large PDE that is reserved: 21 in 4-byte entries, 20:13 in 8-byte ones (SDM vol. 3A tables 4-4, 4-9). */
const LARGE_RESERVED = { 4: '21', 8: '13' } as const;

/** Index of the page inside a large page that is probed: one in each half of 4 MiB. */
const LARGE_PROBED = [5, 0x206] as const;
/** Those pages, and where the first one is when a large page of 2 MiB moves to the other half of the frame. */
const LARGE_PLACES = [...LARGE_PROBED, 0x205] as const;

/** Which parts of the window a space has: leaves of the first directory, and directories, by name. */
export interface SpaceOptions {
  /** GiB of the window, 0 to 3. With paging off it is 0. */
  readonly quadrant?: 0 | 1 | 2 | 3;
  readonly leaves?: readonly string[];
  readonly directories?: readonly string[];
  /** Adds GLOBAL to every leaf. */
  readonly global?: boolean;
  /** Which 4 MiB frame the large pages lie in: a space that shares a scenario with another takes another. */
  readonly frame?: 0 | 1;
}

/**
 * Builds an address space in a paging mode. The same names are at the same linear addresses in every mode, so that
 * a translation taken from another space shows: every space has pages of its own, which answer with their own number.
 */
export function matrixSpace(prefix: string, mode: PagingMode, options: SpaceOptions = {}): MatrixSpace {
  const builder = new SpaceBuilder(prefix, mode, options);
  return builder.build();
}

/** The state of a level that lives in a space. */
export const stateOf = (space: MatrixSpace, flags: readonly Flag[] = []): SpaceState => ({
  mode: space.mode,
  ...(space.root === undefined ? {} : { root: space.root }),
  flags,
});

class SpaceBuilder {
  readonly #prefix: string;
  readonly #mode: PagingMode;
  readonly #options: SpaceOptions;
  readonly #width: 4 | 8;
  readonly #pages: Record<
    string,
    { at?: number; entries4: Record<number, Entry>; entries8: Record<number, Entry> }
  > = {};
  readonly #targets: Target[] = [];
  readonly #directories: Record<string, EntryPlace> = {};

  constructor(prefix: string, mode: PagingMode, options: SpaceOptions) {
    this.#prefix = prefix;
    this.#mode = mode;
    this.#options = options;
    this.#width = mode === 'PAE' ? 8 : 4;
  }

  build(): MatrixSpace {
    const directories = DIRECTORIES.filter(({ name }) => this.#options.directories?.includes(name) ?? true);
    for (const kind of directories) {
      if (this.#mode === 'off') this.#flat(kind);
      else if (kind.wide !== true || this.#width === 8) this.#directory(kind);
    }
    const pdpte =
      this.#mode === 'PAE'
        ? { page: this.#name('pdpt'), index: this.#quadrant, width: 8 as const }
        : undefined;
    if (pdpte !== undefined) this.#entry(pdpte, { to: this.#name('pd'), flags: 'P' });
    return {
      prefix: this.#prefix,
      mode: this.#mode,
      root: this.#mode === 'off' ? undefined : this.#name(this.#width === 8 ? 'pdpt' : 'pd'),
      pages: this.#pages,
      targets: this.#targets,
      directories: this.#directories,
      pdpte,
    };
  }

  get #quadrant(): number {
    return this.#mode === 'off' ? 0 : (this.#options.quadrant ?? 0);
  }

  #name(what: string): string {
    return `${this.#prefix}.${what}`;
  }

  #page(name: string, at?: number): void {
    this.#pages[name] ??= { ...(at === undefined ? {} : { at }), entries4: {}, entries8: {} };
  }

  #entry({ page, index, width }: EntryPlace, entry: Entry): void {
    this.#page(page);
    this.#pages[page][width === 4 ? 'entries4' : 'entries8'][index] = entry;
  }

  /** Linear address of a directory of the window. */
  #base(kind: DirectoryKind): number {
    return this.#quadrant * 0x4000_0000 + WINDOW + DIRECTORIES.indexOf(kind) * SPAN;
  }

  #leaves(): readonly LeafKind[] {
    return LEAVES.filter(
      ({ name, wide }) =>
        (this.#options.leaves?.includes(name) ?? true) &&
        (wide !== true || this.#width === 8 || this.#mode === 'off'),
    );
  }

  /** Leaf number n is in one half of the 4 MiB or the other: a 2-level table has two shadow tables. */
  #leafOffset(kind: LeafKind): number {
    const index = LEAVES.indexOf(kind);
    return (index % 2) * HALF + index * PAGE;
  }

  /** With paging off, pages lie where the other modes have their linear addresses. */
  #flat(kind: DirectoryKind): void {
    const add = (name: string, offset: number): void => {
      const at = this.#base(kind) + offset;
      this.#page(this.#name(name), at);
      this.#targets.push({ at, about: 'paging off', page: this.#name(name) });
    };
    if (kind.name === 'dir') for (const leaf of this.#leaves()) add(leaf.name, this.#leafOffset(leaf));
    else if (kind.large === true) add(kind.name, LARGE_PROBED[0] * PAGE);
    else add(kind.name, 0);
  }

  #directory(kind: DirectoryKind): void {
    const base = this.#base(kind);
    if (kind.large === true) {
      this.#large(kind, base);
      return;
    }
    const leaves = kind.name === 'dir' ? this.#leaves() : [];
    for (const leaf of leaves) {
      const offset = this.#leafOffset(leaf);
      this.#leaf(kind, base + offset, leaf.flags, leaf.name, leaf.name);
    }
    if (kind.name !== 'dir')
      this.#leaf(kind, base, 'P W U', kind.name, `${kind.name} above a page with all rights`);
    this.#directoryEntries(kind, base, kind.flags);
  }

  #leaf(kind: DirectoryKind, at: number, flags: EntryFlags, name: string, about: string): void {
    const global = this.#options.global === true ? ' G' : '';
    const place = this.#leafPlace(kind, at);
    this.#page(this.#name(name));
    this.#entry(place, { to: this.#name(name), flags: flags + global });
    this.#targets.push({ at, about, leaf: place, page: this.#name(name) });
  }

  /** The page table of a directory; under PAE there is one for each 2 MiB. */
  #tableName(kind: DirectoryKind, at: number): string {
    const high = this.#width === 8 && (at & HALF) !== 0 ? '-high' : '';
    return this.#name(`pt-${kind.name}${high}`);
  }

  #leafPlace(kind: DirectoryKind, at: number): EntryPlace {
    const index = Math.floor(at / PAGE) % (this.#width === 8 ? 512 : 1024);
    return { page: this.#tableName(kind, at), index, width: this.#width };
  }

  #directoryEntries(kind: DirectoryKind, base: number, flags: EntryFlags): void {
    const halves = this.#width === 8 ? [base, base + HALF] : [base];
    for (const at of halves) {
      const place = this.#directoryPlace(at);
      const table = this.#tableName(kind, at);
      this.#page(table);
      this.#entry(place, { to: table, flags });
      this.#directories[at === base ? kind.name : `${kind.name}-high`] = place;
    }
  }

  #directoryPlace(at: number): EntryPlace {
    const index = this.#width === 8 ? Math.floor(at / HALF) % 512 : Math.floor(at / SPAN);
    return { page: this.#name('pd'), index, width: this.#width };
  }

  /**
   * A large page, or where CR4.PSE is clear a page table at the same frame: it holds entries for the pages that are
   * probed, and each of these pages has its place in the frame too.
   */
  #large(kind: DirectoryKind, base: number): void {
    const frame = LARGE_FRAMES[this.#options.frame ?? 0];
    const extra = kind.name === 'large-reserved' ? ` ${LARGE_RESERVED[this.#width]}` : '';
    const global = this.#options.global === true ? ' G' : '';
    const flags = kind.flags + extra + global;
    const tableName = `large-frame-${this.#options.frame ?? 0}`;
    // With CR4.PSE clear, a reserved bit 21 is an address bit: a second table lies there.
    const tables = [
      { name: tableName, at: frame },
      { name: `${tableName}-high`, at: frame + HALF },
    ];
    for (const { name, at } of tables) {
      this.#page(name, at);
      for (const index of LARGE_PROBED) {
        const small = `${name}-small-${index.toString(16)}`;
        this.#page(small);
        this.#entry({ page: name, index, width: 4 }, { to: small, flags: 'P W U' });
      }
    }
    for (const index of LARGE_PLACES) this.#page(`${tableName}-${index.toString(16)}`, frame + index * PAGE);
    const halves = this.#width === 8 ? [0, HALF] : [0];
    for (const half of halves) {
      const place = this.#directoryPlace(base + half);
      this.#entry(place, { to: frame + half, flags });
      this.#directories[half === 0 ? kind.name : `${kind.name}-high`] = place;
    }
    for (const index of LARGE_PROBED) {
      const at = base + index * PAGE;
      const leaf = this.#directoryPlace(at);
      this.#targets.push({ at, about: kind.name, leaf, page: `${tableName}-${index.toString(16)}` });
    }
  }
}
