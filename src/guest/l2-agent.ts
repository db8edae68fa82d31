import { CR0, EFER, EFLAGS } from '../arch/registers.ts';
import {
  INTERCEPT1,
  INTERCEPT2,
  NESTED_CTL,
  VMCB,
  VMCB_SAVE,
  VMCB_SEGMENT,
  VMCB_SIZE,
} from '../arch/vmcb.ts';
import { emitAgentCore } from './agent-core.ts';
import { AGENT_LAYOUT, AGENT_SELECTOR, OPERATION } from './agent-layout.ts';
import { AGENT_ATTRIBUTES, AGENT_IDT_LIMIT, AGENT_TSS_LIMIT } from './agent-tables.ts';
import { type Assembler, address, ds, eax, es, mem8, mem32 } from './assembler.ts';

/** What L2 asks of L1 with VMMCALL, in EAX. */
export const L2_CALL = { LEAVE: 0, FAIL: 1 } as const;

/** Busy bit in byte 5 of a TSS descriptor (SDM vol. 3A 7.2.2). */
const TSS_BUSY = 0x02;

/**
 * Emits the L2 agent. Every L2 of a scenario runs this code on the same stack: an L2 leaves only between two steps
 * or is moved there by L1, so that nothing of it is left outside its VMCB.
 */
export function emitL2Agent(a: Assembler): void {
  // An L2 loads TR itself, as a kernel does; its descriptor may be busy from another L2.
  a.label('l2-start');
  a.and(mem8(address('gdt', AGENT_SELECTOR.L2_TSS + 5)), ~TSS_BUSY & 0xff);
  a.mov(eax, AGENT_SELECTOR.L2_TSS);
  a.ltr(eax);
  a.jmp('l2-loop');

  // Where L1 puts an L2 whose step ended in an exit: at CPL 0, with any data segments.
  a.label('l2-recover');
  a.mov(eax, AGENT_SELECTOR.USER_DATA);
  a.mov(ds, eax);
  a.mov(es, eax);
  a.jmp('l2-next');

  a.label('l2-leave');
  // An event that L1 injects arrives before the next step, which it must not skip.
  a.mov(mem32(address('l2-resume-at')), address('l2-loop'));
  a.mov(eax, L2_CALL.LEAVE);
  a.vmmcall();
  a.jmp('l2-loop');

  a.label('l2-fail');
  a.mov(eax, L2_CALL.FAIL);
  a.vmmcall();
  // L1 does not come back from this call.
  a.hlt();

  emitAgentCore(
    a,
    'l2',
    new Map([
      [OPERATION.LEAVE, 'l2-leave'],
      [OPERATION.NOTHING, 'l2-next'],
      [OPERATION.HOST_MEMORY, 'l2-host-memory'],
      [OPERATION.PAT, 'l2-pat'],
    ]),
  );
}

/**
 * Registers with which an L2 starts. CR3 is a physical address of L2, which without nested paging is one of L1; `efer` needs
 * no SVME, which VMRUN demands.
 */
export interface L2Registers {
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  readonly asid: number;
  /** Bit per exception vector that L1 intercepts. */
  readonly interceptExceptions: number;
  /** Both halves of nCR3, a physical address of L1; absent: no nested paging. */
  readonly nested?: { readonly low: number; readonly high: number };
}

/**
 * A VMCB that starts the L2 agent: one page. Besides what VMRUN demands, L1 intercepts SHUTDOWN, so that an L2 that
 * triple-faults ends in a record (APM vol. 2 15.5.1, 15.14.3).
 */
export function buildVmcb(registers: L2Registers, labels: ReadonlyMap<string, number>): Uint8Array {
  const vmcb = new Uint8Array(VMCB_SIZE);
  const view = new DataView(vmcb.buffer);
  const set32 = (offset: number, value: number): void => view.setUint32(offset, value >>> 0, true);
  const at = (label: string): number => {
    const value = labels.get(label);
    if (value === undefined) throw new Error(`The agents have no label "${label}".`);
    return value;
  };
  const segment = (
    offset: number,
    selector: number,
    attributes: number,
    base: number,
    limit: number,
  ): void => {
    view.setUint16(offset + VMCB_SEGMENT.SELECTOR, selector, true);
    view.setUint16(offset + VMCB_SEGMENT.ATTRIBUTES, attributes, true);
    set32(offset + VMCB_SEGMENT.LIMIT, limit);
    set32(offset + VMCB_SEGMENT.BASE, base);
  };

  set32(VMCB.INTERCEPT_EXCEPTION, registers.interceptExceptions);
  set32(VMCB.INTERCEPT_MISC1, INTERCEPT1.SHUTDOWN);
  set32(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL);
  set32(VMCB.IOPM_BASE_PA, AGENT_LAYOUT.IO_MAP);
  set32(VMCB.MSRPM_BASE_PA, AGENT_LAYOUT.MSR_MAP);
  set32(VMCB.GUEST_ASID, registers.asid);
  if (registers.nested !== undefined) {
    set32(VMCB.NESTED_CTL, NESTED_CTL.NP_ENABLE);
    set32(VMCB.N_CR3, registers.nested.low);
    set32(VMCB.N_CR3 + 4, registers.nested.high);
  }

  const { USER_DATA, KERNEL_CODE, KERNEL_DATA, L2_TSS } = AGENT_SELECTOR;
  for (const data of [VMCB_SAVE.ES, VMCB_SAVE.DS, VMCB_SAVE.FS, VMCB_SAVE.GS]) {
    segment(data, USER_DATA, AGENT_ATTRIBUTES.USER_DATA, 0, 0xffff_ffff);
  }
  segment(VMCB_SAVE.CS, KERNEL_CODE, AGENT_ATTRIBUTES.KERNEL_CODE, 0, 0xffff_ffff);
  segment(VMCB_SAVE.SS, KERNEL_DATA, AGENT_ATTRIBUTES.KERNEL_DATA, 0, 0xffff_ffff);
  segment(VMCB_SAVE.GDTR, 0, 0, at('gdt'), at('gdt-end') - at('gdt') - 1);
  segment(VMCB_SAVE.IDTR, 0, 0, at('l2-idt'), AGENT_IDT_LIMIT);
  segment(VMCB_SAVE.TR, L2_TSS, AGENT_ATTRIBUTES.TSS_BUSY, at('l2-tss'), AGENT_TSS_LIMIT);

  set32(VMCB_SAVE.EFER, registers.efer | EFER.SVME);
  set32(VMCB_SAVE.CR0, registers.cr0 | CR0.PE | CR0.ET);
  set32(VMCB_SAVE.CR3, registers.cr3);
  set32(VMCB_SAVE.CR4, registers.cr4);
  set32(VMCB_SAVE.DR6, 0xffff_0ff0);
  set32(VMCB_SAVE.DR7, 0x400);
  set32(VMCB_SAVE.RFLAGS, EFLAGS.ONE);
  set32(VMCB_SAVE.RIP, at('l2-start'));
  set32(VMCB_SAVE.RSP, at('l2-stack-top'));
  // Reset value: write-back for all four pairs that a guest uses (APM vol. 2 7.8.2).
  set32(VMCB_SAVE.G_PAT, 0x0007_0406);
  set32(VMCB_SAVE.G_PAT + 4, 0x0007_0406);
  return vmcb;
}
