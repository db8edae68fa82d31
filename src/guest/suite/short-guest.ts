import { MSR } from '../../arch/msrs.ts';
import { CR0, EFER } from '../../arch/registers.ts';
import { TLB_CONTROL, VMCB, VMCB_SAVE } from '../../arch/vmcb.ts';
import { AGENT_LAYOUT } from '../agent-layout.ts';
import type { Agents } from '../agents.ts';
import { type Assembler, address, eax, ebx, ecx, edx, esi, mem32 } from '../assembler.ts';
import { buildVmcb } from '../l2-agent.ts';

/**
 * Emits `run-short-guest`: a guest that exits at once, and with it the end of all cached translations of every ASID (APM
 * vol. 2 15.16.1). ESI: its CR3, EBX: its CR4; it has paging on, and so must have who calls, because Linux's KVM knows no
 * SVM instructions without and may not survive a guest without (docs/findings.md). EAX afterwards: low half of EXITCODE.
 * ECX and EDX are lost.
 */
export function emitShortGuest(a: Assembler): void {
  const vmcb = (field: number) => mem32(address('short-guest-vmcb', field));
  a.label('run-short-guest');
  writeMsr(a, MSR.EFER, EFER.SVME);
  writeMsr(a, MSR.VM_HSAVE_PA, AGENT_LAYOUT.HOST_SAVE);
  a.mov(vmcb(VMCB.TLB_CONTROL), TLB_CONTROL.FLUSH_ALL);
  a.mov(vmcb(VMCB_SAVE.CR3), esi);
  a.mov(vmcb(VMCB_SAVE.CR4), ebx);
  a.mov(vmcb(VMCB_SAVE.RIP), address('short-guest'));
  a.clgi();
  a.mov(eax, address('short-guest-vmcb'));
  a.vmrun();
  a.stgi();
  writeMsr(a, MSR.EFER, 0);
  a.mov(eax, vmcb(VMCB.EXITCODE));
  a.ret();
  a.label('short-guest');
  a.vmmcall();
}

/** Appends the guest's VMCB; the address must be that of a page. */
export function emitShortGuestVmcb(a: Assembler, { labels }: Agents): void {
  a.label('short-guest-vmcb');
  const cr0 = CR0.PG | CR0.PE | CR0.ET;
  a.append(buildVmcb({ cr0, cr3: 0, cr4: 0, efer: 0, asid: 1, interceptExceptions: 0 }, labels));
}

/** Emits a write to an MSR. EAX, ECX and EDX are lost. */
export function writeMsr(a: Assembler, msr: number, value: number): void {
  a.mov(ecx, msr);
  a.xor(edx, edx);
  a.mov(eax, value);
  a.wrmsr();
}
