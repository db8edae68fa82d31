/** The local APIC's page lies wherever software puts it, over RAM as well (SDM vol. 3A 10.4.5). */
import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { APIC_BASE, MSR } from '../../src/arch/msrs.ts';
import { Assembler } from '../../src/guest/assembler.ts';
import { Machine } from '../../src/machine/machine.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const START = 0x10_0000;
const PAGE = 0x30_0000;
const VERSION = PAGE + 0x30;
const MARKER = 0x1234_5678;
const RESULTS = 0x20_0000;
const ENABLED = APIC_BASE.ENABLE | APIC_BASE.BSP;

/** Moves the APIC over RAM and away again; what is read at its version register goes to `RESULTS`. */
function program(): Uint8Array {
  const a = new Assembler(START);
  const bytes = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  const store = (place: number): void => a.raw(0xa3, ...bytes(place));
  const load = (place: number): void => a.raw(0xa1, ...bytes(place));
  const moveTo = (base: number): void => {
    a.raw(0xb9, ...bytes(MSR.APIC_BASE), 0x31, 0xd2, 0xb8, ...bytes(base | ENABLED), 0x0f, 0x30);
  };
  // Through the fast path, and once more behind it.
  a.raw(0xb8, ...bytes(MARKER));
  store(VERSION);
  load(VERSION);
  store(RESULTS);
  moveTo(PAGE);
  load(VERSION);
  store(RESULTS + 4);
  moveTo(0xfee0_0000);
  load(VERSION);
  store(RESULTS + 8);
  a.hlt();
  return a.finish().bytes;
}

const OPTIONS = { model: parseCpuModel('current-amd'), memoryBytes: 16 << 20 };
const IMAGE = { image: program(), raw: { address: START, mode: 'protected' } } as const;
const EXPECTED = [MARKER, 0x0005_0014, MARKER];
const words = (bytes: Uint8Array): number[] => [
  ...new Uint32Array(bytes.buffer, bytes.byteOffset, EXPECTED.length),
];

describe('a local APIC over RAM hides it while it is there', () => {
  it('on the bare machine', () => {
    const machine = new Machine(OPTIONS);
    machine.load(IMAGE);
    expect(machine.run(1000)).toEqual({ kind: 'dead' });
    expect(words(machine.cpu.physical.u8.slice(RESULTS, RESULTS + 12))).toEqual(EXPECTED);
  });

  it.each([false, true])('on a VM, invariants checked: %s', (check) => {
    const machine = new HostedMachine({ ...OPTIONS, check });
    machine.load(IMAGE);
    machine.run(100_000);
    expect(words(machine.read(RESULTS as never, 12))).toEqual(EXPECTED);
  });

  it('for code as well', () => {
    // The APIC comes over a loop that runs: from there on it fetches the registers' zeros, ADD [EAX],AL.
    const machine = new Machine(OPTIONS);
    machine.load({ image: Uint8Array.of(0xeb, 0xfe), raw: { address: PAGE, mode: 'protected' } });
    expect(machine.run(1000)).toEqual({ kind: 'limit' });
    const { apic } = machine.devices;
    if (apic === undefined) throw new Error('this model has an APIC');
    apic.baseLo = PAGE | ENABLED;
    machine.run(10);
    expect(machine.cpu.state.eip).toBe(PAGE + 20);
    apic.baseLo = 0xfee0_0000 | ENABLED;
    machine.cpu.state.eip = PAGE;
    machine.run(10);
    expect(machine.cpu.state.eip).toBe(PAGE);
  });
});
