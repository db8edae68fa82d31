import { SELECTOR, SYSTEM_TYPE } from '../../arch/descriptors.ts';
import { EFLAGS } from '../../arch/registers.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { type Descriptor, findDescriptor, isNullSelector } from '../segmentation/descriptor.ts';
import { readRm, writeG } from './operands.ts';
import type { Operation } from './operations.ts';

const {
  TSS_16_AVAILABLE,
  LDT,
  TSS_16_BUSY,
  CALL_GATE_16,
  TASK_GATE,
  TSS_32_AVAILABLE,
  TSS_32_BUSY,
  CALL_GATE_32,
} = SYSTEM_TYPE;

/** System descriptors that LSL accepts, and those that LAR accepts (SDM vol. 2A tables 3-53, 3-56). */
const WITH_LIMIT: readonly number[] = [TSS_16_AVAILABLE, LDT, TSS_16_BUSY, TSS_32_AVAILABLE, TSS_32_BUSY];
const WITH_RIGHTS: readonly number[] = [...WITH_LIMIT, CALL_GATE_16, TASK_GATE, CALL_GATE_32];

/** What LAR shows of the descriptor's upper half: type, S, DPL, P, limit 19:16, AVL, L, D/B, G. */
const RIGHTS_MASK = 0x00ff_ff00;

/**
 * The descriptor that the operand selects, if it exists and CPL and RPL may see it: conforming code always, others up
 * to their DPL. Raises #UD outside protected mode.
 */
function visibleDescriptor(cpu: Cpu, instruction: Instruction): Descriptor | undefined {
  if (!cpu.isProtected) cpu.raiseUndefined();
  const selector = readRm(cpu, instruction, 2);
  if (isNullSelector(selector)) return undefined;
  const descriptor = findDescriptor(cpu, selector);
  if (descriptor === undefined || descriptor.isConforming) return descriptor;
  return Math.max(cpu.cpl, selector & SELECTOR.RPL) <= descriptor.dpl ? descriptor : undefined;
}

/** LAR, LSL, VERR and VERW answer in ZF and change no other flag. */
function setZero(cpu: Cpu, zero: boolean): void {
  const { state } = cpu;
  const flags = state.eflags & ~EFLAGS.ZF;
  state.eflags = zero ? flags | EFLAGS.ZF : flags;
}

/** LAR and LSL: a value of the descriptor if it is of an accepted type, else the destination stays. */
const query =
  (systemTypes: readonly number[], answer: (descriptor: Descriptor) => number): Operation =>
  (cpu, instruction) => {
    const descriptor = visibleDescriptor(cpu, instruction);
    const accepted =
      descriptor !== undefined && (descriptor.isSegment || systemTypes.includes(descriptor.type));
    if (accepted) writeG(cpu, instruction, answer(descriptor));
    setZero(cpu, accepted);
  };

/** VERR and VERW: whether the segment could be read or written. */
const verify =
  (allows: (descriptor: Descriptor) => boolean): Operation =>
  (cpu, instruction) => {
    const descriptor = visibleDescriptor(cpu, instruction);
    setZero(cpu, descriptor !== undefined && allows(descriptor));
  };

export const DESCRIPTOR_QUERY_OPERATIONS: Readonly<Record<string, Operation>> = {
  loadAccessRights: query(WITH_RIGHTS, (descriptor) => descriptor.hi & RIGHTS_MASK),
  loadSegmentLimit: query(WITH_LIMIT, (descriptor) => descriptor.limit),
  verifyRead: verify((descriptor) => descriptor.isReadable),
  verifyWrite: verify((descriptor) => descriptor.isWritableData),
};
