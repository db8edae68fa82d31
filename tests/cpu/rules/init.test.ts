import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { MSR, VM_CR } from '../../../src/arch/msrs.ts';
import { CR0, CR4, DR7, EFER, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { INTERCEPT1, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { NO_ENVIRONMENT } from '../../../src/cpu/environment.ts';
import { MXCSR, SYSTEM, XMM } from '../../../src/cpu/layout.ts';
import { bareCpu, CODE } from '../bare.ts';
import { PLACE, World } from '../svm/world.ts';
import { catchExceptions, caught } from '../system/traps.ts';

/** Takes a pending INIT and no instruction: the reset vector is in no memory. */
function takeInit(cpu: Cpu): void {
  cpu.initPending = true;
  cpu.stopRequested = false;
  cpu.run(cpu.now + 1);
}

describe('INIT (SDM vol. 3A 9.1, table 9-1)', () => {
  function initialized(cr0: number): Cpu {
    let taken: readonly number[] = [];
    const environment = {
      ...NO_ENVIRONMENT,
      initialized: () => {
        taken = [cpu.state.eip, cpu.state.selector(1), cpu.state.segmentBase(1)];
        cpu.stopRequested = true;
      },
    };
    const cpu: Cpu = bareCpu((a) => a.hlt(), { environment });
    const { state } = cpu;
    for (let register = 0; register < 8; register++) state.setGpr(register, 0x1111);
    for (let n = 0; n < 4; n++) state.setSystem(SYSTEM.DR0 + n * 8, 0x3000 + n);
    state.setSystem(SYSTEM.DR7, 0x400 | DR7.G0);
    state.setSystem(SYSTEM.CR0, cr0);
    state.setSystem(SYSTEM.CR2, 0x1234);
    state.setSystem(SYSTEM.CR4, CR4.PSE);
    state.setSystem(SYSTEM.EFER, EFER.NXE);
    state.eflags = EFLAGS.ONE | EFLAGS.CF | EFLAGS.DF;
    state.u32[XMM >> 2] = 0x5555;
    state.u32[MXCSR >> 2] = 0x1fa0;
    cpu.msrs.write(MSR.TSC, 0, 0x77);
    cpu.msrs.write(MSR.PAT, 0x0101_0101, 0);
    cpu.nmiPending = true;
    cpu.halted = true;
    takeInit(cpu);
    expect(taken).toEqual([0xfff0, 0xf000, 0xffff_0000]);
    return cpu;
  }

  it('makes the registers what they are after RESET', () => {
    const { state, msrs, cpl, halted, nmiPending, initPending } = initialized(CR0.PE | CR0.ET | CR0.WP);
    expect([0, 1, 3, 4, 5, 6, 7].map((n) => state.gpr(n))).toEqual([0, 0, 0, 0, 0, 0, 0]);
    expect(state.gpr(2)).toBe(0xa0_0f11);
    expect([state.cr0, state.system(SYSTEM.CR2), state.cr4, state.efer]).toEqual([CR0.ET, 0, 0, 0]);
    expect([0, 1, 2, 3].map((n) => state.system(SYSTEM.DR0 + n * 8))).toEqual([0, 0, 0, 0]);
    expect([state.system(SYSTEM.DR7), state.eflags]).toEqual([0x400, EFLAGS.ONE]);
    expect([cpl, halted, nmiPending, initPending]).toEqual([0, false, false, false]);
    expect(msrs.read(MSR.TSC)).toBeLessThan(100);
  });

  it('leaves caches, MSRs and the state of SSE alone', () => {
    const { state, msrs } = initialized(CR0.PE | CR0.ET | CR0.CD | CR0.NW);
    expect(state.cr0).toBe((CR0.ET | CR0.CD | CR0.NW) >>> 0);
    expect([state.u32[XMM >> 2], state.u32[MXCSR >> 2]]).toEqual([0x5555, 0x1fa0]);
    msrs.read(MSR.TSC);
    expect(msrs.high).toBe(0x77);
    expect(msrs.read(MSR.PAT)).toBe(0x0101_0101);
  });
});

describe('INIT under SVM', () => {
  it('is #SX where VM_CR.R_INIT says so (APM vol. 2 8.2.22, 15.30.1)', () => {
    const cpu = bareCpu((a) => {
      a.nop();
      a.hlt();
    });
    catchExceptions(cpu);
    cpu.msrs.write(MSR.VM_CR, VM_CR.R_INIT, 0);
    cpu.initPending = true;
    cpu.run(cpu.now + 100);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.SX, errorCode: 1, eip: CODE });
    expect((caught(cpu)?.flags ?? 0) & EFLAGS.RF).toBe(0);
    expect(cpu.initPending).toBe(false);
  });

  it('waits while GIF is clear (APM vol. 2 table 15-10)', () => {
    const world = new World((a) => a.vmmcall(), {
      host: (a) => {
        a.vmrun();
        a.nop();
        a.stgi();
        a.nop();
        a.hlt();
      },
    });
    const { cpu } = world;
    cpu.msrs.write(MSR.VM_CR, VM_CR.R_INIT, 0);
    // The guest is over by then: #VMEXIT clears GIF.
    cpu.run(cpu.now + 2);
    expect([cpu.svm.inGuest, cpu.svm.gif]).toEqual([false, false]);
    cpu.initPending = true;
    cpu.run(cpu.now + 100);
    // Behind STGI: VMRUN, NOP, STGI are three bytes, one and three.
    expect(cpu.state.gpr(3)).toBe(0x100 + VECTOR.SX);
    expect(world.word(cpu.state.gpr(4) + 4)).toBe(PLACE.HOST_CODE + 7);
  });

  it('ends a guest where it is intercepted, and stays pending for the host (APM vol. 2 15.13)', () => {
    const world = new World((a) => a.raw(0xeb, 0xfe));
    const { cpu } = world;
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INIT);
    cpu.run(cpu.now + 50);
    expect(cpu.svm.inGuest).toBe(true);
    cpu.initPending = true;
    expect(world.run()).toMatchObject({ code: VMEXIT.INIT, rip: PLACE.GUEST_CODE });
    expect([cpu.initPending, cpu.svm.gif]).toEqual([true, false]);
  });

  it('is the end of guest and host where it is not', () => {
    const world = new World((a) => a.raw(0xeb, 0xfe));
    const { cpu } = world;
    cpu.run(cpu.now + 50);
    takeInit(cpu);
    expect([cpu.svm.inGuest, cpu.svm.gif, cpu.state.cr0]).toEqual([false, true, CR0.ET]);
    expect(world.read(VMCB_SAVE.RIP)).toBe(PLACE.GUEST_CODE);
    expect(cpu.msrs.read(MSR.VM_HSAVE_PA)).toBe(PLACE.HSAVE);
  });
});
