/** Accesses to CR0, CR3, CR4 and CR8 (APM vol. 2 15.8, 15.9; operands by decode assists 15.33.1). */
import { CR0 } from '../../arch/registers.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { CR_ACCESS, VMCB } from '../../arch/vmcb.ts';
import { writeCr0, writeCr3, writeCr4 } from '../control-registers.ts';
import type { Vcpu } from '../vcpu.ts';
import { readInstruction, readOperand16 } from './instruction.ts';

/** LMSW changes these, and can set but not clear PE (SDM vol. 2A LMSW). */
const LMSW_BITS = CR0.PE | CR0.MP | CR0.EM | CR0.TS;
const CLTS = 0x06;
const GROUP_7 = 0x01;
const UNKNOWN = -1;

/** Number of the general register that a MOV to or from a control register uses; UNKNOWN if it is another instruction. */
function movRegister(vcpu: Vcpu): number {
  const { vmcb } = vcpu.state;
  if (vcpu.vm.hypervisor.decodeAssists) {
    const mov = (vmcb.readHigh(VMCB.EXITINFO1) & CR_ACCESS.HI_MOV) !== 0;
    return mov ? vmcb.read(VMCB.EXITINFO1) & CR_ACCESS.GPR : UNKNOWN;
  }
  const instruction = readInstruction(vcpu);
  const mov = instruction !== null && (instruction.opcode & ~3) === 0x20;
  return mov ? instruction.modrm & 7 : UNKNOWN;
}

/**
 * The value that an intercepted MOV to CR0, LMSW or CLTS is about to write, unsigned; -1 after an exception was raised
 * because it cannot be had.
 */
export function cr0Operand(vcpu: Vcpu): number {
  const { state } = vcpu;
  const register = movRegister(vcpu);
  if (register !== UNKNOWN) return state.register(register);
  const instruction = readInstruction(vcpu);
  if (instruction === null) {
    vcpu.raiseGeneralProtection();
    return UNKNOWN;
  }
  if (instruction.opcode === CLTS) return (state.cr0 & ~CR0.TS) >>> 0;
  const { linear, modrm } = instruction;
  const source = linear < 0 ? state.register(modrm & 7) : readOperand16(vcpu, linear);
  if (source < 0) return UNKNOWN;
  const kept = state.cr0 & ~(LMSW_BITS & ~CR0.PE);
  return (kept | (source & LMSW_BITS)) >>> 0;
}

/** Whether the intercepted write of CR0 is LMSW. */
export const isLmsw = (vcpu: Vcpu): boolean =>
  movRegister(vcpu) === UNKNOWN && readInstruction(vcpu)?.opcode === GROUP_7;

export function handleCr0Write(vcpu: Vcpu): void {
  const value = cr0Operand(vcpu);
  if (value < 0) return;
  traceAccess(vcpu, 0, value, true);
  finish(vcpu, writeCr0(vcpu, value));
}

/** SMSW as well, which needs a memory operand written: the emulator has it. */
export function handleCr0Read(vcpu: Vcpu): void {
  if (movRegister(vcpu) !== UNKNOWN) handleCrRead(vcpu, 0, vcpu.state.cr0);
  else vcpu.emulation.run(VMEXIT.CR0_READ);
}

export const handleCr3Read = (vcpu: Vcpu): void => handleCrRead(vcpu, 3, vcpu.state.cr3);
export const handleCr4Read = (vcpu: Vcpu): void => handleCrRead(vcpu, 4, vcpu.state.cr4);
export const handleCr8Read = (vcpu: Vcpu): void =>
  handleCrRead(vcpu, 8, vcpu.vm.environment.apic?.taskPriority ?? 0);

function handleCrRead(vcpu: Vcpu, number: number, value: number): void {
  const register = movRegister(vcpu);
  if (register === UNKNOWN) {
    vcpu.raiseUndefined();
    return;
  }
  traceAccess(vcpu, number, value, false);
  vcpu.state.setRegister(register, value);
  vcpu.skipInstruction();
}

function traceAccess(vcpu: Vcpu, number: number, value: number, write: boolean): void {
  const { trace } = vcpu.vm;
  if (trace !== null) trace.controlRegister(number, value, write);
}

export function handleCr3Write(vcpu: Vcpu): void {
  const value = vcpu.state.register(Math.max(movRegister(vcpu), 0));
  traceAccess(vcpu, 3, value, true);
  finish(vcpu, writeCr3(vcpu, value));
}

const cr4Operand = (vcpu: Vcpu): number => vcpu.state.register(Math.max(movRegister(vcpu), 0));

/** Whether the intercepted MOV to CR4 writes no bit that the VM's CPU reserves. */
export const isLegalCr4Write = (vcpu: Vcpu): boolean =>
  vcpu.vm.rules.cr4IsLegal(cr4Operand(vcpu) >>> 0, vcpu.vm.cr4Writable, 'MOV CR4');

export function handleCr4Write(vcpu: Vcpu): void {
  const value = cr4Operand(vcpu);
  traceAccess(vcpu, 4, value, true);
  finish(vcpu, writeCr4(vcpu, value));
}

/** CR8 holds bits 7:4 of the task priority; bits above 3 are reserved (APM vol. 2 16.6.4). */
export function handleCr8Write(vcpu: Vcpu): void {
  const value = vcpu.state.register(Math.max(movRegister(vcpu), 0));
  const { apic } = vcpu.vm.environment;
  traceAccess(vcpu, 8, value, true);
  const legal = (value & ~0xf) === 0;
  if (legal && apic !== undefined) apic.taskPriority = value;
  finish(vcpu, legal);
}

function finish(vcpu: Vcpu, legal: boolean): void {
  if (legal) vcpu.skipInstruction();
  else vcpu.raiseGeneralProtection();
}

/** INVLPG: the address by decode assist, or read from the operand. */
export function handleInvlpg(vcpu: Vcpu): void {
  const { vmcb } = vcpu.state;
  let linear = vmcb.read(VMCB.EXITINFO1);
  if (!vcpu.vm.hypervisor.decodeAssists) {
    const instruction = readInstruction(vcpu);
    if (instruction === null || instruction.opcode !== GROUP_7) {
      vcpu.fail('INVLPG was intercepted and cannot be read');
      return;
    }
    linear = instruction.linear;
  }
  vcpu.invalidatePage(linear);
  vcpu.skipInstruction();
}
