import { bits, CR0, CR4, EFER, has } from './bits.ts';
import { currentPcid, type OracleCpu } from './cpu.ts';
import type { PhysicalMemory, Width } from './memory.ts';

/** What 4 bytes of memory held from step `from` on. */
interface Version {
  readonly from: number;
  readonly value: bigint;
  /** Bits that may be either way: flags which a processor may or may not have set. They are 0 in `value`. */
  readonly unknown: bigint;
}

/** A way of walking: the guest's, or the only one, and that of the nested tables, null without nested paging. */
export interface Walker {
  readonly cpu: OracleCpu;
  readonly host: OracleCpu | null;
}

/** A way of walking, and the first and last step at which the processor had it. */
export interface Context extends Walker {
  readonly from: number;
  readonly last: number;
}

/** What the processor was from step `from` on. `walker` is one object for all states that walk alike. */
interface Period {
  readonly from: number;
  readonly asid: number;
  readonly walker: Walker;
  cpu: OracleCpu;
  /** The host as VMRUN has saved it: its SMEP decides how a fault is reported, not how tables are walked. */
  host: OracleCpu | null;
}

/** One invalidation, taking effect before step `step`: what was cached at `step - 1` or earlier is gone. */
export interface Flush {
  readonly step: number;
  /** Null: every ASID. */
  readonly asid: number | null;
  /** Null: every PCID. */
  readonly pcid: number | null;
  /** Whether it reaches what is cached of nested tables: only what the host does (APM vol. 2 15.16). */
  readonly nested: boolean;
  readonly what:
    | { readonly kind: 'all' }
    | { readonly kind: 'non-global' }
    /** One page. `upperLevels`: all cached upper-level entries too, not only those on the way to the page. */
    | {
        readonly kind: 'page';
        readonly linear: bigint;
        readonly upperLevels: boolean;
        /** Of a large page that the processor caches in pieces, only the piece around the address. */
        readonly piece?: true;
      };
}

/** The value of an entry during some steps. */
export interface EntryVersion {
  readonly from: number;
  readonly last: number;
  readonly value: bigint;
  readonly unknown: bigint;
}

/**
 * All that happened to memory, registers and caches, in steps. A step begins with each change; `now` is the last one.
 * Memory is recorded in aligned 4-byte units, so entries of 4 and 8 bytes may share a table.
 */
export class Timeline {
  readonly memory: PhysicalMemory;
  readonly #versions = new Map<bigint, Version[]>();
  /** What was unknown of each 4-byte unit of a page that is no memory now. */
  readonly #withdrawn = new Map<bigint, bigint>();
  #periods: Period[];
  #flushes: Flush[] = [];
  /** What `flushes` found since the last one came, by ASID and PCID. */
  readonly #flushesOf = new Map<number, Flush[]>();
  #now = 0;

  constructor(memory: PhysicalMemory, cpu: OracleCpu, asid: number) {
    this.memory = memory;
    this.#periods = [{ from: 0, asid, walker: { cpu, host: null }, cpu, host: null }];
  }

  get now(): number {
    return this.#now;
  }

  get cpu(): OracleCpu {
    return this.#current.cpu;
  }

  /** The host whose nested tables are in use, as its nested walks see it; null without nested paging. */
  get host(): OracleCpu | null {
    return this.#current.host;
  }

  /** The processor as it walks its tables: `cpu`, but for PDPTE registers that nested paging does without. */
  get walking(): OracleCpu {
    return this.host === null ? this.cpu : { ...this.cpu, ...PDPTES_IN_MEMORY };
  }

  get asid(): number {
    return this.#current.asid;
  }

  get #current(): Period {
    return this.#periods.at(-1)!;
  }

  /** The processor becomes `cpu` under `asid`, with nested tables if there is a `host`; `flushes` happen with it. */
  become(
    cpu: OracleCpu,
    asid: number,
    host: OracleCpu | null,
    flushes: readonly Omit<Flush, 'step'>[] = [],
  ): void {
    const current = this.#current;
    const walker = host === null ? { cpu, host } : { cpu: { ...cpu, ...PDPTES_IN_MEMORY }, host };
    if (flushes.length === 0 && current.asid === asid && walksAlike(current.walker, walker)) {
      // Privilege, WP and the like count at the access, not when a translation is cached.
      current.cpu = cpu;
      current.host = host;
      return;
    }
    const step = ++this.#now;
    this.#periods.push({ from: step, asid, walker: this.#known(walker), cpu, host });
    for (const flush of flushes) this.#addFlush({ ...flush, step });
  }

  /** The object that stands for a way of walking, and in it the one that stands for the host's. */
  #known(walker: Walker): Walker {
    const known = this.#periods.find((period) => walksAlike(period.walker, walker))?.walker;
    if (known !== undefined || walker.host === null) return known ?? walker;
    const { host } = walker;
    const others = this.#periods.map((period) => period.walker.host);
    return {
      cpu: walker.cpu,
      host: others.find((other) => other !== null && sameWalks(other, host)) ?? host,
    };
  }

  /** An invalidation without a change of registers. */
  flush(flush: Omit<Flush, 'step'>): void {
    this.#addFlush({ ...flush, step: ++this.#now });
  }

  /** A store of `width` bytes, by software or by the walker. `unknown`: bits of `value` that may be either way. */
  store(address: bigint, width: Width, value: bigint, unknown = 0n): void {
    const units = unitsOf(address, width).filter((unit) => this.memory.isRam(unit));
    const before = units.map((unit) => this.#versionsOf(unit).at(-1)!);
    this.memory.write(address, width, value & ~unknown);
    this.#now++;
    units.forEach((unit, i) => {
      const stored = partOf(unit, address, width, bits(8 * width - 1, 0));
      const nowUnknown = (before[i]!.unknown & ~stored) | partOf(unit, address, width, unknown);
      this.#versionsOf(unit).push({
        from: this.#now,
        value: this.memory.read(unit, 4),
        unknown: nowUnknown,
      });
    });
  }

  /** The 4-KByte page at an address stops or begins to be memory; see AddressSpaceModel.removeMemory. */
  setPresent(address: bigint, present: boolean): void {
    const first = address & ~0xfffn;
    if (this.memory.isRam(first) === present) return;
    const units = Array.from({ length: 1024 }, (_, i) => first + BigInt(4 * i));
    // What never changed before is recorded now: the contents cannot be looked up later.
    const versions = units.map((unit) => this.#versionsOf(unit));
    this.memory.setPresent(first, present);
    if (this.memory.isRam(first) !== present) return;
    this.#now++;
    units.forEach((unit, i) => {
      const doubt = this.#withdrawn.get(unit) ?? 0n;
      if (!present) this.#withdrawn.set(unit, versions[i]!.at(-1)!.unknown);
      else this.#withdrawn.delete(unit);
      versions[i]!.push({
        from: this.#now,
        value: this.memory.read(unit, 4),
        unknown: present ? doubt : 0n,
      });
    });
  }

  /** What an entry held at each step since `from`, oldest first. */
  versions(address: bigint, width: 4 | 8, from: number): EntryVersion[] {
    const low = this.#versionsOf(address);
    const high = width === 8 ? this.#versionsOf(address + 4n) : [];
    const starts = [...low, ...high].map((version) => version.from).filter((step) => step > from);
    const steps = [from, ...[...new Set(starts)].sort((a, b) => a - b)];
    return steps.map((step, i) => {
      const lowAt = versionAt(low, step);
      const highAt = width === 8 ? versionAt(high, step) : undefined;
      return {
        from: step,
        last: i + 1 < steps.length ? steps[i + 1]! - 1 : this.#now,
        value: lowAt.value | ((highAt?.value ?? 0n) << 32n),
        unknown: lowAt.unknown | ((highAt?.unknown ?? 0n) << 32n),
      };
    });
  }

  /** Bits of memory that may be either way (see `store`). */
  unknown(address: bigint, width: Width): bigint {
    let unknown = 0n;
    for (const unit of unitsOf(address, width)) {
      const shift = (unit - address) * 8n;
      const part = this.#versions.get(unit)?.at(-1)?.unknown ?? 0n;
      unknown |= shift >= 0n ? part << shift : part >> -shift;
    }
    return BigInt.asUintN(8 * width, unknown);
  }

  /**
   * The distinct ways of walking that the processor had under an ASID between two steps: for each, the first and the
   * last step in that range at which it was so.
   */
  contexts(asid: number, from: number, last: number): Context[] {
    const found = new Map<Walker, { from: number; last: number } & Walker>();
    for (let i = this.#periodAt(last); i >= 0; i--) {
      const period = this.#periods[i]!;
      const end = (this.#periods[i + 1]?.from ?? this.#now + 1) - 1;
      if (end < from) break;
      if (period.asid !== asid) continue;
      const start = Math.max(period.from, from);
      const known = found.get(period.walker);
      if (known === undefined) {
        found.set(period.walker, { from: start, last: Math.min(end, last), ...period.walker });
      } else {
        known.from = start;
      }
    }
    return [...found.values()].reverse();
  }

  /** The distinct hosts whose nested tables were in use under an ASID, like `contexts`. */
  hosts(asid: number, from: number, last: number): Context[] {
    const found = new Map<OracleCpu, Context>();
    for (const context of this.contexts(asid, from, last)) {
      if (context.host === null) continue;
      const known = found.get(context.host);
      found.set(context.host, {
        cpu: context.host,
        host: null,
        from: Math.min(context.from, known?.from ?? context.from),
        last: Math.max(context.last, known?.last ?? context.last),
      });
    }
    return [...found.values()];
  }

  /** Invalidations that reach an ASID and a PCID, oldest first; PCID null: those that reach every one. */
  flushes(asid: number, pcid: number | null): readonly Flush[] {
    const key = asid * (PCIDS + 1) + (pcid ?? PCIDS);
    let found = this.#flushesOf.get(key);
    if (found === undefined) {
      found = this.#flushes.filter(
        (flush) =>
          (flush.asid === null || flush.asid === asid) && (flush.pcid === null || flush.pcid === pcid),
      );
      this.#flushesOf.set(key, found);
    }
    return found;
  }

  #addFlush(flush: Flush): void {
    this.#flushes.push(flush);
    this.#flushesOf.clear();
  }

  /** Every PCID that an ASID has had. */
  pcids(asid: number): ReadonlySet<number> {
    return new Set(
      this.#periods.filter((period) => period.asid === asid).map(({ walker }) => currentPcid(walker.cpu)),
    );
  }

  /**
   * Forgets what no cache can still hold: everything before the last complete flush of each ASID that ever ran.
   * Answers stay the same; long runs stay small.
   */
  prune(): void {
    const asids = new Set(this.#periods.map((period) => period.asid));
    let horizon = this.#now;
    for (const asid of asids) {
      const complete = this.#flushes.findLast((flush) => this.#leavesNothing(flush, asid));
      horizon = Math.min(horizon, complete?.step ?? 0);
    }
    this.#periods = lastBefore(this.#periods, horizon);
    this.#flushes = this.#flushes.filter((flush) => flush.step >= horizon);
    this.#flushesOf.clear();
    for (const [unit, versions] of this.#versions) this.#versions.set(unit, lastBefore(versions, horizon));
  }

  /** Number of recorded changes, for tests of `prune`. */
  get size(): number {
    let size = this.#periods.length + this.#flushes.length;
    for (const versions of this.#versions.values()) size += versions.length;
    return size;
  }

  /** Whether nothing that was cached under an ASID before a flush is cached after it. */
  #leavesNothing({ asid, pcid, nested, what, step }: Flush, of: number): boolean {
    if ((asid !== null && asid !== of) || what.kind === 'page') return false;
    const before = this.#periods.filter((period) => period.asid === of && period.from < step);
    if (!nested && before.some((period) => period.walker.host !== null)) return false;
    if (pcid !== null && before.some((period) => currentPcid(period.walker.cpu) !== pcid)) return false;
    return what.kind === 'all' || !before.some((period) => has(period.walker.cpu.cr4, CR4.PGE));
  }

  /** Index of the period at a step. */
  #periodAt(step: number): number {
    let low = 0;
    let high = this.#periods.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#periods[middle]!.from <= step) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #versionsOf(unit: bigint): Version[] {
    let versions = this.#versions.get(unit);
    if (versions === undefined) {
      versions = [{ from: 0, value: this.memory.read(unit, 4), unknown: 0n }];
      this.#versions.set(unit, versions);
    }
    return versions;
  }
}

/** A PAE guest under nested paging has no PDPTE registers (APM vol. 2 15.25.10). */
const PDPTES_IN_MEMORY = { pdptes: [0n, 0n, 0n, 0n], pdptesInMemory: true } as const;

const PCIDS = 4096;
const WALK_CR4 = CR4.PSE | CR4.PAE | CR4.PGE | CR4.LA57 | CR4.PCIDE;
const WALK_EFER = EFER.LME | EFER.NXE;

/** Whether two states walk their tables, and tag what they cache, in the same way. */
const walksAlike = (a: Walker, b: Walker): boolean =>
  sameWalks(a.cpu, b.cpu) &&
  (a.host === null || b.host === null ? a.host === b.host : sameWalks(a.host, b.host));

const sameWalks = (a: OracleCpu, b: OracleCpu): boolean =>
  !has(a.cr0 ^ b.cr0, CR0.PG) &&
  a.cr3 === b.cr3 &&
  !has(a.cr4 ^ b.cr4, WALK_CR4) &&
  !has(a.efer ^ b.efer, WALK_EFER) &&
  a.pdptes.every((pdpte, i) => pdpte === b.pdptes[i]) &&
  a.pdptesInMemory === b.pdptesInMemory &&
  a.maxPhyAddr === b.maxPhyAddr &&
  a.features === b.features;

/** Aligned 4-byte units that an access touches. */
function unitsOf(address: bigint, width: Width): bigint[] {
  const first = address & ~3n;
  const units: bigint[] = [];
  for (let unit = first; unit < address + BigInt(width); unit += 4n) units.push(unit);
  return units;
}

/** The part of `width` bytes at `address` that falls into a 4-byte unit, at its place there. */
function partOf(unit: bigint, address: bigint, width: Width, value: bigint): bigint {
  const whole = BigInt.asUintN(8 * width, value);
  const shift = (address - unit) * 8n;
  return BigInt.asUintN(32, shift >= 0n ? whole << shift : whole >> -shift);
}

const versionAt = (versions: readonly Version[], step: number): Version =>
  versions.findLast((version) => version.from <= step) ?? versions[0]!;

/** Drops what was over before `horizon`, keeping the state at `horizon` itself. */
function lastBefore<T extends { readonly from: number }>(list: readonly T[], horizon: number): T[] {
  const first = list.findLastIndex((item) => item.from <= horizon);
  return list.slice(Math.max(first, 0));
}
