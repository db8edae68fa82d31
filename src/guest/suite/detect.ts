import { MSR, VM_CR } from '../../arch/msrs.ts';
import { CR0, CR4 } from '../../arch/registers.ts';
import { AGENT_LAYOUT } from '../agent-layout.ts';
import { type Assembler, address, cr0, cr3, cr4, eax, ebx, ecx, edi, edx, mem32 } from '../assembler.ts';
import { emitCpuidTest } from '../cpuid-test.ts';
import { SUITE_FEATURES } from './format.ts';

/** CPUID Fn8000_0001 ECX (APM vol. 3 appendix E). */
const SVM_BIT = 2;
/** MAXPHYADDR where CPUID does not tell (APM vol. 3 E.4.7, SDM vol. 3A 4.1.4). */
const STANDARD_ADDRESS_BITS = 36;
const PAE_INDEX = SUITE_FEATURES.findIndex(({ name }) => name === 'pae');

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

const PDPT = AGENT_LAYOUT.PAGES;
const LOW_DIRECTORY = PDPT + 0x1000;
const DIRECTORIES = [PDPT + 0x2000, PDPT + 0x3000] as const;
const FRAMES = [0x0080_0000, 0x00a0_0000] as const;
/** P, W, A, D, PS. */
const LARGE_PAGE = 0xe3;
const LARGE_PAGE_BYTES = 0x20_0000;
const PROBED = 0xc000_0000;

/**
 * Whether PDPTEs are registers loaded by MOV CR3 or memory read on use; the manuals permit both (APM vol. 2 5.5.3,
 * 15.25.10). PDPTE 3 changes in memory after MOV CR3, before its first use: the answer is which of two frames that use
 * reaches, 1 or 2, which is the bit in TABLE.PDPTES as well.
 */
function emitPdpteCheck(a: Assembler): void {
  a.mov(mem32(address('pdptes')), 1);
  a.test(mem32(address('features')), 1 << PAE_INDEX);
  a.jz('detect-done');
  a.mov(edi, PDPT);
  a.mov(ecx, (4 * 0x1000) / 4);
  a.xor(eax, eax);
  a.rep();
  a.stosd();
  a.mov(edi, LOW_DIRECTORY);
  a.mov(eax, LARGE_PAGE);
  a.label('detect-next-entry');
  a.mov(mem32(edi), eax);
  a.add(edi, 8);
  a.add(eax, LARGE_PAGE_BYTES);
  a.test(edi, 0xfff);
  a.jnz('detect-next-entry');
  DIRECTORIES.forEach((directory, index) => {
    a.mov(mem32(directory), FRAMES[index] | LARGE_PAGE);
    a.mov(mem32(FRAMES[index]), index + 1);
  });
  a.mov(mem32(PDPT), LOW_DIRECTORY | 1);
  a.mov(mem32(PDPT + 24), DIRECTORIES[0] | 1);
  a.mov(eax, CR4.PAE);
  a.mov(cr4, eax);
  a.mov(eax, PDPT);
  a.mov(cr3, eax);
  a.mov(eax, cr0);
  a.or(eax, CR0.PG);
  a.mov(cr0, eax);
  a.mov(mem32(PDPT + 24), DIRECTORIES[1] | 1);
  a.mov(ebx, mem32(PROBED));
  a.and(eax, 0x7fff_ffff);
  a.mov(cr0, eax);
  a.xor(eax, eax);
  a.mov(cr4, eax);
  a.mov(mem32(address('pdptes')), ebx);
  a.label('detect-done');
  a.ret();
}
