import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { CR4, DR7, DR7_FIXED_ONE, EFLAGS, EFLAGS_DEFINED } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from '../bare.ts';
import { ATTRIBUTES, SELECTOR, World } from '../svm/world.ts';
import { catchExceptions, caught, enterV86, setTaskLimit, TSS } from '../system/traps.ts';

describe('a stack without room for the frame (SDM vol. 2A "INT n")', () => {
  const exitOf = (code: readonly number[]) => {
    const world = new World((a) => a.raw(...code));
    world.segment(VMCB_SAVE.SS, SELECTOR.DATA, 0, 0xfff, ATTRIBUTES.DATA);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << VECTOR.SS);
    return world.run();
  };
  it('is #SS with EXT for an exception', () => {
    expect(exitOf([0x0f, 0x0b])).toMatchObject({ code: VMEXIT.EXCP + VECTOR.SS, info1: 1 });
  });
  it('is #SS(0) for INT n', () => {
    expect(exitOf([0xcd, 0x40])).toMatchObject({ code: VMEXIT.EXCP + VECTOR.SS, info1: 0 });
  });
});

describe('software interrupts that VME redirects (SDM vol. 3B 20.3.3)', () => {
  const VECTOR_USED = 0x21;
  const HANDLER = 0x3000;
  /** INT 21h in virtual-8086 mode with IOPL 0, all redirected, SS:SP = 0:7000h; pages are the user's but one. */
  function redirected(supervisorPage = -1, flags = 0): Cpu {
    const cpu = bareCpu((a) => a.raw(0xcd, VECTOR_USED));
    catchExceptions(cpu);
    setTaskLimit(cpu, 0x2fff, 0x88);
    for (let byte = 0; byte < 32; byte++) cpu.physical.write8(TSS + 0x68 + byte, 0);
    cpu.physical.write32(VECTOR_USED * 4, HANDLER);
    cpu.physical.write8(HANDLER, 0xf4);
    identityPaging(cpu);
    // Without CR0.WP a supervisor's write passes everywhere.
    cpu.state.setSystem(SYSTEM.CR0, 0x8000_0011);
    if (supervisorPage >= 0) cpu.physical.write32(0x1_1000 + supervisorPage * 4, (supervisorPage << 12) | 3);
    cpu.state.setSystem(SYSTEM.CR4, CR4.VME);
    cpu.paging.modeChanged();
    enterV86(cpu, 0);
    cpu.state.systemFlags |= flags;
    cpu.state.setGpr(4, 0x7000);
    cpu.updateContext();
    runToHalt(cpu);
    return cpu;
  }

  it('push with the rights of the user', () => {
    expect(caught(redirected(6))).toMatchObject({ vector: VECTOR.PF, errorCode: 7, eip: CODE });
  });
  it('clear VIF and TF, and leave NT alone', () => {
    // HLT in the handler is privileged: the frame of #GP has the flags.
    const { flags, eip } = caught(redirected(-1, EFLAGS.NT | EFLAGS.VIF)) ?? { flags: 0, eip: 0 };
    expect(eip).toBe(HANDLER);
    expect(flags & (EFLAGS.NT | EFLAGS.VIF)).toBe(EFLAGS.NT);
  });
});

describe('IRET to virtual-8086 mode', () => {
  /** Frame with these flags; the code returned to is at 0:3000h, HLT. */
  function returned(flags: number, cr4 = 0): Cpu {
    const cpu = bareCpu((a) => {
      for (const value of [0, 0, 0, 0, 0, 0x7000]) a.push(value);
      a.raw(0x68, flags & 0xff, (flags >>> 8) & 0xff, (flags >>> 16) & 0xff, flags >>> 24);
      a.push(0);
      a.raw(0x68, 0, 0x30, 0, 0);
      a.iretd();
    });
    catchExceptions(cpu);
    cpu.physical.load(0x3000 as never, Uint8Array.of(0x90, 0xf4));
    cpu.state.setSystem(SYSTEM.CR4, cr4);
    runToHalt(cpu);
    return cpu;
  }
  it('leaves the reserved flags alone (SDM vol. 1 3.4.3)', () => {
    const flags = caught(returned(0xffff_ffff & ~(EFLAGS.TF | EFLAGS.VIP)))?.flags ?? 0;
    expect((flags & ~EFLAGS_DEFINED) >>> 0).toBe(0);
    expect(flags & EFLAGS.VM).toBe(EFLAGS.VM);
  });
  it('with VIF and VIP is #GP before the first instruction under VME (SDM vol. 3B 20.3.2)', () => {
    const both = EFLAGS.VM | EFLAGS.VIF | EFLAGS.VIP;
    expect(caught(returned(both, CR4.VME))).toMatchObject({ vector: VECTOR.GP, errorCode: 0, eip: 0x3000 });
    expect(caught(returned(both, 0))?.eip).toBe(0x3001);
    expect(caught(returned(EFLAGS.VM | EFLAGS.VIP, CR4.VME))?.eip).toBe(0x3001);
  });
});

it('MOV SS holds back a breakpoint on the next instruction (SDM vol. 3A 6.8.3)', () => {
  const run = (code: readonly number[]): Cpu => {
    const cpu = bareCpu((a) => a.raw(...code, 0x90, 0xf4));
    catchExceptions(cpu);
    cpu.state.setGpr(0, 16);
    cpu.state.setSystem(SYSTEM.DR0, CODE + 2);
    cpu.state.setSystem(SYSTEM.DR7, DR7_FIXED_ONE | DR7.G0);
    cpu.watchDataBreakpoints();
    runToHalt(cpu);
    return cpu;
  };
  // mov ds,ax and mov ss,ax
  expect(caught(run([0x8e, 0xd8]))).toMatchObject({ vector: VECTOR.DB, eip: CODE + 2 });
  expect(caught(run([0x8e, 0xd0]))).toBeUndefined();
});
