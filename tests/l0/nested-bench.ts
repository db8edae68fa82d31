/**
 * L0's nested tables without a processor: an MMU, and the walk that the processor would make through what it wrote, with no
 * cache, since what a TLB may keep is the processor's business.
 */
import { gpa, type Hpa, hpa } from '../../src/arch/address.ts';
import { cpuModelNamed, pagingFeaturesOf } from '../../src/arch/cpu-models.ts';
import type { PagingFormat } from '../../src/arch/paging/format.ts';
import { paeFormat } from '../../src/arch/paging/pae.ts';
import { ACCESS, PAGING_CONTROL } from '../../src/arch/paging/permissions.ts';
import { twoLevelFormat } from '../../src/arch/paging/two-level.ts';
import {
  type EntryMemory,
  translate,
  UPDATE,
  type Update,
  WALK,
  WalkResult,
} from '../../src/arch/paging/walker.ts';
import { CR0, CR4, EFER } from '../../src/arch/registers.ts';
import { NO_MMIO } from '../../src/cpu/physical-memory.ts';
import { ShadowChecker } from '../../src/l0/check.ts';
import type { HostMemory } from '../../src/l0/hardware.ts';
import { type MemorySlot, MemorySlots } from '../../src/l0/memslots.ts';
import { GuestFormats, type GuestPagingRegisters } from '../../src/l0/mmu/context.ts';
import { FAULT, type FaultOutcome } from '../../src/l0/mmu/fault.ts';
import { Mmu } from '../../src/l0/mmu/mmu.ts';
import { NestedPagingRegisters } from '../../src/l0/mmu/nested-registers.ts';
import { ShadowTables } from '../../src/l0/mmu/shadow-tables.ts';
import { nestedFormatOf, type TableFormat } from '../../src/l0/mmu/table-format.ts';
import { trackWrite } from '../../src/l0/mmu/write-track.ts';
import { HostPages } from '../../src/l0/pages.ts';
import { RULES, type Rules } from '../../src/l0/rules.ts';
import { MmuStatistics } from '../../src/l0/statistics.ts';

const MIB = 0x10_0000;
const PAGE = 4096;
const FOUR_GIB = 0x1_0000_0000;

/** Host kernels: what of their registers makes the format of L0's tables. */
export const HOSTS = {
  pae: { cr4: CR4.PAE, efer: EFER.NXE },
  'pae without nx': { cr4: CR4.PAE, efer: 0 },
  nopae: { cr4: CR4.PSE, efer: 0 },
  'nopae without pse': { cr4: 0, efer: 0 },
} as const;
export type Host = keyof typeof HOSTS;

/** Guest RAM: one slot that large pages of 2 and 4 MiB fit, a hole, and one that they do not fit. */
const SLOTS = [
  { guest: 0, host: 8 * MIB, size: 8 * MIB },
  { guest: 12 * MIB, host: 4 * MIB + 0x3000, size: MIB },
] as const;

/** What a nested access came to. */
export type Seen =
  | { readonly outcome: 'ok'; readonly host: number }
  | { readonly outcome: 'emulate' }
  | { readonly outcome: 'inject'; readonly errorCode: number };

class HostTables implements EntryMemory {
  lo = 0;
  hi = 0;
  readonly #u32: Uint32Array;
  constructor(u32: Uint32Array) {
    this.#u32 = u32;
  }
  readEntry(address: number, size: 4 | 8): boolean {
    this.lo = this.#u32[address >>> 2];
    this.hi = size === 8 ? this.#u32[(address >>> 2) + 1] : 0;
    return true;
  }
  updateEntry(address: number, _size: 4 | 8, _lo: number, _hi: number, newLo: number): Update {
    this.#u32[address >>> 2] = newLo;
    return UPDATE.DONE;
  }
}

export class NestedBench {
  readonly memory: HostMemory;
  readonly slots: MemorySlots;
  readonly tables: ShadowTables;
  readonly checker = new ShadowChecker();
  /** Maps L1's memory. */
  readonly direct: Mmu;
  /** Shadows L1's nested tables. */
  readonly nested: Mmu;
  readonly nestedRegisters: NestedPagingRegisters;
  /** L1's registers at VMRUN, and those of whoever runs. */
  readonly l1 = { cr0: (CR0.PE | CR0.PG) >>> 0, cr4: 0, efer: 0 };
  readonly current = { cr0: 0, cr3: 0, cr4: 0, efer: 0, guestMode: false, pdptes: new Uint32Array(8) };
  readonly #format: PagingFormat;
  readonly #hostControl: number;
  readonly #entries: HostTables;
  readonly #walk = new WalkResult();

  constructor(host: Host, rules: Rules = RULES, limit = 128) {
    const buffer = new ArrayBuffer(20 * MIB);
    const u32 = new Uint32Array(buffer);
    this.memory = {
      size: buffer.byteLength,
      u8: new Uint8Array(buffer),
      u16: new Uint16Array(buffer),
      u32,
      written: () => {},
    };
    this.#entries = new HostTables(u32);
    const { cr4, efer } = HOSTS[host];
    const format: TableFormat = nestedFormatOf(cr4, efer);
    const features = pagingFeaturesOf(cpuModelNamed('current-amd')!, (efer & EFER.NXE) !== 0);
    this.#format =
      (cr4 & CR4.PAE) !== 0 ? paeFormat(features, true) : twoLevelFormat((cr4 & CR4.PSE) !== 0, features);
    // Without NX fetches are reported because of CR4.SMEP alone.
    this.#hostControl = (efer & EFER.NXE) !== 0 ? PAGING_CONTROL.NX : PAGING_CONTROL.SMEP;
    const pages = new HostPages(this.memory, { base: hpa(0), size: 3 * MIB });
    this.slots = new MemorySlots(format.entries);
    for (const { guest, host: base, size } of SLOTS)
      this.slots.add(gpa(guest), { base: hpa(base), size }, false);
    this.tables = new ShadowTables(
      this.memory,
      pages,
      this.slots,
      NO_MMIO,
      limit,
      new MmuStatistics(),
      rules,
      format,
    );
    const formats = new GuestFormats(rules.guestFeatures(features));
    this.nestedRegisters = new NestedPagingRegisters(this.l1, this.current, rules);
    const current: GuestPagingRegisters = this.current;
    this.direct = new Mmu(this.tables, pages, formats, current, 'direct');
    this.nested = new Mmu(this.tables, pages, formats, this.nestedRegisters, 'nested');
    this.direct.checker = this.checker;
    this.nested.checker = this.checker;
  }

  // --- L1's memory -----------------------------------------------------------------------------------------------

  poke(address: number, value: bigint, width: 4 | 8): void {
    const at = this.slots.hostAddress(address) >>> 2;
    this.memory.u32[at] = Number(value & 0xffff_ffffn);
    if (width === 8) this.memory.u32[at + 1] = Number(value >> 32n);
  }

  /** Where there is no memory all bits are set. */
  peek(address: number, width: 4 | 8): bigint {
    if (this.host(address) < 0) return (1n << BigInt(8 * width)) - 1n;
    const at = this.slots.hostAddress(address) >>> 2;
    const low = BigInt(this.memory.u32[at]);
    return width === 8 ? low | (BigInt(this.memory.u32[at + 1]) << 32n) : low;
  }

  /** Where the slot of an address has it now. */
  host(address: number): number {
    return this.slots.hostAddress(address);
  }

  slot(address: number): MemorySlot {
    return this.slots.find(Math.floor(address / PAGE))!;
  }

  /** As `Vm.moveMemory`: another host page behind a page of the guest, contents and all. */
  move(address: number, to: number): void {
    const frame = Math.floor(address / PAGE);
    const slot = this.slot(address);
    this.memory.u8.copyWithin(to, this.host(address), this.host(address) + PAGE);
    if (this.tables.unmap(slot, frame as never)) this.tables.requestFlush();
    slot.move(frame, to / PAGE);
  }

  /** As `Vm.removeMemory`. The function returned adds it again. */
  remove(address: number): () => void {
    const slot = this.slot(address);
    this.tables.zapAll();
    this.slots.remove(slot);
    return () => {
      const host = { base: hpa(slot.basePfn * PAGE), size: slot.pages * PAGE };
      this.slots.add(gpa(slot.baseGfn * PAGE), host, false);
      this.tables.slotsGrew();
    };
  }

  // --- L1 and L2 -------------------------------------------------------------------------------------------------

  /** L1 stores to its memory: directly where its mapping is writable, else by L0's emulator. */
  write(address: number, value: bigint, width: 4 | 8): Seen {
    const seen = this.#access(this.direct, address, 'write');
    this.poke(address, value, width);
    if (seen.outcome === 'emulate') trackWrite(this.tables, address, width);
    return seen;
  }

  /** L1 runs in this paging mode, with its nested tables at `cr3`, and enters L2. */
  vmrun(cr3: number, cr4: number, efer = 0): void {
    Object.assign(this.l1, { cr4, efer });
    this.nestedRegisters.cr3 = cr3;
    this.current.guestMode = true;
    this.nested.reconfigure('VMRUN');
    this.nested.flush();
    this.nested.load();
    this.checker.checkAll(this.nested, 'VMRUN');
  }

  vmexit(): void {
    this.current.guestMode = false;
    this.direct.reconfigure('#VMEXIT');
    this.direct.load();
  }

  /** A nested access of L1. */
  l1Access(address: number, access: 'read' | 'write' | 'fetch' = 'read'): Seen {
    return this.#access(this.direct, address, access);
  }

  /** A nested access of L2, by L2-physical address. */
  l2Access(address: number, access: 'read' | 'write' | 'fetch' = 'read'): Seen {
    return this.#access(this.nested, address, access);
  }

  /** L2 stores: as `write`, through L1's nested tables. The host address stored to, or what else happened. */
  l2Write(address: number, value: bigint, width: 4 | 8): Seen {
    const seen = this.l2Access(address, 'write');
    if (seen.outcome === 'inject') return seen;
    const l1 = this.nested.translate(address, ACCESS.WRITE | ACCESS.USER, false);
    this.poke(l1, value, width);
    if (seen.outcome === 'emulate') trackWrite(this.tables, l1, width);
    return seen;
  }

  #access(mmu: Mmu, address: number, kind: 'read' | 'write' | 'fetch'): Seen {
    const access = ACCESS.USER | (kind === 'write' ? ACCESS.WRITE : kind === 'fetch' ? ACCESS.FETCH : 0);
    for (let round = 0; round < 4; round += 1) {
      const root: Hpa = mmu.load().address;
      const walked = this.#walk;
      const status =
        address >= FOUR_GIB
          ? WALK.NOT_PRESENT
          : translate(
              this.#format,
              root,
              0,
              address >>> 12,
              access,
              this.#hostControl,
              this.#entries,
              walked,
            );
      if (status === WALK.OK) return { outcome: 'ok', host: walked.frame * PAGE + (address % PAGE) };
      const outcome: FaultOutcome = mmu.handleNestedFault(
        address,
        address >= FOUR_GIB ? access : walked.errorCode,
      );
      if (outcome === FAULT.EMULATE) return { outcome: 'emulate' };
      if (outcome === FAULT.INJECT) return { outcome: 'inject', errorCode: mmu.errorCode };
      if (outcome === FAULT.SPURIOUS) throw new Error('a fault without a cause in the tables');
    }
    throw new Error(`L0 does not come to an end with the access to ${address.toString(16)}h`);
  }
}
