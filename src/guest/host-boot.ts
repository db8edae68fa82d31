import { CR0, CR4, EFER, MSR } from '../arch/registers.ts';
import { Assembler, cr0, cr3, cr4, eax, ebx, ecx, edi, edx, esp, mem32 } from './assembler.ts';
import { emitCpuidTest } from './cpuid-test.ts';

/** Where a PAE host kernel's boot code and tables lie in host physical memory. */
export const HOST_BOOT = {
  CODE: 0x1_0000,
  STACK_TOP: 0x1_0000,
  /** Page-directory-pointer table, then four page directories. */
  TABLES: 0x1_1000,
  END: 0x1_6000,
} as const;

/** What EAX holds when the boot code halts. */
export const HOST_BOOT_STATUS = { DONE: 0, NO_CPUID: 1, NO_PAE: 2 } as const;

const DIRECTORIES = HOST_BOOT.TABLES + 0x1000;
const CPUID_PSE = 1 << 3;
const CPUID_PAE = 1 << 6;
const CPUID_PGE = 1 << 13;
const CPUID_NX = 1 << 20;
const EXTENDED_LEAVES = 0x8000_0000;
const EXTENDED_FEATURES = 0x8000_0001;
const LARGE_PAGE = 0xe3;
const LARGE_PAGE_BYTES = 0x20_0000;

/**
 * The early path of a 32-bit PAE kernel, from flat protected mode with paging off to paging on: is there CPUID, are
 * there extended leaves and NX, then EFER, CR4, CR3, CR0, and HLT. It ends halted with a HOST_BOOT_STATUS in EAX.
 */
export function paeHostBoot(): Uint8Array {
  const a = new Assembler(HOST_BOOT.CODE);
  a.mov(esp, HOST_BOOT.STACK_TOP);
  emitCpuidTest(a, 'no-cpuid');
  a.mov(eax, 1);
  a.cpuid();
  a.test(edx, CPUID_PAE);
  a.jz('no-pae');
  buildTables(a);
  enableNx(a);
  enableCr4(a);
  a.mov(eax, HOST_BOOT.TABLES);
  a.mov(cr3, eax);
  a.mov(eax, cr0);
  a.or(eax, CR0.PG | CR0.WP);
  a.mov(cr0, eax);
  a.xor(eax, eax);
  // The host's interrupts are open from here on; L0 holds them back with CLGI.
  a.sti();
  a.hlt();
  a.label('no-cpuid');
  a.mov(eax, HOST_BOOT_STATUS.NO_CPUID);
  a.hlt();
  a.label('no-pae');
  a.mov(eax, HOST_BOOT_STATUS.NO_PAE);
  a.hlt();
  return a.finish().bytes;
}

/** The first 4 GiB one to one, in 2 MiB pages. */
function buildTables(a: Assembler): void {
  for (let n = 0; n < 4; n++) a.mov(mem32(HOST_BOOT.TABLES + n * 8), (DIRECTORIES + n * 0x1000) | 1);
  a.mov(edi, DIRECTORIES);
  a.mov(eax, LARGE_PAGE);
  a.mov(ecx, 2048);
  a.label('next-entry');
  a.mov(mem32(edi), eax);
  a.add(edi, 8);
  a.add(eax, LARGE_PAGE_BYTES);
  a.dec(ecx);
  a.jnz('next-entry');
}

/** EFER.NXE, where the processor has NX (APM vol. 2 5.6.3). */
function enableNx(a: Assembler): void {
  a.mov(eax, EXTENDED_LEAVES);
  a.cpuid();
  a.cmp(eax, EXTENDED_FEATURES);
  a.jb('nx-done');
  a.mov(eax, EXTENDED_FEATURES);
  a.cpuid();
  a.test(edx, CPUID_NX);
  a.jz('nx-done');
  a.mov(ecx, MSR.EFER);
  a.rdmsr();
  a.or(eax, EFER.NXE);
  a.wrmsr();
  a.label('nx-done');
}

/** CR4 from the features that CPUID announces. */
function enableCr4(a: Assembler): void {
  a.mov(eax, 1);
  a.cpuid();
  a.mov(ebx, CR4.PAE);
  a.test(edx, CPUID_PSE);
  a.jz('no-pse');
  a.or(ebx, CR4.PSE);
  a.label('no-pse');
  a.test(edx, CPUID_PGE);
  a.jz('no-pge');
  a.or(ebx, CR4.PGE);
  a.label('no-pge');
  a.mov(eax, ebx);
  a.mov(cr4, eax);
}
