import { VECTOR } from '../../arch/exceptions.ts';
import { CR0, CR4, DR6, DR7, EFLAGS, MSR } from '../../arch/registers.ts';
import { cr4Writable } from '../../arch/writable-bits.ts';
import { RAX, RCX, RDX } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import { noteDebugConditions } from '../events/breakpoints.ts';
import type { Instruction } from '../instruction.ts';
import { LDTR, SYSTEM, TR } from '../layout.ts';
import { checkWrite, readSegment, writeSegment } from '../segmentation/access.ts';
import { loadLdt, loadTaskRegister } from '../segmentation/load.ts';
import { checkCr0, checkCr4, loadCr0, loadCr3, loadCr4, setCr0 } from './control-registers.ts';
import { readRm, writeRm } from './operands.ts';
import type { Operation } from './operations.ts';

/** CPL 0, or #GP(0); virtual-8086 mode runs at CPL 3. */
export function requirePrivilege(cpu: Cpu): void {
  if (cpu.cpl !== 0) cpu.raiseGeneralProtection();
}
/** SLDT, LLDT and their kin do not exist outside protected mode. */
function requireProtectedMode(cpu: Cpu): void {
  if (!cpu.isProtected) cpu.raiseUndefined();
}

/** SGDT, SIDT: the base is whole whatever the operand size (SDM vol. 2B "SGDT"). */
const storeTable =
  (base: number, limit: number, which: 'gdt' | 'idt'): Operation =>
  (cpu, instruction) => {
    cpu.svm.interceptTable(which, 'read');
    const address = instruction.effectiveAddress;
    const behind = ((address + 2) & instruction.addressMask) >>> 0;
    checkWrite(cpu, instruction.segment, behind, 4);
    writeSegment(cpu, instruction.segment, address, 2, cpu.state.system(limit));
    writeSegment(cpu, instruction.segment, behind, 4, cpu.state.system(base));
  };

const loadTable =
  (base: number, limit: number, which: 'gdt' | 'idt'): Operation =>
  (cpu, instruction) => {
    requirePrivilege(cpu);
    cpu.svm.interceptTable(which, 'write');
    const address = instruction.effectiveAddress;
    const behind = ((address + 2) & instruction.addressMask) >>> 0;
    const newLimit = readSegment(cpu, instruction.segment, address, 2);
    const newBase = readSegment(cpu, instruction.segment, behind, 4);
    cpu.state.setSystem(limit, newLimit);
    cpu.state.setSystem(base, instruction.operandSize === 2 ? newBase & 0x00ff_ffff : newBase);
  };

/** SLDT, STR: a word to memory, zero-extended into a register. */
const storeSelector =
  (segment: number, which: 'ldt' | 'tr'): Operation =>
  (cpu, instruction) => {
    requireProtectedMode(cpu);
    cpu.svm.interceptTable(which, 'read');
    writeRm(
      cpu,
      instruction,
      instruction.isMemory ? 2 : instruction.operandSize,
      cpu.state.selector(segment),
    );
  };

const PROTECTED_BITS = CR0.PE | CR0.MP | CR0.EM | CR0.TS;

function loadMachineStatus(cpu: Cpu, instruction: Instruction): void {
  requirePrivilege(cpu);
  const before = cpu.state.cr0;
  // The intercept comes before any access to memory, and does not depend on the value (APM vol. 2 15.9).
  cpu.svm.interceptCr0Write(before, true, instruction);
  const value = readRm(cpu, instruction, 2);
  // LMSW can set PE but not clear it.
  const wanted = ((before & ~PROTECTED_BITS) | (value & PROTECTED_BITS) | (before & CR0.PE)) >>> 0;
  loadCr0(cpu, wanted);
}

function loadControlRegister(cpu: Cpu, instruction: Instruction): void {
  const number = instruction.lock ? 8 : instruction.regField;
  if (number !== 0 && number !== 2 && number !== 3 && number !== 4 && number !== 8) cpu.raiseUndefined();
  if ((number === 8 && !hasCr8(cpu)) || (number === 4 && !hasCr4(cpu))) cpu.raiseUndefined();
  requirePrivilege(cpu);
  const value = cpu.state.gpr(instruction.rmRegister);
  // Illegal values fault before the intercept, PDPTEs behind it (APM vol. 2 15.9).
  if (number === 0) checkCr0(cpu, value);
  else if (number === 4) checkCr4(cpu, value);
  if (number === 0) cpu.svm.interceptCr0Write(value, false, instruction);
  else cpu.svm.interceptCr(number, 'write', instruction);
  if (number === 0) loadCr0(cpu, value);
  else if (number === 2) cpu.state.setSystem(SYSTEM.CR2, value);
  else if (number === 3) loadCr3(cpu, value);
  else if (number === 4) loadCr4(cpu, value);
  else cpu.svm.writeTaskPriority(value & 0xf);
}

function storeControlRegister(cpu: Cpu, instruction: Instruction): void {
  const number = instruction.lock ? 8 : instruction.regField;
  const places: Readonly<Record<number, number>> = {
    0: SYSTEM.CR0,
    2: SYSTEM.CR2,
    3: SYSTEM.CR3,
    4: SYSTEM.CR4,
  };
  const place = places[number];
  if (place === undefined && !(number === 8 && hasCr8(cpu))) cpu.raiseUndefined();
  if (number === 4 && !hasCr4(cpu)) cpu.raiseUndefined();
  requirePrivilege(cpu);
  cpu.svm.interceptCr(number, 'read', instruction);
  const value = place === undefined ? cpu.svm.readTaskPriority() : cpu.state.system(place);
  cpu.state.setGpr(instruction.rmRegister, value);
}

/** CR4 came with its first bit (SDM vol. 3B 22.22). */
const hasCr4 = (cpu: Cpu): boolean => cr4Writable(cpu.model) !== 0;
/** LOCK MOV CR0 reaches CR8 outside 64-bit mode (APM vol. 3 "MOV CRn", AltMovCr8). */
const hasCr8 = (cpu: Cpu): boolean => cpu.hasFeature('cr8_legacy');

/** DR4 and DR5 are DR6 and DR7 unless CR4.DE (SDM vol. 3B 17.2.2). */
function debugRegister(cpu: Cpu, instruction: Instruction): number {
  const number = instruction.regField;
  if (number !== 4 && number !== 5) return number;
  if ((cpu.state.cr4 & CR4.DE) !== 0) cpu.raiseUndefined();
  return number + 2;
}

const placeOf = (number: number): number =>
  number === 6 ? SYSTEM.DR6 : number === 7 ? SYSTEM.DR7 : SYSTEM.DR0 + number * 8;

/**
 * DR7.GD: any access is a fault (SDM vol. 3B 17.2.4). Of all #DB this one alone pushes RF = 1: 17.3.1.1 exempts instruction
 * breakpoints only, and the others are traps.
 */
function checkGeneralDetect(cpu: Cpu): void {
  if ((cpu.state.system(SYSTEM.DR7) & DR7.GD) === 0) return;
  noteDebugConditions(cpu, DR6.BD);
  cpu.state.systemFlags |= EFLAGS.RF;
  // A #VMEXIT of it keeps RF as well: by that a hypervisor that passes it on can tell it from a trap.
  cpu.resumeFlagUntil = cpu.completed + 1;
  cpu.raise(VECTOR.DB);
}

const storeDebugRegister: Operation = (cpu, instruction) => {
  const number = debugRegister(cpu, instruction);
  requirePrivilege(cpu);
  checkGeneralDetect(cpu);
  cpu.svm.interceptDr(number, 'read', instruction);
  cpu.state.setGpr(instruction.rmRegister, cpu.state.system(placeOf(number)));
};

const loadDebugRegister: Operation = (cpu, instruction) => {
  const number = debugRegister(cpu, instruction);
  requirePrivilege(cpu);
  checkGeneralDetect(cpu);
  cpu.svm.interceptDr(number, 'write', instruction);
  const value = cpu.state.gpr(instruction.rmRegister);
  setDebugRegister(cpu, number, value);
};

/** Writes DR0-3, DR6 or DR7 with its fixed bits (SDM vol. 3B 17.2). */
export function setDebugRegister(cpu: Cpu, number: number, value: number): void {
  const fixed =
    number === 6
      ? ((value & 0x0000_e00f) | 0xffff_0ff0) >>> 0
      : number === 7
        ? ((value & ~0xd800) | 0x400) >>> 0
        : value;
  cpu.state.setSystem(placeOf(number), fixed);
  cpu.endSlice();
  cpu.watchDataBreakpoints();
}

const readMsr: Operation = (cpu) => {
  requirePrivilege(cpu);
  const index = cpu.state.gpr(RCX);
  cpu.svm.interceptMsr(index, 'read');
  const lo = cpu.msrs.read(index);
  cpu.state.setGpr(RAX, lo);
  cpu.state.setGpr(RDX, cpu.msrs.high);
};

const writeMsr: Operation = (cpu) => {
  requirePrivilege(cpu);
  const index = cpu.state.gpr(RCX);
  cpu.svm.interceptMsr(index, 'write');
  cpu.msrs.write(index, cpu.state.gpr(RAX), cpu.state.gpr(RDX));
};

const invalidatePage: Operation = (cpu, instruction) => {
  requirePrivilege(cpu);
  const linear = (cpu.state.segmentBase(instruction.segment) + instruction.effectiveAddress) >>> 0;
  cpu.svm.interceptInvalidatePage(linear);
  cpu.paging.invalidatePage(linear, cpu.paging.asid);
  cpu.updateContext();
};

export const SYSTEM_REGISTER_OPERATIONS: Readonly<Record<string, Operation>> = {
  storeGdt: storeTable(SYSTEM.GDT_BASE, SYSTEM.GDT_LIMIT, 'gdt'),
  storeIdt: storeTable(SYSTEM.IDT_BASE, SYSTEM.IDT_LIMIT, 'idt'),
  loadGdt: loadTable(SYSTEM.GDT_BASE, SYSTEM.GDT_LIMIT, 'gdt'),
  loadIdt: loadTable(SYSTEM.IDT_BASE, SYSTEM.IDT_LIMIT, 'idt'),
  storeLdt: storeSelector(LDTR, 'ldt'),
  storeTask: storeSelector(TR, 'tr'),
  loadLdt: (cpu, instruction) => {
    requireProtectedMode(cpu);
    requirePrivilege(cpu);
    cpu.svm.interceptTable('ldt', 'write');
    loadLdt(cpu, readRm(cpu, instruction, 2));
  },
  loadTask: (cpu, instruction) => {
    requireProtectedMode(cpu);
    requirePrivilege(cpu);
    cpu.svm.interceptTable('tr', 'write');
    loadTaskRegister(cpu, readRm(cpu, instruction, 2));
  },
  storeMachineStatus: (cpu, instruction) => {
    cpu.svm.interceptCr(0, 'read', instruction);
    writeRm(
      cpu,
      instruction,
      instruction.isMemory ? 2 : instruction.operandSize,
      instruction.isMemory ? cpu.state.cr0 & 0xffff : cpu.state.cr0,
    );
  },
  loadMachineStatus,
  clearTaskSwitched: (cpu, instruction) => {
    requirePrivilege(cpu);
    cpu.svm.interceptCr0Write((cpu.state.cr0 & ~CR0.TS) >>> 0, false, instruction);
    setCr0(cpu, (cpu.state.cr0 & ~CR0.TS) >>> 0);
  },
  loadControlRegister,
  storeControlRegister,
  loadDebugRegister,
  storeDebugRegister,
  readMsr,
  writeMsr,
  invalidatePage,
  invalidateCaches: (cpu) => {
    requirePrivilege(cpu);
    cpu.svm.interceptCacheInvalidation('invd');
  },
  writeBackCaches: (cpu) => {
    requirePrivilege(cpu);
    cpu.svm.interceptCacheInvalidation('wbinvd');
  },
  systemEnter,
  systemExit,
};

/** SYSENTER (SDM vol. 2B): flat segments from SYSENTER_CS, whatever the GDT says. */
function systemEnter(cpu: Cpu): void {
  const { state } = cpu;
  const cs = cpu.msrs.get(MSR.SYSENTER_CS)?.lo ?? 0;
  if (cpu.isReal || (cs & 0xfffc) === 0) cpu.raiseGeneralProtection();
  state.systemFlags &= ~(0x2_0000 | 0x200 | 0x1_0000);
  cpu.cpl = 0;
  state.setSegment(1, cs & 0xfffc, 0, 0xffff_ffff, FLAT_CODE);
  state.setSegment(2, (cs & 0xfffc) + 8, 0, 0xffff_ffff, FLAT_DATA);
  state.setGpr(4, cpu.msrs.get(MSR.SYSENTER_ESP)?.lo ?? 0);
  cpu.nextEip = cpu.msrs.get(MSR.SYSENTER_EIP)?.lo ?? 0;
  cpu.updateContext();
}

const FLAT_CODE = 0xc9b;
const FLAT_DATA = 0xc93;
const USER = 0x60;

function systemExit(cpu: Cpu): void {
  const { state } = cpu;
  const cs = cpu.msrs.get(MSR.SYSENTER_CS)?.lo ?? 0;
  if (cpu.isReal || (cs & 0xfffc) === 0) cpu.raiseGeneralProtection();
  requirePrivilege(cpu);
  cpu.cpl = 3;
  state.setSegment(1, ((cs + 16) & 0xffff) | 3, 0, 0xffff_ffff, FLAT_CODE | USER);
  state.setSegment(2, ((cs + 24) & 0xffff) | 3, 0, 0xffff_ffff, FLAT_DATA | USER);
  cpu.nextEip = state.gpr(RDX);
  state.setGpr(4, state.gpr(RCX));
  cpu.updateContext();
}
