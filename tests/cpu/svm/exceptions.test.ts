import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import {
  EVENT_TYPE,
  eventInjection,
  INTERCEPT1,
  TASK_SWITCH_HI,
  VMCB,
  VMCB_SAVE,
} from '../../../src/arch/vmcb.ts';
import { type Assembler, eax, ebx, ecx, mem32 } from '../../../src/guest/assembler.ts';
import { PLACE, SELECTOR, World } from './world.ts';

const DE = 0;
const DB = 1;
const BP = 3;
const OF = 4;
const BR = 5;
const UD = 6;
const NM = 7;
const DF = 8;
const NP = 11;
const SS = 12;
const GP = 13;
const PF = 14;

const ABSENT = 0x9_0000;
/** A selector whose descriptor is not there, and one beyond the GDT. */
const BEYOND = 0x1f8;

/** A guest under 2-level paging with an identity map of 4 MiB in which the pages of `absent` are not present. */
function paged(
  program: (a: Assembler) => void,
  absent: readonly number[] = [ABSENT],
  model = 'current-amd',
): World {
  const world = new World(program, { model });
  const { physical } = world.cpu;
  physical.write32(0x10_0000, 0x10_1007);
  for (let page = 0; page < 1024; page++) physical.write32(0x10_1000 + page * 4, (page * 4096) | 7);
  for (const address of absent) physical.write32(0x10_1000 + (address >> 12) * 4, 0);
  world.write(VMCB_SAVE.CR3, 0x10_0000);
  world.write(VMCB_SAVE.CR0, CR0.PE | CR0.PG | CR0.ET);
  return world;
}

const inExceptions = (world: World, ...vectors: number[]): World => {
  world.write(
    VMCB.INTERCEPT_EXCEPTION,
    vectors.reduce((bits, vector) => bits | (1 << vector), 0),
  );
  return world;
};

/** Gate `vector` of the guest's IDT leads to a selector that does not exist. */
const breakGate = (world: World, vector: number): void => {
  world.cpu.physical.write32(PLACE.IDT + vector * 8, (BEYOND << 16) | 0x1000);
};
/** Gate `vector` is not present. */
const removeGate = (world: World, vector: number): void =>
  world.cpu.physical.write32(PLACE.IDT + vector * 8 + 4, 0x0e00);
const gateError = (vector: number): number => vector * 8 + 2 + 1;

describe('exception intercepts (APM vol. 2 15.12)', () => {
  const divide = (a: Assembler): void => {
    a.xor(ecx, ecx);
    a.label('fault');
    a.div(ecx);
    a.vmmcall();
  };

  it('exits instead of going through the IDT, at the faulting instruction', () => {
    const world = inExceptions(new World(divide), DE);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + DE,
      rip: world.labels.get('fault'),
      nextRip: 0,
      event: 0,
    });
    expect(world.read(VMCB_SAVE.RFLAGS) & EFLAGS.RF).toBe(0);
    expect(world.read(VMCB_SAVE.RSP)).toBe(PLACE.GUEST_STACK);
  });

  it('delivers what is not intercepted', () => {
    const world = new World(divide);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, event: 0 });
    expect(world.gpr(3)).toBe(DE);
    const esp = world.read(VMCB_SAVE.RSP);
    expect(world.word(esp)).toBe(world.labels.get('fault'));
    expect(world.word(esp + 8) & EFLAGS.RF).toBe(EFLAGS.RF);
  });

  it('gives the error code', () => {
    const segment = inExceptions(
      new World((a) => {
        a.mov(eax, BEYOND);
        a.raw(0x8e, 0xd8);
      }),
      GP,
    );
    expect(segment.run()).toMatchObject({ code: VMEXIT.EXCP + GP, info1: BEYOND });
    const absent = inExceptions(
      new World((a) => {
        a.mov(eax, 0x38);
        a.raw(0x8e, 0xd8);
      }),
      NP,
      SS,
    );
    absent.cpu.physical.write32(PLACE.GDT + 0x38 + 4, 0x1200);
    expect(absent.run()).toMatchObject({ code: VMEXIT.EXCP + NP, info1: 0x38 });
  });

  it('#PF: error code and address, with CR2 as it was (15.12.15)', () => {
    const world = inExceptions(
      paged((a) => {
        a.label('fault');
        a.mov(mem32(ABSENT + 0x123), eax);
        a.vmmcall();
      }),
      PF,
    );
    world.write(VMCB_SAVE.CR2, 0x5555);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + PF,
      info1: 2,
      info2: ABSENT + 0x123,
      rip: world.labels.get('fault'),
    });
    expect(world.read(VMCB_SAVE.CR2)).toBe(0x5555);
  });

  it('#PF not intercepted writes CR2', () => {
    const world = paged((a) => a.mov(mem32(ABSENT + 0x123), eax));
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    expect(world.read(VMCB_SAVE.CR2)).toBe(ABSENT + 0x123);
  });

  it('#PF of an instruction fetch is at that instruction', () => {
    const world = inExceptions(
      paged((a) => a.raw(0xe9, 0, 0, 0, 0)),
      PF,
    );
    world.write(VMCB_SAVE.RIP, ABSENT + 5);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + PF,
      info1: 0,
      info2: ABSENT + 5,
      rip: ABSENT + 5,
    });
  });

  it.each([
    ['INT3', [0xcc], BP],
    ['INTO', [0xce], OF],
    ['BOUND', [0x62, 0x05, 0, 0, 4, 0], BR],
  ] as const)('%s: RIP of the instruction, nRIP behind it', (_name, code, vector) => {
    const world = inExceptions(
      new World((a) => {
        a.label('fault');
        a.raw(...code);
        a.label('next');
      }),
      vector,
    );
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.OF);
    world.write(VMCB_SAVE.RAX, 7);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + vector,
      rip: world.labels.get('fault'),
      nextRip: world.labels.get('next'),
    });
  });

  it('INT n of the same vector is no exception', () => {
    const world = inExceptions(new World((a) => a.int(BP)), BP, GP);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    expect(world.gpr(3)).toBe(BP);
  });

  it('ICEBP does not ask the #DB intercept (15.12.2)', () => {
    const world = inExceptions(new World((a) => a.raw(0xf1)), DB);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    expect(world.gpr(3)).toBe(DB);
  });

  it('#DB of TF: RIP behind the instruction, DR6 as its handler would see it', () => {
    const world = inExceptions(
      new World((a) => {
        a.nop();
        a.label('next');
        a.nop();
      }),
      DB,
    );
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.TF);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + DB, rip: world.labels.get('next'), nextRip: 0 });
    expect(world.read(VMCB_SAVE.DR6)).toBe(0xffff_4ff0);
  });

  it('#DB of an instruction breakpoint: RIP of the instruction, unless RF is set', () => {
    const guest = (a: Assembler): void => {
      a.nop();
      a.label('break');
      a.nop();
      a.vmmcall();
    };
    const world = inExceptions(new World(guest), DB);
    const place = world.labels.get('break') as number;
    world.cpu.state.setSystem(0x348, place);
    world.write(VMCB_SAVE.DR7, 0x401);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + DB, rip: place });
    expect(world.read(VMCB_SAVE.DR6)).toBe(0xffff_0ff1);
    expect(world.cpu.state.system(0x370)).toBe(0x400);
    world.set(VMCB_SAVE.RFLAGS, EFLAGS.RF);
    expect(world.again().code).toBe(VMEXIT.VMMCALL);
    expect(world.read(VMCB_SAVE.RFLAGS) & EFLAGS.RF).toBe(0);
  });

  it('vectors 2 and 9 have no intercept', () => {
    const world = inExceptions(new World((a) => a.int(2)), 2, 9);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
  });

  it('#NM and #UD', () => {
    const fpu = inExceptions(new World((a) => a.raw(0xd9, 0xe8)), NM);
    fpu.set(VMCB_SAVE.CR0, CR0.TS);
    expect(fpu.run().code).toBe(VMEXIT.EXCP + NM);
    const undefinedOpcode = inExceptions(new World((a) => a.raw(0x0f, 0x0b)), UD);
    expect(undefinedOpcode.run().code).toBe(VMEXIT.EXCP + UD);
  });
});

describe('instruction bytes of an intercepted #PF (APM vol. 2 15.8.4)', () => {
  const reading = (a: Assembler): void => {
    a.mov(ebx, mem32(ABSENT));
    for (let n = 0; n < 16; n++) a.raw(0x90 + (n & 1));
  };
  const field = (world: World): number[] =>
    Array.from({ length: 16 }, (_, n) => world.readByte(VMCB.INSTRUCTION_COUNT + n));

  it('are the fifteen at CS:RIP', () => {
    const world = inExceptions(paged(reading), PF);
    world.run();
    expect(field(world)).toEqual([
      15,
      0x8b,
      0x1d,
      0,
      0,
      9,
      0,
      ...Array.from({ length: 9 }, (_, n) => 0x90 + (n & 1)),
    ]);
  });

  it('end with the page, if the next one is absent, and with the segment', () => {
    const end = 0x5_0000;
    const world = inExceptions(
      paged(() => {}, [ABSENT, end]),
      PF,
    );
    world.load(end - 8, reading);
    world.cpu.physical.u8.fill(0xcc, end, end + 16);
    world.write(VMCB_SAVE.RIP, end - 8);
    world.run();
    expect(field(world).slice(0, 9)).toEqual([8, 0x8b, 0x1d, 0, 0, 9, 0, 0x90, 0x91]);
    const limited = inExceptions(paged(reading), PF);
    limited.segment(VMCB_SAVE.CS, SELECTOR.CODE, 0, PLACE.GUEST_CODE + 6, 0x49b);
    limited.run();
    expect(limited.readByte(VMCB.INSTRUCTION_COUNT)).toBe(7);
  });

  it('are none for a fetch, for other exits, and untouched without the feature', () => {
    const world = inExceptions(paged(reading), PF);
    world.writeByte(VMCB.INSTRUCTION_COUNT, 9);
    world.write(VMCB_SAVE.RIP, ABSENT);
    world.run();
    expect(world.readByte(VMCB.INSTRUCTION_COUNT)).toBe(0);
    const other = inExceptions(new World((a) => a.raw(0x0f, 0x0b)), UD);
    other.writeByte(VMCB.INSTRUCTION_COUNT, 9);
    other.run();
    expect(other.readByte(VMCB.INSTRUCTION_COUNT)).toBe(0);
    const old = inExceptions(paged(reading, [ABSENT], 'opteron'), PF);
    old.writeByte(VMCB.INSTRUCTION_COUNT, 9);
    expect(old.run()).toMatchObject({ code: VMEXIT.EXCP + PF, info2: ABSENT });
    expect(old.readByte(VMCB.INSTRUCTION_COUNT)).toBe(9);
  });
});

describe('exits while an event is delivered (APM vol. 2 15.7.2, 15.7.3)', () => {
  const undefinedOpcode = (a: Assembler): void => {
    a.label('fault');
    a.raw(0x0f, 0x0b);
  };
  const general = (a: Assembler): void => {
    a.label('fault');
    a.raw(0x8e, 0xd8); // mov ds, eax with a selector beyond the GDT
  };
  const exception = (vector: number, errorCode = false): number =>
    eventInjection(EVENT_TYPE.EXCEPTION, vector, errorCode);

  it('EXITINTINFO names the event, RIP the instruction that raised it', () => {
    const world = inExceptions(new World(undefinedOpcode), GP);
    breakGate(world, UD);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + GP,
      info1: BEYOND + 1,
      rip: world.labels.get('fault'),
      event: exception(UD),
      eventError: 0,
    });
    // What the frame of #UD would have held.
    expect(world.read(VMCB_SAVE.RFLAGS) & EFLAGS.RF).toBe(EFLAGS.RF);
  });

  it('has the error code of the event', () => {
    const world = inExceptions(new World(general), NP);
    world.write(VMCB_SAVE.RAX, BEYOND);
    removeGate(world, GP);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + NP,
      info1: gateError(GP),
      event: exception(GP, true),
      eventError: BEYOND,
    });
  });

  it('an exception is offered to its own intercept before it makes a double fault', () => {
    const world = inExceptions(new World(general), GP, DF);
    world.write(VMCB_SAVE.RAX, BEYOND);
    world.write(VMCB.INTERCEPT_EXCEPTION, (1 << NP) | (1 << DF));
    removeGate(world, GP);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + NP, event: exception(GP, true) });
    inExceptions(world, DF);
    world.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    expect(world.again()).toMatchObject({
      code: VMEXIT.EXCP + DF,
      event: exception(GP, true),
      eventError: BEYOND,
      rip: PLACE.GUEST_CODE,
    });
  });

  it('of #GP, #NP and then an intercepted #PF, EXITINTINFO says #DF (the example of 15.7.2)', () => {
    const world = inExceptions(paged(general, [ABSENT]), PF);
    world.write(VMCB_SAVE.RAX, BEYOND);
    removeGate(world, GP);
    // The handler of #DF has its descriptor in a page that is not there.
    world.cpu.physical.write32(PLACE.IDT + DF * 8, (0x0c << 16) | 0x1000);
    world.cpu.state.setSegment(6, 0x40, ABSENT, 0xff, 0x082);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + PF,
      info2: ABSENT + 8,
      event: exception(DF, true),
      eventError: 0,
    });
  });

  it('a #PF that becomes a double fault has written CR2', () => {
    const world = inExceptions(
      paged((a) => a.mov(eax, mem32(ABSENT + 4))),
      DF,
    );
    breakGate(world, PF);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + DF, event: exception(PF, true) });
    expect(world.read(VMCB_SAVE.CR2)).toBe(ABSENT + 4);
  });

  it('INT n is a software interrupt, INT3 an exception; both are delivered from the instruction itself', () => {
    const soft = inExceptions(
      new World((a) => {
        a.nop();
        a.label('int');
        a.int(0x55);
      }),
      GP,
    );
    breakGate(soft, 0x55);
    expect(soft.run()).toMatchObject({
      code: VMEXIT.EXCP + GP,
      info1: BEYOND,
      rip: soft.labels.get('int'),
      nextRip: 0,
      event: eventInjection(EVENT_TYPE.SOFTWARE, 0x55, false),
    });
    const breakpoint = inExceptions(new World((a) => a.raw(0xcc)), GP);
    breakGate(breakpoint, BP);
    expect(breakpoint.run()).toMatchObject({ rip: PLACE.GUEST_CODE, event: exception(BP) });
  });

  it('a shutdown is #VMEXIT(SHUTDOWN) where intercepted, and else the end', () => {
    const triple = (): World => {
      const world = new World(undefinedOpcode);
      world.segment(VMCB_SAVE.IDTR, 0, PLACE.IDT, 0, 0);
      return world;
    };
    const caught = triple();
    caught.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.SHUTDOWN);
    expect(caught.run().code).toBe(VMEXIT.SHUTDOWN);
    expect(caught.cpu.shutdown).toBe(false);
    const lost = triple();
    expect(lost.cpu.run(lost.cpu.now + 1000)).toBe('shutdown');
    expect(lost.cpu.svm.inGuest).toBe(true);
  });

  it('says nothing of an event that was delivered', () => {
    const world = inExceptions(new World(undefinedOpcode), GP);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, event: 0 });
  });

  it('has no error code in real mode', () => {
    const world = new World(() => {});
    world.load(0x500, (a) => a.raw(0x0f, 0x0b), 16);
    world.write(VMCB_SAVE.CR0, CR0.ET);
    world.write(VMCB_SAVE.RIP, 0x500);
    for (const place of [VMCB_SAVE.CS, VMCB_SAVE.DS, VMCB_SAVE.ES, VMCB_SAVE.SS])
      world.segment(place, 0, 0, 0xffff, 0x093);
    // Not even the double fault's vector lies within the table.
    world.segment(VMCB_SAVE.IDTR, 0, 0, 0x10, 0);
    inExceptions(world, GP);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + GP, rip: 0x500, event: exception(UD) });
  });
});

describe('task switches (APM vol. 2 15.14.1)', () => {
  const withGate = (world: World, vector: number): World => {
    world.cpu.physical.write32(PLACE.IDT + vector * 8, SELECTOR.SECOND_TSS << 16);
    world.cpu.physical.write32(PLACE.IDT + vector * 8 + 4, 0xe500);
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.TASK_SWITCH);
    return world;
  };
  const far = (opcode: number): World => {
    const world = new World((a) => {
      a.nop();
      a.label('jump');
      a.raw(opcode, 0, 0, 0, 0, SELECTOR.SECOND_TSS, 0);
    });
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.TASK_SWITCH);
    return world;
  };

  it('by JMP and CALL', () => {
    const jump = far(0xea);
    expect(jump.run()).toMatchObject({
      code: VMEXIT.TASK_SWITCH,
      info1: SELECTOR.SECOND_TSS,
      info2: 0,
      info2Hi: TASK_SWITCH_HI.FAR_JUMP,
      rip: jump.labels.get('jump'),
      nextRip: 0,
      event: 0,
    });
    const call = far(0x9a);
    expect(call.run()).toMatchObject({
      info1: SELECTOR.SECOND_TSS,
      info2Hi: 0,
      rip: call.labels.get('jump'),
    });
    // Nothing happened to the descriptor.
    expect(call.cpu.physical.read8(PLACE.GDT + SELECTOR.SECOND_TSS + 5)).toBe(0x89);
  });

  it('by IRET', () => {
    const world = new World((a) => a.iretd());
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.TASK_SWITCH);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.NT);
    world.cpu.physical.write32(PLACE.TSS, SELECTOR.SECOND_TSS);
    world.cpu.physical.write8(PLACE.GDT + SELECTOR.SECOND_TSS + 5, 0x8b);
    expect(world.run()).toMatchObject({
      code: VMEXIT.TASK_SWITCH,
      info1: SELECTOR.SECOND_TSS,
      info2Hi: TASK_SWITCH_HI.IRET,
      rip: PLACE.GUEST_CODE,
    });
  });

  it('by an exception, with its error code, RF and EXITINTINFO', () => {
    const world = withGate(new World((a) => a.raw(0x8e, 0xd8)), GP);
    world.write(VMCB_SAVE.RAX, BEYOND);
    expect(world.run()).toMatchObject({
      code: VMEXIT.TASK_SWITCH,
      info1: SELECTOR.SECOND_TSS,
      info2: BEYOND,
      info2Hi: TASK_SWITCH_HI.ERROR_CODE | TASK_SWITCH_HI.RF,
      rip: PLACE.GUEST_CODE,
      event: eventInjection(EVENT_TYPE.EXCEPTION, GP, true),
      eventError: BEYOND,
    });
  });

  it('by INT n, from the instruction itself', () => {
    const world = withGate(
      new World((a) => {
        a.nop();
        a.label('int');
        a.int(0x60);
      }),
      0x60,
    );
    expect(world.run()).toMatchObject({
      code: VMEXIT.TASK_SWITCH,
      info2Hi: 0,
      rip: world.labels.get('int'),
      event: eventInjection(EVENT_TYPE.SOFTWARE, 0x60, false),
    });
  });

  it('comes behind the checks of the TSS', () => {
    const busy = inExceptions(far(0xea), GP);
    busy.cpu.physical.write8(PLACE.GDT + SELECTOR.SECOND_TSS + 5, 0x8b);
    expect(busy.run()).toMatchObject({ code: VMEXIT.EXCP + GP, info1: SELECTOR.SECOND_TSS });
  });

  it('happens where it is not intercepted', () => {
    const world = far(0xea);
    world.write(VMCB.INTERCEPT_MISC1, 0);
    const { physical } = world.cpu;
    const tss = PLACE.SECOND_TSS;
    for (const [offset, value] of [
      [0x20, world.handler(0x77)],
      [0x24, 2],
      [0x48, SELECTOR.DATA],
      [0x4c, SELECTOR.CODE],
      [0x50, SELECTOR.DATA],
      [0x54, SELECTOR.DATA],
    ] as const)
      physical.write32(tss + offset, value);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    expect(world.gpr(3)).toBe(0x77);
    expect(world.read(VMCB_SAVE.CR0) & CR0.TS).toBe(CR0.TS);
  });
});

it('a guest may have SMEP where its host has not', () => {
  const world = inExceptions(
    paged((a) => a.vmmcall()),
    PF,
  );
  world.write(VMCB_SAVE.CR4, CR4.SMEP);
  expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + PF, info1: 0x11, info2: PLACE.GUEST_CODE });
  expect(world.cpu.state.cr4).toBe(0);
});
