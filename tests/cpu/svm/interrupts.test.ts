import { describe, expect, it } from 'vitest';
import { CR0, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { INTERCEPT1, V_INTR, V_INTR_PRIORITY_SHIFT, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { type Assembler, al, eax, ebx, ecx, mem32, ss } from '../../../src/guest/assembler.ts';
import { PLACE, type TestPin, testEnvironment, World, type WorldOptions } from './world.ts';

/** A write to port 0 pulls INTR, one to port 1 NMI. */
function wired(guest: (a: Assembler) => void, options: WorldOptions = {}): { world: World; pin: TestPin } {
  let world: World | undefined;
  const environment = testEnvironment((port) => {
    if (port === 0) environment.interrupts.pending = true;
    if (port === 1 && world !== undefined) world.cpu.nmiPending = true;
  });
  world = new World(guest, { ...options, environment });
  world.cpu.state.setGpr(1, 0);
  world.cpu.state.setGpr(3, 0);
  return { world, pin: environment.interrupts };
}

const INTR_PORT = 0;
const NMI_PORT = 1;
const counting = (a: Assembler): void => {
  for (let n = 0; n < 5; n++) a.inc(ecx);
  a.vmmcall();
};

describe('physical interrupts (APM vol. 2 15.13.1, 15.21.1)', () => {
  const pulling = (a: Assembler): void => {
    a.inc(ecx);
    a.out(INTR_PORT, al);
    counting(a);
  };

  it('exits between two instructions where intercepted; the interrupt stays pending', () => {
    const { world, pin } = wired(pulling);
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.IF);
    expect(world.run()).toMatchObject({ code: VMEXIT.INTR, nextRip: 0, event: 0 });
    expect(world.gpr(1)).toBe(1);
    expect(pin.pending).toBe(true);
    expect(pin.acknowledged).toBe(0);
  });

  it('goes through the IDT of the guest where not', () => {
    const { world, pin } = wired(pulling);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.IF);
    expect(world.run().rip).toBe(world.handler(pin.vector) + 5);
    expect(pin.acknowledged).toBe(1);
  });

  it('waits for the IF of the guest without V_INTR_MASKING', () => {
    const { world } = wired((a) => {
      a.out(INTR_PORT, al);
      a.inc(ecx);
      a.inc(ecx);
      a.sti();
      a.inc(ecx);
      a.label('open');
      counting(a);
    });
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR);
    expect(world.run().code).toBe(VMEXIT.INTR);
    // An intercepted interrupt does not wait for the shadow of STI.
    expect(world.gpr(1)).toBe(2);
  });

  it('heeds the IF of the host under V_INTR_MASKING, whatever the guest does', () => {
    for (const hostIf of [0, EFLAGS.IF]) {
      for (const guestIf of [0, EFLAGS.IF]) {
        const { world } = wired(pulling);
        world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR);
        world.write(VMCB.V_INTR, V_INTR.INTR_MASKING);
        world.write(VMCB_SAVE.RFLAGS, 2 | guestIf);
        world.cpu.state.eflags = 2 | hostIf;
        expect(world.run().code).toBe(hostIf === 0 ? VMEXIT.VMMCALL : VMEXIT.INTR);
      }
    }
  });

  it('exits at once if one is pending at VMRUN', () => {
    const { world, pin } = wired(counting);
    pin.pending = true;
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.IF);
    expect(world.run()).toMatchObject({ code: VMEXIT.INTR, rip: PLACE.GUEST_CODE });
    expect(world.gpr(1)).toBe(0);
  });

  it('waits behind #VMEXIT for STGI, then is taken by the host', () => {
    const { world, pin } = wired(pulling, {
      host: (a) => {
        a.vmrun();
        a.sti();
        a.nop();
        a.nop();
        a.mov(ecx, 0x55);
        a.stgi();
        a.mov(ecx, 0x66);
        a.hlt();
      },
    });
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR);
    world.write(VMCB.V_INTR, V_INTR.INTR_MASKING);
    world.cpu.state.eflags = 2 | EFLAGS.IF;
    world.run();
    expect(world.gpr(1)).toBe(0x55);
    expect(world.gpr(3)).toBe(0x100 + pin.vector);
  });

  it('wakes a guest that halts', () => {
    const { world, pin } = wired((a) => {
      a.hlt();
      a.inc(ecx);
      a.vmmcall();
    });
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.IF);
    expect(world.cpu.run(world.cpu.now + 1000)).toBe('halted');
    expect(world.cpu.svm.inGuest).toBe(true);
    pin.pending = true;
    expect(world.run()).toMatchObject({ code: VMEXIT.INTR, rip: PLACE.GUEST_CODE + 1 });
  });
});

describe('NMI (APM vol. 2 15.13.2, 15.21.9)', () => {
  const pulling = (a: Assembler): void => {
    a.out(NMI_PORT, al);
    counting(a);
  };

  it('exits and stays pending, for the host to take after STGI', () => {
    const { world } = wired(pulling, {
      host: (a) => {
        a.vmrun();
        a.mov(ecx, 0x55);
        a.stgi();
        a.mov(ecx, 0x66);
        a.hlt();
      },
    });
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.NMI);
    world.run();
    expect(world.exit.code).toBe(VMEXIT.NMI);
    expect(world.gpr(1)).toBe(0x55);
    expect(world.gpr(3)).toBe(0x102);
  });

  it('is taken by the guest where not intercepted, and blocks the next one until IRET', () => {
    const { world } = wired((a) => {
      pulling(a);
    });
    // The handler pulls another one and returns behind the guest's OUT.
    world.load(world.handler(2), (a) => {
      a.inc(ebx);
      a.out(NMI_PORT, al);
      a.vmmcall();
    });
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    expect(world.gpr(3)).toBe(1);
    expect(world.cpu.nmiBlocked).toBe(true);
    expect(world.cpu.nmiPending).toBe(true);
  });

  it('exits even while the guest blocks NMIs', () => {
    const { world } = wired(pulling);
    world.cpu.nmiBlocked = true;
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.NMI);
    expect(world.run().code).toBe(VMEXIT.NMI);
  });

  it('waits for GIF', () => {
    const { world } = wired(counting, {
      host: (a) => {
        a.clgi();
        a.out(NMI_PORT, al);
        a.nop();
        a.mov(ecx, 0x77);
        a.stgi();
        a.mov(ecx, 0x88);
        a.hlt();
      },
    });
    world.run();
    expect(world.gpr(1)).toBe(0x77);
    expect(world.gpr(3)).toBe(0x102);
  });
});

describe('virtual interrupts (APM vol. 2 15.21.4)', () => {
  const VECTOR = 0x51;
  const pending = (guest: (a: Assembler) => void, priority = 8, extra = 0): World => {
    const { world } = wired(guest);
    world.write(VMCB.V_INTR, V_INTR.IRQ | (priority << V_INTR_PRIORITY_SHIFT) | extra);
    world.writeByte(VMCB.V_INTR_VECTOR, VECTOR);
    return world;
  };
  const opening = (a: Assembler): void => {
    a.inc(ecx);
    a.sti();
    a.inc(ecx);
    a.label('open');
    counting(a);
  };

  it('is taken before the first instruction if IF is set', () => {
    const world = pending(counting);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.IF);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, rip: world.handler(VECTOR) + 5 });
    expect(world.gpr(1)).toBe(0);
    expect(world.read(VMCB.V_INTR) & V_INTR.IRQ).toBe(0);
  });

  it('waits for IF, and behind STI one instruction more', () => {
    const world = pending(opening);
    expect(world.run().rip).toBe(world.handler(VECTOR) + 5);
    expect(world.gpr(1)).toBe(2);
    expect(world.word(world.read(VMCB_SAVE.RSP))).toBe(world.labels.get('open'));
  });

  it('stays pending in the VMCB if the guest never opens', () => {
    const world = pending(counting);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    expect(world.gpr(1)).toBe(5);
    expect(world.read(VMCB.V_INTR) & V_INTR.IRQ).toBe(V_INTR.IRQ);
  });

  it('must be more urgent than V_TPR, unless V_IGN_TPR', () => {
    for (const [priority, tpr, extra, taken] of [
      [8, 7, 0, true],
      [8, 8, 0, false],
      [8, 9, 0, false],
      [0, 0, 0, false],
      [0, 15, V_INTR.IGNORE_TPR, true],
    ] as const) {
      const world = pending(counting, priority, tpr | extra);
      world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.IF);
      world.run();
      expect([priority, tpr, extra, world.gpr(3) === VECTOR]).toEqual([priority, tpr, extra, taken]);
      expect(world.read(VMCB.V_INTR) & V_INTR.TPR).toBe(tpr);
    }
  });

  it('#VMEXIT(VINTR) comes where it would be taken, which stays pending', () => {
    const world = pending(opening);
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.VINTR);
    expect(world.run()).toMatchObject({
      code: VMEXIT.VINTR,
      rip: world.labels.get('open'),
      nextRip: 0,
      event: 0,
    });
    expect(world.read(VMCB.V_INTR) & V_INTR.IRQ).toBe(V_INTR.IRQ);
    expect(world.gpr(1)).toBe(2);
  });

  it('the window opens with POPF and IRET, too', () => {
    for (const opener of [
      (a: Assembler): void => {
        a.push(0x202);
        a.popfd();
      },
      (a: Assembler): void => {
        a.push(0x202);
        a.push(8);
        a.raw(0x68);
        a.data32({ kind: 'address', label: 'open', offset: 0 });
        a.iretd();
      },
    ]) {
      const world = pending((a) => {
        a.inc(ecx);
        opener(a);
        a.label('open');
        counting(a);
      });
      world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.VINTR);
      expect(world.run()).toMatchObject({ code: VMEXIT.VINTR, rip: world.labels.get('open') });
    }
  });

  it('wakes a halted guest', () => {
    const world = pending((a) => {
      a.sti();
      a.hlt();
      a.vmmcall();
    });
    expect(world.run().rip).toBe(world.handler(VECTOR) + 5);
    expect(world.word(world.read(VMCB_SAVE.RSP))).toBe(PLACE.GUEST_CODE + 2);
  });

  it('yields to a physical one', () => {
    const { world, pin } = wired(counting);
    pin.pending = true;
    world.write(VMCB.V_INTR, V_INTR.IRQ | V_INTR.IGNORE_TPR);
    world.writeByte(VMCB.V_INTR_VECTOR, VECTOR);
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.VINTR | INTERCEPT1.INTR);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.IF);
    expect(world.run().code).toBe(VMEXIT.INTR);
    pin.pending = false;
    expect(world.again().code).toBe(VMEXIT.VINTR);
  });

  it('does not follow the processor into the host', () => {
    const world = pending(counting);
    world.write(VMCB_SAVE.RFLAGS, 2);
    world.load(PLACE.HOST_CODE, (a) => {
      a.vmrun();
      a.stgi();
      a.sti();
      a.nop();
      a.nop();
      a.cli();
      a.hlt();
    });
    world.run();
    expect(world.gpr(3)).toBe(0);
  });
});

describe('the interrupt shadow (APM vol. 2 15.21.5)', () => {
  const VECTOR = 0x51;

  it('is loaded: the first instruction runs, then the interrupt comes', () => {
    const { world } = wired(counting);
    world.write(VMCB.V_INTR, V_INTR.IRQ | V_INTR.IGNORE_TPR);
    world.writeByte(VMCB.V_INTR_VECTOR, VECTOR);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.IF);
    world.write(VMCB.INTERRUPT_STATE, 1);
    world.run();
    expect(world.gpr(1)).toBe(1);
    expect(world.gpr(3)).toBe(VECTOR);
  });

  it('is saved when the instruction behind STI or MOV SS exits, and only then', () => {
    for (const [setUp, shadow] of [
      [(a: Assembler) => a.sti(), 1],
      [(a: Assembler) => a.mov(ss, eax), 1],
      [
        (a: Assembler): void => {
          a.sti();
          a.nop();
        },
        0,
      ],
      [
        (a: Assembler): void => {
          a.sti();
          a.sti();
        },
        0,
      ],
    ] as const) {
      const { world } = wired((a) => {
        setUp(a);
        a.raw(0x0f, 0xa2);
      });
      world.write(VMCB_SAVE.RAX, 0x10);
      world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.CPUID);
      expect(world.run().code).toBe(VMEXIT.CPUID);
      expect(world.read(VMCB.INTERRUPT_STATE)).toBe(shadow);
      // As a hypervisor would go on, without skipping: the shadow still holds.
      expect(world.again().code).toBe(VMEXIT.CPUID);
      expect(world.read(VMCB.INTERRUPT_STATE)).toBe(shadow);
    }
  });

  it('is saved when that instruction faults', () => {
    const { world } = wired((a) => {
      a.sti();
      a.mov(eax, mem32(0));
    });
    world.segment(VMCB_SAVE.DS, 0, 0, 0, 0);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 13);
    expect(world.run().code).toBe(VMEXIT.EXCP + 13);
    expect(world.read(VMCB.INTERRUPT_STATE)).toBe(1);
  });

  it('of the host is not the guest’s', () => {
    const { world } = wired((a) => a.raw(0x0f, 0xa2), {
      host: (a) => {
        a.sti();
        a.vmrun();
        a.hlt();
      },
    });
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.CPUID);
    world.run();
    expect(world.read(VMCB.INTERRUPT_STATE)).toBe(0);
  });
});

describe('GIF (APM vol. 2 15.17)', () => {
  it('CLGI holds interrupts and breakpoints, not TF', () => {
    const { world, pin } = wired(counting, {
      host: (a) => {
        a.clgi();
        a.sti();
        a.out(INTR_PORT, al);
        a.nop();
        a.nop();
        a.mov(ecx, 1);
        a.stgi();
        a.mov(ecx, 2);
        a.hlt();
      },
    });
    world.run();
    expect(world.gpr(1)).toBe(1);
    expect(world.gpr(3)).toBe(0x100 + pin.vector);
  });

  it('a single step over CLGI is trapped, an instruction breakpoint under it is not', () => {
    const { world } = wired(counting, {
      host: (a) => {
        a.clgi();
        a.nop();
        a.label('break');
        a.nop();
        a.hlt();
      },
    });
    world.cpu.state.setSystem(0x348, PLACE.HOST_CODE + 4);
    world.cpu.state.setSystem(0x370, 0x401);
    world.cpu.watchDataBreakpoints();
    world.run();
    expect(world.gpr(3)).toBe(0);
    const stepping = wired(counting, { host: (a) => a.clgi() }).world;
    stepping.cpu.state.eflags = 2 | EFLAGS.TF;
    stepping.run();
    expect(stepping.gpr(3)).toBe(0x101);
  });

  it('VMRUN sets it, #VMEXIT clears it', () => {
    const { world } = wired(counting, {
      host: (a) => {
        a.clgi();
        a.vmrun();
        a.hlt();
      },
    });
    expect(world.cpu.svm.gif).toBe(true);
    world.run();
    expect(world.gpr(1)).toBe(5);
    expect(world.cpu.svm.gif).toBe(false);
  });
});

describe('TF and RF across VMRUN (APM vol. 2 15.5.1)', () => {
  it('TF of the host traps behind VMRUN, after the guest', () => {
    const { world } = wired(counting);
    world.cpu.state.eflags = 2 | EFLAGS.TF;
    world.run();
    expect(world.exit.code).toBe(VMEXIT.VMMCALL);
    expect(world.gpr(1)).toBe(5);
    expect(world.gpr(3)).toBe(0x101);
    // The frame says the instruction behind VMRUN.
    expect(world.word(world.gpr(4))).toBe(PLACE.HOST_CODE + 3);
  });

  it('TF of the guest traps behind its first instruction', () => {
    const { world } = wired(counting);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.TF);
    world.run();
    expect(world.gpr(1)).toBe(1);
    expect(world.gpr(3)).toBe(1);
    expect(world.cpu.state.eflags & EFLAGS.TF).toBe(0);
  });

  it('TF of the guest does not trap behind an instruction that exits', () => {
    const { world } = wired((a) => a.vmmcall());
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.TF);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    expect(world.gpr(3)).toBe(0);
    expect(world.read(VMCB_SAVE.DR6)).toBe(0xffff_0ff0);
  });

  it('RF is saved as long as it is about the next instruction', () => {
    const { world } = wired((a) => {
      a.raw(0x0f, 0xa2);
    });
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.CPUID);
    world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.RF);
    world.run();
    expect(world.read(VMCB_SAVE.RFLAGS)).toBe(2 | EFLAGS.RF);
    const later = wired((a) => {
      a.nop();
      a.raw(0x0f, 0xa2);
    }).world;
    later.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.CPUID);
    later.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.RF);
    later.run();
    expect(later.read(VMCB_SAVE.RFLAGS)).toBe(2);
  });

  it('VMRUN completes and so clears RF of the host', () => {
    const { world } = wired(counting);
    world.cpu.state.eflags = 2 | EFLAGS.RF;
    world.cpu.resumeFlagUntil = world.cpu.retired + 100;
    world.run();
    expect(world.cpu.state.eflags & EFLAGS.RF).toBe(0);
    expect(world.read(VMCB_SAVE.CR0) & CR0.PE).toBe(CR0.PE);
  });
});

describe('the task priority of a guest (APM vol. 2 15.21.2)', () => {
  it('is V_TPR under V_INTR_MASKING, and both without', () => {
    const environment = { ...testEnvironment(), apic: { baseLo: 0, baseHi: 0, taskPriority: 3 } };
    const masked = new World((a) => a.hlt(), { environment });
    masked.write(VMCB.V_INTR, V_INTR.INTR_MASKING | 5);
    masked.cpu.run(masked.cpu.now + 100);
    expect(masked.cpu.svm.inGuest).toBe(true);
    expect(masked.cpu.svm.readTaskPriority()).toBe(5);
    masked.cpu.svm.writeTaskPriority(9);
    expect(masked.cpu.svm.readTaskPriority()).toBe(9);
    expect(environment.apic.taskPriority).toBe(3);
    const open = new World((a) => a.hlt(), { environment });
    open.write(VMCB.V_INTR, 5);
    open.cpu.run(open.cpu.now + 100);
    expect(open.cpu.svm.readTaskPriority()).toBe(3);
    open.cpu.svm.writeTaskPriority(9);
    expect(environment.apic.taskPriority).toBe(9);
    // Back in the host it is in the VMCB.
    open.cpu.svm.interceptInit();
    expect(open.cpu.svm.inGuest).toBe(true);
  });
});

describe('INIT (APM vol. 2 15.13.4)', () => {
  it('exits where intercepted', () => {
    const { world } = wired((a) => a.hlt());
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INIT);
    world.cpu.run(world.cpu.now + 100);
    expect(world.cpu.svm.interceptInit()).toBe(true);
    expect(world.run()).toMatchObject({ code: VMEXIT.INIT, rip: PLACE.GUEST_CODE + 1 });
  });
});
