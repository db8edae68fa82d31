/** A virtual machine: its CPU model, memory slots, devices and shadow tables. */
import { type Gfn, type Gpa, gfnOf, type Hpa, PAGE_SIZE, pfnOf } from '../arch/address.ts';
import { type CpuModel, pagingFeaturesOf } from '../arch/cpu-models.ts';
import { cr4Writable, eferWritable } from '../arch/writable-bits.ts';
import { type Environment, NO_ENVIRONMENT } from '../cpu/environment.ts';
import { type MmioBus, NO_MMIO } from '../cpu/physical-memory.ts';
import { ShadowChecker } from './check.ts';
import type { HostRange } from './hardware.ts';
import type { Hypervisor } from './hypervisor.ts';
import { type MemorySlot, MemorySlots } from './memslots.ts';
import { GuestFormats } from './mmu/context.ts';
import { ShadowTables } from './mmu/shadow-tables.ts';
import { nestedFormatOf, SHADOW_FORMAT } from './mmu/table-format.ts';
import { trackWrite } from './mmu/write-track.ts';
import { RULES, type Rules } from './rules.ts';
import { Statistics } from './statistics.ts';
import type { TraceSink } from './trace.ts';
import { Vcpu } from './vcpu.ts';

export interface VmOptions {
  /** The CPU that the guest sees: at most what `Hypervisor.guestModel` offers. */
  readonly model: CpuModel;
  /** Ports, interrupt controllers and local APIC. Without: nothing at any port, and no interrupts. */
  readonly environment?: Environment;
  /** What is behind guest-physical addresses in no slot. Addresses handed to it are guest-physical. */
  readonly mmio?: MmioBus;
  /** Shadow pages at most; at least 64. */
  readonly shadowPageLimit?: number;
  /** Checks all invariants of the shadow MMU after each of its operations (check.ts). Slow. */
  readonly check?: boolean;
  readonly trace?: TraceSink;
  /** Other rules of shadow paging than the right ones: a mutant's. */
  readonly rules?: Rules;
}

/** Below this a single fault might not find room beside the roots in use. */
const LEAST_SHADOW_PAGES = 64;
const DEFAULT_SHADOW_PAGES = 2048;

export class Vm {
  readonly hypervisor: Hypervisor;
  readonly model: CpuModel;
  readonly environment: Environment;
  readonly mmio: MmioBus;
  readonly rules: Rules;
  readonly slots: MemorySlots;
  readonly statistics = new Statistics();
  readonly tables: ShadowTables;
  readonly formats: GuestFormats;
  readonly cr4Writable: number;
  readonly eferWritable: number;
  readonly checker: ShadowChecker | null;
  readonly vcpus: Vcpu[] = [];
  #trace: TraceSink | null;

  /** Use `Hypervisor.createVm`. */
  constructor(hypervisor: Hypervisor, options: VmOptions) {
    const limit = options.shadowPageLimit ?? DEFAULT_SHADOW_PAGES;
    if (!Number.isInteger(limit) || limit < LEAST_SHADOW_PAGES) {
      throw new RangeError(`A VM needs at least ${LEAST_SHADOW_PAGES} shadow pages, not ${limit}.`);
    }
    hypervisor.checkModel(options.model);
    this.hypervisor = hypervisor;
    this.model = options.model;
    this.environment = options.environment ?? NO_ENVIRONMENT;
    this.mmio = options.mmio ?? NO_MMIO;
    this.rules = options.rules ?? RULES;
    this.cr4Writable = cr4Writable(this.model);
    this.eferWritable = eferWritable(this.model);
    this.formats = new GuestFormats(this.rules.guestFeatures(pagingFeaturesOf(this.model, false)));
    const { hardware, pages } = hypervisor;
    const { cr4, efer } = hypervisor.host;
    const format = hypervisor.paging === 'npt' ? nestedFormatOf(cr4, efer) : SHADOW_FORMAT;
    this.slots = new MemorySlots(format.entries);
    this.tables = new ShadowTables(
      hardware.memory,
      pages,
      this.slots,
      this.mmio,
      limit,
      this.statistics.mmu,
      this.rules,
      format,
    );
    this.checker = options.check === true ? new ShadowChecker() : null;
    this.#trace = options.trace ?? null;
    this.tables.trace = this.#trace;
  }

  /** The processor translates guest-physical addresses through nested tables of L0's (APM vol. 2 15.25). */
  get nestedPaging(): boolean {
    return this.hypervisor.paging === 'npt';
  }

  get trace(): TraceSink | null {
    return this.#trace;
  }
  /** Turns tracing on or off while the VM runs. */
  set trace(sink: TraceSink | null) {
    this.#trace = sink;
    this.tables.trace = sink;
  }

  /**
   * Backs the guest-physical range at `base` with host pages. Throws RangeError for ragged or overlapping ranges.
   *
   * @param readOnly stores go to the device behind (`mmio`), as to a ROM
   */
  addMemory(base: Gpa, host: HostRange, readOnly = false): MemorySlot {
    const end = host.base + host.size;
    if (end > this.hypervisor.hardware.memory.size) {
      throw new RangeError(`The host pages of a memory slot end at ${end}, behind the machine's RAM.`);
    }
    this.#leaveGuests();
    const slot = this.slots.add(base, host, readOnly);
    this.tables.slotsGrew();
    return slot;
  }

  /** Takes memory away. No guest instruction reaches it afterwards. */
  removeMemory(slot: MemorySlot): void {
    this.#leaveGuests();
    // While the slot can still be found, since the reverse maps are in it.
    this.tables.zapAll();
    this.slots.remove(slot);
  }

  /**
   * Puts another host page behind a guest page, as an MMU notifier's caller does; the contents are the caller's business.
   * Throws RangeError where the guest page is in no slot.
   */
  moveMemory(page: Gpa, host: Hpa): void {
    const frame = gfnOf(page);
    const slot = this.#slotOf(frame);
    this.#leaveGuests();
    if (this.tables.unmap(slot, frame)) this.tables.requestFlush();
    slot.move(frame, pfnOf(host));
  }

  /** Takes one page of memory away. Throws RangeError where it is in no slot. */
  removePage(page: Gpa): void {
    const frame = gfnOf(page);
    const slot = this.#slotOf(frame);
    this.#leaveGuests();
    this.tables.zapAll();
    this.slots.punch(slot, frame);
  }

  #slotOf(frame: Gfn): MemorySlot {
    const slot = this.slots.find(frame);
    if (slot === undefined) throw new RangeError(`Guest frame ${frame} is in no memory slot.`);
    return slot;
  }

  /** Devices came or went in so many guest frames from the first one (`mmio.claims`): they hide memory there. */
  devicesMoved(firstFrame: number, frames: number): void {
    for (let frame = firstFrame; frame < firstFrame + frames; frame += 1) {
      const hidden = this.mmio.claims(frame);
      if (hidden === this.slots.isHidden(frame)) continue;
      this.#leaveGuests();
      // While the slot can still be found, since the reverse maps are in it.
      if (this.slots.find(frame) !== undefined) this.tables.zapAll();
      this.slots.hide(frame, hidden);
      this.tables.slotsGrew();
    }
  }

  /** What changes under a guest is in force at its next entry, so that none may go on without one. */
  #leaveGuests(): void {
    for (const vcpu of this.vcpus) vcpu.leaveGuest();
  }

  createVcpu(): Vcpu {
    const vcpu = new Vcpu(this, this.vcpus.length);
    this.vcpus.push(vcpu);
    return vcpu;
  }

  /** Tells that a device or a loader wrote `bytes` bytes of guest memory from `address`, in any pages. */
  memoryWritten(address: Gpa, bytes: number): void {
    this.#leaveGuests();
    for (let at: number = address; at < address + bytes; ) {
      const here = Math.min(address + bytes - at, PAGE_SIZE - (at % PAGE_SIZE));
      const host = this.slots.hostAddress(at);
      if (host >= 0) {
        this.hypervisor.hardware.memory.written(host as Hpa, here);
        trackWrite(this.tables, at, here);
      }
      at += here;
    }
  }
}
