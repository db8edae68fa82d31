import { describe, expect, it } from 'vitest';
import type { Cpu } from '../../src/cpu/cpu.ts';
import { SYSTEM } from '../../src/cpu/layout.ts';
import { type Assembler, eax, ebx, ecx, edx, esi, mem32 } from '../../src/guest/assembler.ts';
import { bareCpu, identityPaging, runToHalt } from './bare.ts';

const TABLE = 0x11000;
const PAGE = 0x30_0000;
const OTHER = 0x31_0000;
const ENTRY = TABLE + (PAGE >> 12) * 4;

/** Reads PAGE, makes its entry point to OTHER, runs `between`, reads again into EBX. */
function remap(between: (a: Assembler) => void, entryFlags = 7, cr4 = 0): Cpu {
  const cpu = bareCpu((a) => {
    a.mov(esi, PAGE);
    a.mov(eax, mem32(esi));
    a.mov(edx, OTHER | entryFlags);
    a.mov(mem32(ENTRY), edx);
    between(a);
    a.mov(ebx, mem32(esi));
    a.hlt();
  });
  identityPaging(cpu);
  cpu.state.setSystem(SYSTEM.CR4, cr4);
  cpu.paging.modeChanged();
  cpu.updateContext();
  cpu.physical.write32(ENTRY, PAGE | entryFlags);
  cpu.physical.write32(PAGE, 0xaaaa);
  cpu.physical.write32(OTHER, 0xbbbb);
  runToHalt(cpu);
  expect(cpu.state.gpr(0)).toBe(0xaaaa);
  return cpu;
}

const PGE = 0x80;
const GLOBAL = 0x100;
const INVLPG_ESI = [0x0f, 0x01, 0x3e];
const RELOAD_CR3 = [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]; // mov eax,cr3; mov cr3,eax

describe('the TLB (SDM vol. 3A 4.10)', () => {
  it('keeps a translation that software changed and did not invalidate', () => {
    expect(remap(() => {}).state.gpr(3)).toBe(0xaaaa);
  });

  it('drops it at INVLPG', () => {
    expect(remap((a) => a.raw(...INVLPG_ESI)).state.gpr(3)).toBe(0xbbbb);
  });

  it('drops a global one at INVLPG, too', () => {
    expect(remap((a) => a.raw(...INVLPG_ESI), 7 | GLOBAL, PGE).state.gpr(3)).toBe(0xbbbb);
  });

  it('drops it when CR3 is loaded', () => {
    const cpu = remap((a) => {
      a.push(eax);
      a.raw(...RELOAD_CR3);
      a.pop(eax);
    });
    expect(cpu.state.gpr(3)).toBe(0xbbbb);
  });

  it('keeps a global one when CR3 is loaded, unless CR4.PGE is clear', () => {
    const reload = (a: Assembler): void => {
      a.push(eax);
      a.raw(...RELOAD_CR3);
      a.pop(eax);
    };
    expect(remap(reload, 7 | GLOBAL, PGE).state.gpr(3)).toBe(0xaaaa);
    expect(remap(reload, 7 | GLOBAL, 0).state.gpr(3)).toBe(0xbbbb);
  });

  it('sets accessed and dirty bits when it fills, and dirty again when a clean entry is written', () => {
    const cpu = bareCpu((a) => {
      a.mov(esi, PAGE);
      a.mov(eax, mem32(esi));
      a.mov(ebx, mem32(ENTRY));
      a.mov(mem32(esi), ecx);
      a.mov(ecx, mem32(ENTRY));
      a.hlt();
    });
    identityPaging(cpu);
    runToHalt(cpu);
    expect(cpu.state.gpr(3) & 0x60).toBe(0x20);
    expect(cpu.state.gpr(1) & 0x60).toBe(0x60);
  });

  it('takes an upgrade of rights into account without INVLPG: a fault is confirmed by a walk', () => {
    const cpu = bareCpu((a) => {
      a.mov(esi, PAGE);
      a.mov(eax, mem32(esi));
      a.mov(edx, PAGE | 7);
      a.mov(mem32(ENTRY), edx);
      a.mov(mem32(esi), edx);
      a.hlt();
    });
    identityPaging(cpu);
    cpu.physical.write32(ENTRY, PAGE | 5);
    runToHalt(cpu);
    expect(cpu.physical.read32(PAGE)).toBe(PAGE | 7);
  });
});
