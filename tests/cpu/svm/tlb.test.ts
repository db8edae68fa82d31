import { describe, expect, it } from 'vitest';
import { CR0, CR4 } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { TLB_CONTROL, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { type Assembler, eax, ebx, ecx, esi, mem, mem32 } from '../../../src/guest/assembler.ts';
import { PLACE, World } from './world.ts';

const DIRECTORY = 0x10_0000;
const TABLE = 0x10_1000;
const OTHER_DIRECTORY = 0x10_2000;
const OTHER_TABLE = 0x10_3000;
const PAGE = 0x30_0000;
const OLD = 0x30_0000;
const NEW = 0x31_0000;
const CODE_PAGE = 0x32_0000;
const OLD_CODE = 0x33_0000;
const NEW_CODE = 0x34_0000;
const GLOBAL = 0x100;

const entryOf = (linear: number, table = TABLE): number => table + (linear >> 12) * 4;
const OLD_VALUE = 0xaaaa;
const NEW_VALUE = 0xbbbb;

/** A guest that reads PAGE into EBX. The host may change what PAGE means between two runs. */
class Translating extends World {
  constructor(guest: (a: Assembler) => void = reading, host?: (a: Assembler) => void, model?: string) {
    super(guest, { ...(host && { host }), ...(model !== undefined && { model }) });
    const { physical } = this.cpu;
    for (const [directory, table] of [
      [DIRECTORY, TABLE],
      [OTHER_DIRECTORY, OTHER_TABLE],
    ]) {
      physical.write32(directory, table | 7);
      for (let page = 0; page < 1024; page++) physical.write32(table + page * 4, (page * 4096) | 7);
    }
    physical.write32(entryOf(PAGE), OLD | 7);
    physical.write32(entryOf(CODE_PAGE), OLD_CODE | 7);
    physical.write32(OLD, OLD_VALUE);
    physical.write32(NEW, NEW_VALUE);
    this.write(VMCB_SAVE.CR3, DIRECTORY);
    this.write(VMCB_SAVE.CR0, CR0.PE | CR0.PG | CR0.WP);
    this.write(VMCB_SAVE.CR4, CR4.PGE);
  }

  /** Makes PAGE mean NEW in memory, which no TLB sees. */
  remap(flags = 7): void {
    this.cpu.physical.write32(entryOf(PAGE), NEW | flags);
  }

  /** What the guest reads at PAGE. */
  value(): number {
    this.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    expect(this.again().code).toBe(VMEXIT.VMMCALL);
    return this.gpr(3);
  }
}

function reading(a: Assembler): void {
  a.mov(esi, PAGE);
  a.mov(ebx, mem32(esi));
  a.vmmcall();
}

describe('the TLB under SVM (APM vol. 2 15.16)', () => {
  it('keeps the guest’s translations from one VMRUN to the next: a missed flush shows', () => {
    const world = new Translating();
    expect(world.value()).toBe(OLD_VALUE);
    world.remap();
    expect(world.value()).toBe(OLD_VALUE);
    // Even another CR3 under the same ASID flushes nothing.
    world.cpu.physical.write32(entryOf(PAGE, OTHER_TABLE), NEW | 7);
    world.write(VMCB_SAVE.CR3, OTHER_DIRECTORY);
    expect(world.value()).toBe(OLD_VALUE);
  });

  it.each([
    ['1 flushes everything', TLB_CONTROL.FLUSH_ALL, 7, NEW_VALUE],
    ['1 flushes global entries', TLB_CONTROL.FLUSH_ALL, 7 | GLOBAL, NEW_VALUE],
    ['3 flushes this ASID', TLB_CONTROL.FLUSH_ASID, 7, NEW_VALUE],
    ['3 flushes its global entries', TLB_CONTROL.FLUSH_ASID, 7 | GLOBAL, NEW_VALUE],
    ['7 flushes this ASID', TLB_CONTROL.FLUSH_ASID_NON_GLOBAL, 7, NEW_VALUE],
    ['7 keeps its global entries', TLB_CONTROL.FLUSH_ASID_NON_GLOBAL, 7 | GLOBAL, OLD_VALUE],
    ['0 flushes nothing', TLB_CONTROL.NOTHING, 7, OLD_VALUE],
  ])('TLB_CONTROL %s', (_name, control, flags, expected) => {
    const world = new Translating();
    world.cpu.physical.write32(entryOf(PAGE), OLD | flags);
    expect(world.value()).toBe(OLD_VALUE);
    world.remap(flags);
    world.writeByte(VMCB.TLB_CONTROL, control);
    expect(world.value()).toBe(expected);
    // VMRUN reads the field and does not change it.
    expect(world.readByte(VMCB.TLB_CONTROL)).toBe(control);
  });

  it('has an address space for each ASID', () => {
    const world = new Translating();
    expect(world.value()).toBe(OLD_VALUE);
    world.remap();
    world.write(VMCB.GUEST_ASID, 2);
    expect(world.value()).toBe(NEW_VALUE);
    world.write(VMCB.GUEST_ASID, 1);
    expect(world.value()).toBe(OLD_VALUE);
    // A flush of one leaves the other alone.
    world.write(VMCB.GUEST_ASID, 2);
    world.writeByte(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ASID);
    world.cpu.physical.write32(entryOf(PAGE), OLD | 7);
    expect(world.value()).toBe(OLD_VALUE);
    world.writeByte(VMCB.TLB_CONTROL, TLB_CONTROL.NOTHING);
    world.cpu.physical.write32(OLD, 0xcccc);
    world.write(VMCB.GUEST_ASID, 1);
    expect(world.value()).toBe(0xcccc);
  });

  it('global entries are global within their ASID only', () => {
    const world = new Translating();
    world.cpu.physical.write32(entryOf(PAGE), OLD | 7 | GLOBAL);
    expect(world.value()).toBe(OLD_VALUE);
    world.remap(7 | GLOBAL);
    world.write(VMCB.GUEST_ASID, 2);
    expect(world.value()).toBe(NEW_VALUE);
  });

  it('TLB_CONTROL 1 flushes all ASIDs', () => {
    const world = new Translating();
    expect(world.value()).toBe(OLD_VALUE);
    world.remap();
    world.write(VMCB.GUEST_ASID, 2);
    world.writeByte(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ALL);
    expect(world.value()).toBe(NEW_VALUE);
    world.writeByte(VMCB.TLB_CONTROL, TLB_CONTROL.NOTHING);
    world.write(VMCB.GUEST_ASID, 1);
    expect(world.value()).toBe(NEW_VALUE);
  });

  it('the guest’s own CR3 write flushes its ASID, INVLPG its page', () => {
    for (const flush of [
      (a: Assembler): void => a.raw(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8), // mov eax,cr3; mov cr3,eax
      (a: Assembler): void => a.invlpg(mem(PAGE)),
    ]) {
      const world = new Translating((a) => {
        a.label('read');
        a.mov(ebx, mem32(PAGE));
        a.vmmcall();
        flush(a);
        a.jmp('read');
      });
      expect(world.run().code).toBe(VMEXIT.VMMCALL);
      expect(world.gpr(3)).toBe(OLD_VALUE);
      world.remap();
      world.write(VMCB_SAVE.RIP, world.read(VMCB_SAVE.RIP) + 3);
      world.again();
      expect(world.gpr(3)).toBe(NEW_VALUE);
    }
  });

  it('copies for interpreted code follow the rights of the new CR0', () => {
    // A read-only page: CPL 0 may write to it only without CR0.WP.
    const world = new Translating((a) => {
      a.mov(mem32(PAGE), eax);
      a.vmmcall();
    });
    world.cpu.physical.write32(entryOf(PAGE), OLD | 0x65 | 0x60);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 14);
    world.write(VMCB_SAVE.CR0, CR0.PE | CR0.PG);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    world.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    world.write(VMCB_SAVE.CR0, CR0.PE | CR0.PG | CR0.WP);
    expect(world.again()).toMatchObject({ code: VMEXIT.EXCP + 14, info1: 3, info2: PAGE });
    world.write(VMCB_SAVE.CR0, CR0.PE | CR0.PG);
    expect(world.again().code).toBe(VMEXIT.VMMCALL);
  });

  it('the host finds its own translations again', () => {
    const world = new Translating(reading, (a) => {
      a.mov(ecx, mem32(PAGE));
      a.vmrun();
      a.mov(ecx, mem32(PAGE));
      a.hlt();
    });
    // The host runs under the other tables.
    const { cpu } = world;
    cpu.state.setSystem(0x310, OTHER_DIRECTORY);
    cpu.state.setSystem(0x300, (CR0.PE | CR0.PG) >>> 0);
    cpu.physical.write32(entryOf(PAGE, OTHER_TABLE), NEW | 7);
    cpu.paging.modeChanged();
    cpu.updateContext();
    world.run();
    expect(world.gpr(3)).toBe(OLD_VALUE);
    expect(world.gpr(1)).toBe(NEW_VALUE);
    cpu.physical.write32(entryOf(PAGE, OTHER_TABLE), OLD | 7);
    world.again();
    expect(world.gpr(1)).toBe(NEW_VALUE);
  });
});

describe('INVLPGA (APM vol. 2 15.16.2)', () => {
  /** A host that runs the guest, invalidates EDX under ASID ECX, and runs it again. */
  const invalidating = (asid: number, linear = PAGE): World =>
    new Translating(reading, (a) => {
      a.vmrun();
      a.mov(ecx, asid);
      a.mov(eax, linear);
      a.invlpga();
      a.hlt();
    });

  it.each([
    [1, PAGE, NEW_VALUE],
    [1, PAGE + 0xffc, NEW_VALUE],
    [1, PAGE + 0x1000, OLD_VALUE],
    [2, PAGE, OLD_VALUE],
    [0, PAGE, OLD_VALUE],
    [0x8000, PAGE, OLD_VALUE],
    [0xffff_ffff, PAGE, OLD_VALUE],
  ])('ASID %i, address %i', (asid, linear, expected) => {
    for (const flags of [7, 7 | GLOBAL]) {
      const world = invalidating(asid, linear) as Translating;
      world.cpu.physical.write32(entryOf(PAGE), OLD | flags);
      expect(world.value()).toBe(OLD_VALUE);
      world.remap(flags);
      expect(world.value()).toBe(expected);
    }
  });

  it('drops code as well', () => {
    const world = invalidating(1, CODE_PAGE) as Translating;
    for (const [place, value] of [
      [OLD_CODE, 1],
      [NEW_CODE, 2],
    ])
      world.load(place, (a) => {
        a.mov(ebx, value);
        a.vmmcall();
      });
    const run = (): number => {
      world.write(VMCB_SAVE.RIP, CODE_PAGE);
      world.again();
      return world.gpr(3);
    };
    expect(run()).toBe(1);
    world.cpu.physical.write32(entryOf(CODE_PAGE), NEW_CODE | 7);
    expect(run()).toBe(2);
  });
});

describe('PAE under SVM', () => {
  it('loads PDPTEs at VMRUN and reloads the host’s', () => {
    const PDPT = 0x20_0000;
    const PD = 0x20_1000;
    const HOST_PDPT = 0x20_3000;
    const world = new Translating(
      (a) => {
        a.mov(ebx, mem32(0x4000_0000));
        a.vmmcall();
      },
      (a) => {
        a.vmrun();
        a.mov(ecx, mem32(0x4000_0000));
        a.hlt();
      },
    );
    const { physical, state, paging } = world.cpu;
    // Both map the first 8 MiB one to one; at 1 GiB the guest sees OLD's 2 MiB, the host what lies 2 MiB further.
    for (const [pdpt, pd, page] of [
      [PDPT, PD, 0x20_0000],
      [HOST_PDPT, PD + 0x4000, 0x40_0000],
    ]) {
      physical.write32(pdpt, pd | 1);
      physical.write32(pdpt + 8, (pd + 0x1000) | 1);
      for (let n = 0; n < 4; n++) physical.write32(pd + n * 8, (n * 0x20_0000) | 0xe3);
      physical.write32(pd + 0x1000, page | 0xe3);
    }
    physical.write32(0x40_0000, 0xdddd);
    world.write(VMCB_SAVE.CR3, PDPT);
    world.write(VMCB_SAVE.CR4, CR4.PAE);
    state.setSystem(0x310, HOST_PDPT);
    state.setSystem(0x318, CR4.PAE);
    state.setSystem(0x300, (CR0.PE | CR0.PG) >>> 0);
    for (let n = 0; n < 8; n++) state.u32[(0x380 >> 2) + n] = physical.read32(HOST_PDPT + n * 4);
    paging.modeChanged();
    world.cpu.updateContext();
    world.run();
    // 1 GiB of the guest is 2 MiB: its own PDPT.
    expect(world.gpr(3)).toBe(physical.read32(0x20_0000));
    expect(world.gpr(1)).toBe(0xdddd);
    // A host PDPT that became illegal is a shutdown.
    physical.write32(HOST_PDPT + 16, 3);
    world.cpu.halted = false;
    state.eip = PLACE.HOST_CODE;
    state.setGpr(0, PLACE.VMCB);
    world.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    expect(world.cpu.run(world.cpu.now + 100)).toBe('shutdown');
  });
});
