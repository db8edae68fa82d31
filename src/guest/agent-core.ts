import { MSR } from '../arch/msrs.ts';
import { EFLAGS } from '../arch/registers.ts';
import {
  AGENT_EXIT,
  AGENT_LAYOUT,
  AGENT_REGISTER,
  AGENT_SELECTOR,
  HOST_MEMORY,
  OPERATION_COUNT,
  PROBE_FLAG,
  RECORD,
  RECORD_STATUS,
  STEP_SIZE,
} from './agent-layout.ts';
import {
  type Assembler,
  address,
  al,
  ax,
  bl,
  cr0,
  cr2,
  cr3,
  cr4,
  ds,
  dx,
  eax,
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
} from './assembler.ts';

/** Who runs the script: prefix of all labels of this copy of the core. */
export type AgentName = 'l1' | 'l2';

/** The labels that the two cores share: the state of the run. */
export const AGENT_STATE = {
  SCRIPT: 'script-pointer',
  LOG: 'log-pointer',
  /** What the run ended with (AGENT_EXIT). */
  EXIT: 'exit-code',
  /** Where to go on at the end, with paging off; 0: nowhere, the machine ends through the debug exit port. */
  RUNNER: 'runner',
} as const;

/** Operations that only one of the agents can do, by number; the labels of their code. */
export type OwnOperations = ReadonlyMap<number, string>;

/** A field of the record at EDI. */
const recordField = (field: number) => mem32(edi, field * 4);
/** Operand n (0 to 5) of the step at ESI. */
const operand = (index: number) => mem32(esi, 8 + index * 4);

/**
 * Emits the part that both agents have: the loop over the script, the steps that do not change level, and what
 * happens at a fault. ESI is the current step in every step's code; nothing else lives in registers between steps,
 * so a step may end anywhere, in a fault or in an exit, and the agent goes on.
 */
export function emitAgentCore(a: Assembler, who: AgentName, own: OwnOperations): void {
  emitLoop(a, who, own);
  emitRecord(a, who);
  emitProbe(a, who);
  emitRegisters(a, who);
  emitMemory(a, who);
  emitFault(a, who);
}

function emitLoop(a: Assembler, who: AgentName, own: OwnOperations): void {
  a.label(`${who}-next`);
  a.add(mem32(address(AGENT_STATE.SCRIPT)), STEP_SIZE);
  a.label(`${who}-loop`);
  a.mov(esp, address(`${who}-stack-top`));
  // A fault in a step ends the step.
  a.mov(mem32(address(`${who}-resume-at`)), address(`${who}-next`));
  a.mov(esi, mem32(address(AGENT_STATE.SCRIPT)));
  a.mov(eax, mem32(esi));
  a.cmp(eax, OPERATION_COUNT);
  a.jae(`${who}-script-error`);
  a.jmp(mem32(address(`${who}-operations`), 0, { index: eax, scale: 4 }));

  a.label(`${who}-script-error`);
  a.mov(ecx, AGENT_EXIT.SCRIPT_ERROR);
  a.jmp(`${who}-fail`);

  const common = ['probe', 'set', 'switch', 'write', 'read', 'invlpg', 'invlpga', 'reload', 'registers'];
  a.align(4);
  a.label(`${who}-operations`);
  for (let number = 0; number < OPERATION_COUNT; number++) {
    const shared = common[number - 1];
    const label = own.get(number) ?? (shared === undefined ? `${who}-script-error` : `${who}-${shared}`);
    a.data32(address(label));
  }
}

/** Starts a record of status EAX; EDI becomes its address, EDX is lost. */
function emitRecord(a: Assembler, who: AgentName): void {
  a.label(`${who}-record`);
  a.mov(edi, mem32(address(AGENT_STATE.LOG)));
  a.cmp(edi, AGENT_LAYOUT.LOG_LIMIT);
  a.jae(`${who}-script-error`);
  a.mov(edx, mem32(address(AGENT_STATE.SCRIPT)));
  a.mov(edx, mem32(edx, 4));
  a.mov(recordField(RECORD.STEP), edx);
  a.mov(recordField(RECORD.STATUS), eax);
  a.xor(edx, edx);
  for (const field of [RECORD.A, RECORD.B, RECORD.C, RECORD.D, RECORD.E, RECORD.F])
    a.mov(recordField(field), edx);
  a.add(mem32(address(AGENT_STATE.LOG)), 32);
  a.ret();

  // Records EBX as the value of the step and goes on.
  a.label(`${who}-done`);
  a.mov(eax, statusOf(who, RECORD_STATUS.DONE));
  a.call(`${who}-record`);
  a.mov(recordField(RECORD.A), ebx);
  a.jmp(`${who}-next`);
}

/** Status word of a record made by this agent. */
export const statusOf = (who: AgentName, status: number): number => status | ((who === 'l1' ? 1 : 2) << 8);

function emitProbe(a: Assembler, who: AgentName): void {
  a.label(`${who}-probe`);
  emitLdtBase(a, who);
  a.mov(eax, AGENT_SELECTOR.SHIFTED);
  a.mov(fs, eax);
  a.mov(gs, eax);
  a.mov(edi, operand(0));
  a.mov(ebx, operand(2));
  a.mov(ecx, operand(3));
  // EFLAGS for the access: AC makes explicit supervisor accesses exempt from SMAP.
  a.mov(eax, EFLAGS.ONE);
  a.emit('Test', mem8(esi, 12), PROBE_FLAG.AC);
  a.jz(`${who}-probe-plain`);
  a.or(eax, EFLAGS.AC);
  a.label(`${who}-probe-plain`);
  a.emit('Test', mem8(esi, 12), PROBE_FLAG.CPL3);
  a.jnz(`${who}-probe-user`);
  a.mov(edx, address(`${who}-probe-returned`));
  a.push(eax);
  a.popfd();
  a.jmp(mem32(address('kernel-probes'), 0, { index: edi, scale: 4 }));

  a.label(`${who}-probe-user`);
  a.mov(edx, address('user-return'));
  a.push(AGENT_SELECTOR.USER_DATA);
  a.push(AGENT_LAYOUT.USER_STACK + 0x1000);
  a.push(eax);
  a.push(AGENT_SELECTOR.USER_CODE);
  a.push(mem32(address('user-probes'), 0, { index: edi, scale: 4 }));
  a.iretd();

  // Interrupt 80h comes from the user stub after its access; the kernel stub comes by a jump.
  a.label(`${who}-probe-returned`);
  a.mov(esp, address(`${who}-stack-top`));
  a.push(EFLAGS.ONE);
  a.popfd();
  a.mov(ebx, ecx);
  a.jmp(`${who}-done`);
}

/** Points the LDT at the probed address, so that loading LDT_SELECTOR reads a descriptor there. */
function emitLdtBase(a: Assembler, who: AgentName): void {
  a.emit('Test', mem8(esi, 12), PROBE_FLAG.LDT);
  a.jz(`${who}-probe-no-ldt`);
  a.mov(eax, operand(2));
  a.mov(mem16(address('gdt', AGENT_SELECTOR.LDT + 2)), ax);
  a.shr(eax, 16);
  a.mov(mem8(address('gdt', AGENT_SELECTOR.LDT + 4)), al);
  a.shr(eax, 8);
  a.mov(mem8(address('gdt', AGENT_SELECTOR.LDT + 7)), al);
  a.mov(eax, AGENT_SELECTOR.LDT);
  a.lldt(eax);
  a.label(`${who}-probe-no-ldt`);
}

function emitRegisters(a: Assembler, who: AgentName): void {
  emitSet(a, who);

  a.label(`${who}-switch`);
  a.mov(eax, cr0);
  a.and(eax, 0x7fff_ffff);
  a.mov(cr0, eax);
  a.mov(ecx, MSR.EFER);
  a.xor(edx, edx);
  a.mov(eax, operand(3));
  a.wrmsr();
  a.mov(eax, operand(2));
  a.mov(cr4, eax);
  a.mov(eax, operand(1));
  a.mov(cr3, eax);
  a.mov(eax, operand(0));
  a.mov(cr0, eax);
  a.jmp(`${who}-switched`);
  a.label(`${who}-switched`);
  a.mov(ebx, cr0);
  a.jmp(`${who}-done`);

  a.label(`${who}-reload`);
  a.mov(ebx, cr3);
  a.mov(cr3, ebx);
  a.jmp(`${who}-done`);

  a.label(`${who}-registers`);
  a.mov(eax, statusOf(who, RECORD_STATUS.DONE));
  a.call(`${who}-record`);
  a.mov(eax, cr0);
  a.mov(recordField(RECORD.A), eax);
  a.mov(eax, cr3);
  a.mov(recordField(RECORD.B), eax);
  a.mov(eax, cr4);
  a.mov(recordField(RECORD.C), eax);
  a.mov(ecx, MSR.EFER);
  a.rdmsr();
  a.mov(recordField(RECORD.D), eax);
  a.jmp(`${who}-next`);

  a.label(`${who}-pat`);
  a.mov(ecx, MSR.PAT);
  a.cmp(operand(0), 0);
  a.jz(`${who}-pat-read`);
  a.mov(eax, operand(1));
  a.mov(edx, operand(2));
  a.wrmsr();
  a.label(`${who}-pat-read`);
  a.rdmsr();
  a.mov(ebx, eax);
  a.mov(ecx, edx);
  a.jmp(`${who}-done8`);
}

function emitSet(a: Assembler, who: AgentName): void {
  a.label(`${who}-set`);
  a.mov(ebx, operand(0));
  for (const [register, control] of [
    [AGENT_REGISTER.CR0, cr0],
    [AGENT_REGISTER.CR2, cr2],
    [AGENT_REGISTER.CR3, cr3],
    [AGENT_REGISTER.CR4, cr4],
  ] as const) {
    a.cmp(ebx, register);
    a.jnz(`${who}-set-not-${control.name}`);
    a.mov(eax, control);
    a.call(`${who}-set-change`);
    a.mov(control, eax);
    a.mov(ebx, control);
    a.jmp(`${who}-done`);
    a.label(`${who}-set-not-${control.name}`);
  }
  a.cmp(ebx, AGENT_REGISTER.EFER);
  a.jnz(`${who}-script-error`);
  a.mov(ecx, MSR.EFER);
  a.rdmsr();
  a.call(`${who}-set-change`);
  a.wrmsr();
  a.rdmsr();
  a.mov(ebx, eax);
  a.jmp(`${who}-done`);

  a.label(`${who}-set-change`);
  a.mov(ebx, operand(1));
  a.not(ebx);
  a.and(eax, ebx);
  a.or(eax, operand(2));
  a.ret();
}

function emitMemory(a: Assembler, who: AgentName): void {
  a.label(`${who}-write`);
  a.mov(edi, operand(0));
  a.mov(edx, operand(1));
  a.mov(ebx, operand(2));
  a.cmp(edx, 4);
  a.jz(`${who}-write4`);
  a.cmp(edx, 8);
  a.jz(`${who}-write8`);
  a.cmp(edx, 2);
  a.jz(`${who}-write2`);
  a.mov(mem8(edi), bl);
  a.jmp(`${who}-next`);
  a.label(`${who}-write2`);
  a.mov(eax, ebx);
  a.mov(mem16(edi), ax);
  a.jmp(`${who}-next`);
  a.label(`${who}-write4`);
  a.mov(mem32(edi), ebx);
  a.jmp(`${who}-next`);
  // All 8 bytes at once, as a kernel sets a live PAE entry.
  a.label(`${who}-write8`);
  a.mov(ecx, operand(3));
  a.mov(eax, mem32(edi));
  a.mov(edx, mem32(edi, 4));
  a.label(`${who}-write8-again`);
  a.lock('Cmpxchg8b', mem64(edi));
  a.jnz(`${who}-write8-again`);
  a.jmp(`${who}-next`);

  a.label(`${who}-read`);
  a.mov(ecx, operand(0));
  a.mov(ebx, mem32(ecx));
  a.cmp(operand(1), 8);
  a.jnz(`${who}-done`);
  a.mov(ecx, mem32(ecx, 4));
  // Records ECX:EBX as the value of the step and goes on.
  a.label(`${who}-done8`);
  a.mov(eax, statusOf(who, RECORD_STATUS.DONE));
  a.call(`${who}-record`);
  a.mov(recordField(RECORD.A), ebx);
  a.mov(recordField(RECORD.B), ecx);
  a.jmp(`${who}-next`);

  a.label(`${who}-invlpg`);
  a.mov(eax, operand(0));
  a.invlpg(mem(eax));
  a.jmp(`${who}-next`);

  a.label(`${who}-host-memory`);
  a.mov(eax, operand(0));
  a.mov(dx, HOST_MEMORY.PORT);
  a.out(dx, eax);
  a.jmp(`${who}-next`);

  a.label(`${who}-invlpga`);
  a.mov(eax, operand(0));
  a.mov(ecx, operand(1));
  a.invlpga();
  a.jmp(`${who}-next`);
}

/** Stack here: vector, error code (0 where there is none), EIP, CS, EFLAGS. */
function emitFault(a: Assembler, who: AgentName): void {
  a.label(`${who}-fault`);
  a.mov(eax, AGENT_SELECTOR.USER_DATA);
  a.mov(ds, eax);
  a.mov(es, eax);
  a.mov(ebx, mem32(address(`${who}-resume-at`)));
  // Zero while a fault is being recorded: a fault in here is one too many.
  a.mov(mem32(address(`${who}-resume-at`)), 0);
  a.mov(eax, statusOf(who, RECORD_STATUS.FAULT));
  a.test(ebx, ebx);
  a.jnz(`${who}-fault-expected`);
  a.mov(eax, statusOf(who, RECORD_STATUS.UNEXPECTED));
  a.label(`${who}-fault-expected`);
  a.call(`${who}-record`);
  for (const [field, offset] of [
    [RECORD.A, 0],
    [RECORD.B, 4],
    [RECORD.D, 8],
    [RECORD.E, 12],
    [RECORD.F, 16],
  ] as const) {
    a.mov(ecx, mem32(esp, offset));
    a.mov(recordField(field), ecx);
  }
  a.mov(ecx, cr2);
  a.mov(recordField(RECORD.C), ecx);
  // An access at CPL 0 may have left EFLAGS.AC set.
  a.push(EFLAGS.ONE);
  a.popfd();
  a.mov(ecx, AGENT_EXIT.UNEXPECTED);
  a.test(ebx, ebx);
  a.jz(`${who}-fail`);
  a.jmp(ebx);
}
