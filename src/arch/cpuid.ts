/**
 * The CPUID instruction for a CPU model (SDM vol. 2A CPUID; APM vol. 3 appendix E).
 */
import { FEATURES } from './cpu-features.ts';
import type { CpuModel } from './cpu-models.ts';

export interface CpuidResult {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** What of the processor's state CPUID shows. */
export interface CpuidState {
  /** Initial APIC ID, 8 bits. */
  readonly apicId: number;
  /** APIC_BASE.ENABLE: with it clear the apic feature is not reported. */
  readonly apicEnabled: boolean;
  /** IA32_MISC_ENABLE: bit 34 hides NX, bit 22 all leaves above 3 (SDM vol. 4 table 2-2). */
  readonly hidesNx?: boolean;
  readonly limitsLeaves?: boolean;
}

const AT_RESET: CpuidState = { apicId: 0, apicEnabled: true };
const FIRST_EXTENDED = 0x8000_0000;
const CACHE_LINE = 64;
const LIMITED_LEAF = 3;
const NX_BIT = 0x0010_0000;

/** Feature bits of leaf 1 EDX that AMD repeats in 8000_0001h EDX (APM vol. 3 E.4.2). */
const REPEATED_BY_AMD = 0x0183_f3ff;

/**
 * Result for EAX = leaf and ECX = subleaf; registers are unsigned 32 bits. A leaf out of range gives zeros on
 * AMD and the highest basic leaf on Intel. Call it only if `model.hasCpuid`: without, the instruction is #UD.
 */
export function cpuid(model: CpuModel, leaf: number, subleaf: number, state = AT_RESET): CpuidResult {
  const wanted = leaf >>> 0;
  const limit = wanted >= FIRST_EXTENDED ? model.maxExtendedLeaf : model.maxLeaf;
  if (wanted <= limit) return resultOf(model, wanted, subleaf >>> 0, state);
  if (model.vendor === 'GenuineIntel') return resultOf(model, model.maxLeaf, subleaf >>> 0, state);
  return result(0, 0, 0, 0);
}

const result = (eax: number, ebx: number, ecx: number, edx: number): CpuidResult => ({
  eax: eax >>> 0,
  ebx: ebx >>> 0,
  ecx: ecx >>> 0,
  edx: edx >>> 0,
});

function resultOf(model: CpuModel, leaf: number, subleaf: number, state: CpuidState): CpuidResult {
  const { caches } = model;
  switch (leaf) {
    case 0x0000_0000:
      return vendorLeaf(model, state.limitsLeaves ? Math.min(model.maxLeaf, LIMITED_LEAF) : model.maxLeaf);
    case 0x0000_0001:
      return versionLeaf(model, state);
    case 0x0000_0002:
      return result(...(caches.leaf2 ?? [0, 0, 0, 0]));
    case 0x0000_0004:
      return result(...(caches.leaf4?.[subleaf] ?? [0, 0, 0, 0]));
    case 0x0000_0005:
      // Smallest and largest monitor line; no MWAIT extensions.
      return model.features.has('monitor') ? result(CACHE_LINE, CACHE_LINE, 0, 0) : result(0, 0, 0, 0);
    case 0x0000_0007:
      return subleaf === 0 ? featureLeaf(model, leaf) : result(0, 0, 0, 0);
    case 0x8000_0000:
      return model.vendor === 'AuthenticAMD'
        ? vendorLeaf(model, model.maxExtendedLeaf)
        : result(model.maxExtendedLeaf, 0, 0, 0);
    case 0x8000_0001:
      return extendedVersionLeaf(model, state);
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004:
      return brandLeaf(model, leaf - 0x8000_0002);
    case 0x8000_0005:
      return result(...(caches.l1 ?? [0, 0, 0, 0]));
    case 0x8000_0006:
      return result(...(caches.l2 ?? [0, 0, 0, 0]));
    case 0x8000_0007:
      return featureLeaf(model, leaf);
    case 0x8000_0008:
      return result(model.maxPhysicalAddressBits | (linearBits(model) << 8), 0, 0, 0);
    case 0x8000_000a:
      return svmLeaf(model);
    default:
      return result(0, 0, 0, 0);
  }
}

const linearBits = (model: CpuModel): number => (model.features.has('lm') ? 48 : 32);

/** Family, model, stepping as leaf 1 EAX packs them; the extended fields count from family 15. */
export function signatureOf({ family, model, stepping }: CpuModel): number {
  const extendedFamily = family >= 15 ? family - 15 : 0;
  const extendedModel = family === 6 || family >= 15 ? model >> 4 : 0;
  return (
    (extendedFamily << 20) |
    (extendedModel << 16) |
    (Math.min(family, 15) << 8) |
    ((model & 15) << 4) |
    stepping
  );
}

/** Four characters of a string as a little-endian register. */
const packed = (text: string, start: number): number =>
  text.charCodeAt(start) |
  (text.charCodeAt(start + 1) << 8) |
  (text.charCodeAt(start + 2) << 16) |
  (text.charCodeAt(start + 3) << 24);

const vendorLeaf = ({ vendor }: CpuModel, highest: number): CpuidResult =>
  result(highest, packed(vendor, 0), packed(vendor, 8), packed(vendor, 4));

/** The bits of all announced features that this leaf reports. */
function featureLeaf(model: CpuModel, leaf: number): CpuidResult {
  const bits = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  for (const feature of FEATURES) {
    if (feature.leaf === leaf && model.features.has(feature.name)) bits[feature.register] |= 1 << feature.bit;
  }
  return result(bits.eax, bits.ebx, bits.ecx, bits.edx);
}

const APIC_BIT = 0x0000_0200;

function versionLeaf(model: CpuModel, state: CpuidState): CpuidResult {
  const { ecx, edx } = featureLeaf(model, 1);
  const clflush = model.features.has('clflush') ? (CACHE_LINE / 8) << 8 : 0;
  const apicId = model.features.has('apic') ? (state.apicId & 0xff) << 24 : 0;
  return result(signatureOf(model), clflush | apicId, ecx, state.apicEnabled ? edx : edx & ~APIC_BIT);
}

function extendedVersionLeaf(model: CpuModel, state: CpuidState): CpuidResult {
  const { ecx, edx } = featureLeaf(model, 0x8000_0001);
  if (model.vendor !== 'AuthenticAMD') return result(0, 0, ecx, state.hidesNx ? edx & ~NX_BIT : edx);
  const repeated = versionLeaf(model, state).edx & REPEATED_BY_AMD;
  return result(signatureOf(model), 0, ecx, edx | repeated);
}

/**
 * The processor's brand string, 48 bytes over three leaves. It names Umbra: no guest should take it for the
 * real CPU.
 */
function brandLeaf(model: CpuModel, part: number): CpuidResult {
  const [name] = model.name.split(',');
  const text = `Umbra ${name}`.padEnd(48, '\0');
  const start = 16 * part;
  return result(
    packed(text, start),
    packed(text, start + 4),
    packed(text, start + 8),
    packed(text, start + 12),
  );
}

/** SVM revision 1, number of ASIDs, features (APM vol. 3 E.4.9). */
function svmLeaf(model: CpuModel): CpuidResult {
  if (!model.features.has('svm')) return result(0, 0, 0, 0);
  return result(1, model.asidCount, 0, featureLeaf(model, 0x8000_000a).edx);
}
