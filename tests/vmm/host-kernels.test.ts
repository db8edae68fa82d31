/** L0 on each host kernel: the host's registers, and EFER.NXE around VMRUN and #VMEXIT. */
import { describe, expect, it } from 'vitest';
import { gpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { CR0, CR4, EFER, GPR, MSR } from '../../src/arch/registers.ts';
import { Assembler, al, cr0, cr3, cr4, dx, eax, ecx, mem32 } from '../../src/guest/assembler.ts';
import { HOST_KERNELS, type HostKernel } from '../../src/guest/host-kernel/layout.ts';
import { UnsupportedHost } from '../../src/l0/hypervisor.ts';
import { setInitialState } from '../../src/l0/vcpu-registers.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { HostedMachine, type HostedMachineOptions } from '../../src/vmm/hosted-machine.ts';
import { type LoadPolicy, LoadRefused } from '../../src/vmm/load-policy.ts';

const CODE = 0x1000;
const MEMORY = 0x10_0000;

const make = (options: Partial<HostedMachineOptions>): HostedMachine =>
  new HostedMachine({ model: parseCpuModel('current-amd'), memoryBytes: MEMORY, ...options });

function start(machine: HostedMachine, program: (a: Assembler) => void): void {
  const a = new Assembler(CODE);
  program(a);
  machine.write(gpa(CODE), a.finish().bytes);
  setInitialState(machine.vcpu, protectedState(CODE, { ESP: 0x7000 }, 8, 16, hpa(0)));
}

const PAGING = CR4.PSE | CR4.PGE;
const EXPECTED: Readonly<Record<HostKernel, { cr4: number; nxe: number }>> = {
  pae: { cr4: PAGING | CR4.PAE, nxe: EFER.NXE },
  nopae: { cr4: PAGING, nxe: 0 },
  'nopae-nx': { cr4: PAGING, nxe: EFER.NXE },
};

describe.each(HOST_KERNELS)('the host kernel %s', (host) => {
  const { cr4: hostCr4, nxe } = EXPECTED[host];

  it('leaves L0 these registers', () => {
    const { host: registers } = make({ host }).hypervisor;
    expect(registers.cr4).toBe(hostCr4);
    expect(registers.efer & EFER.NXE).toBe(nxe);
    expect(registers.cr0 & (CR0.PG | CR0.WP | CR0.PE)).toBe(CR0.PG | CR0.WP | CR0.PE | 0);
  });

  it('has its own EFER.NXE and CR4 while L0 works, and the guest runs with NXE', () => {
    const seen: { efer: number; cr4: number }[] = [];
    const machine: HostedMachine = make({
      host,
      events: {
        serial: () => seen.push({ efer: machine.cpu.state.efer & EFER.NXE, cr4: machine.cpu.state.cr4 }),
      },
    });
    start(machine, (a) => {
      a.mov(dx, 0x3f8);
      a.mov(ecx, 3);
      a.label('send');
      a.mov(al, 0x41);
      a.out(dx, al);
      a.loop('send');
      a.label('end');
      a.jmp('end');
    });
    machine.run(100_000);
    // The machine stands still with its guest in the processor.
    expect(machine.cpu.state.efer & EFER.NXE).toBe(EFER.NXE);
    expect(machine.cpu.state.cr4 & CR4.PAE).toBe(CR4.PAE);
    expect(seen.length).toBeGreaterThan(0);
    for (const each of seen) expect(each).toEqual({ efer: nxe, cr4: hostCr4 });
    const { entries, nxSwitches } = machine.statistics;
    expect(entries).toBeGreaterThan(3);
    expect(nxSwitches).toBe(nxe === 0 ? entries : 0);
  });

  it('has guests whose PAE tables forbid execution', () => {
    const machine = make({ host, check: true });
    const [POINTERS, DIRECTORY, TABLE, TARGET, IDT] = [0x2000, 0x3000, 0x4000, 0x5000, 0x6000];
    start(machine, (a) => {
      a.lidt(mem32(IDT + 0x800));
      a.lgdt(mem32(IDT + 0x808));
      a.mov(ecx, MSR.EFER);
      a.mov(eax, EFER.NXE);
      a.raw(0x31, 0xd2); // XOR EDX, EDX
      a.wrmsr();
      a.mov(eax, CR4.PAE);
      a.mov(cr4, eax);
      a.mov(eax, POINTERS);
      a.mov(cr3, eax);
      a.mov(eax, (CR0.PG | CR0.PE) >>> 0);
      a.mov(cr0, eax);
      a.mov(eax, TARGET);
      a.jmp(eax);
    });
    const words = (address: number, ...values: readonly number[]): void =>
      machine.write(gpa(address), new Uint8Array(Uint32Array.from(values).buffer));
    words(POINTERS, DIRECTORY | 1, 0);
    words(DIRECTORY, TABLE | 3, 0);
    for (let page = 0; page < 16; page++)
      words(TABLE + page * 8, (page << 12) | 3, page === TARGET >> 12 ? 0x8000_0000 : 0);
    const a = new Assembler(0);
    a.pop(ecx);
    a.hlt();
    machine.write(gpa(0x8000), a.finish().bytes);
    words(IDT + 14 * 8, 0x0008_8000, 0x8e00);
    words(IDT + 0x800, (IDT << 16) | 0x7ff, 0, ((IDT + 0x900) << 16) | 23, (IDT + 0x900) >>> 16);
    words(IDT + 0x908, 0x0000_ffff, 0x00cf_9b00, 0x0000_ffff, 0x00cf_9300);
    expect(machine.run(20_000).kind).toBe('dead');
    // Error code: present, a fetch (SDM vol. 3A 4.7).
    expect(machine.vcpu.state.register(GPR.ECX)).toBe(0x11);
    expect(machine.vcpu.cr2).toBe(TARGET);
  });
});

describe('load policies', () => {
  const policyOf =
    (host: HostKernel, loadPolicy: LoadPolicy, cpu = 'current-amd') =>
    () =>
      make({ host, loadPolicy, model: parseCpuModel(cpu) });

  it.each([
    ['pae', 'reject'],
    ['pae', 'require-pae'],
    ['nopae', 'allow'],
    ['nopae-nx', 'reject'],
  ] as const)('let L0 load on %s under %s', (host, policy) => {
    expect(policyOf(host, policy)).not.toThrow();
  });

  it.each([
    ['nopae', 'reject', /supports NX, but EFER.NX is 0/],
    ['nopae', 'require-pae', /built without PAE/],
    ['nopae-nx', 'require-pae', /built without PAE/],
  ] as const)('keep L0 off %s under %s', (host, policy, message) => {
    expect(policyOf(host, policy)).toThrow(LoadRefused);
    expect(policyOf(host, policy)).toThrow(message);
  });

  it('leave it to L0 that there is no NX to turn on', () => {
    expect(policyOf('nopae', 'reject', 'current-amd,-nx')).toThrow(UnsupportedHost);
    expect(policyOf('nopae', 'reject', 'current-amd,-nx')).toThrow(/no-execute/);
  });
});

describe('a host kernel without PAE', () => {
  it.each([
    ['486', /no CPUID/],
    ['pentium', /SVM/],
    ['current-amd,-pae', /no-execute/],
  ])('boots on %s, where L0 cannot be', (model, message) => {
    expect(() => make({ host: 'nopae', model: parseCpuModel(model) })).toThrow(UnsupportedHost);
    expect(() => make({ host: 'nopae', model: parseCpuModel(model) })).toThrow(message);
  });
});
