import { describe, expect, it } from 'vitest';
import { descriptorHi, descriptorLo } from '../../../src/arch/descriptors.ts';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { CR0, CR4, DR7, DR7_FIXED_ONE, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, identityPaging, runToHalt } from '../bare.ts';
import { ATTRIBUTES, PLACE, SELECTOR, World } from '../svm/world.ts';
import { catchExceptions, caught } from '../system/traps.ts';

/** Places in a 32-bit TSS. */
const FIELD = { EIP: 0x20, FLAGS: 0x24, ESP: 0x38, ES: 0x48, CS: 0x4c, SS: 0x50, DS: 0x54 } as const;
const TASK_GATE_HI = 0x8500;
const TASK_CODE = PLACE.GUEST_CODE + 0x800;
const UD2 = [0x0f, 0x0b];
const JUMP_TO_TASK = [0xea, 0, 0, 0, 0, SELECTOR.SECOND_TSS, 0];
const SMALL_STACK = 0x38;

/** A world whose second task is ready to run, with an exception intercepted. */
function worldWithTask(code: readonly number[], intercepted: number): World {
  const world = new World((a) => a.raw(...code));
  const { physical } = world.cpu;
  world.load(TASK_CODE, (a) => a.vmmcall());
  const set = (field: number, value: number): void => physical.write32(PLACE.SECOND_TSS + field, value);
  set(FIELD.EIP, TASK_CODE);
  set(FIELD.FLAGS, 2);
  set(FIELD.ESP, PLACE.GUEST_STACK);
  for (const field of [FIELD.ES, FIELD.SS, FIELD.DS]) set(field, SELECTOR.DATA);
  set(FIELD.CS, SELECTOR.CODE);
  world.write(VMCB.INTERCEPT_EXCEPTION, 1 << intercepted);
  return world;
}

function setTaskGate(world: World, vector: number, selector: number = SELECTOR.SECOND_TSS): void {
  world.cpu.physical.write32(PLACE.IDT + vector * 8, selector << 16);
  world.cpu.physical.write32(PLACE.IDT + vector * 8 + 4, TASK_GATE_HI);
}

describe('faults in a task switch (SDM vol. 3A 6.13, 7.3)', () => {
  it('have EXT when an exception began it', () => {
    const beyond = worldWithTask(UD2, VECTOR.GP);
    setTaskGate(beyond, VECTOR.UD, 0x100);
    expect(beyond.run()).toMatchObject({
      code: VMEXIT.EXCP + VECTOR.GP,
      info1: 0x101,
      rip: PLACE.GUEST_CODE,
    });

    const stack = worldWithTask(UD2, VECTOR.TS);
    setTaskGate(stack, VECTOR.UD);
    stack.cpu.physical.write32(PLACE.SECOND_TSS + FIELD.SS, SELECTOR.USER_DATA);
    expect(stack.run()).toMatchObject({ code: VMEXIT.EXCP + VECTOR.TS, info1: 0x21 });
  });

  it('have none when an instruction began it', () => {
    const world = worldWithTask(JUMP_TO_TASK, VECTOR.TS);
    world.cpu.physical.write32(PLACE.SECOND_TSS + FIELD.SS, SELECTOR.USER_DATA);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + VECTOR.TS, info1: 0x20 });
  });

  it('belong to the new task behind the commit point', () => {
    const jump = worldWithTask(JUMP_TO_TASK, VECTOR.TS);
    jump.cpu.physical.write32(PLACE.SECOND_TSS + FIELD.DS, 0x48 | 4);
    expect(jump.run()).toMatchObject({ code: VMEXIT.EXCP + VECTOR.TS, info1: 0x4c, rip: TASK_CODE });

    const gate = worldWithTask(UD2, VECTOR.TS);
    setTaskGate(gate, VECTOR.UD);
    gate.cpu.physical.write32(PLACE.SECOND_TSS + FIELD.CS, 0);
    expect(gate.run()).toMatchObject({ code: VMEXIT.EXCP + VECTOR.TS, info1: 1, rip: TASK_CODE });
  });

  it('push the new EIP for a handler in the new task', () => {
    const world = worldWithTask(JUMP_TO_TASK, VECTOR.MF);
    world.cpu.physical.write32(PLACE.SECOND_TSS + FIELD.DS, 0x48 | 4);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL });
    const top = world.read(VMCB_SAVE.RSP);
    expect([world.word(top), world.word(top + 4)]).toEqual([0x4c, TASK_CODE]);
  });

  it('check the stack that the error code goes on', () => {
    // mov ax,4Ch; mov ds,ax: no LDT
    const world = worldWithTask([0x66, 0xb8, 0x4c, 0, 0x8e, 0xd8], VECTOR.SS);
    const { physical } = world.cpu;
    setTaskGate(world, VECTOR.GP);
    physical.write32(PLACE.GDT + SMALL_STACK, descriptorLo(0, 0xfff, 0x493));
    physical.write32(PLACE.GDT + SMALL_STACK + 4, descriptorHi(0, 0xfff, 0x493));
    physical.write32(PLACE.SECOND_TSS + FIELD.SS, SMALL_STACK);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + VECTOR.SS, info1: 1, rip: TASK_CODE });
  });
});

it('RF of the new task holds back a breakpoint on its first instruction (SDM vol. 3B 17.3.1.1)', () => {
  const run = (flags: number): number => {
    const world = worldWithTask(JUMP_TO_TASK, VECTOR.DB);
    world.cpu.physical.write32(PLACE.SECOND_TSS + FIELD.FLAGS, flags);
    world.write(VMCB_SAVE.DR7, DR7_FIXED_ONE | DR7.G0);
    world.cpu.state.setSystem(SYSTEM.DR0, TASK_CODE);
    return world.run().code;
  };
  expect(run(2)).toBe(VMEXIT.EXCP + VECTOR.DB);
  expect(run(2 | EFLAGS.RF)).toBe(VMEXIT.VMMCALL);
});

describe('the old task (SDM vol. 3A 7.3, table 6-6)', () => {
  const CALL_TO_TASK = [0x9a, 0, 0, 0, 0, SELECTOR.SECOND_TSS, 0];
  const LAST_SAVED_BYTE = 0x5f;
  const busy = (world: World): boolean => (world.word(PLACE.GDT + SELECTOR.SECOND_TSS + 4) & 0x200) !== 0;
  const withTask = (code: readonly number[], selector: number, limit: number): World => {
    const world = worldWithTask(code, VECTOR.TS);
    world.cpu.state.setSegment(7, selector, PLACE.TSS, limit, ATTRIBUTES.TSS);
    return world;
  };

  it('is left alone when its TSS has no room for what is saved', () => {
    for (const code of [JUMP_TO_TASK, CALL_TO_TASK]) {
      const world = withTask(code, SELECTOR.TSS, LAST_SAVED_BYTE - 1);
      expect(world.run()).toMatchObject({
        code: VMEXIT.EXCP + VECTOR.TS,
        info1: SELECTOR.TSS,
        rip: PLACE.GUEST_CODE,
      });
      expect([world.word(PLACE.TSS + FIELD.EIP), busy(world)]).toEqual([0, false]);
      expect(withTask(code, SELECTOR.TSS, LAST_SAVED_BYTE).run()).toMatchObject({ code: VMEXIT.VMMCALL });
    }
  });

  it('is left alone when its descriptor, which JMP makes available, lies beyond the GDT', () => {
    const world = withTask(JUMP_TO_TASK, 0x200, 0x67);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + VECTOR.TS, info1: 0x200, rip: PLACE.GUEST_CODE });
    expect([world.word(PLACE.TSS + FIELD.EIP), busy(world)]).toEqual([0, false]);
    expect(withTask(CALL_TO_TASK, 0x200, 0x67).run()).toMatchObject({ code: VMEXIT.VMMCALL });
  });

  it('is left alone when the link of the new one cannot be written', () => {
    const cpu = bareCpu((a) => a.raw(0x9a, 0, 0, 0, 0, 0x30, 0));
    catchExceptions(cpu);
    const gdt = cpu.state.system(SYSTEM.GDT_BASE);
    const [old, next] = [cpu.state.segmentBase(7), 0x5_0000];
    cpu.state.setSystem(SYSTEM.GDT_LIMIT, 0x37);
    cpu.physical.write32(gdt + 0x30, descriptorLo(next, 0x67, ATTRIBUTES.FREE_TSS));
    cpu.physical.write32(gdt + 0x34, descriptorHi(next, 0x67, ATTRIBUTES.FREE_TSS));
    identityPaging(cpu);
    cpu.physical.write32(0x1_1000 + (next >> 12) * 4, next | 1);
    runToHalt(cpu);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, errorCode: 3 });
    expect(cpu.state.system(SYSTEM.CR2)).toBe(next);
    expect(cpu.physical.read32(old + FIELD.EIP)).toBe(0);
    expect(cpu.physical.read32(gdt + 0x34) & 0x200).toBe(0);
  });

  it('is not found by an IRET whose TSS has no room for a link', () => {
    const world = withTask([0xcf], SELECTOR.TSS, 0);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.NT);
    expect(world.run()).toMatchObject({
      code: VMEXIT.EXCP + VECTOR.TS,
      info1: SELECTOR.TSS,
      rip: PLACE.GUEST_CODE,
    });
  });

  it('has RF only when an exception ended it (SDM vol. 3B 17.3.1.1)', () => {
    const saved = (world: World): number => {
      world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.RF);
      expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL });
      return world.word(PLACE.TSS + FIELD.FLAGS);
    };
    expect(saved(worldWithTask(JUMP_TO_TASK, VECTOR.MF))).toBe(2);
    expect(saved(worldWithTask(CALL_TO_TASK, VECTOR.MF))).toBe(2);
    const gate = worldWithTask(UD2, VECTOR.MF);
    setTaskGate(gate, VECTOR.UD);
    expect(saved(gate)).toBe(2 | EFLAGS.RF);
  });
});

describe('a task switch under PAE paging', () => {
  const TABLE = 0x1_0000;
  const DIRECTORY = 0x1_1000;
  const PDPTE = DIRECTORY | 1;

  /** Switches to a task with `cr3`, after the PDPT that is in use got an entry with reserved bits. */
  function switchWithCr3(cr3: number): World['cpu'] {
    const world = worldWithTask([], VECTOR.MF);
    const { cpu } = world;
    const { physical, state } = cpu;
    world.load(PLACE.HOST_CODE, (a) => a.raw(...JUMP_TO_TASK));
    world.load(TASK_CODE, (a) => a.hlt());
    for (let n = 0; n < 8; n++) physical.write32(DIRECTORY + n * 8, (n << 21) | 0x83);
    physical.write32(TABLE, PDPTE);
    physical.write32(TABLE + 8, 7);
    physical.write32(TABLE + 0x20, PDPTE);
    physical.write32(PLACE.SECOND_TSS + 0x1c, cr3);
    state.setSystem(SYSTEM.CR3, TABLE);
    state.setSystem(SYSTEM.CR4, CR4.PAE);
    state.setSystem(SYSTEM.CR0, (CR0.PE | CR0.PG | CR0.ET) >>> 0);
    state.u32[SYSTEM.PDPTES >> 2] = PDPTE;
    cpu.paging.modeChanged();
    cpu.updateContext();
    cpu.run(cpu.now + 1000);
    return cpu;
  }

  it('loads the PDPTEs only if it changes CR3 (SDM vol. 3A 4.4.1)', () => {
    const same = switchWithCr3(TABLE);
    expect([same.halted, same.state.eip]).toEqual([true, TASK_CODE + 1]);
    expect(switchWithCr3(TABLE + 0x20).state.eip).toBe(TASK_CODE + 1);
  });
});
