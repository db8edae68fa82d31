/** Guest page tables as the walker and the sync read them: guest-physical memory through the slots. */
import type { Hpa } from '../../arch/address.ts';
import { ENTRY, type PagingFormat, RIGHTS } from '../../arch/paging/format.ts';
import { type EntryMemory, UPDATE, type Update } from '../../arch/paging/walker.ts';
import type { MmioBus } from '../../cpu/physical-memory.ts';
import type { HostMemory } from '../hardware.ts';
import type { MemorySlots } from '../memslots.ts';
import type { Rules } from '../rules.ts';
import type { TableGuards } from './guards.ts';

const PAGE = 4096;

/** Where a VM's tables are, and the rules for them; ShadowTables is one. */
export interface GuestTableSources {
  readonly memory: HostMemory;
  readonly slots: MemorySlots;
  readonly mmio: MmioBus;
  readonly rules: Rules;
}

/** EntryMemory over a VM's slots. */
export class GuestTables implements EntryMemory {
  lo = 0;
  hi = 0;
  /**
   * An entry read since this was cleared lies in no slot: it was read from a device or from nothing, as the bare machine would
   * do, but a table there can be neither protected nor shadowed.
   */
  unbacked = false;
  readonly #memory: HostMemory;
  readonly #slots: MemorySlots;
  readonly #mmio: MmioBus;
  readonly #rules: Rules;
  readonly #guards: TableGuards | null;

  /**
   * @param guards lifted where flags are set in a guarded page: to the nested tables that lie there the bits may mean something
   *               else, in PDPTEs they are reserved. Null for the walk of those tables, which tells them nothing new
   */
  constructor({ memory, slots, mmio, rules }: GuestTableSources, guards: TableGuards | null) {
    this.#memory = memory;
    this.#slots = slots;
    this.#mmio = mmio;
    this.#rules = rules;
    this.#guards = guards;
  }

  readEntry(address: number, size: 4 | 8): boolean {
    const at = this.#slots.hostAddress(address);
    if (at < 0) {
      this.unbacked = true;
      this.lo = this.#mmio.read(address as Hpa, 4);
      this.hi = size === 8 ? this.#mmio.read((address + 4) as Hpa, 4) : 0;
      return true;
    }
    const word = at >>> 2;
    this.lo = this.#memory.u32[word];
    this.hi = size === 8 ? this.#memory.u32[word + 1] : 0;
    return true;
  }

  /** A walk may have changed the entry since it read it: tables of both stages of nested paging may be the same ones. */
  updateEntry(address: number, size: 4 | 8, lo: number, hi: number, newLo: number): Update {
    const frame = Math.floor(address / PAGE);
    const slot = this.#slots.find(frame);
    if (slot === undefined || slot.readOnly) return this.#updateAsDevice(address, size, lo, hi, newLo);
    const memory = this.#memory;
    const read = slot.pfn(frame) * PAGE + (address & (PAGE - 1));
    const word = read >>> 2;
    if (memory.u32[word] !== lo || (size === 8 && memory.u32[word + 1] !== hi)) return UPDATE.CHANGED;
    const at = this.#rules.hostAddressOfFlags(read, address);
    memory.u32[at >>> 2] = newLo;
    memory.written(at as Hpa, 4);
    if (this.#guards?.has(frame) && this.#rules.flagsLiftGuards()) this.#guards.lift();
    return UPDATE.DONE;
  }

  #updateAsDevice(address: number, size: 4 | 8, lo: number, hi: number, newLo: number): Update {
    this.readEntry(address, size);
    if (this.lo === lo && this.hi === hi) this.#mmio.write(address as Hpa, 4, newLo);
    return UPDATE.READ_ONLY;
  }
}

/** Rights that a level-1 entry of the guest grants by itself. */
const gpteRights = (format: PagingFormat, lo: number, hi: number): number =>
  format.levels[1].rights[(lo & 7) | ((hi >>> 31) << 3)];

/** Frame that a level-1 entry of the guest maps. */
export const gpteFrame = (lo: number, hi: number): number => (hi & 0x000f_ffff) * 0x10_0000 + (lo >>> 12);

/**
 * Whether a level-1 entry may be turned into an SPTE ahead of an access: present, no reserved bit, and accessed already,
 * since an SPTE hides the next access from the walk that would set A.
 */
export const gpteUsable = (format: PagingFormat, lo: number, hi: number): boolean =>
  (lo & ENTRY.P) !== 0 &&
  (lo & ENTRY.A) !== 0 &&
  ((lo & format.levels[1].reservedLo) | (hi & format.levels[1].reservedHi)) === 0;

/**
 * Rights for an SPTE made without an access at hand: what the tables above and the entry itself grant, without writing if
 * the page is clean, so that the first write is seen and sets D.
 */
export function speculativeRights(format: PagingFormat, inherited: number, lo: number, hi: number): number {
  const granted = inherited & gpteRights(format, lo, hi);
  const clean = format.levels[1].dirtyBit !== 0 && (lo & ENTRY.D) === 0;
  return clean ? granted & ~RIGHTS.W : granted;
}
