/** Which bits of CR4 and EFER software may set on a CPU model: the others are reserved there. */
import type { CpuModel } from './cpu-models.ts';
import { CR4, EFER } from './registers.ts';

// biome-ignore format: table
/** SDM vol. 3A 2.5, APM vol. 2 3.1.3. */
const CR4_FEATURES: readonly (readonly [bits: number, feature: string])[] = [
  [CR4.VME | CR4.PVI, 'vme'], [CR4.TSD, 'tsc'], [CR4.DE, 'de'], [CR4.PSE, 'pse'], [CR4.PAE, 'pae'], [CR4.MCE, 'mce'],
  [CR4.PGE, 'pge'], [CR4.OSFXSR, 'fxsr'], [CR4.OSXMMEXCPT, 'sse'], [CR4.SMEP, 'smep'], [CR4.SMAP, 'smap'],
];

/** APM vol. 2 3.1.7. LMA is read-only, and LME waits for long mode. */
const EFER_FEATURES: readonly (readonly [bits: number, feature: string])[] = [
  [EFER.NXE, 'nx'],
  [EFER.SVME, 'svm'],
  [EFER.SCE, 'syscall'],
];

function bitsOf(model: CpuModel, table: readonly (readonly [number, string])[]): number {
  const features: ReadonlySet<string> = model.features;
  return table.reduce((bits, [bit, feature]) => (features.has(feature) ? bits | bit : bits), 0);
}

/** RDPMC and CR4.PCE came together, with MMX or with the P6 (SDM vol. 2B "RDPMC"). */
export const hasPerformanceCounters = (model: CpuModel): boolean =>
  model.features.has('mmx') || model.features.has('cmov');

export const cr4Writable = (model: CpuModel): number =>
  bitsOf(model, CR4_FEATURES) | (hasPerformanceCounters(model) ? CR4.PCE : 0);

export const eferWritable = (model: CpuModel): number => bitsOf(model, EFER_FEATURES);

/** A CPU has EFER at all if it has one of the features in it. */
export const hasEfer = (model: CpuModel): boolean => eferWritable(model) !== 0;
