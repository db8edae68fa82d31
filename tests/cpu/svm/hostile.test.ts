import { expect, it } from 'vitest';
import type { Hpa } from '../../../src/arch/address.ts';
import { EFER } from '../../../src/arch/registers.ts';
import { VMEXIT, vmexitName } from '../../../src/arch/svm-exits.ts';
import { INTERCEPT2, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { PLACE, World } from './world.ts';

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

const RUNS = 2000;
const CONTROL_END = 0x100;

/** Flips a few bits of a VMCB, in control or state; the checks that nothing gets past stay satisfied most of the time. */
function spoil(world: World, random: () => number): void {
  for (let count = random() % 12; count > 0; count--) {
    const inControl = random() % 2 === 0;
    const offset = inControl ? random() % CONTROL_END : VMCB_SAVE.ES + (random() % 0x2a0);
    world.cpu.physical.write8(PLACE.VMCB + offset, random() & 0xff);
  }
  if (random() % 8 !== 0) {
    world.write(VMCB_SAVE.EFER, EFER.SVME);
    world.write(VMCB_SAVE.EFER + 4, 0);
    world.write(VMCB_SAVE.CR4 + 4, 0);
    world.set(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN);
    world.write(VMCB.NESTED_CTL, 0);
    world.write(VMCB.GUEST_ASID, 1 + (random() % 7));
    world.writeByte(VMCB.TLB_CONTROL, [0, 1, 3, 7][random() % 4]);
  }
}

it('random VMCBs and random code end as the manual says: in an exit, a halt or a shutdown', () => {
  const random = generator(20_261);
  const world = new World(() => {});
  const { cpu } = world;
  const pristine = cpu.physical.u8.slice(0, 0x20_0000);
  const outcomes = new Map<string, number>();
  for (let run = 0; run < RUNS; run++) {
    cpu.physical.load(0 as Hpa, pristine);
    cpu.shutdown = false;
    cpu.halted = false;
    cpu.svm.reset();
    cpu.state.setSystem(0x300, 0x11);
    cpu.state.setSystem(0x318, 0);
    cpu.state.setSystem(0x378, EFER.SVME);
    cpu.paging.modeChanged();
    spoil(world, random);
    for (let n = 0; n < 64; n++) cpu.physical.write8(PLACE.GUEST_CODE + n, random() & 0xff);
    if (random() % 3 === 0) world.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    cpu.cpl = 0;
    for (let segment = 0; segment < 4; segment++)
      cpu.state.setSegment(segment, segment === 1 ? 8 : 16, 0, 0xffff_ffff, segment === 1 ? 0xc9b : 0xc93);
    cpu.state.eflags = 2;
    cpu.state.eip = PLACE.HOST_CODE;
    cpu.state.setGpr(0, PLACE.VMCB);
    cpu.updateContext();
    const before = cpu.retired;
    const reason = cpu.run(cpu.now + 1000);
    expect(cpu.retired - before).toBeLessThanOrEqual(1000);
    const outcome = reason === 'halted' && !cpu.svm.inGuest ? vmexitName(world.exit.code | 0) : reason;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  expect([...outcomes.values()].reduce((sum, count) => sum + count, 0)).toBe(RUNS);
  // All kinds of ends were seen.
  expect(outcomes.get(vmexitName(VMEXIT.INVALID))).toBeGreaterThan(100);
  expect(outcomes.get(vmexitName(VMEXIT.VMMCALL))).toBeGreaterThan(100);
  expect(outcomes.size).toBeGreaterThanOrEqual(10);
});

it('a VMCB in a hole of the address space reads as ones, and is refused', () => {
  const world = new World((a) => a.vmmcall());
  world.cpu.state.setGpr(0, 0xfee0_0000);
  expect(world.cpu.run(world.cpu.now + 100)).toBe('halted');
  expect(world.cpu.svm.inGuest).toBe(false);
});

it('a host save area in a hole loses the host: shutdown', () => {
  const world = new World((a) => a.vmmcall());
  world.cpu.msrs.write(0xc001_0117, 0x4000_0000, 0);
  expect(world.cpu.run(world.cpu.now + 100)).toBe('shutdown');
});
