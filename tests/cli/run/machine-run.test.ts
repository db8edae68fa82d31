import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../../src/arch/cpu-model-text.ts';
import { createMachine } from '../../../src/cli/run/machines.ts';
import type { MachineConfig } from '../../../src/cli/run/session.ts';
import { GuestFailure, HostedMachine } from '../../../src/vmm/hosted-machine.ts';

/** CLI, HLT. */
const IMAGE = Uint8Array.of(0xfa, 0xf4);

const config = (more: Partial<MachineConfig>): MachineConfig => ({
  l0: 'shadow',
  cpu: parseCpuModel('pentium'),
  memorySize: 1 << 20,
  image: IMAGE,
  imageName: 'image',
  commandLine: '',
  initrd: undefined,
  modules: [],
  raw: { address: 0x7c00, mode: 'real' },
  check: false,
  trace: undefined,
  serial: () => {},
  ...more,
});

describe('a machine of umbra run', () => {
  it('has the CPU that was asked for as its guest under L0', () => {
    expect(createMachine(config({})).run(1000).kind).toMatch(/dead|halted/);
  });

  it.each<[Partial<MachineConfig>, RegExp]>([
    [{ hostCpu: parseCpuModel('pentium') }, /^--host-cpu pentium: it has no PAE/],
    [
      { host: 'nopae', hostCpu: parseCpuModel('pentium') },
      /^--host-cpu pentium: L0 needs a processor with SVM/,
    ],
    [{ host: 'nopae', loadPolicy: 'reject' }, /^--load-policy reject: .* EFER.NX is 0 on this host/],
    [{ host: 'nopae', loadPolicy: 'require-pae' }, /^--load-policy require-pae: .* built without PAE/],
    [
      { hostCpu: parseCpuModel('athlon64'), cpu: parseCpuModel('athlon64,+smep') },
      /^--cpu athlon64,\+smep: the processor below L0 has no smep/,
    ],
  ])('cannot be on a processor that does not serve: %#', (more, message) => {
    expect(() => createMachine(config(more))).toThrow(message);
  });

  it.each(['none', 'shadow'] as const)('counts the instructions of its image alone: L0 %s', (l0) => {
    // Ten times INC AX, CLI, HLT.
    const image = Uint8Array.of(...Array<number>(10).fill(0x40), 0xfa, 0xf4);
    const machine = createMachine(config({ l0, image }));
    expect(machine.instructions).toBe(0);
    machine.run(5);
    expect(machine.instructions).toBeGreaterThan(0);
    expect(machine.instructions).toBeLessThanOrEqual(5);
    expect(machine.run(1000).kind).toBe('dead');
    // L0's own VMRUNs and exits count too: all levels together.
    expect(machine.instructions).toBeGreaterThanOrEqual(12);
    expect(machine.instructions).toBeLessThan(l0 === 'none' ? 13 : 20);
  });

  it.each([
    ['pae', 0],
    ['nopae', 1],
    ['nopae-nx', 0],
  ] as const)('counts how often L0 on a %s host switches NX', (host, perEntry) => {
    const machine = createMachine(config({ host }));
    machine.run(1000);
    const { entries, nxSwitches } = machine.statistics();
    expect(entries).toBeGreaterThan(0);
    expect(nxSwitches).toBe(entries * perEntry);
  });

  it.each([
    // UD2; and MOV CR4 with reserved bits.
    [[0x90, 0x0f, 0x0b], 'It began with #UD at EIP=00010001'],
    [[0x31, 0xc0, 0x0f, 0x22, 0xe0, 0x48, 0x0f, 0x22, 0xe0], 'It began with #GP(0) at EIP=00010006'],
  ])('tells what a triple fault began with: %#', (bytes, line) => {
    const image = Uint8Array.from(bytes);
    const stop = createMachine(
      config({ l0: 'none', image, raw: { address: 0x1_0000, mode: 'protected' } }),
    ).run(1000);
    expect(stop.kind === 'triple-fault' && stop.report.split('\n').at(-1)).toBe(line);
  });

  it('counts with the same names bare and under L0', () => {
    const names = (l0: 'none' | 'shadow') => Object.keys(createMachine(config({ l0 })).statistics().mmu);
    expect(names('none')).toEqual(names('shadow'));
    expect(names('none')).toEqual(
      expect.arrayContaining(['shadowPages', 'roots', 'syncs', 'faults', 'roleChanges']),
    );
  });

  it('stops where L0 gives up, with the reason', () => {
    const { run } = HostedMachine.prototype;
    HostedMachine.prototype.run = () => {
      throw new GuestFailure('L0 cannot go on: x.');
    };
    try {
      expect(createMachine(config({})).run(1000)).toEqual({
        kind: 'l0-failure',
        message: 'L0 cannot go on: x.',
      });
    } finally {
      HostedMachine.prototype.run = run;
    }
  });
});
