import { MSR, VM_CR } from '../../arch/msrs.ts';
import { type Assembler, address, eax, ebx, ecx, edx, mem32 } from '../assembler.ts';
import { emitCpuidTest } from '../cpuid-test.ts';
import { SUITE_FEATURES } from './format.ts';
import { emitPdpteCheck } from './pdpte-check.ts';

/** CPUID Fn8000_0001 ECX (APM vol. 3 appendix E). */
const SVM_BIT = 2;
/** MAXPHYADDR where CPUID does not tell (APM vol. 3 E.4.7, SDM vol. 3A 4.1.4). */
const STANDARD_ADDRESS_BITS = 36;

/**
 * Emits `detect`: what the processor is, into `features`, `address-bits`, `asids` and `pdptes`. Does not return but
 * jumps to `no-svm` or `svm-disabled` where scenarios cannot run.
 */
export function emitDetect(a: Assembler): void {
  a.label('detect');
  emitCpuidTest(a, 'no-svm');
  a.mov(eax, 0);
  a.cpuid();
  a.mov(mem32(address('highest-leaf')), eax);
  a.mov(eax, 1);
  a.cpuid();
  a.mov(mem32(address('cpuid-1-edx')), edx);
  a.cmp(mem32(address('highest-leaf')), 7);
  a.jb('detect-extended');
  a.mov(eax, 7);
  a.xor(ecx, ecx);
  a.cpuid();
  a.mov(mem32(address('cpuid-7-ebx')), ebx);
  a.label('detect-extended');
  a.mov(eax, 0x8000_0000);
  a.cpuid();
  a.cmp(eax, 0x8000_000a);
  a.jb('no-svm');
  a.mov(eax, 0x8000_0001);
  a.cpuid();
  a.mov(mem32(address('cpuid-80000001-edx')), edx);
  a.bt(ecx, SVM_BIT);
  a.jnc('no-svm');
  // SVM may be there and switched off (APM vol. 2 15.4).
  a.mov(ecx, MSR.VM_CR);
  a.rdmsr();
  a.test(eax, VM_CR.SVMDIS);
  a.jnz('svm-disabled');
  a.mov(eax, 0x8000_0008);
  a.cpuid();
  a.and(eax, 0xff);
  a.jnz('detect-bits-known');
  a.mov(eax, STANDARD_ADDRESS_BITS);
  a.label('detect-bits-known');
  a.mov(mem32(address('address-bits')), eax);
  a.mov(eax, 0x8000_000a);
  a.cpuid();
  a.mov(mem32(address('asids')), ebx);
  a.mov(mem32(address('cpuid-8000000a-edx')), edx);
  SUITE_FEATURES.forEach(({ name, word, bit }, index) => {
    a.bt(mem32(address(word)), bit);
    a.jnc(`detect-no-${name}`);
    a.or(mem32(address('features')), 1 << index);
    a.label(`detect-no-${name}`);
  });
  emitPdpteCheck(a);
  a.ret();

  a.align(4);
  for (const word of [
    'highest-leaf',
    'cpuid-1-edx',
    'cpuid-7-ebx',
    'cpuid-80000001-edx',
    'cpuid-8000000a-edx',
    'features',
    'address-bits',
    'asids',
    'pdptes',
  ]) {
    a.label(word);
    a.data32(0);
  }
}
