import { CR4 } from '../../arch/registers.ts';
import { type Assembler, address, cr3, cr4, eax, ebp, ebx, ecx, edi, edx, esi, mem32 } from '../assembler.ts';
import { earlyTableBytes } from './early-tables.ts';
import {
  HOST_KERNEL_PLACE,
  KERNEL_DIRECTORY_INDEX,
  KERNEL_POINTER_INDEX,
  type KernelBuild,
  LOW_MEMORY,
  PAGE_OFFSET,
} from './layout.ts';

const CPUID_PSE = 1 << 3;
const CPUID_PGE = 1 << 13;
const TABLE = 0x067;
const PAGE = 0x063;
const LARGE = 0x080;
const GLOBAL = 0x100;
const P = 0x001;

const virtual = (place: number): number => (place + PAGE_OFFSET) >>> 0;
const variable = (label: string) => mem32(address(label, PAGE_OFFSET));

/**
 * The part of `start_kernel` that paging depends on: CR4 gets PSE and PGE where CPUID has them, and `mmu_cr4_features` keeps
 * that for processors that start later (`probe_page_size_mask`); low memory is mapped at PAGE_OFFSET, in large pages where
 * there are, except for its beginning (`init_mem_mapping`); and the table that paging is turned on with becomes a copy of
 * that (`sync_initial_page_table`).
 */
export function emitMemoryInit(a: Assembler, build: KernelBuild): void {
  // EBP: the attributes of a page, EBX: bits to add to CR4.
  a.mov(ebp, PAGE);
  a.xor(ebx, ebx);
  a.test(variable('x86_capability'), CPUID_PSE);
  a.jz('no_pse');
  a.or(ebx, CR4.PSE);
  a.label('no_pse');
  a.test(variable('x86_capability'), CPUID_PGE);
  a.jz('no_pge');
  a.or(ebx, CR4.PGE);
  a.or(ebp, GLOBAL);
  a.label('no_pge');
  a.test(ebx, ebx);
  a.jz('cr4_known');
  a.or(variable('mmu_cr4_features'), ebx);
  a.mov(eax, cr4);
  a.or(eax, ebx);
  a.mov(cr4, eax);
  a.label('cr4_known');
  emitSwapper(a, build);
  a.mov(eax, HOST_KERNEL_PLACE.SWAPPER);
  a.mov(cr3, eax);
  emitSync(a, build);
}

/** ESI runs through physical memory, EDX through the directory, EDI through page tables. */
function emitSwapper(a: Assembler, build: KernelBuild): void {
  const { pae } = build;
  const span = pae ? 0x20_0000 : 0x40_0000;
  const directory = pae
    ? HOST_KERNEL_PLACE.SWAPPER_DIRECTORY
    : HOST_KERNEL_PLACE.SWAPPER + KERNEL_DIRECTORY_INDEX * 4;
  if (pae) {
    const pointer = HOST_KERNEL_PLACE.SWAPPER + KERNEL_POINTER_INDEX * 8;
    a.mov(mem32(virtual(pointer)), HOST_KERNEL_PLACE.SWAPPER_DIRECTORY | P);
  }
  a.mov(edx, virtual(directory));
  a.mov(edi, virtual(HOST_KERNEL_PLACE.PAGE_TABLES + earlyTableBytes(build)));
  a.xor(esi, esi);
  a.label('next_span');
  // The first one holds memory types of all kinds, so that it never is a large page.
  a.test(esi, esi);
  a.jz('small_pages');
  a.test(ebx, CR4.PSE);
  a.jz('small_pages');
  a.mov(eax, esi);
  a.or(eax, ebp);
  a.or(eax, LARGE);
  a.mov(mem32(edx), eax);
  a.add(esi, span);
  a.jmp('span_done');
  a.label('small_pages');
  a.mov(eax, edi);
  a.sub(eax, PAGE_OFFSET);
  a.or(eax, TABLE);
  a.mov(mem32(edx), eax);
  a.mov(ecx, span / 0x1000);
  a.label('small_page');
  a.mov(eax, esi);
  a.or(eax, ebp);
  a.mov(mem32(edi), eax);
  a.add(edi, pae ? 8 : 4);
  a.add(esi, 0x1000);
  a.loop('small_page');
  a.label('span_done');
  a.add(edx, pae ? 8 : 4);
  a.cmp(esi, LOW_MEMORY);
  a.jb('next_span');
}

function emitSync(a: Assembler, { pae }: KernelBuild): void {
  const { INITIAL_TABLE, SWAPPER } = HOST_KERNEL_PLACE;
  if (pae) {
    a.mov(eax, mem32(virtual(SWAPPER + KERNEL_POINTER_INDEX * 8)));
    a.mov(mem32(virtual(INITIAL_TABLE + KERNEL_POINTER_INDEX * 8)), eax);
    a.mov(mem32(virtual(INITIAL_TABLE)), eax);
    return;
  }
  a.mov(ecx, LOW_MEMORY / 0x40_0000);
  a.label('sync_entry');
  a.mov(eax, mem32(virtual(SWAPPER + KERNEL_DIRECTORY_INDEX * 4 - 4), 0, { index: ecx, scale: 4 }));
  a.mov(mem32(virtual(INITIAL_TABLE + KERNEL_DIRECTORY_INDEX * 4 - 4), 0, { index: ecx, scale: 4 }), eax);
  a.mov(mem32(virtual(INITIAL_TABLE - 4), 0, { index: ecx, scale: 4 }), eax);
  a.loop('sync_entry');
}
