import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { CR4, EFLAGS } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { SS, SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from '../bare.ts';
import { catchExceptions, caught, enterUser, enterV86 } from './traps.ts';

const STI = 0xfb;
const CLI = 0xfa;
const PUSHF = 0x9c;
const POPF = 0x9d;

/** Runs one instruction in the state that `prepare` makes. */
function one(code: number[], prepare: (cpu: Cpu) => void): Cpu {
  const cpu = bareCpu((a) => a.raw(...code, 0xf4), { model: 'opteron' });
  catchExceptions(cpu);
  prepare(cpu);
  cpu.run(1);
  // A fault leaves EIP at its handler's HLT.
  return cpu;
}

const withCr4 = (cpu: Cpu, bits: number): void => cpu.state.setSystem(SYSTEM.CR4, bits);
const setIopl = (cpu: Cpu, iopl: number): void => {
  cpu.state.systemFlags = (cpu.state.systemFlags & ~EFLAGS.IOPL) | (iopl << 12);
};

describe('CLI and STI (SDM vol. 2, tables of CLI and STI)', () => {
  it('need CPL <= IOPL in protected mode', () => {
    const allowed = one([STI], (cpu) => {
      setIopl(cpu, 3);
      enterUser(cpu);
    });
    expect(caught(allowed)).toBeUndefined();
    expect(allowed.state.systemFlags & EFLAGS.IF).toBe(EFLAGS.IF);
    const refused = one([STI], (cpu) => {
      setIopl(cpu, 2);
      enterUser(cpu);
    });
    expect(caught(refused)).toMatchObject({ vector: VECTOR.GP, errorCode: 0, eip: CODE });
  });

  it('act on VIF with PVI at CPL 3, not at CPL 1', () => {
    const cpu = one([STI], (c) => {
      withCr4(c, CR4.PVI);
      enterUser(c);
    });
    expect(cpu.state.systemFlags & (EFLAGS.IF | EFLAGS.VIF)).toBe(EFLAGS.VIF);
    const ring1 = one([CLI], (c) => {
      withCr4(c, CR4.PVI);
      c.cpl = 1;
      c.updateContext();
    });
    expect(ring1.exception.vector).toBe(VECTOR.GP);
  });

  it('act on VIF with VME; VIP pending makes STI fault', () => {
    const virtual = (code: number, flags: number): Cpu =>
      one([code], (c) => {
        withCr4(c, CR4.VME);
        enterV86(c, 0);
        c.state.systemFlags |= flags;
      });
    expect(virtual(STI, 0).state.systemFlags & EFLAGS.VIF).toBe(EFLAGS.VIF);
    expect(virtual(CLI, EFLAGS.VIF).state.systemFlags & EFLAGS.VIF).toBe(0);
    expect(caught(virtual(STI, EFLAGS.VIP))).toMatchObject({ vector: VECTOR.GP, eip: CODE });
  });

  it('keep interrupts out for one instruction, but only if IF was clear', () => {
    const shadowed = one([STI], () => {});
    expect(shadowed.shadowAt).toBe(1);
    const open = one([STI], (cpu) => {
      cpu.state.systemFlags |= EFLAGS.IF;
    });
    expect(open.shadowAt).toBe(-1);
  });
});

describe('PUSHF and POPF', () => {
  it('hide VM and RF, and change IOPL only at CPL 0, IF only up to IOPL', () => {
    const all = 0x0024_7fd7;
    const popped = (prepare: (cpu: Cpu) => void): number =>
      one([POPF], (cpu) => {
        cpu.physical.write32(0x8000, all & ~EFLAGS.TF);
        prepare(cpu);
      }).state.eflags;
    expect(popped(() => {})).toBe(all & ~EFLAGS.TF);
    expect(popped(enterUser)).toBe(all & ~(EFLAGS.TF | EFLAGS.IF | EFLAGS.IOPL));
    const iopl3 = popped((cpu) => {
      setIopl(cpu, 3);
      enterUser(cpu);
    });
    expect(iopl3 & EFLAGS.IF).toBe(EFLAGS.IF);

    const pushed = one([PUSHF], (cpu) => {
      cpu.state.eflags = 0x0001_0202;
    });
    expect(pushed.physical.read32(0x7ffc)).toBe(0x202);
  });

  it('exchange IF and VIF in virtual-8086 mode with VME', () => {
    const pushed = one([PUSHF], (cpu) => {
      withCr4(cpu, CR4.VME);
      enterV86(cpu, 0);
      cpu.state.systemFlags |= EFLAGS.VIF;
    });
    expect(pushed.physical.read16(0x7ffe) & (EFLAGS.IF | EFLAGS.IOPL)).toBe(EFLAGS.IF | EFLAGS.IOPL);
    const pop = (image: number, flags: number): Cpu =>
      one([POPF], (cpu) => {
        cpu.physical.write16(0x8000, image);
        withCr4(cpu, CR4.VME);
        enterV86(cpu, 0);
        cpu.state.systemFlags |= flags;
      });
    expect(pop(EFLAGS.IF, 0).state.systemFlags & (EFLAGS.IF | EFLAGS.VIF)).toBe(EFLAGS.VIF);
    expect(pop(0, EFLAGS.VIF).state.systemFlags & EFLAGS.VIF).toBe(0);
    expect(caught(pop(EFLAGS.TF, 0))).toMatchObject({ vector: VECTOR.GP, eip: CODE });
    expect(caught(pop(EFLAGS.IF, EFLAGS.VIP))).toMatchObject({ vector: VECTOR.GP, eip: CODE });
  });

  it('fault in virtual-8086 mode below IOPL 3 without VME, and in 32 bits always', () => {
    expect(caught(one([PUSHF], (cpu) => enterV86(cpu, 2)))).toMatchObject({ vector: VECTOR.GP });
    const wide = one([0x66, PUSHF], (cpu) => {
      withCr4(cpu, CR4.VME);
      enterV86(cpu, 0);
    });
    expect(caught(wide)).toMatchObject({ vector: VECTOR.GP });
  });

  it('trap behind the instruction that follows a POPF that sets TF', () => {
    const cpu = bareCpu((a) => a.raw(POPF, 0x40, 0x40, 0xf4), { model: 'opteron' });
    catchExceptions(cpu);
    cpu.physical.write32(0x8000, EFLAGS.TF | 2);
    runToHalt(cpu);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.DB, eip: CODE + 2 });
    expect(cpu.state.gpr(0)).toBe(1);
  });
});

describe('stack frames', () => {
  it('POP to memory addresses with ESP behind the pop, and restores it when the write faults', () => {
    const stored = one([0x8f, 0x04, 0x24], (cpu) => cpu.physical.write32(0x8000, 0x1234_5678));
    expect(stored.physical.read32(0x8004)).toBe(0x1234_5678);
    const cpu = one([0x8f, 0x44, 0x24, 0x10], (c) => {
      identityPaging(c);
      c.physical.write32(0x11000 + 9 * 4, 0);
      c.state.setGpr(4, 0x8fec);
    });
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, errorCode: 2, eip: CODE });
    expect(cpu.state.system(SYSTEM.CR2)).toBe(0x9000);
    // Three doublewords and the error code below where it stood.
    expect(cpu.state.gpr(4)).toBe(0x8fec - 16);
  });

  it('PUSHA wraps a 16-bit stack and keeps the upper half of ESP', () => {
    const cpu = one([0x60], (c) => {
      c.state.setSegment(SS, 16, 0, 0xffff, 0x093);
      c.state.setGpr(0, 0x0a0a_0a0a);
      c.state.setGpr(4, 0xabcd_0010);
      c.updateContext();
    });
    expect(cpu.state.gpr(4)).toBe(0xabcd_fff0);
    expect(cpu.physical.read32(0x000c)).toBe(0x0a0a_0a0a);
    expect(cpu.physical.read32(0xfffc)).toBe(0xabcd_0010);
  });

  it('ENTER checks the page of the new top before it changes anything', () => {
    const cpu = one([0xc8, 0x00, 0x10, 0x00], (c) => {
      identityPaging(c);
      c.physical.write32(0x11000 + 6 * 4, 0);
      c.state.setGpr(4, 0x7800);
      c.state.setGpr(5, 0x1111);
    });
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, errorCode: 2, eip: CODE });
    expect([cpu.state.gpr(4), cpu.state.gpr(5)]).toEqual([0x7800 - 16, 0x1111]);
  });
});
