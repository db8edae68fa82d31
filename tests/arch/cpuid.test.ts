import { describe, expect, it } from 'vitest';
import { FEATURES, type FeatureName, featureNamed } from '../../src/arch/cpu-features.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { CPU_MODEL_NAMES, type CpuModel, pagingFeaturesOf } from '../../src/arch/cpu-models.ts';
import { cpuid } from '../../src/arch/cpuid.ts';
import { InputError } from '../../src/arch/input-error.ts';

const WITH_CPUID = CPU_MODEL_NAMES.filter((name) => parseCpuModel(name).hasCpuid);

/** The characters of registers, as software assembles them. */
function text(...registers: number[]): string {
  const bytes = registers.flatMap((value) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff));
  return String.fromCharCode(...bytes).replace(/\0+$/, '');
}
const vendorOf = (model: CpuModel, leaf: number): string => {
  const { ebx, edx, ecx } = cpuid(model, leaf, 0);
  return text(ebx, edx, ecx);
};
const edx1 = (name: string): number => cpuid(parseCpuModel(name), 1, 0).edx;

describe('CPU models', () => {
  it('are known by name', () => {
    expect(CPU_MODEL_NAMES).toEqual([
      '486',
      'pentium',
      'pentium-pro',
      'pentium4',
      'prescott',
      'athlon64',
      'opteron',
      'current-amd',
    ]);
  });

  it('announce only what the processor implements, with all that it needs', () => {
    for (const name of CPU_MODEL_NAMES) {
      const { features } = parseCpuModel(name);
      for (const feature of features) {
        expect(featureNamed(feature)?.implemented, `${name}: ${feature}`).toBe(true);
        for (const needed of featureNamed(feature)?.needs ?? []) {
          expect(features.has(needed), `${name}: ${feature} without ${needed}`).toBe(true);
        }
      }
    }
  });

  it.each([
    ['486', 'fpu', 'tsc cx8 pse pae', 32],
    ['pentium', 'pse tsc cx8 vme', 'pae cmov pge nx', 32],
    ['pentium-pro', 'pae cmov pge mtrr sep', 'pat pse36 mmx nx', 36],
    ['pentium4', 'pae pat pse36 sse2 clflush', 'nx svm monitor', 36],
    ['prescott', 'nx monitor', 'svm', 36],
    ['athlon64', 'nx svm rdtscp', 'nrip_save popcnt smep', 40],
    ['opteron', 'nx svm nrip_save popcnt', 'decodeassists smep', 48],
    ['current-amd', 'nx svm nrip_save decodeassists smep smap popcnt', 'lm', 48],
  ])('%s has %s and lacks %s', (name, has, lacks, bits) => {
    const { features, maxPhysicalAddressBits } = parseCpuModel(name);
    const names = (list: string) => list.split(' ') as FeatureName[];
    expect(names(has).filter((feature) => !features.has(feature))).toEqual([]);
    expect(names(lacks).filter((feature) => features.has(feature))).toEqual([]);
    expect(maxPhysicalAddressBits).toBe(bits);
  });

  it('tell the page-table formats what they need', () => {
    expect(pagingFeaturesOf(parseCpuModel('opteron'), true)).toEqual({
      maxPhysicalAddressBits: 48,
      nx: true,
      pat: true,
      pse36: true,
      pages1G: false,
      amd: true,
    });
    expect(pagingFeaturesOf(parseCpuModel('pentium'), false)).toEqual({
      maxPhysicalAddressBits: 32,
      nx: false,
      pat: false,
      pse36: false,
      pages1G: false,
      amd: false,
    });
  });
});

describe('CPUID', () => {
  it('gives the vendor and the highest leaf', () => {
    expect(cpuid(parseCpuModel('pentium'), 0, 0).eax).toBe(1);
    expect(vendorOf(parseCpuModel('pentium'), 0)).toBe('GenuineIntel');
    expect(cpuid(parseCpuModel('current-amd'), 0, 0).eax).toBe(7);
    expect(vendorOf(parseCpuModel('current-amd'), 0)).toBe('AuthenticAMD');
    expect(vendorOf(parseCpuModel('opteron'), 0x8000_0000)).toBe('AuthenticAMD');
  });

  // Signatures that the vendors published for these parts.
  it.each([
    ['pentium', 0x52c],
    ['pentium-pro', 0x619],
    ['pentium4', 0xf29],
    ['prescott', 0xf43],
    ['athlon64', 0x0004_0ff2],
    ['opteron', 0x0010_0f42],
    ['current-amd', 0x00a0_0f11],
  ])('%s has its signature', (name, signature) => {
    expect(cpuid(parseCpuModel(name), 1, 0).eax).toBe(signature);
  });

  // What the real parts report in leaf 1 EDX, less what is not implemented: DS, ACPI, SS, HT, TM of a Pentium 4.
  it('announces features in leaf 1', () => {
    expect(edx1('pentium')).toBe(0x0000_03bf);
    expect(edx1('pentium-pro')).toBe(0x0000_fbff);
    expect(edx1('pentium4')).toBe(0xbfeb_fbff & ~0xb860_0000);
    expect(edx1('athlon64')).toBe(0x078b_fbff);
  });

  it('agrees with the feature set in every leaf, bit for bit', () => {
    for (const name of WITH_CPUID) {
      const model = parseCpuModel(name);
      for (const { name: feature, leaf, register, bit } of FEATURES) {
        const limit = leaf >= 0x8000_0000 ? model.maxExtendedLeaf : model.maxLeaf;
        if (leaf > limit) {
          expect(model.features.has(feature), `${name} cannot report ${feature}`).toBe(false);
          continue;
        }
        const reported = ((cpuid(model, leaf, 0)[register] >>> bit) & 1) === 1;
        expect(reported, `${name}: ${feature}`).toBe(model.features.has(feature));
      }
    }
  });

  it('repeats basic features in 8000_0001h on AMD only', () => {
    // FPU to APIC, MTRR to PSE36, MMX, FXSR; with NX (20) and RDTSCP (27).
    expect(cpuid(parseCpuModel('athlon64'), 0x8000_0001, 0).edx).toBe(0x0993_f3ff);
    expect(cpuid(parseCpuModel('prescott'), 0x8000_0001, 0).edx).toBe(0x0010_0000);
  });

  it('shows the APIC ID, and hides an APIC that is off', () => {
    const model = parseCpuModel('opteron');
    const on = cpuid(model, 1, 0, { apicId: 3, apicEnabled: true });
    const off = cpuid(model, 1, 0, { apicId: 3, apicEnabled: false });
    expect(on.ebx).toBe(0x0300_0800);
    expect(on.edx - off.edx).toBe(0x200);
    const extended = cpuid(model, 0x8000_0001, 0, { apicId: 3, apicEnabled: false });
    expect(extended.edx & 0x200).toBe(0);
  });

  it('gives address widths and SVM data', () => {
    expect(cpuid(parseCpuModel('athlon64'), 0x8000_0008, 0).eax).toBe(0x2028);
    expect(cpuid(parseCpuModel('current-amd'), 0x8000_000a, 0)).toEqual({
      eax: 1,
      ebx: 32768,
      ecx: 0,
      edx: 0xe9,
    });
    expect(cpuid(parseCpuModel('opteron'), 0x8000_000a, 0)).toEqual({ eax: 1, ebx: 64, ecx: 0, edx: 0x9 });
    expect(cpuid(parseCpuModel('opteron,-svm'), 0x8000_000a, 0).eax).toBe(0);
  });

  it('describes the caches of prescott in leaf 4, ending with a null subleaf', () => {
    const model = parseCpuModel('prescott');
    const size = (subleaf: number) => {
      const { ebx, ecx } = cpuid(model, 4, subleaf);
      return ((ebx >>> 22) + 1) * (((ebx >>> 12) & 0x3ff) + 1) * ((ebx & 0xfff) + 1) * (ecx + 1);
    };
    expect([size(0), size(1)]).toEqual([16 * 1024, 1024 * 1024]);
    expect([0, 1, 2].map((subleaf) => cpuid(model, 4, subleaf).eax & 0x1f)).toEqual([1, 3, 0]);
  });

  it('gives zeros for a leaf out of range on AMD, the highest basic leaf on Intel', () => {
    const zeros = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    expect(cpuid(parseCpuModel('opteron'), 0xd, 0)).toEqual(zeros);
    expect(cpuid(parseCpuModel('opteron'), 0x4000_0000, 0)).toEqual(zeros);
    expect(cpuid(parseCpuModel('opteron'), 0x8000_001e, 0)).toEqual(zeros);
    const proLeaf2 = cpuid(parseCpuModel('pentium-pro'), 2, 0);
    expect(proLeaf2.eax & 0xff).toBe(1);
    expect(cpuid(parseCpuModel('pentium-pro'), 0x8000_0000, 0)).toEqual(proLeaf2);
    expect(cpuid(parseCpuModel('pentium-pro'), 0xffff_ffff, 0)).toEqual(proLeaf2);
    expect(cpuid(parseCpuModel('pentium-pro'), -1, 0)).toEqual(proLeaf2);
  });

  it('has a brand string', () => {
    const model = parseCpuModel('current-amd,-smap');
    const registers = [0x8000_0002, 0x8000_0003, 0x8000_0004].flatMap((leaf) => {
      const { eax, ebx, ecx, edx } = cpuid(model, leaf, 0);
      return [eax, ebx, ecx, edx];
    });
    expect(text(...registers)).toBe('Umbra current-amd');
  });
});

describe('MODEL[,+feature,-feature]', () => {
  it('adds and removes features', () => {
    expect(parseCpuModel('opteron,-nx').features.has('nx')).toBe(false);
    expect(parseCpuModel('opteron,+smep').features.has('smep')).toBe(true);
    expect(parseCpuModel(' opteron , -nx '.replace(' ,', ',')).name).toBe('opteron,-nx');
  });

  it.each(['opteron,-nx,+nx', 'opteron,+smep,-smep'])('refuses a contradiction: %s', (text) => {
    expect(() => parseCpuModel(text)).toThrow(/^The CPU feature (nx|smep) is both added and removed/);
  });

  it('removes with a feature those that need it', () => {
    const lost = (input: string) => {
      const { features } = parseCpuModel(input);
      return [...parseCpuModel('current-amd').features].filter((name) => !features.has(name));
    };
    expect(lost('current-amd,-svm')).toEqual([
      'svm',
      'npt',
      'nrip_save',
      'vmcb_clean',
      'flushbyasid',
      'decodeassists',
    ]);
    expect(lost('current-amd,-pae')).toEqual(['pae', 'nx']);
    expect(lost('current-amd,-mmx')).toEqual(['mmx', 'sse', 'sse2']);
  });

  it('reports added features in leaves that the model did not have', () => {
    const model = parseCpuModel('pentium-pro,+nx,+smep,+monitor');
    expect(cpuid(model, 0, 0).eax).toBe(7);
    expect(cpuid(model, 0x8000_0000, 0).eax).toBe(0x8000_0001);
    expect(cpuid(model, 0x8000_0001, 0).edx).toBe(0x0010_0000);
    expect(cpuid(model, 7, 0).ebx).toBe(0x80);
    expect(cpuid(model, 5, 0).eax).toBe(64);
  });

  it('fits MAXPHYADDR to PAE and PSE-36 (SDM vol. 3A 4.1.4)', () => {
    expect(parseCpuModel('pentium,+pae').maxPhysicalAddressBits).toBe(36);
    expect(parseCpuModel('opteron,-pae').maxPhysicalAddressBits).toBe(48);
    expect(parseCpuModel('opteron,-pae,-pse36').maxPhysicalAddressBits).toBe(32);
  });

  it.each([
    ['opteran', 'There is no CPU model "opteran". Did you mean opteron? Models: 486, pentium,'],
    ['Opteron', 'Did you mean opteron?'],
    ['', 'There is no CPU model "". Models: 486'],
    ['constructor', 'There is no CPU model "constructor". Models:'],
    ['opteron,+nxx', 'There is no CPU feature "nxx". Did you mean nx? Features: fpu vme'],
    ['opteron,-pea', 'There is no CPU feature "pea". Did you mean'],
    ['opteron,nx', '"nx" in the CPU model is neither +feature nor -feature; example: opteron,-nx.'],
    ['opteron,', '"" in the CPU model is neither +feature nor -feature'],
    ['opteron,+', '"+" in the CPU model is neither'],
    [
      'opteron,-pae,+nx',
      'The CPU feature nx needs pae, which opteron would not have here; use +pae as well.',
    ],
    [
      'pentium,+sse2',
      'needs sse and mmx and fxsr, which pentium would not have here; use +sse,+mmx,+fxsr as well.',
    ],
    ['opteron,+avic', 'The CPU feature avic cannot be added: the processor does not implement it.'],
    ['pentium4,+svm', "The CPU feature svm is AMD's, but pentium4 is an Intel model"],
    ['486,+cx8', 'The CPU feature cx8 cannot be added to 486, which has no CPUID to announce it'],
    ['opteron,-fpu', 'The feature fpu cannot be removed'],
  ])('rejects "%s" with a sentence', (input, message) => {
    expect(() => parseCpuModel(input)).toThrow(InputError);
    expect(() => parseCpuModel(input)).toThrow(message);
  });
});
