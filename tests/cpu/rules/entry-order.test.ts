import { describe, expect, it } from 'vitest';
import { descriptorHi, descriptorLo } from '../../../src/arch/descriptors.ts';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { ATTRIBUTES, type Exit, PLACE, SELECTOR, World } from '../svm/world.ts';

/** A code segment of 4 KiB, in which no handler of the world lies. */
const SHORT_CODE = 0x38;
const GATE = 0x40;
const SHORT_STACK = 0x48;
const FAR_OFFSET = 0x1000;
const UD2 = [0x0f, 0x0b];

function shortWorld(code: readonly number[]): World {
  const world = new World((a) => a.raw(...code));
  const { physical } = world.cpu;
  const set = (selector: number, lo: number, hi: number): void => {
    physical.write32(PLACE.GDT + selector, lo);
    physical.write32(PLACE.GDT + selector + 4, hi);
  };
  set(SHORT_CODE, descriptorLo(0, 0xfff, 0x49b), descriptorHi(0, 0xfff, 0x49b));
  set(SHORT_STACK, descriptorLo(0, 0xf, 0x493), descriptorHi(0, 0xf, 0x493));
  // A 32-bit call gate for everybody.
  set(GATE, (SHORT_CODE << 16) | FAR_OFFSET, 0xec00);
  physical.write32(PLACE.IDT + VECTOR.UD * 8, (SHORT_CODE << 16) | FAR_OFFSET);
  const faults = [VECTOR.TS, VECTOR.SS, VECTOR.GP, VECTOR.PF];
  world.write(
    VMCB.INTERCEPT_EXCEPTION,
    faults.reduce((bits, vector) => bits | (1 << vector), 0),
  );
  return world;
}

const fault = (world: World): Pick<Exit, 'code' | 'info1'> => {
  const { code, info1 } = world.run();
  return { code: code - VMEXIT.EXCP, info1 };
};

/** With a null stack in the TSS, a stack that is too small, and a good one. */
function innerFaults(code: readonly number[]): Pick<Exit, 'code' | 'info1'>[] {
  return [0, SHORT_STACK, SELECTOR.DATA].map((stack) => {
    const world = shortWorld(code).atUserLevel();
    world.cpu.physical.write32(PLACE.TSS + 4, 0x10);
    world.cpu.physical.write32(PLACE.TSS + 8, stack);
    return fault(world);
  });
}

describe('an entry point beyond its code segment is found behind the checks of the stack', () => {
  it('of an exception from an outer level (SDM vol. 2A "INT n")', () => {
    const [none, small, wraps] = innerFaults(UD2);
    expect(none).toEqual({ code: VECTOR.TS, info1: 1 });
    expect(small).toEqual({ code: VECTOR.SS, info1: SHORT_STACK | 1 });
    expect(wraps).toEqual({ code: VECTOR.SS, info1: SELECTOR.DATA | 1 });
  });

  it('of a call gate to an inner level (SDM vol. 2A "CALL")', () => {
    const code = [0x9a, 0, 0, 0, 0, GATE | 3, 0];
    const [none, small, good] = innerFaults(code);
    expect(none).toEqual({ code: VECTOR.TS, info1: 0 });
    // 16 bytes do fit.
    expect(small).toEqual({ code: VECTOR.GP, info1: 0 });
    expect(good).toEqual({ code: VECTOR.GP, info1: 0 });
  });

  it('and before the first push', () => {
    const world = shortWorld(UD2);
    world.cpu.physical.write32(PLACE.GUEST_STACK - 4, 0x1234_5678);
    expect(fault(world)).toEqual({ code: VECTOR.GP, info1: 1 });
    expect(world.word(PLACE.GUEST_STACK - 4)).toBe(0x1234_5678);
  });

  it('of calls within a level', () => {
    for (const target of [
      [0, 0x10, 0, 0, SHORT_CODE, 0],
      [0, 0, 0, 0, GATE, 0],
    ]) {
      const small = shortWorld([0x9a, ...target]);
      small.segment(VMCB_SAVE.SS, SELECTOR.DATA, 0, 0xfff, ATTRIBUTES.DATA);
      expect(fault(small)).toEqual({ code: VECTOR.SS, info1: 0 });
      expect(fault(shortWorld([0x9a, ...target]))).toEqual({ code: VECTOR.GP, info1: 0 });
    }
  });

  it('of returns to an outer level (SDM vol. 2A "IRET", vol. 2B "RET")', () => {
    const USER_SHORT = 0x50;
    // The frame is at ESP: EIP, CS, for IRET EFLAGS, ESP, SS.
    const run = (code: number, frame: readonly number[]): Pick<Exit, 'code' | 'info1'> => {
      const world = shortWorld([code]);
      const { physical } = world.cpu;
      physical.write32(PLACE.GDT + USER_SHORT, descriptorLo(0, 0xfff, 0x4fb));
      physical.write32(PLACE.GDT + USER_SHORT + 4, descriptorHi(0, 0xfff, 0x4fb));
      frame.forEach((value, n) => {
        physical.write32(PLACE.GUEST_STACK + n * 4, value);
      });
      return fault(world);
    };
    const [IRET, RETF] = [0xcf, 0xcb];
    const target = [FAR_OFFSET, USER_SHORT | 3];
    expect(run(IRET, [...target, 2, 0, SELECTOR.DATA])).toEqual({ code: VECTOR.GP, info1: SELECTOR.DATA });
    expect(run(RETF, [...target, 0, SELECTOR.DATA])).toEqual({ code: VECTOR.GP, info1: SELECTOR.DATA });
    expect(run(IRET, [...target, 2, 0, SELECTOR.USER_DATA])).toEqual({ code: VECTOR.GP, info1: 0 });
    expect(run(RETF, [...target, 0, SELECTOR.USER_DATA])).toEqual({ code: VECTOR.GP, info1: 0 });
  });
});
