/**
 * Guards: guest pages with table entries that no shadow page stands for, but that L0's tables were filled from. A guarded page is
 * write-protected; the first write to one lifts all guards and counts up `epoch`, by which a root finds before its next use that
 * it must look again.
 *
 * Two kinds of entries need that, both of L1's nested tables. PDPTEs of a PAE table, which the processor reads at every nested
 * walk (APM vol. 2 15.25.10), have no shadow page of their own. And under 2-level tables of L0 nothing has one: private tables are
 * filled like a TLB. A TLB would be emptied by INVLPG and by CR3 loads of L2 too, which nobody intercepts; so it is the write that
 * counts here, not the invalidation.
 */
import type { Gfn } from '../../arch/address.ts';
import type { ShadowTables } from './shadow-tables.ts';

export class TableGuards {
  /** Counts the writes that lifted guards. */
  epoch = 0;
  readonly #tables: ShadowTables;
  readonly #frames = new Set<Gfn>();

  constructor(tables: ShadowTables) {
    this.#tables = tables;
  }

  has(frame: number): boolean {
    return this.#frames.size !== 0 && this.#frames.has(frame as Gfn);
  }

  get frames(): ReadonlySet<Gfn> {
    return this.#frames;
  }

  /** Guards a frame that lies in a slot. */
  guard(frame: Gfn): void {
    if (this.#frames.has(frame)) return;
    const slot = this.#tables.slotOf(frame);
    this.#frames.add(frame);
    slot.shadowed[slot.index(frame)] += 1;
    slot.disallowLarge[slot.block(frame)] += 1;
    if (this.#tables.writeProtect(slot, frame)) this.#tables.requestFlush();
  }

  /** A guarded frame is about to be written, or was; or slots go. */
  lift(): void {
    this.epoch += 1;
    for (const frame of this.#frames) {
      const slot = this.#tables.slotOf(frame);
      slot.shadowed[slot.index(frame)] -= 1;
      slot.disallowLarge[slot.block(frame)] -= 1;
    }
    this.#frames.clear();
  }
}
