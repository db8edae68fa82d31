import type { PhysicalMemory } from '../../src/oracle/memory.ts';
import { A, D, G, NX, P, U, W } from './helpers.ts';

/**
 * A processor with nested paging that caches by chance what it may: whole translations, entries on the way to them, and
 * both of nested tables. It is written as a machine that runs forward, where the oracle looks back through history, and
 * knows 4-KByte pages of two formats only. What it does, the oracle must permit.
 */

export interface Format {
  readonly name: string;
  /** Lowest address bit of each level's index, root first. */
  readonly shifts: readonly number[];
  readonly width: 4 | 8;
}
export const TWO_LEVEL: Format = { name: '2-level', shifts: [22, 12], width: 4 };
export const PAE: Format = { name: 'PAE', shifts: [30, 21, 12], width: 8 };

export type Kind = 'read' | 'write' | 'fetch';
export type Result =
  | { readonly outcome: 'ok'; readonly address: bigint }
  | { readonly outcome: 'fault'; readonly errorCode: number }
  | { readonly outcome: 'nested fault'; readonly exitInfo1: bigint; readonly exitInfo2: bigint };

/** Rights and flags that all entries of a walk share. */
interface Cached {
  readonly asid: number;
  /** Bits of the address that it is for, from `shift` up. */
  readonly prefix: bigint;
  readonly shift: number;
  /** Next table, or page. */
  readonly base: bigint;
  readonly rights: bigint;
  readonly nested: bigint;
  readonly global: boolean;
}

interface State {
  /** Whole translations; upper-level entries of the guest; both of nested tables. */
  readonly tlb: readonly Cached[];
  readonly upper: readonly Cached[];
  readonly nestedTlb: readonly Cached[];
  readonly nestedUpper: readonly Cached[];
  /** Entries with flags set by the walk that is going on. */
  readonly flags: ReadonlyMap<bigint, { place: bigint; width: 4 | 8; value: bigint }>;
}
type Cache = 'tlb' | 'upper' | 'nestedTlb' | 'nestedUpper';

const ALL_RIGHTS = W | U | NX;
/** NX is kept inverted: a right like the others. */
const rightsOf = (value: bigint): bigint => (value ^ NX) & ALL_RIGHTS;
const PAGE = 0xfffn;
const TABLE = 1n << 33n;
const FINAL = 1n << 32n;

export class CachingProcessor {
  readonly memory: PhysicalMemory;
  asid = 1;
  pge = false;
  readonly #guest: Format;
  readonly #host: Format;
  readonly #roots: { readonly guest: bigint; readonly host: bigint };
  readonly #chance: () => number;
  /** Never changed in place: a walk that is begun anew goes back to what was before it. */
  #state: State = { tlb: [], upper: [], nestedTlb: [], nestedUpper: [], flags: new Map() };

  /** @param chance gives numbers from 0 up to 1 */
  constructor(
    memory: PhysicalMemory,
    guest: Format,
    host: Format,
    roots: { readonly guest: bigint; readonly host: bigint },
    chance: () => number,
  ) {
    this.memory = memory;
    this.#guest = guest;
    this.#host = host;
    this.#roots = roots;
    this.#chance = chance;
  }

  access(gva: bigint, kind: Kind, user: boolean): Result {
    const hit = this.#pick('tlb', gva, this.asid);
    if (hit !== undefined && this.#maySee(hit, kind, user)) {
      return { outcome: 'ok', address: hit.base | (gva & PAGE) };
    }
    const before = this.#state;
    const first = this.#walk(gva, kind, user, true);
    if (first.outcome !== 'fault') return this.#done(first);
    this.#state = before;
    // A page fault: what led to it goes, and another walk decides (APM vol. 2 5.5.3).
    const isOf = (cached: Cached): boolean =>
      cached.asid === this.asid && cached.prefix === gva >> BigInt(cached.shift);
    this.#drop('upper', (cached) => !isOf(cached));
    const again = this.#walk(gva, kind, user, false);
    if (again.outcome === 'fault') {
      this.#drop('tlb', (cached) => !isOf(cached));
      this.#drop('upper', (cached) => !isOf(cached));
    }
    return this.#done(again);
  }

  /** Writes the flags that the access has set. */
  #done(result: Result): Result {
    for (const { place, width, value } of this.#state.flags.values()) this.memory.write(place, width, value);
    this.#state = { ...this.#state, flags: new Map() };
    return result;
  }

  /** Walks without being asked, as long as no flag has to be set. */
  speculate(gva: bigint): void {
    const before = this.#state;
    this.#walk(gva, 'read', false, true);
    if (this.#state.flags.size > 0) this.#state = before;
  }

  invlpg(gva: bigint): void {
    this.#drop('tlb', (c) => c.asid !== this.asid || c.prefix !== gva >> 12n);
    this.#drop('upper', (c) => c.asid !== this.asid);
  }
  invlpga(gva: bigint, asid: number): void {
    this.#drop('tlb', (c) => c.asid !== asid || c.prefix !== gva >> 12n);
    this.#drop('upper', (c) => c.asid !== asid || c.prefix !== gva >> BigInt(c.shift));
  }
  /** MOV CR3, and with `all` a change of CR4.PGE. */
  flushGuest(all: boolean): void {
    this.#drop('tlb', (c) => c.asid !== this.asid || (!all && c.global));
    this.#drop('upper', (c) => c.asid !== this.asid);
  }
  tlbControl(control: number): void {
    if (control === 0) return;
    const reached = (c: Cached): boolean => control === 1 || c.asid === this.asid;
    this.#drop('tlb', (c) => !reached(c) || (control === 7 && c.global));
    this.#drop('upper', (c) => !reached(c));
    this.#drop('nestedTlb', (c) => !reached(c));
    this.#drop('nestedUpper', (c) => !reached(c));
  }

  #walk(gva: bigint, kind: Kind, user: boolean, useUpper: boolean): Result {
    const { shifts, width } = this.#guest;
    const known = useUpper ? this.#pick('upper', gva, this.asid) : undefined;
    let table = known?.base ?? this.#roots.guest;
    let rights = known?.rights ?? ALL_RIGHTS;
    const asked =
      (kind === 'write' ? 2 : 0) | (user ? 4 : 0) | (kind === 'fetch' && this.#guest === PAE ? 16 : 0);
    for (let level = known === undefined ? 0 : shifts.indexOf(known.shift) + 1; ; level++) {
      const shift = shifts[level]!;
      const gpa = table + indexOf(gva, shift, this.#guest) * BigInt(width);
      const place = this.#nested(gpa, 'write', TABLE);
      if (typeof place !== 'bigint') return place;
      const value = this.#read(place, width);
      if ((value & P) === 0n) return { outcome: 'fault', errorCode: asked };
      const isPdpte = this.#guest === PAE && level === 0;
      if (!isPdpte) rights &= rightsOf(value);
      if (shift !== 12) {
        if (!isPdpte) this.#set(place, width, A);
        table = value & ~NX & ~PAGE;
        this.#keep('upper', { prefix: gva >> BigInt(shift), shift, base: table, rights });
        continue;
      }
      this.#set(place, width, A);
      if (!permits(rights, kind, user)) return { outcome: 'fault', errorCode: asked | 1 };
      if (kind === 'write') this.#set(place, width, D);
      const page = (value & ~NX & ~PAGE) | (gva & PAGE);
      const address = this.#nested(page, kind, FINAL);
      if (typeof address !== 'bigint') return address;
      const leaf = this.#read(place, width);
      const below = this.#nestedRights(page, address);
      const dirty = (leaf & D) !== 0n && (below & D) !== 0n;
      const global = this.pge && (value & G) !== 0n;
      const nested = dirty ? below : below & ~W;
      this.#keep('tlb', { prefix: gva >> 12n, shift: 12, base: address & ~PAGE, rights, nested, global });
      return { outcome: 'ok', address };
    }
  }

  /** Rights of the nested translation that has just been used, with D if a write may use it. */
  #nestedRights(gpa: bigint, address: bigint): bigint {
    const { gpa: of, rights } = this.#last;
    if (of !== gpa || address === 0n) throw new Error('The last nested translation is another one.');
    return rights;
  }
  #last = { gpa: -1n, rights: 0n };

  #nested(gpa: bigint, kind: Kind, which: bigint): bigint | Result {
    const hit = this.#pick('nestedTlb', gpa, this.asid);
    if (
      hit !== undefined &&
      permits(hit.rights, kind, true) &&
      (kind !== 'write' || (hit.nested & D) !== 0n)
    ) {
      this.#last = { gpa, rights: (hit.rights & ALL_RIGHTS) | (hit.nested & D) };
      return hit.base | (gpa & PAGE);
    }
    const before = this.#state;
    const found = this.#nestedWalk(gpa, kind, which, true);
    if (typeof found === 'bigint') return found;
    this.#state = before;
    return this.#nestedWalk(gpa, kind, which, false);
  }

  #nestedWalk(gpa: bigint, kind: Kind, which: bigint, useUpper: boolean): bigint | Result {
    const { shifts, width } = this.#host;
    const stop = (present: boolean): Result => {
      const code = 4n | (kind === 'write' ? 2n : 0n) | (kind === 'fetch' && this.#host === PAE ? 16n : 0n);
      return { outcome: 'nested fault', exitInfo1: which | code | (present ? 1n : 0n), exitInfo2: gpa };
    };
    const known = useUpper ? this.#pick('nestedUpper', gpa, this.asid) : undefined;
    let table = known?.base ?? this.#roots.host;
    let rights = known?.rights ?? ALL_RIGHTS;
    for (let level = known === undefined ? 0 : shifts.indexOf(known.shift) + 1; ; level++) {
      const shift = shifts[level]!;
      const place = table + indexOf(gpa, shift, this.#host) * BigInt(width);
      const value = this.#read(place, width);
      if ((value & P) === 0n) return stop(false);
      const isPdpte = this.#host === PAE && level === 0;
      if (!isPdpte) rights &= rightsOf(value);
      if (shift !== 12) {
        if (!isPdpte) this.#set(place, width, A);
        table = value & ~NX & ~PAGE;
        this.#keep('nestedUpper', { prefix: gpa >> BigInt(shift), shift, base: table, rights });
        continue;
      }
      if (!permits(rights, kind, true)) return stop(true);
      this.#set(place, width, kind === 'write' ? A | D : A);
      const base = value & ~NX & ~PAGE;
      const nested = this.#read(place, width) & D;
      this.#keep('nestedTlb', { prefix: gpa >> 12n, shift: 12, base, rights, nested });
      this.#last = { gpa, rights: rights | nested };
      return base | (gpa & PAGE);
    }
  }

  #maySee({ rights, nested }: Cached, kind: Kind, user: boolean): boolean {
    return permits(rights, kind, user) && permits(nested | U, kind, true) && (nested & U) !== 0n;
  }

  #set(place: bigint, width: 4 | 8, flags: bigint): void {
    const value = this.#read(place, width);
    if ((value & flags) === flags) return;
    const all = new Map(this.#state.flags).set(place, { place, width, value: value | flags });
    this.#state = { ...this.#state, flags: all };
  }

  #read(place: bigint, width: 4 | 8): bigint {
    return this.#state.flags.get(place)?.value ?? this.memory.read(place, width);
  }

  /** Keeps what `stays` of a cache. */
  #drop(cache: Cache, stays: (cached: Cached) => boolean): void {
    this.#state = { ...this.#state, [cache]: this.#state[cache].filter(stays) };
  }

  /** One of what is cached for an address, or nothing, by chance. */
  #pick(cache: Cache, address: bigint, asid: number): Cached | undefined {
    const fitting = this.#state[cache].filter(
      (c) => c.asid === asid && c.prefix === address >> BigInt(c.shift),
    );
    return fitting[Math.floor(this.#chance() * (fitting.length + 1))];
  }

  #keep(cache: Cache, entry: Pick<Cached, 'prefix' | 'shift' | 'base' | 'rights'> & Partial<Cached>): void {
    if (this.#chance() >= 0.8) return;
    const kept = { asid: this.asid, nested: 0n, global: false, ...entry };
    this.#state = { ...this.#state, [cache]: [...this.#state[cache], kept] };
  }
}

const permits = (rights: bigint, kind: Kind, user: boolean): boolean =>
  (!user || (rights & U) !== 0n) &&
  (kind !== 'write' || (rights & W) !== 0n) &&
  (kind !== 'fetch' || (rights & NX) !== 0n);

const indexOf = (address: bigint, shift: number, { width }: Format): bigint =>
  (address >> BigInt(shift)) & (width === 4 ? 1023n : 511n);
