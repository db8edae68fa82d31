import { VECTOR } from '../arch/exceptions.ts';
import { MSR, VM_CR } from '../arch/msrs.ts';
import { EFER, EFLAGS } from '../arch/registers.ts';
import { VMEXIT } from '../arch/svm-exits.ts';
import { EVENT_TYPE, eventInjection, VMCB, VMCB_SAVE, VMCB_SAVE_AREA, VMCB_SEGMENT } from '../arch/vmcb.ts';
import { AGENT_STATE, emitAgentCore, statusOf } from './agent-core.ts';
import {
  AGENT_EXIT,
  AGENT_LAYOUT,
  AGENT_SELECTOR,
  DEBUG_EXIT_PORT,
  ENTER_FLAG,
  OPERATION,
  RECORD,
  RECORD_STATUS,
  STEP_SIZE,
} from './agent-layout.ts';
import { AGENT_ATTRIBUTES, AGENT_IDT_LIMIT } from './agent-tables.ts';
import {
  type Assembler,
  address,
  cr0,
  ds,
  dx,
  eax,
  ebp,
  ebx,
  ecx,
  edi,
  edx,
  es,
  esi,
  esp,
  fs,
  gs,
  mem,
  mem8,
  mem16,
  mem32,
  mem64,
  ss,
} from './assembler.ts';
import { L2_CALL } from './l2-agent.ts';

/** Registers of L2 that VMRUN leaves to the hypervisor, in the order of `l2-software-registers`. */
const SOFTWARE_REGISTERS = [ebx, ecx, edx, esi, edi, ebp];
const VMMCALL_LENGTH = 3;
/** The part of the save area with defined fields (APM vol. 2 table B-2). */
const SAVE_AREA_SIZE = 0x300;

/** Emits the L1 agent: boot from the multiboot state, the script's hypervisor steps, and the end of the run. */
export function emitL1Agent(a: Assembler): void {
  emitBoot(a);
  emitSvmCheck(a);
  emitEnter(a);
  emitExit(a);
  emitEnd(a);
  emitAgentCore(
    a,
    'l1',
    new Map([
      [OPERATION.END, 'l1-end'],
      [OPERATION.ENTER, 'l1-enter'],
      [OPERATION.NOTHING, 'l1-next'],
      [OPERATION.HOST_MEMORY, 'l1-host-memory'],
      [OPERATION.PAT, 'l1-pat'],
    ]),
  );
}

/** Emits the start: 32-bit protected mode without paging, as multiboot leaves it (multiboot 0.6.96, 3.2). */
function emitBoot(a: Assembler): void {
  a.label('l1-entry');
  a.cli();
  a.cld();
  a.lgdt(mem(address('gdt-pointer')));
  a.jmpFar(AGENT_SELECTOR.KERNEL_CODE, 'l1-flat');
  a.label('l1-flat');
  a.mov(eax, AGENT_SELECTOR.KERNEL_DATA);
  a.mov(ss, eax);
  a.mov(esp, address('l1-stack-top'));
  a.mov(eax, AGENT_SELECTOR.USER_DATA);
  for (const segment of [ds, es, fs, gs]) a.mov(segment, eax);
  a.lidt(mem(address('l1-idt-pointer')));
  a.mov(eax, AGENT_SELECTOR.L1_TSS);
  a.ltr(eax);
  a.push(EFLAGS.ONE);
  a.popfd();
  a.call('l1-check-svm');
  a.mov(ecx, MSR.EFER);
  a.rdmsr();
  a.or(eax, EFER.SVME);
  a.wrmsr();
  a.mov(ecx, MSR.VM_HSAVE_PA);
  a.mov(eax, AGENT_LAYOUT.HOST_SAVE);
  a.xor(edx, edx);
  a.wrmsr();
  a.jmp('l1-loop');

  a.align(4);
  a.label('gdt-pointer');
  a.data16(9 * 8 - 1);
  a.data32(address('gdt'));
  a.label('l1-idt-pointer');
  a.data16(AGENT_IDT_LIMIT);
  a.data32(address('l1-idt'));
}

/** SVM exists and is not disabled (APM vol. 2 15.4). */
function emitSvmCheck(a: Assembler): void {
  const SVM_BIT = 2;
  a.label('l1-check-svm');
  a.mov(eax, 0x8000_0000);
  a.cpuid();
  a.cmp(eax, 0x8000_000a);
  a.jb('l1-no-svm');
  a.mov(eax, 0x8000_0001);
  a.cpuid();
  a.bt(ecx, SVM_BIT);
  a.jnc('l1-no-svm');
  a.mov(ecx, MSR.VM_CR);
  a.rdmsr();
  a.test(eax, VM_CR.SVMDIS);
  a.jnz('l1-no-svm');
  a.ret();
  a.label('l1-no-svm');
  a.mov(ecx, AGENT_EXIT.NO_SVM);
  a.jmp('l1-fail');
}

/** VMRUN as a hypervisor does it: what VMRUN does not switch goes through VMSAVE and VMLOAD (APM vol. 2 15.5.2). */
function emitEnter(a: Assembler): void {
  a.label('l1-enter');
  a.mov(eax, mem32(esi, 8));
  a.mov(mem32(address('current-vmcb')), eax);
  a.mov(eax, mem32(esi, 12));
  a.mov(mem32(address('after-l2')), eax);
  a.mov(eax, mem32(esi, 16));
  a.mov(mem32(address('enter-flags')), eax);
  for (let word = 0; word < 3; word++) {
    a.mov(eax, mem32(esi, 20 + word * 4));
    a.mov(mem32(address('mend', word * 4)), eax);
  }
  // An injected event that L2 records must not lose what L2 was about to do.
  a.mov(ebx, mem32(esi, 8));
  a.mov(eax, mem32(ebx, VMCB_SAVE.RIP));
  a.mov(mem32(address('l2-resume-at')), eax);
  a.add(mem32(address(AGENT_STATE.SCRIPT)), STEP_SIZE);
  a.lea(esi, mem(ebx, VMCB_SAVE_AREA));
  a.mov(edi, AGENT_LAYOUT.VMCB_COPY);
  a.mov(ecx, SAVE_AREA_SIZE / 4);
  a.rep();
  a.movsd();

  a.label('l1-resume-l2');
  a.mov(mem32(address('l1-resume-at')), address('l1-vmrun-fault'));
  a.clgi();
  a.mov(eax, AGENT_LAYOUT.HOST_EXTRA);
  a.vmsave();
  a.mov(eax, mem32(address('current-vmcb')));
  a.vmload();
  SOFTWARE_REGISTERS.forEach((register, index) => {
    a.mov(register, mem32(address('l2-software-registers', index * 4)));
  });
  a.vmrun();
  // RAX is L1's again: the VMCB. All other registers are L2's.
  SOFTWARE_REGISTERS.forEach((register, index) => {
    a.mov(mem32(address('l2-software-registers', index * 4)), register);
  });
  a.vmsave();
  a.mov(ebp, eax);
  a.mov(eax, AGENT_LAYOUT.HOST_EXTRA);
  a.vmload();
  a.stgi();
  a.jmp('l1-exit');

  // VMRUN itself faulted; the record is written. L2 did not run.
  a.label('l1-vmrun-fault');
  a.mov(eax, AGENT_LAYOUT.HOST_EXTRA);
  a.vmload();
  a.stgi();
  a.jmp('l1-abandon');
}

/** After #VMEXIT, EBP = VMCB: records the exit and decides how L2 and the script go on. */
function emitExit(a: Assembler): void {
  a.label('l1-exit');
  a.mov(mem32(address('l1-resume-at')), 0);
  // What was for one entry only is not for the next.
  a.mov(mem32(ebp, VMCB.EVENTINJ), 0);
  a.mov(mem8(ebp, VMCB.TLB_CONTROL), 0);
  a.mov(eax, mem32(ebp, VMCB.EXITCODE));
  a.cmp(eax, VMEXIT.VMMCALL);
  a.jnz('l1-exit-record');
  a.cmp(mem32(ebp, VMCB_SAVE.RAX), L2_CALL.LEAVE);
  a.mov(ecx, mem32(address('l2-software-registers', 4)));
  a.jnz('l1-fail');

  a.label('l1-exit-record');
  a.mov(eax, statusOf('l1', RECORD_STATUS.EXIT));
  a.call('l1-record');
  for (const [field, offset] of [
    [RECORD.A, VMCB.EXITCODE],
    [RECORD.B, VMCB.EXITINFO1],
    [RECORD.C, VMCB.EXITINFO2],
    [RECORD.D, VMCB_SAVE.RIP],
    [RECORD.E, VMCB.EXITINTINFO],
    [RECORD.F, VMCB_SAVE.RFLAGS],
  ] as const) {
    a.mov(eax, mem32(ebp, offset));
    a.mov(mem32(edi, field * 4), eax);
  }

  a.mov(eax, mem32(ebp, VMCB.EXITCODE));
  a.cmp(eax, VMEXIT.VMMCALL);
  a.jz('l1-exit-left');
  a.cmp(eax, VMEXIT.NPF);
  a.jz('l1-nested-fault');
  a.cmp(eax, VMEXIT.SHUTDOWN);
  a.jz('l1-abandon');
  a.test(eax, eax);
  a.js('l1-abandon');
  a.cmp(eax, VMEXIT.EXCP + VECTOR.PF);
  a.jnz('l1-skip-step');
  a.test(mem32(address('enter-flags')), ENTER_FLAG.REFLECT);
  a.jz('l1-skip-step');

  // Reflect: L2 gets the page fault that L1 intercepted. CR2 was not written (APM vol. 2 15.12.15).
  a.mov(eax, mem32(ebp, VMCB.EXITINFO2));
  a.mov(mem32(ebp, VMCB_SAVE.CR2), eax);
  a.mov(eax, mem32(ebp, VMCB.EXITINFO1));
  a.mov(mem32(ebp, VMCB.EVENTINJ), eventInjection(EVENT_TYPE.EXCEPTION, VECTOR.PF, true));
  a.mov(mem32(ebp, VMCB.EVENTINJ + 4), eax);
  a.jmp('l1-resume-l2');

  emitNestedFault(a);
  emitSkipStep(a);

  // L2 left: it stands at its VMMCALL, and the script goes on here.
  a.label('l1-exit-left');
  a.add(mem32(ebp, VMCB_SAVE.RIP), VMMCALL_LENGTH);
  a.jmp('l1-next');

  // L2 cannot go on: neither can the steps meant for it. What VMRUN leaves in the save area when it refuses, and a
  // shutdown always, is not defined (APM vol. 2 15.5.1, 15.14.3): L2 gets the state back that it was entered with.
  a.label('l1-abandon');
  a.mov(edi, mem32(address('current-vmcb')));
  a.add(edi, VMCB_SAVE_AREA);
  a.mov(esi, AGENT_LAYOUT.VMCB_COPY);
  a.mov(ecx, SAVE_AREA_SIZE / 4);
  a.rep();
  a.movsd();
  a.mov(eax, mem32(address('after-l2')));
  a.mov(mem32(address(AGENT_STATE.SCRIPT)), eax);
  a.jmp('l1-loop');
}

/** A nested page fault: what does not fit in one record goes into another, and an entry is mended if L1 has one to mend. */
function emitNestedFault(a: Assembler): void {
  a.label('l1-nested-fault');
  a.mov(eax, statusOf('l1', RECORD_STATUS.EXIT_HIGH));
  a.call('l1-record');
  a.mov(eax, mem32(ebp, VMCB.EXITINFO1 + 4));
  a.mov(mem32(edi, RECORD.A * 4), eax);
  a.mov(eax, mem32(ebp, VMCB.EXITINFO2 + 4));
  a.mov(mem32(edi, RECORD.B * 4), eax);
  a.mov(esi, mem32(address('enter-flags')));
  a.and(mem32(address('enter-flags')), ~(ENTER_FLAG.MEND4 | ENTER_FLAG.MEND8));
  a.mov(edi, mem32(address('mend')));
  a.mov(ebx, mem32(address('mend', 4)));
  a.test(esi, ENTER_FLAG.MEND4);
  a.jz('l1-mend8');
  a.mov(mem32(edi), ebx);
  a.jmp('l1-resume-l2');
  a.label('l1-mend8');
  a.test(esi, ENTER_FLAG.MEND8);
  a.jz('l1-skip-step');
  a.mov(ecx, mem32(address('mend', 8)));
  a.mov(eax, mem32(edi));
  a.mov(edx, mem32(edi, 4));
  a.label('l1-mend8-again');
  a.lock('Cmpxchg8b', mem64(edi));
  a.jnz('l1-mend8-again');
  a.jmp('l1-resume-l2');
}

/** Puts L2 before its next step, at CPL 0, wherever it was. */
function emitSkipStep(a: Assembler): void {
  a.label('l1-skip-step');
  a.mov(mem32(ebp, VMCB_SAVE.RIP), address('l2-recover'));
  a.mov(mem32(ebp, VMCB_SAVE.RSP), address('l2-stack-top'));
  a.mov(mem32(ebp, VMCB_SAVE.RFLAGS), EFLAGS.ONE);
  a.mov(mem8(ebp, VMCB_SAVE.CPL), 0);
  for (const [segment, selector, attributes] of [
    [VMCB_SAVE.CS, AGENT_SELECTOR.KERNEL_CODE, AGENT_ATTRIBUTES.KERNEL_CODE],
    [VMCB_SAVE.SS, AGENT_SELECTOR.KERNEL_DATA, AGENT_ATTRIBUTES.KERNEL_DATA],
  ] as const) {
    a.mov(mem16(ebp, segment + VMCB_SEGMENT.SELECTOR), selector);
    a.mov(mem16(ebp, segment + VMCB_SEGMENT.ATTRIBUTES), attributes);
  }
  a.jmp('l1-resume-l2');
}

/**
 * The end: with ECX the exit code, goes back to the runner if there is one; otherwise leaves through the debug exit port.
 */
function emitEnd(a: Assembler): void {
  a.label('l1-end');
  a.mov(ecx, AGENT_EXIT.DONE);
  a.label('l1-fail');
  a.mov(esp, address('l1-stack-top'));
  a.mov(mem32(address(AGENT_STATE.EXIT)), ecx);
  a.cmp(mem32(address(AGENT_STATE.RUNNER)), 0);
  a.jz('l1-alone');
  a.mov(eax, cr0);
  a.and(eax, 0x7fff_ffff);
  a.mov(cr0, eax);
  a.jmp(mem32(address(AGENT_STATE.RUNNER)));
  a.label('l1-alone');
  a.mov(eax, mem32(address(AGENT_STATE.EXIT)));
  a.mov(dx, DEBUG_EXIT_PORT);
  a.out(dx, eax);
  // No such port here: stop for good.
  a.label('l1-halt');
  a.cli();
  a.hlt();
  a.jmp('l1-halt');
}
