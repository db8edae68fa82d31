import { describe, expect, it } from 'vitest';
import { MSR } from '../../../src/arch/msrs.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE, VMCB_SEGMENT } from '../../../src/arch/vmcb.ts';
import { FS, GS, LDTR, TR } from '../../../src/cpu/layout.ts';
import { type Assembler, eax, ebx, fs, mem32 } from '../../../src/guest/assembler.ts';
import { ATTRIBUTES, PLACE, SELECTOR, World } from './world.ts';

const SEGMENTS = [
  [FS, VMCB_SAVE.FS, 0x33, 0x12_3000, 0xffff, 0x493],
  [GS, VMCB_SAVE.GS, 0x3b, 0xffff_f000, 0xffff_ffff, 0xc93],
  [LDTR, VMCB_SAVE.LDTR, 0x40, 0x8_0000, 0x1ff, 0x082],
  [TR, VMCB_SAVE.TR, 0x28, PLACE.TSS, 0x67, 0x08b],
] as const;
const MSRS = [
  [MSR.SYSENTER_CS, VMCB_SAVE.SYSENTER_CS],
  [MSR.SYSENTER_ESP, VMCB_SAVE.SYSENTER_ESP],
  [MSR.SYSENTER_EIP, VMCB_SAVE.SYSENTER_EIP],
] as const;
/** Registers of long mode, which no model has; what goes in must come out. */
const ABSENT = [
  VMCB_SAVE.STAR,
  VMCB_SAVE.LSTAR,
  VMCB_SAVE.CSTAR,
  VMCB_SAVE.SFMASK,
  VMCB_SAVE.KERNEL_GS_BASE,
] as const;

const hostOf = (program: (a: Assembler) => void): World =>
  new World((a) => a.vmmcall(), {
    host: (a) => {
      program(a);
      a.hlt();
    },
  });

describe('VMLOAD and VMSAVE (APM vol. 2 15.5.2)', () => {
  it('VMLOAD takes FS, GS, LDTR, TR with hidden parts, and MSRs', () => {
    const world = hostOf((a) => a.vmload());
    for (const [, place, selector, base, limit, attributes] of SEGMENTS)
      world.segment(place, selector, base, limit, attributes);
    MSRS.forEach(([, place], n) => {
      world.write(place, 0x1000 + n);
      world.write(place + 4, 0x77);
    });
    world.run();
    const { state, msrs } = world.cpu;
    for (const [segment, , selector, base, limit, attributes] of SEGMENTS) {
      expect(state.selector(segment)).toBe(selector);
      expect(state.segmentBase(segment)).toBe(base);
      expect(state.segmentLimit(segment)).toBe(limit);
      expect(state.segmentAttributes(segment)).toBe(attributes);
    }
    MSRS.forEach(([index], n) => {
      expect(msrs.read(index)).toBe(0x1000 + n);
      expect(msrs.high).toBe(0x77);
    });
  });

  it('VMSAVE is its counterpart, and touches nothing else', () => {
    const OTHER = 0x6_0000;
    const world = hostOf((a) => {
      a.vmload();
      a.mov(eax, OTHER);
      a.vmsave();
    });
    const { physical } = world.cpu;
    for (const [, place, selector, base, limit, attributes] of SEGMENTS)
      world.segment(place, selector, base, limit, attributes);
    for (const place of [...ABSENT, ...MSRS.map(([, place]) => place)]) {
      world.write(place, 0x5000_0000 + place);
      world.write(place + 4, 0x6000_0000 + place);
    }
    physical.u8.fill(0xa5, OTHER, OTHER + 4096);
    world.run();
    const written = new Set<number>();
    for (const [, place] of SEGMENTS) {
      for (let offset = 0; offset < 16; offset += 4) written.add(place + offset);
    }
    for (const place of [...ABSENT, ...MSRS.map(([, place]) => place)]) written.add(place).add(place + 4);
    for (let offset = 0; offset < 4096; offset += 4) {
      const expected = written.has(offset) ? world.read(offset) : 0xa5a5_a5a5;
      expect([offset, physical.read32(OTHER + offset)]).toEqual([offset, expected]);
    }
  });

  it('a null FS faults, an LDTR that is no LDT is none', () => {
    const world = hostOf((a) => {
      a.vmload();
      a.mov(ebx, mem32(0, 0, { segment: fs }));
    });
    world.segment(VMCB_SAVE.FS, 0, 0, 0xffff_ffff, ATTRIBUTES.DATA & ~0x80);
    world.segment(VMCB_SAVE.LDTR, 0x40, 0x8_0000, 0x1ff, 0x093);
    world.run();
    expect(world.gpr(3)).toBe(0x10d);
    expect(world.cpu.state.segmentAttributes(LDTR) & 0x80).toBe(0);
  });

  it('VMRUN does not switch them', () => {
    const world = new World((a) => {
      a.mov(eax, SELECTOR.DATA);
      a.mov(fs, eax);
      a.vmmcall();
    });
    world.segment(VMCB_SAVE.FS, 0x33, 0x12_3000, 0xffff, 0x493);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    expect(world.cpu.state.selector(FS)).toBe(SELECTOR.DATA);
    expect(world.read(VMCB_SAVE.FS + VMCB_SEGMENT.BASE)).toBe(0x12_3000);
    expect(world.read(VMCB.EXITCODE)).toBe(VMEXIT.VMMCALL);
  });
});
