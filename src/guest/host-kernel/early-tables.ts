import { type Assembler, eax, ebx, ecx, edi, edx, mem32 } from '../assembler.ts';
import {
  EARLY_MAPPED,
  HOST_KERNEL_PLACE,
  KERNEL_DIRECTORY_INDEX,
  KERNEL_POINTER_INDEX,
  type KernelBuild,
} from './layout.ts';

const P = 0x001;
const TABLE = 0x063;
const PAGE = 0x003;

const ENTRIES = { twoLevel: 1024, pae: 512 } as const;

/**
 * `mk_early_pgtbl_32`: page tables for what the kernel needs at first, at address 0 and again at PAGE_OFFSET. Large pages wait
 * until CR4 is known to have PSE.
 */
export function emitEarlyTables(a: Assembler, { pae }: KernelBuild): void {
  a.label('mk_early_pgtbl_32');
  a.mov(edi, HOST_KERNEL_PLACE.PAGE_TABLES);
  a.mov(edx, pae ? HOST_KERNEL_PLACE.INITIAL_DIRECTORY : HOST_KERNEL_PLACE.INITIAL_TABLE);
  a.mov(eax, PAGE);
  a.xor(ebx, ebx);
  a.label('early_table');
  a.mov(ecx, edi);
  a.or(ecx, TABLE);
  a.mov(mem32(edx), ecx);
  if (!pae) a.mov(mem32(edx, KERNEL_DIRECTORY_INDEX * 4), ecx);
  a.add(edx, pae ? 8 : 4);
  a.mov(ecx, pae ? ENTRIES.pae : ENTRIES.twoLevel);
  a.label('early_page');
  a.stosd();
  if (pae) {
    // The upper half of an entry is zero.
    a.xchg(eax, ebx);
    a.stosd();
    a.xchg(eax, ebx);
  }
  a.add(eax, 0x1000);
  a.loop('early_page');
  a.cmp(eax, EARLY_MAPPED);
  a.jb('early_table');
  a.ret();
}

/** `initial_page_table` of a PAE kernel is data: one page directory serves both halves. */
export function emitInitialPointers(a: Assembler): void {
  for (let n = 0; n < 4; n++) {
    const used = n === 0 || n === KERNEL_POINTER_INDEX;
    a.data32(used ? HOST_KERNEL_PLACE.INITIAL_DIRECTORY | P : 0, 0);
  }
}

/** Page tables that the early path takes from PAGE_TABLES. */
export const earlyTableBytes = ({ pae }: KernelBuild): number => (EARLY_MAPPED / 0x1000) * (pae ? 8 : 4);
