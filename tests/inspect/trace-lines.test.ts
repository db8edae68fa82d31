import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { compileScenario } from '../../src/grid/compile.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { lineTrace } from '../../src/inspect/trace-lines.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const WINDOW = 0x0100_0000;
const FIRST_PAGE = 0x300;

/** A 2-level L1, and a PAE L2 that takes one page fault which L1 does not intercept, and one write fault of L0's own. */
const SCENARIO: Scenario = {
  name: 'traced',
  about: 'A !PAE L1 and a PAE L2.',
  features: ['pae'],
  pages: {
    pd: { at: FIRST_PAGE * 0x1000 },
    pdpt: { at: 0x30_1000, entries8: { 0: { to: 'directory', flags: 'P' } } },
    directory: { at: 0x30_2000, entries8: { 8: { to: 'table', flags: 'P W U A' } } },
    table: {
      at: 0x30_3000,
      entries8: { 0: { to: 'data', flags: 'P W U A D' }, 1: { to: 'data', flags: 'P U A' } },
    },
    data: { at: 0x30_4000 },
  },
  l1: { mode: '2-level', root: 'pd', flags: ['CR0.WP'] },
  l2: { A: { mode: 'PAE', root: 'pdpt', flags: ['CR0.WP'], asid: 1 } },
  steps: [
    { do: 'enter', l2: 'A' },
    { do: 'probe', form: 'write4', cpl: 3, at: WINDOW, value: 1 },
    { do: 'probe', form: 'write4', cpl: 3, at: WINDOW + 0x1000, value: 1 },
    { do: 'leave' },
  ],
};

function traceOf(scenario: Scenario): string[] {
  const lines: string[] = [];
  const machine = new HostedMachine({ model: parseCpuModel('current-amd'), memoryBytes: 16 << 20 });
  machine.vm.trace = lineTrace(
    (line) => lines.push(line.replace(/^\d+ /, '')),
    () => machine.clock.now,
  );
  machine.load({ image: compileScenario(scenario).image });
  expect(machine.run(10_000_000)).toMatchObject({ kind: 'debug-exit', value: 0 });
  return lines;
}

describe('the trace of a !PAE L1 and a PAE L2', () => {
  const lines = traceOf(SCENARIO);
  const from = (start: RegExp): string[] => lines.slice(lines.findIndex((line) => start.test(line)));

  it('tells the values of registers, MSRs and ports', () => {
    const paging = '0x80010011';
    expect(lines).toContain(`kvm_cr: cr_write 0 = ${paging}`);
    expect(lines).toContain('kvm_cr: cr_write 3 = 0x300000');
    // EFER with SVME (bit 12) as the agent sets it.
    expect(lines).toContain('kvm_msr: msr_write c0000080 = 0x1000');
    expect(lines).toContain('kvm_pio: pio_write at 0xf4 size 4 count 1 val 0x0');
    expect(lines.some((line) => line.startsWith('kvm_cpuid: func 0x80000001 idx 0x'))).toBe(true);
  });

  it('shows the role change of the nested entry', () => {
    const [entry, role] = from(/^kvm_nested_vmenter/);
    expect(entry).toMatch(/^kvm_nested_vmenter: rip 0x\w+ vmcb 0x120000 nested_rip 0x\w+ event_inj 0x0$/);
    expect(role).toBe(
      'umbra_mmu_role: cpu l3 8-byte q0 wux !nxe ad wp guest_mode - root l3 8-byte q0 wux !nxe ad wp guest_mode',
    );
  });

  it('shows the walk of a fault of L0 own, the table it links and the leaf it writes', () => {
    const [fault, walk, ...rest] = from(/^kvm_page_fault: address 0x1000000 /);
    expect(fault).toBe('kvm_page_fault: address 0x1000000 error_code 0x6 W|U');
    expect(walk).toBe('kvm_mmu_pagetable_walk: addr 0x1000000 pferr 0x6 W|U');
    expect(rest.slice(0, 3)).toEqual([
      'kvm_mmu_paging_element: pte 0x302001 level 3',
      'kvm_mmu_paging_element: pte 0x303027 level 2',
      'kvm_mmu_paging_element: pte 0x304067 level 1',
    ]);
    const sp = 'gfn 303 l1 8-byte q0 wux !nxe ad wp guest_mode';
    expect(rest[3]).toBe(`kvm_mmu_get_page: sp ${sp} new`);
    expect(rest[4]).toMatch(new RegExp(`^umbra_mmu_link_page: sp ${sp} at 0x\\w+ in sp gfn 302 l2`));
    // Without EFER.NX nothing in the guest's entries forbids fetching.
    expect(rest[5]).toMatch(
      /^kvm_mmu_set_spte: gfn 304 spte 0x\w+ \(rwxu\) level 1 at 0x\w+000 in sp gfn 303 l1/,
    );
  });

  it('shows a walk that ends in a fault, and the fault going into L2', () => {
    const [, walk, ...rest] = from(/^kvm_page_fault: address 0x1001000 error_code 0x7 P\|W\|U/);
    expect(walk).toBe('kvm_mmu_pagetable_walk: addr 0x1001000 pferr 0x6 W|U');
    expect(rest.slice(2, 5)).toEqual([
      'kvm_mmu_paging_element: pte 0x304025 level 1',
      'kvm_mmu_walker_error: pferr 0x7 P|W|U',
      'kvm_inj_exception: #PF (0x7) into L2',
    ]);
  });

  it('ends the nested run with the exit that L1 sees', () => {
    expect(from(/^kvm_nested_vmexit_inject/)[0]).toBe(
      'kvm_nested_vmexit_inject: reason hypercall ext_inf1 0x0000000000000000 ext_inf2 0x0000000000000000',
    );
  });
});
