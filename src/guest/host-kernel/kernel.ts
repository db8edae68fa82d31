import { ATTRIBUTE, descriptorHi, descriptorLo } from '../../arch/descriptors.ts';
import { CR0, CR4, EFER, EFLAGS, MSR } from '../../arch/registers.ts';
import {
  Assembler,
  address,
  al,
  cr0,
  cr3,
  cr4,
  ds,
  eax,
  ecx,
  edx,
  es,
  esp,
  fs,
  gs,
  mem,
  mem32,
  type Program,
  type RegisterOperand,
  ss,
} from '../assembler.ts';
import { emitEarlyTables, emitInitialPointers } from './early-tables.ts';
import { HOST_KERNEL_PLACE, type KernelBuild, PAGE_OFFSET, SELECTOR } from './layout.ts';
import { emitMemoryInit } from './memory-init.ts';
import { emitVerifyCpu } from './verify-cpu.ts';

const EXTENDED_LEAVES = 0x8000_0000;
const EXTENDED_FEATURES = 0x8000_0001;
/** CPUID 8000_0000h EAX is taken for the highest extended leaf if it is one of 8000_0001h to 8000_FFFFh. */
const HIGHEST_EXTENDED = 0x8000_ffff;
const NX_BIT = 20;
const NXE_BIT = 31 - Math.clz32(EFER.NXE);
const CPUID_FPU = 1;
const CR0_STATE = CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.PG;
/** What is at KERNEL_LABEL.CPUID_LEVEL where there is no CPUID instruction. */
export const NO_CPUID = 0xffff_ffff;

/** Labels of `hostKernel` that a machine needs: physical addresses. */
export const KERNEL_LABEL = {
  /** Entry of the boot processor: flat protected mode without paging. */
  START: 'startup_32',
  /** Entry of every other one. */
  START_SECOND: 'startup_32_smp',
  /** Where each waits when it is done: behind its HLT, at PAGE_OFFSET above the label. */
  IDLE: 'cpu_idle',
  SECOND_IDLE: 'cpu_idle_second',
  /** A word: the highest basic CPUID leaf. */
  CPUID_LEVEL: 'x86_cpuid',
} as const;

/**
 * A 32-bit host kernel from its entry to paging: the early path of Linux 5.13 (arch/x86/kernel/head_32.S), told again with its
 * order of tests and branches, under its labels. What comes before (the feature check of the real-mode setup code) and behind
 * it (all of the kernel but `memory-init.ts`) is left out. The program lies at HOST_KERNEL_PLACE.ZERO_PAGE.
 */
export function hostKernel(build: KernelBuild): Program {
  const a = new Assembler(HOST_KERNEL_PLACE.ZERO_PAGE);
  a.org(HOST_KERNEL_PLACE.CODE);
  emitEntries(a);
  emitDefaultEntry(a, build);
  emitPaging(a);
  emitStart(a, build);
  emitVerifyCpu(a);
  emitEarlyTables(a, build);
  emitData(a, build);
  if (build.pae) {
    a.org(HOST_KERNEL_PLACE.INITIAL_TABLE);
    emitInitialPointers(a);
  }
  return a.finish();
}

function emitEntries(a: Assembler): void {
  a.label(KERNEL_LABEL.START);
  a.lgdt(mem(address('boot_gdt_descr')));
  emitSegments(a, SELECTOR.BOOT_DS, [ds, es, fs, gs, ss]);
  a.mov(esp, HOST_KERNEL_PLACE.STACK);
  a.cld();
  a.call('mk_early_pgtbl_32');
  a.jmp('default_entry');
  a.label(KERNEL_LABEL.START_SECOND);
  a.cld();
  // The trampoline of a second processor has loaded the table already; ours is a loader, which has not.
  a.lgdt(mem(address('boot_gdt_descr')));
  emitSegments(a, SELECTOR.BOOT_DS, [ds, es, fs, gs, ss]);
  a.mov(esp, HOST_KERNEL_PLACE.SECOND_STACK);
}

function emitSegments(a: Assembler, selector: number, registers: readonly RegisterOperand[]): void {
  a.mov(eax, selector);
  for (const register of registers) a.mov(register, eax);
}

/** From `.Ldefault_entry` to `.Lenable_paging`. */
function emitDefaultEntry(a: Assembler, build: KernelBuild): void {
  a.label('default_entry');
  a.mov(eax, CR0_STATE & ~CR0.PG);
  a.mov(cr0, eax);
  a.push(0);
  a.popfd();
  // A 486 may have no CR4: it is there if there is CPUID with more flags than that of the FPU.
  a.mov(mem32(address(KERNEL_LABEL.CPUID_LEVEL)), NO_CPUID);
  a.mov(ecx, EFLAGS.ID);
  a.push(ecx);
  a.popfd();
  a.pushfd();
  a.pop(eax);
  a.test(eax, EFLAGS.ID);
  a.jz('enable_paging');
  a.xor(eax, eax);
  a.cpuid();
  a.mov(mem32(address(KERNEL_LABEL.CPUID_LEVEL)), eax);
  a.mov(eax, 1);
  a.cpuid();
  a.and(edx, ~CPUID_FPU);
  a.jz('enable_paging');
  if (build.loadsCr4) {
    a.mov(eax, mem32(address('mmu_cr4_features')));
    a.mov(cr4, eax);
  }
  if (build.skipsNxWithoutPae) {
    a.test(al, CR4.PAE);
    a.jz('enable_paging');
  }
  emitNx(a);
}

function emitNx(a: Assembler): void {
  a.mov(eax, EXTENDED_LEAVES);
  a.cpuid();
  a.sub(eax, EXTENDED_FEATURES);
  a.cmp(eax, HIGHEST_EXTENDED - EXTENDED_FEATURES);
  a.ja('enable_paging');
  a.call('verify_cpu');
  a.mov(eax, EXTENDED_FEATURES);
  a.cpuid();
  a.bt(edx, NX_BIT);
  a.jnc('enable_paging');
  a.mov(ecx, MSR.EFER);
  a.rdmsr();
  a.bts(eax, NXE_BIT);
  a.wrmsr();
}

function emitPaging(a: Assembler): void {
  a.label('enable_paging');
  a.mov(eax, HOST_KERNEL_PLACE.INITIAL_TABLE);
  a.mov(cr3, eax);
  a.mov(eax, CR0_STATE >>> 0);
  a.mov(cr0, eax);
  // To virtual addresses.
  a.raw(0xea);
  a.data32(address('paged', PAGE_OFFSET));
  a.data16(SELECTOR.BOOT_CS);
  a.label('paged');
  a.add(esp, PAGE_OFFSET);
}

const variable = (label: string) => mem32(address(label, PAGE_OFFSET));

/** Which features there are, the kernel's own segments, and on to `initial_code`. */
function emitStart(a: Assembler, build: KernelBuild): void {
  a.mov(eax, variable(KERNEL_LABEL.CPUID_LEVEL));
  a.inc(eax);
  a.jz('is486');
  a.mov(eax, 1);
  a.cpuid();
  a.mov(variable('x86_capability'), edx);
  a.label('is486');
  a.lgdt(mem(address('early_gdt_descr', PAGE_OFFSET)));
  a.raw(0xea);
  a.data32(address('kernel_segments', PAGE_OFFSET));
  a.data16(SELECTOR.KERNEL_CS);
  a.label('kernel_segments');
  emitSegments(a, SELECTOR.KERNEL_DS, [ss, ds, es]);
  a.jmp(variable('initial_code'));
  a.label('start_kernel');
  emitMemoryInit(a, build);
  a.mov(variable('initial_code'), address('start_secondary', PAGE_OFFSET));
  // The host's interrupts are open from here on; L0 holds them back with CLGI.
  a.sti();
  a.hlt();
  a.label(KERNEL_LABEL.IDLE);
  a.label('start_secondary');
  a.mov(eax, HOST_KERNEL_PLACE.SWAPPER);
  a.mov(cr3, eax);
  a.sti();
  a.hlt();
  a.label(KERNEL_LABEL.SECOND_IDLE);
}

const { P, S, CODE, READABLE, WRITABLE, ACCESSED, DB, G } = ATTRIBUTE;
const FLAT_CODE = P | S | CODE | READABLE | ACCESSED | DB | G;
const FLAT_DATA = P | S | WRITABLE | ACCESSED | DB | G;

function emitData(a: Assembler, build: KernelBuild): void {
  a.align(8);
  a.label('gdt');
  for (let selector = 0; selector <= SELECTOR.KERNEL_DS; selector += 8) emitDescriptor(a, selector);
  const limit = SELECTOR.KERNEL_DS + 7;
  a.label('boot_gdt_descr');
  a.data16(limit);
  a.data32(address('gdt'));
  a.label('early_gdt_descr');
  a.data16(limit);
  a.data32(address('gdt', PAGE_OFFSET));
  a.align(4);
  a.label(KERNEL_LABEL.CPUID_LEVEL);
  a.data32(0);
  a.label('x86_capability');
  a.data32(0);
  a.label('mmu_cr4_features');
  a.data32(build.pae ? CR4.PAE : 0);
  a.label('initial_code');
  a.data32(address('start_kernel', PAGE_OFFSET));
}

function emitDescriptor(a: Assembler, selector: number): void {
  const code = selector === SELECTOR.BOOT_CS || selector === SELECTOR.KERNEL_CS;
  const data = selector === SELECTOR.BOOT_DS || selector === SELECTOR.KERNEL_DS;
  const attributes = code ? FLAT_CODE : FLAT_DATA;
  if (code || data)
    a.data32(descriptorLo(0, 0xffff_ffff, attributes), descriptorHi(0, 0xffff_ffff, attributes));
  else a.data32(0, 0);
}
