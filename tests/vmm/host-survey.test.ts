/** What `umbra hosts` finds, against what the processors' features say must happen. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { CPU_MODEL_NAMES } from '../../src/arch/cpu-models.ts';
import { CR4 } from '../../src/arch/registers.ts';
import { hostTable } from '../../src/cli/hosts/table.ts';
import { type HostRow, loadRefusalOn, surveyHosts } from '../../src/vmm/host-survey.ts';
import { surveyCpus } from '../../src/vmm/survey-cpus.ts';

const CPUS = surveyCpus();
const ROWS = surveyHosts(CPUS);
const KERNELS = ROWS.length / CPUS.length;

const rowOf = (cpu: number, kernel: string): HostRow =>
  ROWS.slice(cpu * KERNELS, (cpu + 1) * KERNELS).find((row) => row.kernel === kernel) as HostRow;
const numberOf = (name: string): number => CPUS.findIndex((cpu) => cpu.name === name);

/** Of these the features alone do not tell. */
const SPECIAL = ['pentium4,-msr', 'garbage'];
const ORDINARY = CPUS.flatMap(({ name, about, model, prepare }, index) =>
  SPECIAL.includes(name) || prepare !== undefined ? [] : [{ name, about, model, index }],
);

describe('every CPU model and every kernel', () => {
  it('is in the survey', () => {
    expect(CPUS.map(({ name }) => name)).toEqual(expect.arrayContaining([...CPU_MODEL_NAMES]));
    expect(ROWS).toHaveLength(CPUS.length * 5);
    expect(ROWS.filter(({ boot }) => boot.kind === 'lost')).toEqual([]);
  });

  it('boots without PAE as the kernel was, whatever the processor', () => {
    for (const [index] of CPUS.entries()) {
      const { boot, second, pae, nxe } = rowOf(index, 'nopae');
      expect([boot.kind, pae, nxe]).toEqual(['booted', false, false]);
      expect(second?.kind ?? 'booted').toBe('booted');
    }
  });

  it.each(ORDINARY)('boots with PAE where there is PAE: $name', ({ index, model }) => {
    const { boot, pae, nxe } = rowOf(index, 'pae');
    expect(boot.kind).toBe(model.features.has('pae') ? 'booted' : 'died');
    expect(pae).toBe(model.features.has('pae'));
    expect(nxe).toBe(model.features.has('nx'));
  });

  it.each(ORDINARY)('survives the way to NX with the proposed change: $name', ({ index, model }) => {
    for (const kernel of ['nopae-nx', 'nopae-nx-cr4']) {
      const row = rowOf(index, kernel);
      expect([row.boot.kind, row.pae, row.nxe]).toEqual(['booted', false, model.features.has('nx')]);
    }
  });

  it.each(ORDINARY)(
    'loses its second processor with the change if it has large pages: $name',
    ({ index, model }) => {
      const died = model.features.has('pse');
      if (!model.features.has('apic')) expect(rowOf(index, 'nopae-nx').second).toBeUndefined();
      else expect(rowOf(index, 'nopae-nx').second?.kind).toBe(died ? 'died' : 'booted');
      expect(rowOf(index, 'nopae-nx-cr4').second?.kind ?? 'booted').toBe('booted');
      expect(rowOf(index, 'pae-nx').boot).toMatchObject({ kind: 'died', exception: '#PF(0)' });
    },
  );

  it.each(ORDINARY)('has PSE and PGE in CR4 behind the boot path: $name', ({ index, model }) => {
    const has = (feature: 'pse' | 'pge', bit: number): number => (model.features.has(feature) ? bit : 0);
    expect(rowOf(index, 'nopae').cr4).toBe(has('pse', CR4.PSE) | has('pge', CR4.PGE));
  });
});

describe('a death', () => {
  it.each([
    ['486', 'pae', '#PF(0)', /^jmp 0010h:0C04/, /^enable_paging\+/],
    ['pentium', 'pae', '#GP(0)', /^mov cr4,eax$/, /^default_entry\+/],
    ['current-amd', 'pae-nx', '#PF(0)', /^jmp 0010h:0C04/, /^enable_paging\+/],
    ['pentium4,-msr', 'nopae-nx', '#UD', /^rdmsr$/, /^verify_cpu_clear_xd\+0x5$/],
    ['garbage', 'nopae-nx-cr4', '#GP(0)', /^rdmsr$/, /^default_entry\+/],
  ])('of %s under %s is told by its first exception', (cpu, kernel, exception, instruction, place) => {
    const { boot } = rowOf(numberOf(cpu), kernel);
    expect(boot).toMatchObject({
      kind: 'died',
      exception,
      instruction: expect.stringMatching(instruction),
      place: expect.stringMatching(place),
    });
  });

  it('of a page fault has its address: the instruction that paging hides', () => {
    const { boot } = rowOf(numberOf('486'), 'pae');
    expect(boot.kind === 'died' && boot.linear === boot.eip).toBe(true);
  });
});

describe('what firmware and loaders leave', () => {
  const prepared = (about: RegExp): number => CPUS.findIndex((cpu) => about.test(cpu.about));

  it('is repaired on the way to NX where it hides NX', () => {
    const hidden = prepared(/XD_DISABLE/);
    expect(rowOf(hidden, 'pae').nxe).toBe(true);
    expect(rowOf(hidden, 'nopae-nx').nxe).toBe(true);
    // Nobody sees NX there, so that nobody misses it.
    expect(rowOf(hidden, 'nopae').policies).toMatchObject({ reject: null });
  });

  it('matters where CR4 is not loaded', () => {
    const left = prepared(/left CR4.PAE/);
    expect(rowOf(left, 'nopae').boot.kind).toBe('booted');
    expect(rowOf(left, 'nopae-nx').boot).toMatchObject({ exception: '#GP(0)', instruction: 'mov cr0,eax' });
    expect(rowOf(left, 'nopae-nx-cr4').boot.kind).toBe('booted');
  });
});

describe('load policies', () => {
  it.each(ORDINARY.filter(({ model }) => model.hasCpuid))(
    'say what they are for: $name',
    ({ index, model }) => {
      const { policies } = rowOf(index, 'nopae');
      expect(policies?.reject === null).toBe(!model.features.has('nx'));
      expect(policies?.allow).toBeNull();
      expect(policies?.['require-pae']).toMatch(/built without PAE/);
      const pae = rowOf(index, 'pae').policies;
      if (model.features.has('pae')) expect(pae).toEqual({ reject: null, allow: null, 'require-pae': null });
    },
  );

  it('can be asked for one host', () => {
    const model = parseCpuModel('current-amd');
    expect(loadRefusalOn(model, 'nopae', 'reject')).toMatch(/EFER.NX is 0/);
    expect(loadRefusalOn(model, 'nopae-nx', 'reject')).toBeUndefined();
    expect(loadRefusalOn(model, 'pae', 'require-pae')).toBeUndefined();
    // It does not boot there: a complaint for whoever boots it.
    expect(loadRefusalOn(parseCpuModel('pentium'), 'pae', 'reject')).toBeUndefined();
  });

  it('leave to L0 what it needs itself', () => {
    expect(rowOf(numberOf('athlon64'), 'nopae').l0).toBeNull();
    expect(rowOf(numberOf('current-amd,-nx'), 'nopae').l0).toMatch(/no-execute/);
    expect(rowOf(numberOf('486'), 'nopae').l0).toMatch(/no CPUID/);
  });
});

it('docs/nx-on-nopae.md has the table of umbra hosts', () => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/nx-on-nopae.md', import.meta.url)), 'utf8');
  expect(page).toContain(`\n\`\`\`\n${hostTable(ROWS)}\`\`\`\n`);
});
