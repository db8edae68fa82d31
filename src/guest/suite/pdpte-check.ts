import { CR0, CR4 } from '../../arch/registers.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { AGENT_LAYOUT } from '../agent-layout.ts';
import { type Assembler, address, cr0, cr3, cr4, eax, ebx, ecx, edi, esi, mem32 } from '../assembler.ts';
import { PDPTES, SUITE_FEATURES } from './format.ts';

const PAE_INDEX = SUITE_FEATURES.findIndex(({ name }) => name === 'pae');
const PDPT = AGENT_LAYOUT.PAGES;
/** Next to the other one: four entries of 8 bytes. */
const ILLEGAL_PDPT = PDPT + 0x20;
const LOW_DIRECTORY = PDPT + 0x1000;
const DIRECTORIES = [PDPT + 0x2000, PDPT + 0x3000] as const;
const FRAMES = [0x0080_0000, 0x00a0_0000] as const;
/** P, W, A, D, PS. */
const LARGE_PAGE = 0xe3;
const LARGE_PAGE_BYTES = 0x20_0000;
const PROBED = 0xc000_0000;
/** P and a reserved bit. */
const ILLEGAL_PDPTE = 0x3;

/**
 * Emits code that puts into `pdptes` which of PDPTES the processor is: PDPTEs are registers loaded by MOV CR3, or memory
 * read on use; the manuals permit both (APM vol. 2 5.5.3, 15.25.10). PDPTE 3 changes in memory after MOV CR3, before its
 * first use: the answer is which of two frames that use reaches. Registers are lost.
 */
export function emitPdpteCheck(a: Assembler): void {
  a.mov(mem32(address('pdptes')), PDPTES.REGISTERS);
  a.test(mem32(address('features')), 1 << PAE_INDEX);
  a.jz('pdptes-done');
  emitTables(a);
  a.mov(eax, CR4.PAE);
  a.mov(cr4, eax);
  a.mov(eax, PDPT);
  a.mov(cr3, eax);
  a.mov(eax, cr0);
  a.or(eax, CR0.PG);
  a.mov(cr0, eax);
  a.mov(mem32(PDPT + 24), DIRECTORIES[1] | 1);
  a.mov(ebx, mem32(PROBED));
  a.mov(mem32(address('pdptes')), ebx);
  a.cmp(ebx, PDPTES.MEMORY);
  a.jnz('pdptes-known');
  emitVmrunCheck(a);
  a.label('pdptes-known');
  a.mov(eax, cr0);
  a.and(eax, 0x7fff_ffff);
  a.mov(cr0, eax);
  a.xor(eax, eax);
  a.mov(cr4, eax);
  a.label('pdptes-done');
}

/** The first GiB mapped to itself, and what PROBED reaches by one directory or the other. */
function emitTables(a: Assembler): void {
  a.mov(edi, PDPT);
  a.mov(ecx, (4 * 0x1000) / 4);
  a.xor(eax, eax);
  a.rep();
  a.stosd();
  a.mov(edi, LOW_DIRECTORY);
  a.mov(eax, LARGE_PAGE);
  a.label('pdptes-next-entry');
  a.mov(mem32(edi), eax);
  a.add(edi, 8);
  a.add(eax, LARGE_PAGE_BYTES);
  a.test(edi, 0xfff);
  a.jnz('pdptes-next-entry');
  [PDPTES.REGISTERS, PDPTES.MEMORY].forEach((kind, index) => {
    a.mov(mem32(DIRECTORIES[index]), FRAMES[index] | LARGE_PAGE);
    a.mov(mem32(FRAMES[index]), kind);
  });
  a.mov(mem32(PDPT), LOW_DIRECTORY | 1);
  a.mov(mem32(PDPT + 24), DIRECTORIES[0] | 1);
  a.mov(mem32(ILLEGAL_PDPT), LOW_DIRECTORY | 1);
  a.mov(mem32(ILLEGAL_PDPT + 24), ILLEGAL_PDPTE);
}

/**
 * Whether VMRUN looks at PDPTEs that are read on use: a processor need not, but a hypervisor does for its guests, which
 * nested paging makes read theirs on use. The guest has its own, because L1's must not be illegal when it exits (APM vol. 2
 * 15.6), and never uses the illegal one.
 */
function emitVmrunCheck(a: Assembler): void {
  a.mov(esi, ILLEGAL_PDPT);
  a.mov(ebx, CR4.PAE);
  a.call('run-short-guest');
  a.cmp(eax, VMEXIT.INVALID);
  a.jnz('pdptes-known');
  a.mov(mem32(address('pdptes')), PDPTES.MEMORY_CHECKED);
}
