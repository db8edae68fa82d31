import { expect, it } from 'vitest';
import type { Hpa } from '../../../src/arch/address.ts';
import { CR0, CR4, EFER } from '../../../src/arch/registers.ts';
import { VMEXIT, vmexitName } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { GUEST_TABLES, NESTED_TABLES, NestedWorld, type Shape } from './nested-world.ts';
import { PLACE } from './world.ts';

/** A small generator of numbers (mulberry32), so that a failure can be repeated. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return (value ^ (value >>> 14)) >>> 0;
  };
}

const RUNS = 250;
const TABLES_END = 0x8c_0000;

/** Tables in a mess: they lead into each other and themselves, out of memory, and to the VMCB. */
function spoil(w: NestedWorld, random: () => number): void {
  const { physical } = w.cpu;
  const targets = [
    NESTED_TABLES,
    NESTED_TABLES + 0x1000,
    GUEST_TABLES,
    GUEST_TABLES + 0x1000,
    PLACE.VMCB,
    0xfee0_0000,
  ];
  for (let count = random() % 30; count > 0; count--) {
    const table = (random() % 2 === 0 ? NESTED_TABLES : GUEST_TABLES) + (random() % 3) * 0x1000;
    // Mostly where the guest's code and data are.
    const place =
      table + (random() % 3 === 0 ? random() % 0x400 : (random() % 0x50) * 4) * (random() % 2 === 0 ? 1 : 4);
    const target = targets[random() % targets.length]! + (random() % 4) * 0x1000;
    physical.write32(place & ~3, (target & ~0xfff) | (random() % 4 === 0 ? random() & 0xfff : 0x67));
  }
  if (random() % 6 === 0) w.write(VMCB.N_CR3, (random() % 0x1000) * 0x1000);
  if (random() % 12 === 0) w.write(VMCB.N_CR3, random());
  if (random() % 6 === 0) w.write(VMCB_SAVE.CR3, random() % 0x90_0000);
  if (random() % 6 === 0) w.write(VMCB_SAVE.CR4, random() & (CR4.PAE | CR4.PSE | CR4.PGE | CR4.SMEP));
}

it.each<Shape>(['two-level', 'pae'])(
  'tables in a mess under a %s host: every guest ends or goes on',
  (hostShape) => {
    const random = generator(hostShape === 'pae' ? 7 : 11);
    const outcomes = new Map<string, number>();
    const w = new NestedWorld(() => {}, { hostShape, hostEfer: EFER.NXE, guestShape: 'two-level' });
    const { cpu } = w;
    const low = cpu.physical.u8.slice(0, 0x10_0000);
    const { cr3, cr4 } = cpu.state;
    // The host's own as well: a guest may have been led there.
    const tables = cpu.physical.u8.slice(cr3, TABLES_END);
    for (let run = 0; run < RUNS; run++) {
      cpu.svm.reset();
      cpu.physical.load(0 as Hpa, low);
      cpu.physical.load(cr3 as Hpa, tables);
      cpu.shutdown = false;
      cpu.halted = false;
      cpu.cpl = 0;
      for (let segment = 0; segment < 4; segment++)
        cpu.state.setSegment(segment, segment === 1 ? 8 : 16, 0, 0xffff_ffff, segment === 1 ? 0xc9b : 0xc93);
      cpu.state.eflags = 2;
      cpu.state.eip = PLACE.HOST_CODE;
      cpu.state.setGpr(0, PLACE.VMCB);
      w.setHost(cr3, cr4, EFER.NXE);
      w.write(VMCB.TLB_CONTROL, 1);
      for (let n = 0; n < 64; n++) cpu.physical.write8(PLACE.GUEST_CODE + n, random() & 0xff);
      spoil(w, random);
      const before = cpu.retired;
      const reason = cpu.run(cpu.now + 1000);
      expect(cpu.retired - before).toBeLessThanOrEqual(1000);
      // The host has its own tables back whatever the guest did to those it was given.
      if (!cpu.svm.inGuest) {
        expect(cpu.paging.isNested).toBe(false);
        if (reason === 'halted')
          expect([cpu.state.cr3, cpu.state.cr0]).toEqual([cr3, (CR0.PE | CR0.ET | CR0.PG | CR0.WP) >>> 0]);
      }
      const outcome = reason === 'halted' && !cpu.svm.inGuest ? vmexitName(w.exit.code | 0) : reason;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect(outcomes.get(vmexitName(VMEXIT.NPF))).toBeGreaterThan(RUNS / 10);
    expect(outcomes.get(vmexitName(VMEXIT.VMMCALL))).toBeGreaterThan(RUNS / 20);
  },
);
