import { describe, expect, it } from 'vitest';
import { MEMORY_TYPE, MSR } from '../../../src/arch/msrs.ts';
import { CR0 } from '../../../src/arch/registers.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { memoryTypeOf } from '../../../src/cpu/memory-type.ts';
import { type Assembler, ebx, esi, mem32 } from '../../../src/guest/assembler.ts';
import { NestedWorld, PWU } from './nested-world.ts';

const PAGE = 0xc0_0000;
const PCD = 0x10;
const PWT = 0x08;
const PAT = 0x80;
const { UC, WC, WT, WB } = MEMORY_TYPE;

/** Reads PAGE and stays. */
function reading(a: Assembler): void {
  a.mov(esi, PAGE);
  a.mov(ebx, mem32(esi));
  a.label('here');
  a.jmp('here');
}

/** A guest that has read PAGE and is still in the processor. */
function running(w: NestedWorld): NestedWorld {
  w.cpu.run(w.cpu.now + 100);
  expect(w.cpu.svm.inGuest).toBe(true);
  return w;
}

describe('the memory type of a page (APM vol. 2 15.25.8)', () => {
  const world = (guestFlags: number, nestedFlags: number): NestedWorld => {
    const w = new NestedWorld(reading, { guestShape: 'two-level' });
    w.guestTables.set(PAGE, PAGE | PWU | guestFlags);
    w.nested.set(PAGE, PAGE | PWU | nestedFlags);
    // Field 1 of the guest's PAT is WC, field 4 of the host's WT; the others are as RESET leaves them.
    w.write(VMCB_SAVE.G_PAT, 0x0007_0106);
    w.cpu.msrs.write(MSR.PAT, 0x0007_0406, 0x0007_0404);
    return w;
  };
  const typeOf = (w: NestedWorld): number | undefined => memoryTypeOf(running(w).cpu, PAGE);

  it('comes from both entries, each with its own PAT, and the MTRRs', () => {
    expect(typeOf(world(0, 0))).toBe(WB);
    expect(typeOf(world(PWT, 0))).toBe(WC);
    expect(typeOf(world(0, PAT))).toBe(WT);
    expect(typeOf(world(PWT, PAT))).toBe(WC);
    expect(typeOf(world(PCD | PWT, 0))).toBe(UC);
    expect(typeOf(world(0, PCD | PWT))).toBe(UC);
    const ranged = world(0, 0);
    // PAGE's 4 MiB are WT by an MTRR.
    ranged.cpu.msrs.write(MSR.MTRR_PHYS_BASE0, PAGE | WT, 0);
    ranged.cpu.msrs.write(MSR.MTRR_PHYS_MASK0, 0xffc0_0800, 0xffff);
    expect(typeOf(ranged)).toBe(WT);
  });

  it('is the nested entry’s alone while the guest has paging off', () => {
    const w = world(PWT, PAT);
    w.write(VMCB_SAVE.CR0, CR0.PE | CR0.ET);
    expect(typeOf(w)).toBe(WT);
  });

  it('is not kept of a translation through one stage', () => {
    const w = world(0, 0);
    w.write(VMCB.NESTED_CTL, 0);
    expect(typeOf(w)).toBeUndefined();
  });

  it('is UC with CR0.CD set in the guest or in the host', () => {
    const guest = world(0, 0);
    guest.write(VMCB_SAVE.CR0, guest.read(VMCB_SAVE.CR0) | CR0.CD);
    expect(typeOf(guest)).toBe(UC);
    const host = world(0, 0);
    const { cr0, cr3, cr4 } = host.cpu.state;
    host.setHost(cr3, cr4, 0, (cr0 | CR0.CD) >>> 0);
    expect(typeOf(host)).toBe(UC);
  });

  it('is not known of a page without a translation', () => {
    expect(memoryTypeOf(running(world(0, 0)).cpu, PAGE + 0x1000)).toBeUndefined();
    expect(memoryTypeOf(new NestedWorld(reading).cpu, PAGE)).toBeUndefined();
  });
});
