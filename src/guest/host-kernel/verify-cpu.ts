import { MISC_ENABLE_HI_XD_DISABLE, MSR } from '../../arch/msrs.ts';
import { type Assembler, eax, ebx, ecx, edx } from '../assembler.ts';

/** Characters of `GenuineIntel` as CPUID leaf 0 has them in EBX, EDX, ECX (SDM vol. 2A CPUID). */
const INTEL = { EBX: 0x756e_6547, EDX: 0x4965_6e69, ECX: 0x6c65_746e } as const;
const FAMILY = 0x0ff0_0f00;
const MODEL = 0x000f_00f0;
/** Family 6 has IA32_MISC_ENABLE from this model on. */
const FIRST_MODEL = 0xd;
const XD_DISABLE_BIT = 31 - Math.clz32(MISC_ENABLE_HI_XD_DISABLE);

/**
 * `verify_cpu`, as far as it does anything in a 32-bit kernel: on Intel's processors that have IA32_MISC_ENABLE it clears
 * XD_DISABLE, with which firmware hides NX (SDM vol. 4 table 2-2). It does not ask CPUID whether there are MSRs. Its other
 * half only looks for required features, and nobody looks at its answer here; enabling SSE on AMD is for 64-bit kernels.
 */
export function emitVerifyCpu(a: Assembler): void {
  a.label('verify_cpu');
  a.xor(eax, eax);
  a.cpuid();
  a.cmp(eax, 1);
  a.jb('verify_cpu_done');
  a.cmp(ebx, INTEL.EBX);
  a.jnz('verify_cpu_done');
  a.cmp(edx, INTEL.EDX);
  a.jnz('verify_cpu_done');
  a.cmp(ecx, INTEL.ECX);
  a.jnz('verify_cpu_done');
  a.mov(eax, 1);
  a.cpuid();
  a.mov(ecx, eax);
  a.and(eax, FAMILY);
  a.shr(eax, 8);
  a.cmp(eax, 6);
  a.ja('verify_cpu_clear_xd');
  a.jb('verify_cpu_done');
  a.and(ecx, MODEL);
  a.shr(ecx, 4);
  a.cmp(ecx, FIRST_MODEL);
  a.jb('verify_cpu_done');
  a.label('verify_cpu_clear_xd');
  a.mov(ecx, MSR.MISC_ENABLE);
  a.rdmsr();
  a.emit('Btr', edx, XD_DISABLE_BIT);
  a.jnc('verify_cpu_done');
  a.wrmsr();
  a.label('verify_cpu_done');
  a.ret();
}
