import { describe, expect, it } from 'vitest';
import type { Cpu } from '../../src/cpu/cpu.ts';
import { eax, ebx, ecx, edi, edx, esi, mem8, mem32 } from '../../src/guest/assembler.ts';
import { bareCpu, CODE, runToHalt } from './bare.ts';

/** A loop with memory accesses, calls, conditional branches and a rare instruction that TypeScript carries out. */
function busyProgram(): Cpu {
  return bareCpu((a) => {
    a.mov(ecx, 50);
    a.mov(esi, 0x4000);
    a.label('again');
    a.add(eax, ecx);
    a.mov(mem32(esi), eax);
    a.call('twist');
    a.raw(0x9c); // pushf
    a.pop(edx);
    a.xor(ebx, edx);
    a.dec(ecx);
    a.jnz('again');
    a.hlt();
    a.label('twist');
    a.emit('Rol', mem32(esi), 3);
    a.ret();
  });
}

const registers = (cpu: Cpu): number[] => [
  ...Array.from({ length: 8 }, (_, n) => cpu.state.gpr(n)),
  cpu.state.eflags,
  cpu.state.eip,
];

describe('instruction counting', () => {
  it('stops after exactly as many instructions as asked, whatever the slices', () => {
    const whole = busyProgram();
    whole.run(437);
    for (const slice of [1, 2, 7, 100]) {
      const cut = busyProgram();
      while (cut.now < 437) cut.run(Math.min(437, cut.now + slice));
      expect(cut.retired).toBe(437);
      expect(registers(cut)).toEqual(registers(whole));
    }
  });

  it('counts a halted program to its HLT', () => {
    const cpu = busyProgram();
    runToHalt(cpu);
    // 2 before the loop, 10 in each of 50 turns (two of them in the subroutine), HLT.
    expect(cpu.retired).toBe(2 + 50 * 10 + 1);
  });
});

describe('self-modifying code', () => {
  it('sees a change to the very next instruction', () => {
    const cpu = bareCpu((a) => {
      a.mov(eax, 0);
      // Turns the `inc eax` behind it into `dec eax` (48h).
      a.emit('Mov', mem8(CODE + 5 + 7), 0x48);
      a.inc(eax);
      a.hlt();
    });
    runToHalt(cpu);
    expect(cpu.state.gpr(0)).toBe(0xffff_ffff);
  });

  it('sees a change to a loop that ran before', () => {
    const cpu = bareCpu((a) => {
      a.mov(ecx, 2);
      a.label('again');
      a.label('patched');
      a.inc(eax);
      a.emit('Mov', mem8(CODE + 5), 0x48);
      a.dec(ecx);
      a.jnz('again');
      a.hlt();
    });
    runToHalt(cpu);
    expect(cpu.state.gpr(0)).toBe(0);
  });

  it('keeps blocks true that share a page with data', () => {
    const cpu = bareCpu((a) => {
      a.mov(edi, CODE + 0x800);
      a.mov(ecx, 1000);
      a.label('again');
      a.mov(mem32(edi), ecx);
      a.add(eax, mem32(edi));
      a.dec(ecx);
      a.jnz('again');
      a.hlt();
    });
    runToHalt(cpu);
    expect(cpu.state.gpr(0)).toBe(500_500);
  });
});

describe('instructions across a page boundary', () => {
  it('decodes and runs them, and sees changes to their second half', () => {
    // 5 bytes of code, then the jump's 5, then filling up to 1FFDh.
    const filling = 0xffd - 10;
    const cpu = bareCpu((a) => {
      a.mov(ecx, 2);
      a.jmp('far');
      a.raw(...new Array<number>(filling).fill(0x90));
      a.label('far');
      a.raw(0x05, 0x11, 0x11, 0x00, 0x00); // add eax, 1111h: bytes 3 and 4 of the immediate lie in the next page
      a.emit('Mov', mem8(CODE + 0x1000), 0x22);
      a.dec(ecx);
      a.jnz('far');
      a.hlt();
    });
    runToHalt(cpu);
    expect(cpu.state.gpr(0)).toBe(0x1111 + 0x22_1111);
  });
});
