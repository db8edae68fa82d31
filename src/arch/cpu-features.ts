/**
 * CPU features by the names that Linux shows in /proc/cpuinfo: where CPUID reports them, what they need, and
 * whether the processor implements them. Only what it implements is ever announced. Sources: SDM vol. 2A
 * CPUID; APM vol. 3 appendix E.
 */

export type CpuidRegister = 'eax' | 'ebx' | 'ecx' | 'edx';

type Row = readonly [
  name: string,
  leaf: number,
  register: CpuidRegister,
  bit: number,
  implemented: boolean,
  needs: readonly string[],
];

// biome-ignore format: table
const TABLE = [
  ['fpu',           0x0000_0001, 'edx',  0, true,  []],
  ['vme',           0x0000_0001, 'edx',  1, true,  []],
  ['de',            0x0000_0001, 'edx',  2, true,  []],
  ['pse',           0x0000_0001, 'edx',  3, true,  []],
  ['tsc',           0x0000_0001, 'edx',  4, true,  []],
  ['msr',           0x0000_0001, 'edx',  5, true,  []],
  ['pae',           0x0000_0001, 'edx',  6, true,  []],
  ['mce',           0x0000_0001, 'edx',  7, true,  []],
  ['cx8',           0x0000_0001, 'edx',  8, true,  []],
  ['apic',          0x0000_0001, 'edx',  9, true,  []],
  ['sep',           0x0000_0001, 'edx', 11, true,  ['msr']],
  ['mtrr',          0x0000_0001, 'edx', 12, true,  ['msr']],
  ['pge',           0x0000_0001, 'edx', 13, true,  []],
  ['mca',           0x0000_0001, 'edx', 14, true,  ['mce', 'msr']],
  ['cmov',          0x0000_0001, 'edx', 15, true,  []],
  ['pat',           0x0000_0001, 'edx', 16, true,  ['msr']],
  ['pse36',         0x0000_0001, 'edx', 17, true,  ['pse']],
  ['clflush',       0x0000_0001, 'edx', 19, true,  []],
  ['dts',           0x0000_0001, 'edx', 21, false, ['msr']],
  ['acpi',          0x0000_0001, 'edx', 22, false, ['msr']],
  ['mmx',           0x0000_0001, 'edx', 23, true,  ['fpu']],
  ['fxsr',          0x0000_0001, 'edx', 24, true,  ['fpu']],
  ['sse',           0x0000_0001, 'edx', 25, true,  ['mmx', 'fxsr']],
  ['sse2',          0x0000_0001, 'edx', 26, true,  ['sse']],
  ['ss',            0x0000_0001, 'edx', 27, false, []],
  ['ht',            0x0000_0001, 'edx', 28, false, ['apic']],
  ['tm',            0x0000_0001, 'edx', 29, false, ['msr']],
  ['pni',           0x0000_0001, 'ecx',  0, false, ['sse2']],
  ['pclmulqdq',     0x0000_0001, 'ecx',  1, false, ['sse2']],
  ['monitor',       0x0000_0001, 'ecx',  3, true,  []],
  ['vmx',           0x0000_0001, 'ecx',  5, false, ['msr', 'pae']],
  ['ssse3',         0x0000_0001, 'ecx',  9, false, ['pni']],
  ['cx16',          0x0000_0001, 'ecx', 13, false, ['lm']],
  ['pcid',          0x0000_0001, 'ecx', 17, false, ['lm']],
  ['sse4_1',        0x0000_0001, 'ecx', 19, false, ['ssse3']],
  ['sse4_2',        0x0000_0001, 'ecx', 20, false, ['sse4_1']],
  ['x2apic',        0x0000_0001, 'ecx', 21, false, ['apic', 'msr']],
  ['movbe',         0x0000_0001, 'ecx', 22, false, []],
  ['popcnt',        0x0000_0001, 'ecx', 23, true,  []],
  ['aes',           0x0000_0001, 'ecx', 25, false, ['sse2']],
  ['xsave',         0x0000_0001, 'ecx', 26, false, ['fxsr']],
  ['rdrand',        0x0000_0001, 'ecx', 30, false, []],
  /** Reserved for hypervisors to announce themselves; no model has it. */
  ['hypervisor',    0x0000_0001, 'ecx', 31, true,  []],
  ['fsgsbase',      0x0000_0007, 'ebx',  0, false, ['lm']],
  ['bmi1',          0x0000_0007, 'ebx',  3, false, []],
  ['smep',          0x0000_0007, 'ebx',  7, true,  []],
  ['bmi2',          0x0000_0007, 'ebx',  8, false, []],
  ['erms',          0x0000_0007, 'ebx',  9, false, []],
  ['smap',          0x0000_0007, 'ebx', 20, true,  []],
  ['umip',          0x0000_0007, 'ecx',  2, false, []],
  ['pku',           0x0000_0007, 'ecx',  3, false, ['lm', 'xsave']],
  ['la57',          0x0000_0007, 'ecx', 16, false, ['lm']],
  ['lahf_lm',       0x8000_0001, 'ecx',  0, false, ['lm']],
  ['svm',           0x8000_0001, 'ecx',  2, true,  ['msr']],
  ['cr8_legacy',    0x8000_0001, 'ecx',  4, false, ['apic']],
  ['abm',           0x8000_0001, 'ecx',  5, true,  ['popcnt']],
  ['sse4a',         0x8000_0001, 'ecx',  6, false, ['sse2']],
  ['misalignsse',   0x8000_0001, 'ecx',  7, false, ['sse']],
  ['3dnowprefetch', 0x8000_0001, 'ecx',  8, false, []],
  ['osvw',          0x8000_0001, 'ecx',  9, false, ['msr']],
  ['skinit',        0x8000_0001, 'ecx', 12, false, ['svm']],
  ['syscall',       0x8000_0001, 'edx', 11, false, ['msr']],
  ['nx',            0x8000_0001, 'edx', 20, true,  ['pae', 'msr']],
  ['mmxext',        0x8000_0001, 'edx', 22, false, ['mmx']],
  ['fxsr_opt',      0x8000_0001, 'edx', 25, false, ['fxsr', 'msr']],
  ['pdpe1gb',       0x8000_0001, 'edx', 26, false, ['lm']],
  ['rdtscp',        0x8000_0001, 'edx', 27, true,  ['tsc', 'msr']],
  ['lm',            0x8000_0001, 'edx', 29, false, ['pae', 'msr', 'cx8', 'sse2']],
  ['3dnowext',      0x8000_0001, 'edx', 30, false, ['3dnow']],
  ['3dnow',         0x8000_0001, 'edx', 31, false, ['mmx']],
  /** TscInvariant: the TSC runs at one rate, always. */
  ['constant_tsc',  0x8000_0007, 'edx',  8, true,  ['tsc']],
  ['npt',           0x8000_000a, 'edx',  0, true,  ['svm']],
  ['lbrv',          0x8000_000a, 'edx',  1, false, ['svm']],
  ['svm_lock',      0x8000_000a, 'edx',  2, false, ['svm']],
  ['nrip_save',     0x8000_000a, 'edx',  3, true,  ['svm']],
  ['tsc_scale',     0x8000_000a, 'edx',  4, false, ['svm']],
  ['vmcb_clean',    0x8000_000a, 'edx',  5, true,  ['svm']],
  ['flushbyasid',   0x8000_000a, 'edx',  6, true,  ['svm']],
  ['decodeassists', 0x8000_000a, 'edx',  7, true,  ['svm']],
  ['pausefilter',   0x8000_000a, 'edx', 10, false, ['svm']],
  ['pfthreshold',   0x8000_000a, 'edx', 12, false, ['pausefilter']],
  ['avic',          0x8000_000a, 'edx', 13, false, ['svm', 'npt']],
  ['v_vmsave_vmload', 0x8000_000a, 'edx', 15, false, ['svm', 'npt']],
  ['vgif',          0x8000_000a, 'edx', 16, false, ['svm']],
] as const satisfies readonly Row[];

/** A name that the table above has. */
export type FeatureName = (typeof TABLE)[number][0];

export interface Feature {
  readonly name: FeatureName;
  /** CPUID leaf (subleaf 0), output register and bit that report it. */
  readonly leaf: number;
  readonly register: CpuidRegister;
  readonly bit: number;
  /** The processor behaves as the manuals say for a CPU that has it. */
  readonly implemented: boolean;
  /** Features without which no CPU has it. */
  readonly needs: readonly FeatureName[];
}

export const FEATURES: readonly Feature[] = TABLE.map(([name, leaf, register, bit, implemented, needs]) =>
  Object.freeze({ name, leaf, register, bit, implemented, needs }),
);

const BY_NAME: ReadonlyMap<string, Feature> = new Map(FEATURES.map((feature) => [feature.name, feature]));

/** The feature of that name, undefined if no CPU here knows it. */
export const featureNamed = (name: string): Feature | undefined => BY_NAME.get(name);
