import { patIndexOf } from '../arch/memory-types.ts';
import { ENTRY, type PagingFormat, RIGHTS } from '../arch/paging/format.ts';
import { ACCESS, PAGING_CONTROL, pageFaultErrorCode, pagingControl } from '../arch/paging/permissions.ts';
import { translate, WALK, WalkResult } from '../arch/paging/walker.ts';
import type { PhysicalEntries } from './entry-memory.ts';

/** A guest-physical address beyond this does not fit a 32-bit nested format. */
const TWO_TO_32 = 0x1_0000_0000;

/**
 * The second stage of translation under nested paging: guest-physical to system-physical addresses, through the tables at
 * nCR3, in the format and under the rights that the host's CR0, CR4 and EFER had at VMRUN (APM vol. 2 15.25.3 to 15.25.6).
 * It keeps nothing from one walk to the next.
 */
export class NestedStage {
  readonly #entries: PhysicalEntries;
  readonly #walk = new WalkResult();
  #format: PagingFormat | undefined;
  #root = 0;
  #control = 0;

  /** Of the last translation, if it failed: EXITINFO1 bits 4:0, and the whole guest-physical address. */
  errorCode = 0;
  address = 0;
  /** Of the last translation, if it succeeded: a write through it needs no look at the nested tables, a fetch is forbidden. */
  dirty = false;
  executable = true;
  /** Field of the host's PAT that the page's entry names. */
  patIndex = 0;

  constructor(entries: PhysicalEntries) {
    this.#entries = entries;
  }

  /**
   * Turns it on.
   *
   * @param format of the nested tables, PDPTEs in memory
   * @param nCr3   low half: a 32-bit host's CR3 has no more
   */
  enter(format: PagingFormat, nCr3: number, hostCr4: number, hostEfer: number): void {
    this.#format = format;
    this.#root = nCr3;
    // All accesses are user accesses: neither CR0.WP nor EFLAGS.AC is about them (15.25.5).
    this.#control = pagingControl(0, hostCr4, hostEfer, 0);
  }

  leave(): void {
    this.#format = undefined;
  }

  get active(): boolean {
    return this.#format !== undefined;
  }

  /**
   * System-physical address, before the A20 gate, for an access of WRITE or FETCH bits; -1 with `errorCode` and `address`
   * set if the nested tables forbid it. Sets accessed and dirty bits in them.
   */
  translate(address: number, access: number): number {
    const asUser = (access & (ACCESS.WRITE | ACCESS.FETCH)) | ACCESS.USER;
    const format = this.#format as PagingFormat;
    const walk = this.#walk;
    if (address >= TWO_TO_32) return this.#fail(address, pageFaultErrorCode(0, asUser, this.#control));
    const page = address >>> 12;
    const status = translate(format, this.#root, 0, page, asUser, this.#control, this.#entries, walk);
    if (status !== WALK.OK) return this.#fail(address, walk.errorCode);
    const leaf = walk.entryLo[walk.level] as number;
    this.dirty = (leaf & ENTRY.D) !== 0 && (walk.rights & RIGHTS.W) !== 0;
    this.executable = (this.#control & PAGING_CONTROL.NX) === 0 || (walk.rights & RIGHTS.X) !== 0;
    this.patIndex = patIndexOf(leaf, walk.pageShift > 12);
    return walk.frame * 4096 + (address & 0xfff);
  }

  #fail(address: number, errorCode: number): number {
    this.address = address;
    this.errorCode = errorCode;
    return -1;
  }
}
