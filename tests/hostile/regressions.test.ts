/** What hostile guests found; each test is named after its bug. */
import { describe, expect, it } from 'vitest';
import type { Hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { Cpu } from '../../src/cpu/cpu.ts';
import { applyInitialState } from '../../src/machine/initial-registers.ts';
import { realState } from '../../src/machine/loaders/initial-state.ts';

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
