import { allowedOutcomes } from './allowed.ts';
import { EFER, has } from './bits.ts';
import {
  type RegisterWrite,
  taskSwitchCr3,
  writeCr0,
  writeCr3,
  writeCr4,
  writeEfer,
} from './control-registers.ts';
import { currentPcid, type OracleCpu, type Pdptes, pagingMode } from './cpu.ts';
import type { EntryExpectation, Expected } from './expected.ts';
import type { Invalidation } from './invalidation.ts';
import type { PhysicalMemory, Width } from './memory.ts';
import { type NestedPaging, nestedWalker } from './nested.ts';
import { loadPdptes } from './pdptes.ts';
import type { Access } from './rights.ts';
import { type Flush, Timeline } from './timeline.ts';
import { linearAddress } from './translate.ts';

type NewFlush = Omit<Flush, 'step'>;

/** TLB_CONTROL of the VMCB (APM vol. 2 table 15-9). */
export const TLB_CONTROL = { NOTHING: 0, ALL_ASIDS: 1, THIS_ASID: 3, THIS_ASID_NON_GLOBAL: 7 } as const;

/** What the processor becomes on VMRUN: the state that it has loaded from the VMCB. */
export interface GuestEntry {
  readonly cpu: OracleCpu;
  /** Not 0, which is the host's (APM vol. 2 15.5.1). */
  readonly asid: number;
  readonly tlbControl: number;
  /**
   * Nested paging (NP_ENABLE): the host's registers as VMRUN has saved them, with nCR3 in place of CR3. A PAE guest then
   * has no PDPTE registers: each walk reads its PDPTEs from memory (APM vol. 2 15.25.10).
   */
  readonly nested?: NestedPaging;
}

/** A paging-structure entry as found in memory after a probe. */
export interface EntrySeen {
  readonly address: bigint;
  readonly width: 4 | 8;
  readonly value: bigint;
}

/** As much of an outcome as `settle` needs: one access, or a whole probe. */
type AccessOutcome =
  | { readonly outcome: 'ok' | 'nested fault'; readonly entries: readonly EntryExpectation[] }
  | { readonly outcome: 'fault'; readonly entries: readonly EntryExpectation[]; readonly cr2: bigint | null };

/**
 * One processor, its memory, and all that its TLB and upper-level caches may still know: the oracle for sequences.
 * Every store to memory that holds tables or probed data must go through `store`, every register write and
 * invalidation through its method; `allowed` then gives the outcomes that the manuals permit for an access, and
 * `settle` records that the access was made. ASID 0 is the host (APM vol. 2 15.16).
 */
export class AddressSpaceModel {
  readonly memory: PhysicalMemory;
  readonly #timeline: Timeline;

  /** @param memory is read, and written by `store` and `settle` */
  constructor(memory: PhysicalMemory, cpu: OracleCpu, asid = 0) {
    this.memory = memory;
    this.#timeline = new Timeline(memory, cpu, asid);
  }

  get cpu(): OracleCpu {
    return this.#timeline.cpu;
  }

  /** Address space identifier in use; 0 outside guest mode. */
  get asid(): number {
    return this.#timeline.asid;
  }

  /** Outcomes of an access of bytes within one 4-KByte page; at least one, the one of the tables as they are first. */
  allowed(linear: bigint, access: Access): Expected[] {
    return allowedOutcomes(this.#timeline, linear, access);
  }

  /**
   * Records an access that had one of `outcomes`: all that were allowed if nobody looked, or the one that was seen.
   * `seen`: entries as they were found afterwards.
   */
  settle(outcomes: readonly AccessOutcome[], seen: readonly EntrySeen[] = []): void {
    for (const { address, width } of outcomes.flatMap((outcome) => [...outcome.entries])) {
      const found = seen.find((entry) => entry.address === address && entry.width === width);
      const values = found
        ? [found.value]
        : outcomes.flatMap((outcome) => this.#after(outcome, address, width));
      const certain = values.reduce((all, value) => all & value);
      this.store(address, width, certain, values.reduce((any, value) => any | value) ^ certain);
    }
    // A page fault drops what led to it (SDM vol. 3A 4.10.4.1, APM vol. 2 5.5.3 "Use of Cached Entries...").
    const addresses = new Set(outcomes.map((outcome) => (outcome.outcome === 'fault' ? outcome.cr2 : null)));
    const [cr2] = addresses;
    if (addresses.size === 1 && cr2 !== null && cr2 !== undefined) {
      this.#flush({ kind: 'page', linear: cr2, upperLevels: false, piece: true });
    }
  }

  /** A store to physical memory by software. `unknown`: bits of `value` that may be either way. */
  store(address: bigint, width: Width, value: bigint, unknown = 0n): void {
    this.#timeline.store(address, width, value, unknown);
  }

  /**
   * The 4-KByte page at `address` is no memory from now on: it reads as all ones and stores to it are lost, until
   * `returnMemory` brings it back with the contents that it had.
   */
  removeMemory(address: bigint): void {
    this.#timeline.setPresent(address, false);
  }

  returnMemory(address: bigint): void {
    this.#timeline.setPresent(address, true);
  }

  /** Bits of memory that may be either way, after accesses whose outcome nobody saw. */
  unknown(address: bigint, width: Width): bigint {
    return this.#timeline.unknown(address, width);
  }

  /** INVLPG (SDM vol. 3A 4.10.4.1). With EFER.TCE only the upper levels on the way go (APM vol. 2 5.5.3). */
  invlpg(linear: bigint): void {
    const upperLevels = !has(this.cpu.efer, EFER.TCE);
    this.#flush({ kind: 'page', linear: linearAddress(this.cpu, linear), upperLevels });
  }

  /** INVLPGA: the page in the ASID given, 0 being the host's (APM vol. 2 15.16.2). */
  invlpga(linear: bigint, asid: number): void {
    const what = { kind: 'page', linear: linearAddress(this.cpu, linear), upperLevels: false } as const;
    this.#timeline.flush({ asid, pcid: null, nested: false, what });
  }

  /** MOV to CR0, the whole value, with its consequences. */
  writeCr0(value: bigint): RegisterWrite {
    return this.#write((cpu) => writeCr0(cpu, this.memory, value));
  }

  /** MOV to CR3, with bit 63 of the operand meaning what it means under CR4.PCIDE. */
  writeCr3(value: bigint): RegisterWrite {
    return this.#write((cpu) => writeCr3(cpu, this.memory, value));
  }

  /** MOV to CR4, the whole value. */
  writeCr4(value: bigint): RegisterWrite {
    return this.#write((cpu) => writeCr4(cpu, this.memory, value));
  }

  /** WRMSR to EFER. */
  writeEfer(value: bigint): RegisterWrite {
    return this.#write((cpu) => writeEfer(cpu, value));
  }

  /** The load of CR3 in a task switch. */
  taskSwitch(cr3: bigint): RegisterWrite {
    return this.#write((cpu) => taskSwitchCr3(cpu, this.memory, cr3));
  }

  /** Changes what no instruction above writes and no cache holds: privilege, EFLAGS.AC, CS.L, PKRU. */
  adjust(changes: Partial<Pick<OracleCpu, 'cpl' | 'eflagsAc' | 'csLong' | 'pkru'>>): void {
    this.#timeline.become({ ...this.cpu, ...changes }, this.asid, this.#timeline.host);
  }

  /**
   * VMRUN that has passed its checks. It writes the paging registers and flushes nothing by itself (APM vol. 2 15.16).
   * Answers `invalid` for a guest whose PDPTEs it loads and finds illegal, and for nested paging under a host without
   * paging (15.25.3).
   */
  vmrun({ cpu, asid, tlbControl, nested }: GuestEntry): 'entered' | 'invalid' {
    if (asid === 0) throw new RangeError('VMRUN with ASID 0: it belongs to the host; use 1 or above.');
    if (nested !== undefined && pagingMode(nested.host) === 'off') return 'invalid';
    const guest = nested === undefined ? this.#withPdptes(cpu) : cpu;
    if (guest === undefined) return 'invalid';
    const host = nested === undefined ? null : nestedWalker(nested.host);
    this.#timeline.become(guest, asid, host, tlbControlFlushes(tlbControl, asid));
    return 'entered';
  }

  /** The PDPTEs that VMRUN without nested paging, or #VMEXIT, would load for a state; undefined if it finds illegal ones. */
  pdptesAfterEntry(cpu: OracleCpu): Pdptes | undefined {
    return this.#withPdptes(cpu)?.pdptes;
  }

  /** #VMEXIT back to a host state; its PDPTEs are loaded again, and illegal ones shut down (APM vol. 2 15.6). */
  vmexit(host: OracleCpu): 'left' | 'shutdown' {
    const cpu = this.#withPdptes(host);
    if (cpu === undefined) return 'shutdown';
    this.#timeline.become(cpu, 0, null);
    return 'left';
  }

  /** Forgets history that no cache can still hold; answers stay the same. Worth calling now and then in long runs. */
  prune(): void {
    this.#timeline.prune();
  }

  /** Number of recorded changes. */
  get historySize(): number {
    return this.#timeline.size;
  }

  #withPdptes(cpu: OracleCpu): OracleCpu | undefined {
    if (pagingMode(cpu) !== 'pae' || cpu.pdptesInMemory) return cpu;
    const pdptes = loadPdptes(cpu, this.memory, cpu.cr3);
    return pdptes && { ...cpu, pdptes };
  }

  #write(write: (cpu: OracleCpu) => RegisterWrite): RegisterWrite {
    const { cpu, asid, host } = this.#timeline;
    // Under nested paging no PDPTE is loaded nor checked (APM vol. 2 15.25.10).
    const result = write(host === null ? cpu : { ...cpu, pdptesInMemory: true });
    if (result.outcome !== 'ok') return result;
    const after = { ...result.cpu, pdptesInMemory: cpu.pdptesInMemory };
    this.#timeline.become(after, asid, host, registerFlushes(result.invalidates, after, asid));
    return { ...result, cpu: after };
  }

  #flush(what: Flush['what']): void {
    // INVLPG and faults also drop global translations, whatever their PCID (SDM vol. 3A 4.10.4.1).
    this.#timeline.flush({ asid: this.asid, pcid: null, nested: false, what });
  }

  /** What an outcome leaves in an entry; if it does not say, what may be there now. */
  #after({ entries }: AccessOutcome, address: bigint, width: 4 | 8): readonly bigint[] {
    const listed = entries.find((entry) => entry.address === address && entry.width === width);
    if (listed !== undefined) return listed.values;
    const value = this.memory.read(address, width);
    return [value, value | this.unknown(address, width)];
  }
}

function registerFlushes(invalidates: Invalidation, cpu: OracleCpu, asid: number): NewFlush[] {
  if (invalidates.translations === 'none') return [];
  const pcid = invalidates.everyPcid ? null : currentPcid(cpu);
  return [{ asid, pcid, nested: false, what: { kind: invalidates.translations } }];
}

function tlbControlFlushes(tlbControl: number, asid: number): NewFlush[] {
  switch (tlbControl) {
    case TLB_CONTROL.NOTHING:
      return [];
    case TLB_CONTROL.ALL_ASIDS:
      return [{ asid: null, pcid: null, nested: true, what: { kind: 'all' } }];
    case TLB_CONTROL.THIS_ASID:
      return [{ asid, pcid: null, nested: true, what: { kind: 'all' } }];
    case TLB_CONTROL.THIS_ASID_NON_GLOBAL:
      return [{ asid, pcid: null, nested: true, what: { kind: 'non-global' } }];
    default:
      throw new RangeError(
        `TLB_CONTROL ${tlbControl} is reserved: use 0, 1, 3 or 7 (APM vol. 2 table 15-9).`,
      );
  }
}
