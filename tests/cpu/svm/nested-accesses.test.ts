import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { CR0, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { EVENT, EVENT_TYPE, INTERRUPT_STATE, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import type { MmioBus } from '../../../src/cpu/physical-memory.ts';
import { type Assembler, address, eax, ebx, ecx, edi, esi, mem32 } from '../../../src/guest/assembler.ts';
import { A, D, fault, NestedWorld, P, PWU, U, W } from './nested-world.ts';
import { PLACE, SELECTOR, testEnvironment } from './world.ts';

/** A page that the nested tables can take away without taking anything else. */
const PAGE = 0xc0_0000;
const NEXT = 0xc0_1000;
const MOVED = 0xd0_0000;

function world(guest: (a: Assembler) => void): NestedWorld {
  return new NestedWorld(guest, { guestShape: 'two-level' });
}

/** Runs into a nested fault, mends it and goes on. */
function mend(w: NestedWorld, page: number): void {
  w.nested.set(page, page | PWU);
  // What EXITINTINFO says was not delivered yet (APM vol. 2 15.20).
  w.write(VMCB.EVENTINJ, w.read(VMCB.EXITINTINFO));
  w.write(VMCB.EVENTINJ + 4, w.read(VMCB.EXITINTINFO + 4));
}

describe('accesses that cross into a page which the nested tables lack', () => {
  it('report the second page’s first byte and write nothing', () => {
    const w = world((a) => {
      a.mov(esi, NEXT - 2);
      a.mov(eax, 0x1122_3344);
      a.mov(mem32(esi), eax);
      a.vmmcall();
    });
    w.nested.set(NEXT, 0);
    expect(w.run()).toMatchObject(fault('final', U | W, NEXT));
    expect(w.word(NEXT - 4)).toBe(0);
    mend(w, NEXT);
    expect(w.again().code).toBe(VMEXIT.VMMCALL);
    expect([w.word(NEXT - 4), w.word(NEXT)]).toEqual([0x3344_0000, 0x1122]);
  });

  it('fetch an instruction no further than to the fault', () => {
    const w = world((a) => {
      a.mov(esi, NEXT - 3);
      a.jmp(esi);
    });
    w.load(NEXT - 3, (a) => {
      a.mov(ebx, 0x5566_7788);
      a.vmmcall();
    });
    w.nested.set(NEXT, 0);
    expect(w.run()).toMatchObject({ ...fault('final', U, NEXT), rip: NEXT - 3 });
    expect(w.readByte(VMCB.INSTRUCTION_COUNT)).toBe(0);
    mend(w, NEXT);
    expect(w.again().code).toBe(VMEXIT.VMMCALL);
    expect(w.gpr(3)).toBe(0x5566_7788);
  });

  it('report the bytes of the instruction that can be had', () => {
    const w = world((a) => {
      a.mov(esi, PAGE + 0x5000);
      a.mov(edi, NEXT - 5);
      a.jmp(edi);
    });
    w.load(NEXT - 5, (a) => {
      a.mov(ebx, mem32(esi));
      a.vmmcall();
    });
    w.nested.set(PAGE + 0x5000, 0);
    w.nested.set(NEXT, 0);
    expect(w.run()).toMatchObject(fault('final', U, PAGE + 0x5000));
    expect(w.readByte(VMCB.INSTRUCTION_COUNT)).toBe(5);
  });
});

describe('string instructions', () => {
  it('stop at the element that faults and go on from there', () => {
    const w = world((a) => {
      a.cld();
      a.mov(edi, NEXT - 8);
      a.mov(ecx, 4);
      a.mov(eax, 0x0102_0304);
      a.label('rep');
      a.rep();
      a.stosd();
      a.vmmcall();
    });
    w.nested.set(NEXT, 0);
    expect(w.run()).toMatchObject({ ...fault('final', U | W, NEXT), rip: w.labels.get('rep') });
    expect([w.gpr(1), w.gpr(7)]).toEqual([2, NEXT]);
    mend(w, NEXT);
    expect(w.again().code).toBe(VMEXIT.VMMCALL);
    expect([w.gpr(1), w.gpr(7), w.word(NEXT + 4)]).toEqual([0, NEXT + 8, 0x0102_0304]);
  });

  it('INS reads the port only when its memory can take the value', () => {
    const reads: number[] = [];
    const environment = testEnvironment();
    environment.ports.read = (port) => {
      reads.push(port);
      return 0x5a;
    };
    const w = new NestedWorld(
      (a) => {
        a.mov(edi, PAGE);
        a.raw(0x66, 0xba, 0x42, 0x00); // MOV DX, 42h
        a.raw(0x6c); // INSB
        a.vmmcall();
      },
      { guestShape: 'two-level', environment },
    );
    w.nested.set(PAGE, PAGE | P | U);
    expect(w.run()).toMatchObject(fault('final', P | U | W, PAGE));
    expect(reads).toEqual([]);
    mend(w, PAGE);
    expect(w.again().code).toBe(VMEXIT.VMMCALL);
    expect([reads, w.word(PAGE)]).toEqual([[0x42], 0x5a]);
  });
});

describe('implicit accesses: the nested tables see a user all the same (15.25.5)', () => {
  const pageOf = (place: number): number => place & ~0xfff;

  it('a descriptor of the GDT, at CPL 3 as well', () => {
    const load = (a: Assembler): void => {
      a.mov(eax, SELECTOR.USER_DATA);
      a.label('load');
      a.raw(0x8e, 0xd8); // MOV DS, EAX
      a.vmmcall();
    };
    for (const user of [false, true]) {
      const w = world(load);
      // The descriptor's accessed bit is set already: it is only read.
      if (user) w.atUserLevel();
      w.nested.set(PLACE.GDT, 0);
      expect(w.run()).toMatchObject({ ...fault('final', U, PLACE.GDT + 0x20), rip: w.labels.get('load') });
      mend(w, PLACE.GDT);
      expect(w.again().code).toBe(VMEXIT.VMMCALL);
    }
  });

  it('SGDT writes nothing before both halves can be', () => {
    const w = world((a) => {
      a.mov(esi, NEXT - 2);
      a.raw(0x0f, 0x01, 0x06); // SGDT [ESI]
      a.vmmcall();
    });
    w.nested.set(NEXT, 0);
    expect(w.run()).toMatchObject(fault('final', U | W, NEXT));
    expect(w.word(NEXT - 4)).toBe(0);
  });

  it('the gate, the TSS and the inner stack of an interrupt: EXITINTINFO has it, and it can be injected again', () => {
    const w = world((a) => {
      a.label('int');
      a.int(0x80);
      a.vmmcall();
    }).atUserLevel();
    w.cpu.physical.write32(PLACE.IDT + 0x80 * 8 + 4, w.word(PLACE.IDT + 0x80 * 8 + 4) | 0x6000);
    const stack = PLACE.GUEST_STACK - 0x1000;
    const event = {
      event: (EVENT.VALID | EVENT_TYPE.SOFTWARE | 0x80) >>> 0,
      rip: w.labels.get('int'),
    };
    w.nested.set(PLACE.IDT, 0);
    w.nested.set(PLACE.TSS, 0);
    w.nested.set(stack - 4, 0);
    w.cpu.state.setGpr(0, PLACE.VMCB);
    expect(w.run()).toMatchObject({ ...fault('final', U, PLACE.IDT + 0x80 * 8), ...event });
    // The end of the instruction, for the frame of an injected software interrupt (15.20).
    w.write(VMCB.NRIP, PLACE.GUEST_CODE + 2);
    mend(w, PLACE.IDT);
    expect(w.again()).toMatchObject({ ...fault('final', U, PLACE.TSS + 4), ...event });
    w.write(VMCB.NRIP, PLACE.GUEST_CODE + 2);
    mend(w, PLACE.TSS);
    const last = w.again();
    expect(last).toMatchObject({ code: VMEXIT.NPF, info1: U | W, ...event });
    expect(pageOf(last.info2)).toBe(pageOf(stack - 4));
    expect(w.readByte(VMCB_SAVE.CPL)).toBe(3);
    w.write(VMCB.NRIP, PLACE.GUEST_CODE + 2);
    mend(w, pageOf(stack - 4));
    expect(w.again()).toMatchObject({ code: VMEXIT.VMMCALL, rip: w.handler(0x80) + 5 });
    expect(w.gpr(3)).toBe(0x80);
    expect(w.word(stack - 20)).toBe(PLACE.GUEST_CODE + 2);
  });

  it('an exception on its way keeps its error code, and CR2 is written', () => {
    const w = world((a) => {
      a.mov(esi, PAGE + 0x10);
      a.mov(ebx, mem32(esi));
      a.vmmcall();
    });
    w.guestTables.set(PAGE, 0);
    w.nested.set(PLACE.GUEST_STACK - 4, 0);
    expect(w.run()).toMatchObject({
      code: VMEXIT.NPF,
      info1: U | W,
      event: (EVENT.VALID | EVENT.EV | EVENT_TYPE.EXCEPTION | VECTOR.PF) >>> 0,
      eventError: 0,
      rip: PLACE.GUEST_CODE + 5,
    });
    expect(w.read(VMCB_SAVE.CR2)).toBe(PAGE + 0x10);
    mend(w, (PLACE.GUEST_STACK - 4) & ~0xfff);
    expect(w.again()).toMatchObject({ code: VMEXIT.VMMCALL, rip: w.handler(VECTOR.PF) + 5 });
    expect(w.word(PLACE.GUEST_STACK - 16)).toBe(0);
  });

  it('a page fault met in a delivery is the guest’s double fault; a nested one never is', () => {
    const w = world((a) => a.raw(0x0f, 0x0b)); // UD2
    w.set(VMCB.INTERCEPT_EXCEPTION, (1 << VECTOR.DF) | (1 << VECTOR.PF));
    w.nested.set(PLACE.IDT, 0);
    expect(w.run()).toMatchObject({
      ...fault('final', U, PLACE.IDT + VECTOR.UD * 8),
      event: (EVENT.VALID | EVENT_TYPE.EXCEPTION | VECTOR.UD) >>> 0,
    });
  });

  it('an event that VMRUN injects', () => {
    const w = world((a) => a.vmmcall());
    const event = (EVENT.VALID | EVENT_TYPE.INTR | 0x55) >>> 0;
    w.write(VMCB.EVENTINJ, event);
    w.nested.set(PLACE.IDT, 0);
    expect(w.run()).toMatchObject({ ...fault('final', U, PLACE.IDT + 0x55 * 8), event });
    expect(w.read(VMCB.EVENTINJ)).toBe(0);
    mend(w, PLACE.IDT);
    expect(w.again().rip).toBe(w.handler(0x55) + 5);
  });

  it('the interrupt shadow of STI outlives the fault of the instruction behind it', () => {
    const w = world((a) => {
      a.mov(esi, PAGE);
      a.sti();
      a.mov(ebx, mem32(esi));
      a.vmmcall();
    });
    w.nested.set(PAGE, 0);
    w.run();
    expect(w.read(VMCB.INTERRUPT_STATE) & INTERRUPT_STATE.SHADOW).toBe(1);
    expect(w.read(VMCB_SAVE.RFLAGS) & EFLAGS.IF).toBe(EFLAGS.IF);
  });
});

describe('precision', () => {
  it.each<[string, (a: Assembler) => void]>([
    ['PUSHAD', (a) => a.pushad()],
    ['a far CALL', (a) => a.raw(0x9a, 0, 0, 3, 0, SELECTOR.CODE, 0)],
    ['ENTER', (a) => a.raw(0xc8, 0x10, 0x00, 0x03)],
    ['PUSH from memory', (a) => a.push(mem32(address('operand')))],
    ['INT', (a) => a.int(0x21)],
  ])('%s across a stack page that is not there changes no register', (_, instruction) => {
    const w = world((a) => {
      a.label('here');
      instruction(a);
      a.vmmcall();
      a.label('operand');
      a.data32(0x1234_5678);
    });
    const top = PAGE + 0x1004;
    w.write(VMCB_SAVE.RSP, top - 4);
    w.nested.set(PAGE, 0);
    for (let n = 1; n < 8; n++) if (n !== 4) w.cpu.state.setGpr(n, 0x1111_1111 * n);
    const exit = w.run();
    expect(exit).toMatchObject({ code: VMEXIT.NPF, info1: U | W, rip: w.labels.get('here') });
    expect(w.read(VMCB_SAVE.RSP)).toBe(top - 4);
    for (let n = 1; n < 8; n++) if (n !== 4) expect(w.gpr(n)).toBe(0x1111_1111 * n);
  });

  it('POPAD and IRETD load nothing before all of it can be read', () => {
    for (const instruction of [(a: Assembler) => a.popad(), (a: Assembler) => a.iretd()]) {
      const w = world((a) => {
        instruction(a);
        a.vmmcall();
      });
      w.write(VMCB_SAVE.RSP, NEXT - 8);
      w.nested.set(NEXT, 0);
      for (let n = 1; n < 8; n++) if (n !== 4) w.cpu.state.setGpr(n, 0x1111_1111 * n);
      const exit = w.run();
      expect(exit).toMatchObject({ code: VMEXIT.NPF, info1: U, rip: PLACE.GUEST_CODE });
      // No manual says in which order they read.
      expect(exit.info2 & ~0xfff).toBe(NEXT);
      expect(w.read(VMCB_SAVE.RSP)).toBe(NEXT - 8);
      for (let n = 1; n < 8; n++) if (n !== 4) expect(w.gpr(n)).toBe(0x1111_1111 * n);
    }
  });

  it('a read-modify-write asks for the write first', () => {
    const w = world((a) => {
      a.mov(esi, PAGE);
      a.add(mem32(esi), eax);
      a.vmmcall();
    });
    w.nested.set(PAGE, PAGE | P | U);
    expect(w.run()).toMatchObject(fault('final', P | U | W, PAGE));
  });
});

describe('a task switch (15.25, SDM vol. 3A 7.3)', () => {
  const TASK_CODE = PLACE.GUEST_CODE + 0x800;
  const TASK_STACK = 0xe0_0800;
  const BUSY_HI = 0x200;
  const FIELD = { CR3: 0x1c, EIP: 0x20, FLAGS: 0x24, ESP: 0x38, ES: 0x48, CS: 0x4c, SS: 0x50, DS: 0x54 };

  function tasks(): NestedWorld {
    const w = world((a) => {
      a.label('jump');
      a.raw(0xea, 0, 0, 0, 0, SELECTOR.SECOND_TSS, 0);
    });
    w.load(TASK_CODE, (a) => a.vmmcall());
    const set = (field: number, value: number): void =>
      w.cpu.physical.write32(PLACE.SECOND_TSS + field, value);
    set(FIELD.CR3, w.guestTables.root);
    set(FIELD.EIP, TASK_CODE);
    set(FIELD.FLAGS, 2);
    set(FIELD.ESP, TASK_STACK);
    for (const field of [FIELD.ES, FIELD.SS, FIELD.DS]) set(field, SELECTOR.DATA);
    set(FIELD.CS, SELECTOR.CODE);
    return w;
  }
  /** Tables of the new task's own: the same, but its GDT is the page MOVED with the same content. Returns their CR3. */
  function ownTables(w: NestedWorld): number {
    const { physical } = w.cpu;
    const root = 0x90_0000;
    const table = 0x90_1000;
    physical.u8.copyWithin(root, w.guestTables.root, w.guestTables.root + 4096);
    physical.u8.copyWithin(table, w.guestTables.root + 4096, w.guestTables.root + 8192);
    physical.write32(root, table | PWU);
    physical.u8.copyWithin(MOVED, PLACE.GDT, PLACE.GDT + 4096);
    physical.write32(table + (PLACE.GDT >> 12) * 4, MOVED | PWU | A | D);
    physical.write32(PLACE.SECOND_TSS + FIELD.CR3, root);
    return root;
  }
  const busy = (w: NestedWorld, selector: number): boolean =>
    (w.word(PLACE.GDT + selector + 4) & BUSY_HI) !== 0;

  it('begins anew after a fault with the new TSS', () => {
    const w = tasks();
    w.nested.set(PLACE.SECOND_TSS, PLACE.SECOND_TSS | P | W);
    expect(w.run()).toMatchObject({ code: VMEXIT.NPF, info1: P | U, rip: w.labels.get('jump') });
    mend(w, PLACE.SECOND_TSS);
    expect(w.again()).toMatchObject({ code: VMEXIT.VMMCALL, rip: TASK_CODE });
  });

  it('begins anew after a fault behind the commit point: with the descriptors, under the new CR3', () => {
    const w = tasks();
    const root = ownTables(w);
    w.nested.set(MOVED, 0);
    w.write(VMCB_SAVE.DR7, 0x401);
    const before = [
      VMCB_SAVE.RSP,
      VMCB_SAVE.CR3,
      VMCB_SAVE.CR0,
      VMCB_SAVE.RFLAGS,
      VMCB_SAVE.DR7,
      VMCB_SAVE.SS,
    ].map((field) => w.read(field));
    w.cpu.state.setGpr(3, 0x1234_5678);
    expect(w.run()).toMatchObject({ code: VMEXIT.NPF, info1: U, rip: w.labels.get('jump') });
    expect(w.exit.info2 & ~0xfff).toBe(MOVED);
    const fields = [
      VMCB_SAVE.RSP,
      VMCB_SAVE.CR3,
      VMCB_SAVE.CR0,
      VMCB_SAVE.RFLAGS,
      VMCB_SAVE.DR7,
      VMCB_SAVE.SS,
    ];
    expect(fields.map((field) => w.read(field))).toEqual(before);
    expect(w.gpr(3)).toBe(0x1234_5678);
    expect([busy(w, SELECTOR.TSS), busy(w, SELECTOR.SECOND_TSS)]).toEqual([true, false]);
    mend(w, MOVED);
    expect(w.again()).toMatchObject({ code: VMEXIT.VMMCALL, rip: TASK_CODE });
    expect([w.read(VMCB_SAVE.CR3), w.read(VMCB_SAVE.RSP)]).toEqual([root, TASK_STACK]);
    expect([busy(w, SELECTOR.TSS), busy(w, SELECTOR.SECOND_TSS)]).toEqual([false, true]);
    expect(w.read(VMCB_SAVE.CR0) & CR0.TS).toBe(CR0.TS);
  });

  it('by an exception at CPL 3: its error code on the new stack comes with EXITINTINFO', () => {
    const w = tasks().atUserLevel();
    ownTables(w);
    // Dirty in both stages: a write that found it in the TLB would not walk.
    w.nested.set(MOVED, MOVED | PWU | A | D);
    w.load(PLACE.GUEST_CODE, (a) => {
      a.mov(esi, PAGE);
      a.label('read');
      a.mov(ebx, mem32(esi));
    });
    w.guestTables.set(PAGE, 0);
    w.cpu.physical.write32(PLACE.IDT + VECTOR.PF * 8, SELECTOR.SECOND_TSS << 16);
    w.cpu.physical.write32(PLACE.IDT + VECTOR.PF * 8 + 4, 0x8500);
    w.nested.set(TASK_STACK, 0);
    expect(w.run()).toMatchObject({
      ...fault('final', U | W, TASK_STACK - 4),
      event: (EVENT.VALID | EVENT.EV | EVENT_TYPE.EXCEPTION | VECTOR.PF) >>> 0,
      rip: PLACE.GUEST_CODE + 5,
    });
    // In the GDT of the old task's tables: nothing of the new one's is left in the TLB.
    expect([busy(w, SELECTOR.TSS), busy(w, SELECTOR.SECOND_TSS)]).toEqual([true, false]);
    expect(w.readByte(VMCB_SAVE.CPL)).toBe(3);
    mend(w, TASK_STACK & ~0xfff);
    expect(w.again()).toMatchObject({ code: VMEXIT.VMMCALL, rip: TASK_CODE });
    expect(w.read(VMCB_SAVE.RSP)).toBe(TASK_STACK - 4);
  });
});

describe('a guest in real mode', () => {
  it('has its vector table, stack and code behind the nested tables', () => {
    const w = new NestedWorld((a) => a.vmmcall());
    const segment = (place: number, base: number): void => w.segment(place, base >>> 4, base, 0xffff, 0x93);
    segment(VMCB_SAVE.CS, PLACE.GUEST_CODE);
    w.segment(VMCB_SAVE.CS, PLACE.GUEST_CODE >>> 4, PLACE.GUEST_CODE, 0xffff, 0x9b);
    for (const place of [VMCB_SAVE.ES, VMCB_SAVE.SS, VMCB_SAVE.DS]) segment(place, PLACE.DATA);
    w.write(VMCB_SAVE.CR0, CR0.ET);
    w.write(VMCB_SAVE.RIP, 0);
    w.write(VMCB_SAVE.RSP, 0x1000);
    w.load(PLACE.GUEST_CODE, (a) => a.int(0x21), 16);
    w.segment(VMCB_SAVE.IDTR, 0, 0, 0x3ff, 0);
    // The vector table is elsewhere, and so is the handler's page.
    w.nested.set(0, MOVED | PWU);
    w.cpu.physical.write32(MOVED + 0x21 * 4, 0x0c00_0010);
    w.nested.set(0xc000, NEXT | PWU);
    w.load(NEXT + 0x10, (a) => a.vmmcall(), 16);
    w.nested.set(PLACE.DATA, 0);
    expect(w.run()).toMatchObject({
      ...fault('final', U | W, PLACE.DATA + 0xffe),
      event: (EVENT.VALID | EVENT_TYPE.SOFTWARE | 0x21) >>> 0,
    });
    w.write(VMCB.NRIP, 2);
    mend(w, PLACE.DATA);
    expect(w.again()).toMatchObject({ code: VMEXIT.VMMCALL, rip: 0x10 });
    expect(w.word(PLACE.DATA + 0xffa) & 0xffff).toBe(2);
  });
});

describe('what lies behind the nested tables', () => {
  it('a device is read and written where they lead, and never by a copy', () => {
    const DEVICE = 0xfebf_0000;
    const log: string[] = [];
    const mmio: MmioBus = {
      claims: (frame) => frame === DEVICE / 4096,
      read: (place, size) => {
        log.push(`read ${(place as number).toString(16)} ${size}`);
        return 0x77;
      },
      write: (place, size, value) => log.push(`write ${(place as number).toString(16)} ${size} ${value}`),
    };
    const w = new NestedWorld(
      (a) => {
        a.mov(esi, PAGE);
        a.mov(ebx, mem32(esi, 0x10));
        a.mov(ecx, mem32(esi, 0x10));
        a.mov(eax, 5);
        a.mov(mem32(esi, 0x20), eax);
        a.vmmcall();
      },
      { guestShape: 'two-level', mmio },
    );
    w.nested.set(PAGE, DEVICE | PWU);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    expect([w.gpr(3), w.gpr(1)]).toEqual([0x77, 0x77]);
    expect(log).toEqual(['read febf0010 4', 'read febf0010 4', 'write febf0020 4 5']);
    expect(w.word(PAGE + 0x20)).toBe(0);
  });

  it('the A20 gate acts on system-physical addresses alone', () => {
    const w = world((a) => {
      a.mov(esi, PAGE);
      a.mov(ebx, mem32(esi));
      a.vmmcall();
    });
    // Guest-physical bit 20 is set: the nested tables are asked for it as it is. Their answer goes through the gate.
    const odd = 0xd0_0000;
    w.guestTables.set(PAGE, odd | PWU);
    w.nested.set(odd, 0xe0_0000 | PWU);
    w.cpu.physical.write32(0xe0_0000, 0x600d);
    w.cpu.paging.a20 = false;
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    expect(w.gpr(3)).toBe(0x600d);
    w.nested.set(odd, 0xf0_0000 | PWU);
    w.write(VMCB.TLB_CONTROL, 1);
    expect(w.fromStart().code).toBe(VMEXIT.VMMCALL);
    expect(w.gpr(3)).toBe(0x600d);
    w.cpu.paging.a20 = true;
    expect(w.nested.used(odd)).toBe(A);
  });
});
