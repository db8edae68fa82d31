import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { UnsupportedGuest, UnsupportedHost } from '../../src/l0/hypervisor.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const make = (host: string, guest: string) => () =>
  new HostedMachine({ model: parseCpuModel(host), guestModel: parseCpuModel(guest), memoryBytes: 1 << 20 });

describe('a host below L0', () => {
  it.each([
    ['486', /it has no PAE.*: it died of #PF\(0\) at 0x4010.., jmp .* \(enable_paging/],
    ['pentium', /it has no PAE.*: it died of #GP\(0\) at 0x4010.., mov cr4,eax \(default_entry/],
    ['current-amd,-pae', /it has no PAE/],
    ['pentium-pro', /SVM/],
    ['current-amd,-svm', /SVM/],
    ['current-amd,-nx', /no-execute/],
  ])('cannot be %s', (host, message) => {
    expect(make(host, '486')).toThrow(UnsupportedHost);
    expect(make(host, '486')).toThrow(message);
  });
});

describe('a guest of L0', () => {
  it.each(['486', 'pentium', 'pentium-pro', 'pentium4', 'prescott', 'athlon64', 'opteron', 'current-amd'])(
    'can be %s on the greatest host',
    (guest) => {
      expect(make('current-amd', guest)().vm.model.name).toBe(guest);
    },
  );

  it.each([
    ['athlon64', 'current-amd,-smap', /no .*smep/],
    ['opteron', 'opteron,+smep', /the processor below L0 has no smep, so that L0 cannot offer it .*-smep\.$/],
    ['athlon64', 'opteron', /has no .*popcnt/],
  ])('on %s cannot be %s', (host, guest, message) => {
    expect(make(host, guest)).toThrow(UnsupportedGuest);
    expect(make(host, guest)).toThrow(message);
  });

  it('executes what needs no intercept as the host does, whatever its CPUID says', () => {
    const machine = make('current-amd', 'pentium')();
    // cmovz eax, eax; mov al, 0x2a; out 0xf4, al
    const image = Uint8Array.of(0x66, 0x0f, 0x44, 0xc0, 0xb0, 0x2a, 0xe6, 0xf4);
    machine.load({ image, raw: { address: 0x7c00, mode: 'real' } });
    expect(machine.vm.model.features.has('cmov')).toBe(false);
    expect(machine.run(1000)).toEqual({ kind: 'debug-exit', value: 0x2a });
  });

  it.each([
    ['486', [0x0f, 0x31]],
    ['pentium4', [0x0f, 0x01, 0xf9]],
  ])('finds that a %s has no such instruction where an intercept can hide it', (guest, instruction) => {
    const machine = make('current-amd', guest)();
    // RDTSC or RDTSCP, then the debug exit with 1; the #UD handler at 0x500 exits with 2.
    const image = Uint8Array.of(...instruction, 0xb0, 1, 0xe6, 0xf4);
    machine.load({ image, raw: { address: 0x7c00, mode: 'real' } });
    machine.write(gpa(6 * 4), Uint8Array.of(0x00, 0x05, 0x00, 0x00));
    machine.write(gpa(0x500), Uint8Array.of(0xb0, 2, 0xe6, 0xf4));
    expect(machine.run(1000)).toEqual({ kind: 'debug-exit', value: 2 });
  });

  it('may be told of what L0 has by itself', () => {
    expect(make('opteron,-apic', 'athlon64,+hypervisor')().vm.model.features.has('apic')).toBe(true);
  });
});

describe('L0 with nested paging', () => {
  it.each([
    ['athlon64', /nested paging .*this processor lacks/],
    ['current-amd,-svm', /SVM/],
  ])('cannot run on %s', (host, message) => {
    const made = () => new HostedMachine({ model: parseCpuModel(host), l0: 'npt', memoryBytes: 1 << 20 });
    expect(made).toThrow(UnsupportedHost);
    expect(made).toThrow(message);
  });
});
