/**
 * CPU models by name. A model lists what the real CPU has; `features` is that list cut down to what the
 * processor implements.
 */
import { type FeatureName, featureNamed } from './cpu-features.ts';
import type { PagingFeatures } from './paging/format.ts';

export type Vendor = 'GenuineIntel' | 'AuthenticAMD';

export interface CpuModel {
  /** As it was asked for, with the features changed: `opteron,-nx`. */
  readonly name: string;
  readonly vendor: Vendor;
  /**
   * Family, model and stepping as software computes them from the signature (SDM vol. 2A CPUID, figure 3-6).
   */
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  /** Without CPUID the instruction raises #UD and EFLAGS.ID cannot be changed (486). */
  readonly hasCpuid: boolean;
  readonly maxLeaf: number;
  /** Highest extended leaf, 0 if there is none. */
  readonly maxExtendedLeaf: number;
  /** Announced features. What is not here must fault as on a CPU without it. */
  readonly features: ReadonlySet<FeatureName>;
  /** MAXPHYADDR (SDM vol. 3A 4.1.4). */
  readonly maxPhysicalAddressBits: number;
  /** Address space identifiers, 0 to asidCount - 1; 0 without SVM (CPUID 8000_000Ah EBX). */
  readonly asidCount: number;
  /** Cache and TLB description: leaf 2 (Intel), leaves 8000_0005h and 8000_0006h (AMD). */
  readonly caches: CacheDescription;
}

/** The registers of the leaves that describe caches, as the real CPU returns them. */
export interface CacheDescription {
  readonly leaf2?: readonly [eax: number, ebx: number, ecx: number, edx: number];
  /** Leaf 4 subleaves. */
  readonly leaf4?: readonly (readonly [eax: number, ebx: number, ecx: number, edx: number])[];
  readonly l1?: readonly [eax: number, ebx: number, ecx: number, edx: number];
  readonly l2?: readonly [eax: number, ebx: number, ecx: number, edx: number];
}

/** The 486 had these without a CPUID instruction to say so. */
const FEATURES_486 = 'fpu';
const FEATURES_PENTIUM = `${FEATURES_486} vme de pse tsc msr mce cx8 apic`;
const FEATURES_PENTIUM_PRO = `${FEATURES_PENTIUM} pae sep mtrr pge mca cmov`;
const FEATURES_PENTIUM4 = `${FEATURES_PENTIUM_PRO} pat pse36 clflush dts acpi mmx fxsr sse sse2 ss ht tm`;
const FEATURES_PRESCOTT = `${FEATURES_PENTIUM4} pni monitor nx`;
const FEATURES_K8 =
  `${FEATURES_PENTIUM_PRO} pat pse36 clflush mmx fxsr sse sse2 pni cx16 lahf_lm cr8_legacy svm ` +
  'syscall nx mmxext fxsr_opt rdtscp lm 3dnowext 3dnow lbrv';
const FEATURES_FAMILY_10H =
  `${FEATURES_K8} monitor popcnt abm sse4a misalignsse 3dnowprefetch osvw skinit pdpe1gb constant_tsc ` +
  'npt svm_lock nrip_save';
const FEATURES_ZEN =
  `${FEATURES_PENTIUM_PRO} pat pse36 clflush mmx fxsr sse sse2 pni pclmulqdq monitor ssse3 cx16 pcid sse4_1 ` +
  'sse4_2 x2apic movbe popcnt aes xsave rdrand fsgsbase bmi1 smep bmi2 erms smap umip pku lahf_lm svm cr8_legacy abm ' +
  'sse4a misalignsse 3dnowprefetch osvw skinit syscall nx mmxext fxsr_opt pdpe1gb rdtscp lm constant_tsc npt lbrv ' +
  'svm_lock nrip_save tsc_scale vmcb_clean flushbyasid decodeassists pausefilter pfthreshold avic v_vmsave_vmload vgif';

type Definition = Omit<CpuModel, 'name' | 'features' | 'hasCpuid'> & {
  readonly features: string;
  readonly hasCpuid?: false;
};

const NO_ASIDS = { asidCount: 0 } as const;
/** 64 KiB 2-way L1 caches, 1 MiB 16-way L2 (BKDG for family 0Fh). */
const CACHES_K8: CacheDescription = {
  l1: [0xff08_ff08, 0xff20_ff20, 0x4002_0140, 0x4002_0140],
  l2: [0x0000_0000, 0x4200_4200, 0x0400_8140, 0x0000_0000],
};
/** The same with 512 KiB of L2 (BKDG for family 10h). */
const CACHES_FAMILY_10H: CacheDescription = {
  l1: [0xff30_ff10, 0xff30_ff20, 0x4002_0140, 0x4002_0140],
  l2: [0x2080_0000, 0x4200_4200, 0x0200_8140, 0x0000_0000],
};
/** 32 KiB 8-way L1 caches, 512 KiB 8-way L2. */
const CACHES_ZEN: CacheDescription = {
  l1: [0xff40_ff40, 0xff40_ff40, 0x2008_0140, 0x2008_0140],
  l2: [0x4800_2200, 0x6800_4200, 0x0200_6140, 0x0000_0000],
};

// biome-ignore format: table
const DEFINITIONS: Readonly<Record<string, Definition>> = {
  '486': {
    vendor: 'GenuineIntel', family: 4, model: 1, stepping: 0, hasCpuid: false, maxLeaf: 0, maxExtendedLeaf: 0,
    features: FEATURES_486, maxPhysicalAddressBits: 32, ...NO_ASIDS, caches: {},
  },
  'pentium': {
    vendor: 'GenuineIntel', family: 5, model: 2, stepping: 12, maxLeaf: 1, maxExtendedLeaf: 0,
    features: FEATURES_PENTIUM, maxPhysicalAddressBits: 32, ...NO_ASIDS, caches: {},
  },
  'pentium-pro': {
    vendor: 'GenuineIntel', family: 6, model: 1, stepping: 9, maxLeaf: 2, maxExtendedLeaf: 0,
    features: FEATURES_PENTIUM_PRO, maxPhysicalAddressBits: 36, ...NO_ASIDS,
    // 4K and 4M TLBs, 8 KiB L1 caches, 256 KiB L2 (SDM vol. 2A table 3-12).
    caches: { leaf2: [0x0302_0101, 0, 0, 0x0604_0a42] },
  },
  'pentium4': {
    vendor: 'GenuineIntel', family: 15, model: 2, stepping: 9, maxLeaf: 2, maxExtendedLeaf: 0x8000_0004,
    features: FEATURES_PENTIUM4, maxPhysicalAddressBits: 36, ...NO_ASIDS,
    // 64-entry TLBs, 8 KiB L1 data, 12K-uop trace cache, 512 KiB L2 (SDM vol. 2A table 3-12).
    caches: { leaf2: [0x665b_5001, 0, 0, 0x007b_7040] },
  },
  'prescott': {
    vendor: 'GenuineIntel', family: 15, model: 4, stepping: 3, maxLeaf: 5, maxExtendedLeaf: 0x8000_0008,
    features: FEATURES_PRESCOTT, maxPhysicalAddressBits: 36, ...NO_ASIDS,
    caches: {
      leaf2: [0x605b_5001, 0, 0, 0x007c_7040],
      // 16 KiB 8-way L1 data with 32 sets, 1 MiB 8-way L2 with 2048 sets, lines of 64 bytes.
      leaf4: [[0x0000_0121, 0x01c0_003f, 0x0000_001f, 0], [0x0000_0143, 0x01c0_003f, 0x0000_07ff, 0]],
    },
  },
  'athlon64': {
    vendor: 'AuthenticAMD', family: 15, model: 0x4f, stepping: 2, maxLeaf: 1, maxExtendedLeaf: 0x8000_000a,
    features: FEATURES_K8, maxPhysicalAddressBits: 40, asidCount: 64, caches: CACHES_K8,
  },
  'opteron': {
    vendor: 'AuthenticAMD', family: 16, model: 4, stepping: 2, maxLeaf: 5, maxExtendedLeaf: 0x8000_000a,
    features: FEATURES_FAMILY_10H, maxPhysicalAddressBits: 48, asidCount: 64, caches: CACHES_FAMILY_10H,
  },
  'current-amd': {
    vendor: 'AuthenticAMD', family: 25, model: 1, stepping: 1, maxLeaf: 7, maxExtendedLeaf: 0x8000_000a,
    features: FEATURES_ZEN, maxPhysicalAddressBits: 48, asidCount: 32768, caches: CACHES_ZEN,
  },
};

/** Names of all models, oldest first. */
export const CPU_MODEL_NAMES: readonly string[] = Object.keys(DEFINITIONS);

/** Names from a list separated by blanks that the processor implements. */
function implementedOf(list: string): Set<FeatureName> {
  const names = new Set<FeatureName>();
  for (const word of list.split(' ')) {
    const feature = featureNamed(word);
    if (feature === undefined) throw new Error(`The CPU model table names an unknown feature, "${word}".`);
    if (feature.implemented) names.add(feature.name);
  }
  return names;
}

/** The model of that name without changes, undefined if there is none. */
export function cpuModelNamed(name: string): CpuModel | undefined {
  if (!Object.hasOwn(DEFINITIONS, name)) return undefined;
  const definition = DEFINITIONS[name];
  const model = { ...definition, name, hasCpuid: definition.hasCpuid ?? true };
  return withFeatures({ ...model, features: new Set() }, name, implementedOf(definition.features));
}

const HIGHEST_BASIC_LEAF = 0x7fff_ffff;

/**
 * `model` with exactly these features under a new name; leaves and widths follow. Dependencies are the
 * caller's.
 */
export function withFeatures(model: CpuModel, name: string, features: ReadonlySet<FeatureName>): CpuModel {
  let { maxLeaf, maxExtendedLeaf } = model;
  for (const feature of features) {
    const leaf = featureNamed(feature)?.leaf ?? 0;
    if (leaf > HIGHEST_BASIC_LEAF) maxExtendedLeaf = Math.max(maxExtendedLeaf, leaf);
    else if (model.hasCpuid) maxLeaf = Math.max(maxLeaf, leaf);
  }
  if (features.has('monitor')) maxLeaf = Math.max(maxLeaf, 5);
  if (features.has('svm')) maxExtendedLeaf = Math.max(maxExtendedLeaf, 0x8000_000a);
  const wide = features.has('pae') || features.has('pse36');
  return Object.freeze({
    ...model,
    name,
    maxLeaf,
    maxExtendedLeaf,
    features,
    maxPhysicalAddressBits: wide ? Math.max(model.maxPhysicalAddressBits, 36) : 32,
    asidCount: features.has('svm') ? Math.max(model.asidCount, 64) : 0,
  });
}

/** What the model says to page-table formats; `nx` is EFER.NXE at the time. */
export const pagingFeaturesOf = (model: CpuModel, nx: boolean): PagingFeatures => ({
  maxPhysicalAddressBits: model.maxPhysicalAddressBits,
  nx,
  pat: model.features.has('pat'),
  pse36: model.features.has('pse36'),
  pages1G: model.features.has('pdpe1gb'),
  amd: model.vendor === 'AuthenticAMD',
});
