/** What hostile guests found; each test is named after its bug. */
import { describe, expect, it } from 'vitest';
import type { Hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { Cpu } from '../../src/cpu/cpu.ts';
import { ecx, edi } from '../../src/guest/assembler.ts';
import { applyInitialState } from '../../src/machine/initial-registers.ts';
import { realState } from '../../src/machine/loaders/initial-state.ts';
import { bareCpu } from '../cpu/bare.ts';

describe('decoded code', () => {
  it('is not taken for code at the same IP of another real-mode segment', () => {
    const cpu = new Cpu({ model: parseCpuModel('486'), ramBytes: 1 << 20 });
    // 1000:0000 INC AX; JMP 2000:0000. 2000:0000 INC BX; JMP 1000:0000.
    cpu.physical.load(0x1_0000 as Hpa, Uint8Array.of(0x40, 0xea, 0, 0, 0, 0x20));
    cpu.physical.load(0x2_0000 as Hpa, Uint8Array.of(0x43, 0xea, 0, 0, 0, 0x10));
    applyInitialState(cpu, realState(0x1000, 0, {}));
    cpu.run(cpu.now + 40);
    expect([cpu.state.gpr(0), cpu.state.gpr(3)]).toEqual([10, 10]);
  });
});

describe('a repeated string instruction', () => {
  it('outside RAM ends after a few elements, so that it cannot keep the processor for minutes', () => {
    const cpu = bareCpu((a) => {
      a.mov(ecx, 0xffff_ffff);
      a.mov(edi, 0x8000_0000);
      a.rep();
      a.stosd();
    });
    cpu.run(cpu.now + 102);
    const stored = 0xffff_ffff - cpu.state.gpr(1);
    expect(stored).toBeGreaterThanOrEqual(100);
    expect(stored).toBeLessThanOrEqual(1600);
    expect(cpu.state.gpr(7)).toBe((0x8000_0000 + stored * 4) >>> 0);
  });
});
