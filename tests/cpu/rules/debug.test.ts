import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { DR6, DR7, DR7_FIXED_ONE, EFLAGS } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import type { Environment } from '../../../src/cpu/environment.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from '../bare.ts';
import { catchExceptions, caught, enterUser } from '../system/traps.ts';

/** Runs code with DR0 = `address` and this DR7. */
function run(code: readonly number[], dr7: number, address: number, set: (cpu: Cpu) => void = () => {}): Cpu {
  const cpu = bareCpu((a) => a.raw(...code, 0xf4));
  catchExceptions(cpu);
  cpu.state.setSystem(SYSTEM.DR0, address);
  cpu.state.setSystem(SYSTEM.DR7, DR7_FIXED_ONE | dr7);
  set(cpu);
  cpu.watchDataBreakpoints();
  runToHalt(cpu);
  return cpu;
}

describe('DR7.GD is clear in the handler of every #DB (SDM vol. 3B 17.2.4)', () => {
  const isClear = (cpu: Cpu): boolean =>
    caught(cpu)?.vector === VECTOR.DB && (cpu.state.system(SYSTEM.DR7) & DR7.GD) === 0;
  it('of a single step', () => {
    expect(
      isClear(
        run([0x90], DR7.GD, 0, (cpu) => {
          cpu.state.systemFlags |= EFLAGS.TF;
        }),
      ),
    ).toBe(true);
  });
  it('of a breakpoint', () => {
    expect(isClear(run([0x90, 0x90], DR7.GD | DR7.G0, CODE + 1))).toBe(true);
  });
  it('of an access to a debug register', () => {
    const cpu = run([0x0f, 0x21, 0xc0], DR7.GD, 0);
    expect(isClear(cpu)).toBe(true);
    expect(cpu.state.system(SYSTEM.DR6) & DR6.BD).toBe(DR6.BD);
    // It is a fault, and no instruction breakpoint (17.3.1.1).
    expect(caught(cpu)).toMatchObject({ eip: CODE });
    expect((caught(cpu)?.flags ?? 0) & EFLAGS.RF).toBe(EFLAGS.RF);
  });
});

it('RF outlasts the parts of a long REP instruction (SDM vol. 3B 17.3.1.1)', () => {
  const COUNT = 100_000;
  // iretd to rep stosb, with RF
  const cpu = run([0xcf, 0xf3, 0xaa], DR7.G0, CODE + 1, ({ state, physical }) => {
    [CODE + 1, 8, EFLAGS.ONE | EFLAGS.RF].forEach((value, n) => {
      physical.write32(0x7000 + n * 4, value);
    });
    state.setGpr(4, 0x7000);
    state.setGpr(1, COUNT);
    state.setGpr(7, 0x10_0000);
  });
  expect(caught(cpu)).toBeUndefined();
  expect(cpu.state.gpr(1)).toBe(0);
  expect(cpu.state.gpr(7)).toBe(0x10_0000 + COUNT);
});

it('an interrupt amid a REP instruction pushes RF = 1, one behind it 0 (SDM vol. 3B 17.3.1.1)', () => {
  // rep stosb; nop; hlt
  const flagsAt = (count: number): [number, number] => {
    const interrupts = { pending: false, acknowledge: () => VECTOR.MF };
    const environment: Environment = { interrupts, ports: { read: () => 0, write: () => {} } };
    const cpu = bareCpu((a) => a.raw(0xf3, 0xaa, 0x90, 0xf4), { environment });
    catchExceptions(cpu);
    const { state } = cpu;
    state.systemFlags |= EFLAGS.IF;
    state.setGpr(1, count);
    state.setGpr(7, 0x10_0000);
    cpu.run(cpu.now + 1);
    interrupts.pending = true;
    runToHalt(cpu);
    return [caught(cpu)?.eip ?? 0, (caught(cpu)?.flags ?? 0) & EFLAGS.RF];
  };
  expect(flagsAt(1_000_000)).toEqual([CODE, EFLAGS.RF]);
  expect(flagsAt(1)).toEqual([CODE + 2, 0]);
});

it('INT1 pushes a clear RF: it is a trap (SDM vol. 3B 17.3.1.1)', () => {
  const cpu = run([0xf1], 0, 0, ({ state }) => {
    state.systemFlags |= EFLAGS.RF;
  });
  expect(caught(cpu)).toMatchObject({ vector: VECTOR.DB, eip: CODE + 1 });
  expect((caught(cpu)?.flags ?? 0) & EFLAGS.RF).toBe(0);
});

describe('a page fault at the accessed bit of the code segment changes nothing', () => {
  /** The GDT of the traps, with CS 18h for CPL 3 not accessed yet, in a page that CR0.WP protects. */
  function faulting(code: readonly number[], frame: readonly number[]): Cpu {
    return run(code, 0, 0, (cpu) => {
      const { physical, state } = cpu;
      const gdt = state.system(SYSTEM.GDT_BASE);
      physical.write32(gdt + 0x18, 0xffff);
      physical.write32(gdt + 0x1c, 0x00cf_fa00);
      physical.write32(gdt + 0x20, 0xffff);
      physical.write32(gdt + 0x24, 0x00cf_f300);
      frame.forEach((value, n) => {
        physical.write32(0x7000 + n * 4, value);
      });
      state.setGpr(4, 0x7000);
      identityPaging(cpu);
      physical.write32(0x1_1000 + (gdt >>> 12) * 4, gdt | 1);
    });
  }
  it('of RETF to an outer level (SDM vol. 3A 3.4.5.1)', () => {
    const cpu = faulting([0xcb], [CODE, 0x1b, 0x6000, 0x23]);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, errorCode: 3, eip: CODE });
    expect([cpu.cpl, cpu.state.selector(2)]).toEqual([0, 16]);
    // The handler's frame lies right below the one that was not popped.
    expect(cpu.state.gpr(4)).toBe(0x7000 - 16);
  });
  it('of an interrupt to an inner level', () => {
    const cpu = run([0xcd, 0x20], 0, 0, (c) => {
      const { physical, state } = c;
      const gdt = state.system(SYSTEM.GDT_BASE);
      const idt = state.system(SYSTEM.IDT_BASE);
      state.setSystem(SYSTEM.IDT_LIMIT, 0x107);
      // Vector 20h: CS 18h, a second code segment of CPL 0, not accessed.
      physical.write32(gdt + 0x18, 0xffff);
      physical.write32(gdt + 0x1c, 0x00cf_9a00);
      physical.write32(idt + 0x100, 0x18 << 16);
      physical.write32(idt + 0x104, 0xee00);
      identityPaging(c);
      physical.write32(0x1_1000 + (gdt >>> 12) * 4, gdt | 1);
      enterUser(c);
      state.setGpr(4, 0x7000);
    });
    // The frame of the page fault says where the program was: at its own stack.
    const { physical, state } = cpu;
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, eip: CODE });
    const top = state.gpr(4);
    expect([physical.read32(top + 8), physical.read32(top + 16), physical.read32(top + 20)]).toEqual([
      0x1b, 0x7000, 0x23,
    ]);
  });
});
