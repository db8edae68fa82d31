import { describe, expect, it } from 'vitest';
import type { Hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { CS } from '../../src/cpu/layout.ts';
import { Machine } from '../../src/machine/machine.ts';

const ORIGIN = 0x1000;
const CODE = 0x9b;
const EAX = 0;

/** Real-mode code: RDTSC, MOV ESI,EAX, `middle`, RDTSC, SUB EAX,ESI, HLT. */
function ticksOf(middle: readonly number[]): number {
  const machine = new Machine({ model: parseCpuModel('pentium4'), memoryBytes: 1 << 20 });
  const { cpu } = machine;
  const code = [0x0f, 0x31, 0x66, 0x89, 0xc6, ...middle, 0x0f, 0x31, 0x66, 0x29, 0xf0, 0xf4];
  cpu.physical.load(ORIGIN as Hpa, Uint8Array.from(code));
  cpu.state.setSegment(CS, 0, 0, 0xffff, CODE);
  cpu.state.eip = ORIGIN;
  cpu.updateContext();
  expect(machine.run(1_000_000)).toEqual({ kind: 'dead' });
  return cpu.state.gpr(EAX);
}

describe('time that port accesses take', () => {
  it.each([
    // The instruction itself, RDTSC before it and MOV are three ticks.
    ['OUT to port 80h', [0xe6, 0x80], 1003],
    ['two of them', [0xe6, 0x80, 0xe6, 0x80], 2004],
    ['IN from port 61h', [0xe4, 0x61], 1003],
    ['a word to two byte-wide ports', [0xe7, 0x80], 2003],
    ['OUT to a PCI port', [0xba, 0xf8, 0x0c, 0x66, 0xef], 4],
    ['nothing', [0x90], 3],
  ])('%s', (_, middle, ticks) => {
    expect(ticksOf(middle)).toBe(ticks);
  });

  it('counts for timers: the PIT interrupts as soon as its time has come', () => {
    const machine = new Machine({ model: parseCpuModel('486'), memoryBytes: 1 << 20 });
    const { cpu, clock } = machine;
    // OUT 80h for ever.
    cpu.physical.load(ORIGIN as Hpa, Uint8Array.from([0xe6, 0x80, 0xeb, 0xfc]));
    cpu.state.setSegment(CS, 0, 0, 0xffff, CODE);
    cpu.state.eip = ORIGIN;
    cpu.updateContext();
    let fired = -1;
    const timer = clock.timer(() => {
      fired = clock.now;
      machine.stop();
    });
    const due = clock.now + 54_321;
    clock.arm(timer, due);
    machine.run(1_000_000);
    expect(fired).toBeGreaterThanOrEqual(due);
    expect(fired).toBeLessThan(due + 1003);
  });
});
