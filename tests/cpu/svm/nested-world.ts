import { MSR } from '../../../src/arch/msrs.ts';
import { CR0, CR4, EFER } from '../../../src/arch/registers.ts';
import { NESTED_CTL, NPF, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import type { PhysicalMemory } from '../../../src/cpu/physical-memory.ts';
import { loadCr0, loadCr3, loadCr4 } from '../../../src/cpu/system/control-registers.ts';
import type { Assembler } from '../../../src/guest/assembler.ts';
import { type Exit, PLACE, World, type WorldOptions } from './world.ts';

/** Where tables begin: twelve pages each at most. */
const HOST_TABLES = 0x80_0000;
export const NESTED_TABLES = 0x84_0000;
export const GUEST_TABLES = 0x88_0000;

/** Bits of an entry, by the letters of the manuals. */
export const P = 1;
export const W = 2;
export const U = 4;
export const A = 0x20;
export const D = 0x40;
export const PS = 0x80;
export const G = 0x100;
/** Bit 63, in the high half. */
export const NX_HI = 0x8000_0000;
export const PWU = P | W | U;

export type Shape = 'two-level' | 'pae';

/** Tables that map the 16 MiB of memory to itself, in pages of 4 KiB. */
export class Tables {
  readonly #physical: PhysicalMemory;
  readonly root: number;
  readonly #size: 4 | 8;
  /** The first page table; the others follow. */
  readonly #leaves: number;

  constructor(physical: PhysicalMemory, root: number, shape: Shape, flags = PWU) {
    this.#physical = physical;
    this.root = root;
    this.#size = shape === 'pae' ? 8 : 4;
    const perTable = 4096 / this.#size;
    this.#leaves = root + (shape === 'pae' ? 0x2000 : 0x1000);
    const directory = shape === 'pae' ? root + 0x1000 : root;
    if (shape === 'pae') this.#write(root, directory | P, 0);
    for (let page = 0; page < 4096; page++) this.set(page * 4096, (page * 4096) | flags);
    for (let table = 0; table < 4096 / perTable; table++)
      this.#write(directory + table * this.#size, (this.#leaves + table * 4096) | PWU, 0);
  }

  /** Address of the page-table entry. */
  entry(address: number): number {
    return this.#leaves + Math.floor(address / 4096) * this.#size;
  }
  /** Address of the page-directory entry. */
  directoryEntry(address: number): number {
    return this.#size === 8
      ? this.root + 0x1000 + Math.floor(address / 0x20_0000) * 8
      : this.root + Math.floor(address / 0x40_0000) * 4;
  }
  /** Low half of a page-table entry. */
  get(address: number): number {
    return this.#physical.read32(this.entry(address));
  }
  set(address: number, lo: number, hi = 0): void {
    this.#write(this.entry(address), lo, hi);
  }
  setDirectory(address: number, lo: number, hi = 0): void {
    this.#write(this.directoryEntry(address), lo, hi);
  }
  /** The accessed and dirty bits of a page-table entry. */
  used(address: number): number {
    return this.get(address) & (A | D);
  }

  #write(place: number, lo: number, hi: number): void {
    this.#physical.write32(place, lo >>> 0);
    if (this.#size === 8) this.#physical.write32(place + 4, hi >>> 0);
  }
}

export interface NestedOptions extends WorldOptions {
  readonly hostShape?: Shape;
  /** Of CR4 besides PAE, and of EFER besides SVME. */
  readonly hostCr4?: number;
  readonly hostEfer?: number;
  /** Absent: the guest has paging off. */
  readonly guestShape?: Shape;
  readonly guestCr4?: number;
  readonly guestEfer?: number;
}

const CR4_OF = { 'two-level': 0, pae: CR4.PAE } as const;

/** A host with paging on and a guest under nested paging; host, nested and guest tables map memory to itself at first. */
export class NestedWorld extends World {
  readonly nested: Tables;
  readonly guestTables: Tables;

  constructor(guest: (a: Assembler) => void, options: NestedOptions = {}) {
    super(guest, options);
    const { hostShape = 'two-level', guestShape = 'two-level', hostCr4 = 0, hostEfer = 0 } = options;
    const { cpu } = this;
    const { physical } = cpu;
    const host = new Tables(physical, HOST_TABLES, hostShape);
    this.nested = new Tables(physical, NESTED_TABLES, hostShape);
    this.guestTables = new Tables(physical, GUEST_TABLES, guestShape);
    this.setHost(host.root, CR4_OF[hostShape] | hostCr4, hostEfer);
    this.write(VMCB.NESTED_CTL, NESTED_CTL.NP_ENABLE);
    this.write(VMCB.N_CR3, NESTED_TABLES);
    this.write(VMCB_SAVE.G_PAT, 0x0007_0406);
    this.write(VMCB_SAVE.G_PAT + 4, 0x0007_0406);
    this.write(VMCB_SAVE.CR3, GUEST_TABLES);
    if (options.guestShape !== undefined) {
      this.write(VMCB_SAVE.CR0, CR0.PE | CR0.ET | CR0.PG | CR0.WP);
      this.write(VMCB_SAVE.CR4, CR4_OF[guestShape] | (options.guestCr4 ?? 0));
      this.write(VMCB_SAVE.EFER, EFER.SVME | (options.guestEfer ?? 0));
    }
  }

  /** The host's paging registers, as MOV and WRMSR load them. */
  setHost(cr3: number, cr4: number, efer: number, cr0 = CR0.PE | CR0.ET | CR0.PG | CR0.WP): void {
    const { cpu } = this;
    loadCr0(cpu, CR0.PE | CR0.ET);
    cpu.msrs.write(MSR.EFER, EFER.SVME | efer, 0);
    loadCr4(cpu, cr4);
    loadCr3(cpu, cr3);
    loadCr0(cpu, cr0);
  }

  /** What the guest gets at the beginning of its code again. */
  fromStart(): Exit {
    this.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    return this.again();
  }
}

/** EXITINFO1 and 2 in one: `final` or `table`, error code, guest-physical address. */
export const fault = (where: 'final' | 'table', errorCode: number, address: number) => ({
  code: 0x400,
  info1: errorCode,
  info1Hi: where === 'final' ? NPF.FINAL_HI : NPF.TABLE_HI,
  info2: address % 0x1_0000_0000,
  info2Hi: Math.floor(address / 0x1_0000_0000),
});
