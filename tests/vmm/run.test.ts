import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { InputError } from '../../src/arch/input-error.ts';
import { Machine } from '../../src/machine/machine.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const OPTIONS = { model: parseCpuModel('current-amd'), memoryBytes: 1 << 20 };
/** jmp $ */
const LOOP = { image: Uint8Array.of(0xeb, 0xfe), raw: { address: 0x7c00, mode: 'real' } } as const;

describe.each([
  ['the bare machine', Machine],
  ['a machine under L0', HostedMachine],
] as const)('%s', (_, Kind) => {
  it('asks for an image before it runs', () => {
    const machine = new Kind(OPTIONS);
    expect(() => machine.run(1)).toThrow(InputError);
    expect(() => machine.run(1)).toThrow('call load() before run()');
    machine.load(LOOP);
    expect(machine.run(1)).toEqual({ kind: 'limit' });
  });

  it('retires no more instructions than it was given', () => {
    const machine = new Kind(OPTIONS);
    machine.load(LOOP);
    const before = machine.cpu.retired;
    expect(machine.run(1000)).toEqual({ kind: 'limit' });
    const retired = machine.cpu.retired - before;
    expect(retired).toBeLessThanOrEqual(1000);
    // Under L0 an exit or two take ticks.
    expect(retired).toBeGreaterThan(900);
  });
});
