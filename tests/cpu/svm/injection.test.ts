import { describe, expect, it } from 'vitest';
import { CR0, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import {
  EVENT_TYPE,
  type EventType,
  eventInjection,
  INTERCEPT1,
  VMCB,
  VMCB_SAVE,
} from '../../../src/arch/vmcb.ts';
import { type Assembler, ecx } from '../../../src/guest/assembler.ts';
import { PLACE, SELECTOR, World } from './world.ts';

const BP = 3;
const OF = 4;
const DF = 8;
const NP = 11;
const GP = 13;
const PF = 14;
const NEXT = PLACE.GUEST_CODE + 0x100;

/** A guest that counts in ECX if it gets that far. */
function injected(type: EventType, vector: number, errorCode?: number, model?: string): World {
  const world = new World(
    (a: Assembler) => {
      a.inc(ecx);
      a.vmmcall();
    },
    model === undefined ? {} : { model },
  );
  world.cpu.state.setGpr(1, 0);
  world.write(VMCB.EVENTINJ, eventInjection(type, vector, errorCode !== undefined));
  world.write(VMCB.EVENTINJ + 4, errorCode ?? 0);
  world.write(VMCB.NRIP, NEXT);
  return world;
}

/** The words on the guest's stack, lowest first. */
const frame = (world: World): number[] => {
  const esp = world.read(VMCB_SAVE.RSP);
  return Array.from({ length: (PLACE.GUEST_STACK - esp) / 4 }, (_, n) => world.word(esp + n * 4));
};

describe('event injection (APM vol. 2 15.20)', () => {
  it.each([
    ['INTR', EVENT_TYPE.INTR, 0x33],
    ['an exception without error code', EVENT_TYPE.EXCEPTION, 6],
    ['INTR with the vector of an exception', EVENT_TYPE.INTR, 14],
  ] as const)('%s is taken before the first instruction', (_name, type, vector) => {
    const world = injected(type, vector);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, rip: world.handler(vector) + 5, event: 0 });
    expect(world.gpr(3)).toBe(vector);
    expect(world.gpr(1)).toBe(0);
    expect(frame(world)).toEqual([PLACE.GUEST_CODE, SELECTOR.CODE, 2]);
    expect(world.read(VMCB.EVENTINJ)).toBe(0);
  });

  it('pushes the error code that it was given, exactly when EV says so', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, PF, 0x1234_5678);
    world.run();
    expect(frame(world)).toEqual([0x1234_5678, PLACE.GUEST_CODE, SELECTOR.CODE, 2]);
    const without = injected(EVENT_TYPE.EXCEPTION, PF);
    without.run();
    expect(frame(without)).toEqual([PLACE.GUEST_CODE, SELECTOR.CODE, 2]);
  });

  it('leaves CR2, DR6 and RF alone', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, PF, 0);
    world.write(VMCB_SAVE.CR2, 0x1111);
    world.cpu.exception.linear = 0x9999;
    world.run();
    expect(world.read(VMCB_SAVE.CR2)).toBe(0x1111);
    const debug = injected(EVENT_TYPE.EXCEPTION, 1);
    debug.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.RF);
    debug.run();
    expect(debug.read(VMCB_SAVE.DR6)).toBe(0xffff_0ff0);
    expect(frame(debug)[2]).toBe(2 | EFLAGS.RF);
  });

  it('NMI ignores the vector and blocks no further NMI', () => {
    const world = injected(EVENT_TYPE.NMI, 0x77);
    expect(world.run().rip).toBe(world.handler(2) + 5);
    expect(world.cpu.nmiBlocked).toBe(false);
  });

  it('passes its own intercept', () => {
    for (const [type, vector] of [
      [EVENT_TYPE.EXCEPTION, GP],
      [EVENT_TYPE.SOFTWARE, 0x80],
      [EVENT_TYPE.NMI, 2],
      [EVENT_TYPE.INTR, 0x20],
    ] as const) {
      const world = injected(type, vector);
      world.write(VMCB.INTERCEPT_EXCEPTION, ~0);
      world.write(VMCB.INTERCEPT_MISC1, ~0);
      expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, rip: world.handler(vector) + 5 });
    }
  });

  it('happens whatever IF says', () => {
    const world = injected(EVENT_TYPE.INTR, 0x33);
    world.write(VMCB_SAVE.RFLAGS, 2);
    expect(world.run().rip).toBe(world.handler(0x33) + 5);
  });

  it('software interrupts, INT3 and INTO return behind the instruction: nRIP', () => {
    for (const [type, vector] of [
      [EVENT_TYPE.SOFTWARE, 0x80],
      [EVENT_TYPE.EXCEPTION, BP],
      [EVENT_TYPE.EXCEPTION, OF],
    ] as const) {
      const world = injected(type, vector);
      world.run();
      expect(frame(world)[0]).toBe(NEXT);
      const old = injected(type, vector, undefined, 'athlon64');
      old.run();
      expect(frame(old)[0]).toBe(PLACE.GUEST_CODE);
    }
  });

  it('software interrupts, INT3 and INTO ask the DPL of the gate', () => {
    for (const [type, vector, expected] of [
      [EVENT_TYPE.SOFTWARE, 0x80, VMEXIT.EXCP + GP],
      [EVENT_TYPE.EXCEPTION, BP, VMEXIT.EXCP + GP],
      [EVENT_TYPE.EXCEPTION, 6, VMEXIT.VMMCALL],
      [EVENT_TYPE.INTR, 0x80, VMEXIT.VMMCALL],
    ] as const) {
      const world = injected(type, vector).atUserLevel();
      world.write(VMCB.INTERCEPT_EXCEPTION, 1 << GP);
      expect(world.run().code).toBe(expected);
      // From CPL 3 the frame goes on the stack of the TSS.
      if (expected === VMEXIT.VMMCALL)
        expect(world.read(VMCB_SAVE.RSP)).toBe(PLACE.GUEST_STACK - 0x1000 - 20);
    }
  });

  it('a fault on the way is intercepted, with the injected event in EXITINTINFO and RIP as it was', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, PF, 0x55);
    world.cpu.physical.write32(PLACE.IDT + PF * 8 + 4, 0);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << GP);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + GP,
      info1: PF * 8 + 3,
      rip: PLACE.GUEST_CODE,
      event: eventInjection(EVENT_TYPE.EXCEPTION, PF, true),
      eventError: 0x55,
    });
    const soft = injected(EVENT_TYPE.SOFTWARE, 0x80);
    soft.cpu.physical.write32(PLACE.IDT + 0x80 * 8 + 4, 0);
    soft.write(VMCB.INTERCEPT_EXCEPTION, 1 << GP);
    expect(soft.run()).toMatchObject({
      info1: 0x80 * 8 + 2,
      rip: PLACE.GUEST_CODE,
      nextRip: 0,
      event: eventInjection(EVENT_TYPE.SOFTWARE, 0x80, false),
    });
  });

  it('an injected exception makes double faults, an injected interrupt does not', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, GP, 0);
    world.cpu.physical.write32(PLACE.IDT + GP * 8 + 4, 0x0e00);
    expect(world.run().rip).toBe(world.handler(DF) + 5);
    const interrupt = injected(EVENT_TYPE.INTR, 0x40);
    interrupt.cpu.physical.write32(PLACE.IDT + 0x40 * 8 + 4, 0x0e00);
    expect(interrupt.run().rip).toBe(interrupt.handler(NP) + 5);
    const triple = injected(EVENT_TYPE.EXCEPTION, DF, 0);
    triple.segment(VMCB_SAVE.IDTR, 0, PLACE.IDT, 0, 0);
    triple.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.SHUTDOWN);
    expect(triple.run()).toMatchObject({ code: VMEXIT.SHUTDOWN, rip: PLACE.GUEST_CODE });
  });

  it('through a task gate asks the task-switch intercept', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, DF, 0);
    world.cpu.physical.write32(PLACE.IDT + DF * 8, SELECTOR.SECOND_TSS << 16);
    world.cpu.physical.write32(PLACE.IDT + DF * 8 + 4, 0x8500);
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.TASK_SWITCH);
    expect(world.run()).toMatchObject({
      code: VMEXIT.TASK_SWITCH,
      info1: SELECTOR.SECOND_TSS,
      rip: PLACE.GUEST_CODE,
      event: eventInjection(EVENT_TYPE.EXCEPTION, DF, true),
    });
  });

  it('goes through the vector table in real mode, and an error code is not pushed there', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, GP, 0x18);
    world.load(0x600, (a) => a.vmmcall(), 16);
    world.cpu.physical.write32(0x4000 + GP * 4, 0x600);
    world.write(VMCB_SAVE.CR0, CR0.ET);
    world.write(VMCB_SAVE.RIP, 0x500);
    world.write(VMCB_SAVE.RSP, 0x3000);
    for (const place of [VMCB_SAVE.CS, VMCB_SAVE.DS, VMCB_SAVE.ES, VMCB_SAVE.SS])
      world.segment(place, 0, 0, 0xffff, 0x093);
    world.segment(VMCB_SAVE.IDTR, 0, 0x4000, 0x3ff, 0);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, rip: 0x600 });
    expect(world.read(VMCB_SAVE.RSP)).toBe(0x3000 - 6);
  });

  it('what an exit left in EXITINTINFO can be injected as it stands', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, PF, 0x55);
    const gate = world.word(PLACE.IDT + PF * 8 + 4);
    world.cpu.physical.write32(PLACE.IDT + PF * 8 + 4, 0);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << GP);
    const { event, eventError } = world.run();
    world.cpu.physical.write32(PLACE.IDT + PF * 8 + 4, gate);
    world.write(VMCB.EVENTINJ, event);
    world.write(VMCB.EVENTINJ + 4, eventError);
    expect(world.again().rip).toBe(world.handler(PF) + 5);
    expect(frame(world)).toEqual([0x55, PLACE.GUEST_CODE, SELECTOR.CODE, 2]);
  });

  it('is over with the interrupt shadow of the interrupted code', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, 6);
    world.write(VMCB.INTERRUPT_STATE, 1);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 6);
    world.load(world.handler(6), (a) => a.raw(0x0f, 0x0b));
    expect(world.run().code).toBe(VMEXIT.EXCP + 6);
    expect(world.read(VMCB.INTERRUPT_STATE)).toBe(0);
  });

  it('keeps the shadow if the delivery ends in an exit', () => {
    const world = injected(EVENT_TYPE.EXCEPTION, 6);
    world.write(VMCB.INTERRUPT_STATE, 1);
    world.cpu.physical.write32(PLACE.IDT + 6 * 8 + 4, 0);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << GP);
    world.run();
    expect(world.read(VMCB.INTERRUPT_STATE)).toBe(1);
  });
});
