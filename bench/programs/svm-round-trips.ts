import { MSR } from '../../src/arch/msrs.ts';
import { CR0, CR4, DR6_FIXED_ONE, DR7_FIXED_ONE, EFER, EFLAGS } from '../../src/arch/registers.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import { INTERCEPT2, VMCB, VMCB_SAVE, VMCB_SEGMENT } from '../../src/arch/vmcb.ts';
import {
  type Assembler,
  address,
  cr0,
  cr3,
  cr4,
  eax,
  ebx,
  ecx,
  edx,
  mem16,
  mem32,
} from '../../src/guest/assembler.ts';
import { FLAT, LAYOUT, SELECTOR } from '../frame.ts';
import type { BenchProgram } from '../program.ts';

const PAGE = 0x1000;
const HOST_SAVE = LAYOUT.DATA;
const GUEST_VMCB = HOST_SAVE + PAGE;
/** For VMSAVE and VMLOAD of L1's own state. */
const HOST_VMCB = GUEST_VMCB + PAGE;
/** Each a page-directory-pointer table with its one page directory behind it. */
const L1_TABLES = HOST_VMCB + PAGE;
const L2_TABLES = L1_TABLES + 2 * PAGE;
const MAPPED = 16 << 20;
const LARGE_PAGE_BYTES = 2 << 20;
/** Present, writable, accessed, dirty, 2 MiB (SDM vol. 3A table 4-9). */
const LARGE_PAGE = 0xe3;
const VMMCALL_LENGTH = 3;

/** L1 and L2 under PAE paging with tables of their own, as a hypervisor with shadow paging runs its guest. */
function setUp(a: Assembler): void {
  for (const tables of [L1_TABLES, L2_TABLES]) {
    a.mov(mem32(tables), (tables + PAGE) | 1);
    for (let n = 0; n < MAPPED / LARGE_PAGE_BYTES; n++) {
      a.mov(mem32(tables + PAGE + n * 8), (n * LARGE_PAGE_BYTES) | LARGE_PAGE);
    }
  }
  writeMsr(a, MSR.EFER, EFER.SVME);
  writeMsr(a, MSR.VM_HSAVE_PA, HOST_SAVE);
  a.mov(eax, CR4.PAE);
  a.mov(cr4, eax);
  a.mov(eax, L1_TABLES);
  a.mov(cr3, eax);
  a.mov(eax, cr0);
  a.or(eax, CR0.PG | CR0.WP);
  a.mov(cr0, eax);
  fillVmcb(a);
  a.mov(eax, HOST_VMCB);
  a.vmsave();
  a.clgi();
}

function writeMsr(a: Assembler, msr: number, value: number): void {
  a.mov(ecx, msr);
  a.mov(eax, value);
  a.xor(edx, edx);
  a.wrmsr();
}

/** L2 as VMRUN wants it (APM vol. 2 15.5.1): flat protected mode at CPL 0; it exits at VMMCALL only. */
function fillVmcb(a: Assembler): void {
  const set = (field: number, value: number): void => a.mov(mem32(GUEST_VMCB, field), value);
  set(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL);
  set(VMCB.GUEST_ASID, 1);
  for (const segment of [VMCB_SAVE.ES, VMCB_SAVE.CS, VMCB_SAVE.SS, VMCB_SAVE.DS]) {
    const code = segment === VMCB_SAVE.CS;
    a.mov(mem16(GUEST_VMCB, segment + VMCB_SEGMENT.SELECTOR), code ? SELECTOR.CODE : SELECTOR.DATA);
    a.mov(mem16(GUEST_VMCB, segment + VMCB_SEGMENT.ATTRIBUTES), code ? FLAT.CODE : FLAT.DATA);
    set(segment + VMCB_SEGMENT.LIMIT, -1);
  }
  set(VMCB_SAVE.EFER, EFER.SVME);
  set(VMCB_SAVE.CR0, CR0.PG | CR0.WP | CR0.ET | CR0.PE);
  set(VMCB_SAVE.CR3, L2_TABLES);
  set(VMCB_SAVE.CR4, CR4.PAE);
  set(VMCB_SAVE.DR6, DR6_FIXED_ONE);
  set(VMCB_SAVE.DR7, DR7_FIXED_ONE);
  set(VMCB_SAVE.RFLAGS, EFLAGS.ONE);
  a.mov(mem32(GUEST_VMCB, VMCB_SAVE.RIP), address('l2'));
}

/** The loop; `complete` adds what KVM does around VMRUN. EBX counts in L2, which shares it, ECX down in L1. */
function emitWork(a: Assembler, complete: boolean): void {
  a.label('work');
  a.xor(ebx, ebx);
  a.label('enter');
  if (complete) a.clgi();
  a.mov(eax, GUEST_VMCB);
  if (complete) a.vmload();
  a.vmrun();
  if (complete) {
    a.vmsave();
    a.mov(eax, HOST_VMCB);
    a.vmload();
    a.stgi();
  }
  a.cmp(mem32(GUEST_VMCB, VMCB.EXITCODE), VMEXIT.VMMCALL);
  a.jnz('left');
  a.add(mem32(GUEST_VMCB, VMCB_SAVE.RIP), VMMCALL_LENGTH);
  a.dec(ecx);
  a.jnz('enter');
  a.label('left');
  a.mov(eax, ebx);
  a.ret();

  a.align(4096);
  a.label('l2');
  a.inc(ebx);
  a.vmmcall();
  a.jmp('l2');
}

/** VMRUN of a guest that executes VMMCALL at once: bare, one world switch and back; on L0, from L1 to L2 and back. */
export const roundTrips: BenchProgram = {
  name: 'round-trips',
  unit: 'VMRUN to VMMCALL',
  iterations: 100_000,
  setUp,
  emit: (a) => emitWork(a, false),
  model: () => (units) => units,
};

/** The same with CLGI, VMLOAD, VMSAVE, VMLOAD and STGI around it. */
export const kvmRoundTrips: BenchProgram = {
  name: 'kvm-round-trips',
  unit: 'VMRUN to VMMCALL, as KVM does',
  iterations: 60_000,
  setUp,
  emit: (a) => emitWork(a, true),
  model: () => (units) => units,
};
