/** How software resets a PC's processor, and what the machine's owner hears of it. */
import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { MSR, VM_CR } from '../../src/arch/msrs.ts';
import { Assembler } from '../../src/guest/assembler.ts';
import { Machine } from '../../src/machine/machine.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const START = 0x10_0000;
const OPTIONS = { model: parseCpuModel('current-amd'), memoryBytes: 16 << 20 };

// biome-ignore format: table
/** mov al,v; out port,al (or through DX); INIT in the APIC's ICR, physical destination 0; then HLT. */
const WAYS: readonly (readonly [string, readonly number[]])[] = [
  ['the keyboard controller', [0xb0, 0xfe, 0xe6, 0x64]],
  ['port 92h', [0xb0, 0x03, 0xe6, 0x92]],
  ['port CF9h, the processor alone', [0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x04, 0xee]],
  ['an INIT message to itself', [0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0, 0]],
];
const HARD = [0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee] as const;

function image(code: readonly number[]) {
  const a = new Assembler(START);
  a.raw(...code, 0x90, 0xf4);
  return { image: a.finish().bytes, raw: { address: START, mode: 'protected' } } as const;
}

describe.each(WAYS)('%s', (_name, code) => {
  it('resets a machine, whose firmware nobody has', () => {
    const machine = new Machine(OPTIONS);
    machine.load(image(code));
    expect(machine.run(1000)).toEqual({ kind: 'reset' });
    expect(machine.cpu.state.segmentBase(1)).toBe(0xffff_0000);
  });
  it('resets a VM', () => {
    const machine = new HostedMachine(OPTIONS);
    machine.load(image(code));
    expect(machine.run(100_000)).toEqual({ kind: 'reset' });
  });
  it('is INIT, which VM_CR.R_INIT redirects', () => {
    const machine = new Machine(OPTIONS);
    machine.load(image(code));
    machine.cpu.msrs.write(MSR.VM_CR, VM_CR.R_INIT, 0);
    // #SX finds no IDT, nor does #DF.
    expect(machine.run(1000)).toEqual({ kind: 'triple-fault' });
  });
});

it('the other reset of port CF9h is one of the machine, and not redirected', () => {
  const machine = new Machine(OPTIONS);
  machine.load(image(HARD));
  machine.cpu.msrs.write(MSR.VM_CR, VM_CR.R_INIT, 0);
  expect(machine.run(1000)).toEqual({ kind: 'reset' });
});

it('INIT resets the local APIC with the processor, but for its ID (SDM vol. 3A 10.4.7.3)', () => {
  const machine = new Machine(OPTIONS);
  machine.load(image([0xc7, 0x05, 0xf0, 0, 0xe0, 0xfe, 0xff, 1, 0, 0, 0xb0, 0xfe, 0xe6, 0x64]));
  machine.devices.mmio.write(0xfee0_0020, 4, 0x0500_0000);
  expect(machine.run(1000)).toEqual({ kind: 'reset' });
  expect(machine.devices.mmio.read(0xfee0_00f0, 4)).toBe(0xff);
  expect(machine.devices.mmio.read(0xfee0_0020, 4)).toBe(0x0500_0000);
});
