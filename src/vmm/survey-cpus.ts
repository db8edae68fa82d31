import { parseCpuModel } from '../arch/cpu-model-text.ts';
import { CPU_MODEL_NAMES, type CpuModel, withFeatures } from '../arch/cpu-models.ts';
import { MISC_ENABLE_HI_XD_DISABLE, MSR } from '../arch/msrs.ts';
import { CR4 } from '../arch/registers.ts';
import type { Cpu } from '../cpu/cpu.ts';
import { loadCr4 } from '../cpu/system/control-registers.ts';

/** A processor to boot host kernels on. */
export interface SurveyCpu {
  readonly name: string;
  /** What is special about it, in a few words. */
  readonly about: string;
  readonly model: CpuModel;
  /** What firmware or loader did to the processor before the kernel. */
  readonly prepare?: (cpu: Cpu) => void;
}

const named = (text: string, about: string, prepare?: (cpu: Cpu) => void): SurveyCpu => ({
  name: text,
  about,
  model: parseCpuModel(text),
  ...(prepare && { prepare }),
});

/** A model with what no CPU model's text can say. */
function made(name: string, about: string, base: string, changes: Partial<CpuModel>): SurveyCpu {
  const model = parseCpuModel(base);
  const features = changes.features ?? model.features;
  return { name, about, model: Object.freeze({ ...withFeatures(model, name, features), ...changes }) };
}

/** Firmware's "execute disable bit: off" (SDM vol. 4 table 2-2). */
function disableNx(cpu: Cpu): void {
  const lo = cpu.msrs.read(MSR.MISC_ENABLE);
  cpu.msrs.write(MSR.MISC_ENABLE, lo, cpu.msrs.high | MISC_ENABLE_HI_XD_DISABLE);
}

const EDX_NX = 1 << 20;
const ABOUT: Readonly<Record<string, string>> = {
  '486': 'no CPUID, no CR4',
  pentium: 'no PAE, no extended CPUID leaves',
  'pentium-pro': 'PAE, no extended CPUID leaves',
  pentium4: 'extended CPUID leaves, no NX',
  prescott: 'NX, no SVM',
};

/** Every CPU model, then those on which the question of July 2021 turns. */
export function surveyCpus(): readonly SurveyCpu[] {
  const fpuOnly = new Set(['fpu'] as const);
  return [
    ...CPU_MODEL_NAMES.map((name) => named(name, ABOUT[name] ?? 'NX and SVM')),
    made('486 with CPUID', 'CPUID has the FPU flag alone: no CR4', '486', {
      hasCpuid: true,
      maxLeaf: 1,
      features: fpuOnly,
    }),
    named('pentium,-pse', 'CR4 without large pages'),
    named('pentium,-msr', 'no RDMSR'),
    made('k6', "AMD's family 5: extended leaves, no PAE, no NX", 'pentium', {
      vendor: 'AuthenticAMD',
      model: 8,
      maxExtendedLeaf: 0x8000_0005,
      features: new Set(['fpu', 'vme', 'de', 'pse', 'tsc', 'msr', 'mce', 'cx8', 'mmx'] as const),
    }),
    named('pentium4,-msr', 'no RDMSR, though its family has IA32_MISC_ENABLE'),
    named('prescott', 'NX hidden by firmware (XD_DISABLE)', disableNx),
    named('current-amd,-nx', 'SVM without NX'),
    named('current-amd,-pae', 'SVM without PAE, and so without NX'),
    named('current-amd', 'a loader left CR4.PAE set', (cpu) => loadCr4(cpu, CR4.PAE)),
    made(
      'garbage',
      'made up: answers 80000000h with a number in range, 80000001h with bit 20',
      'pentium-pro',
      {
        caches: { leaf2: [0x8000_0001, 0, 0, EDX_NX] },
      },
    ),
  ];
}
