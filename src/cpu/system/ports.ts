import { ATTRIBUTE } from '../../arch/descriptors.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { EFLAGS, EFLAGS_IOPL_SHIFT } from '../../arch/registers.ts';
import { RAX, RDI, RDX, RSI } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import { meetPortBreakpoints } from '../events/breakpoints.ts';
import type { Instruction } from '../instruction.ts';
import { ES, TR } from '../layout.ts';
import { checkWrite, writeSegment } from '../segmentation/access.ts';
import type { Operation } from './operations.ts';
import type { StringOperation } from './repeat.ts';
import { index, setAccumulator } from './string-runs.ts';
import { byteForm, readSource, stepIndex, wideForm } from './strings.ts';

type PortSize = 1 | 2 | 4;

/** Where a 32-bit TSS keeps the offset of its I/O permission bitmap (SDM vol. 3A figure 7-2). */
const BITMAP_POINTER = 0x66;
const TYPE_32_BIT = 0x8;
/** Elements after which REP INS or OUTS lets interrupts in. */
const QUOTA = 4096;

/** SDM vol. 1 18.5: IOPL, or in virtual-8086 mode and beyond IOPL the TSS's bitmap. Raises #GP(0). */
function checkPermission(cpu: Cpu, port: number, size: PortSize): void {
  if (cpu.isReal) return;
  const iopl = (cpu.state.systemFlags & EFLAGS.IOPL) >> EFLAGS_IOPL_SHIFT;
  if (cpu.cpl <= iopl && !cpu.isVirtual8086) return;
  if (!bitmapAllows(cpu, port, size)) cpu.raiseGeneralProtection();
}

/** SDM vol. 1 18.5.2: all bits of the port's bytes must be clear; two bytes of the map are always read. */
function bitmapAllows(cpu: Cpu, port: number, size: PortSize): boolean {
  const { state, memory } = cpu;
  const attributes = state.segmentAttributes(TR);
  const limit = state.segmentLimit(TR);
  if ((attributes & ATTRIBUTE.P) === 0 || (attributes & TYPE_32_BIT) === 0 || limit <= BITMAP_POINTER)
    return false;
  const base = state.segmentBase(TR);
  const place = memory.read((base + BITMAP_POINTER) >>> 0, 2, ACCESS.IMPLICIT) + (port >> 3);
  if (place + 1 > limit) return false;
  const bits = memory.read((base + place) >>> 0, 2, ACCESS.IMPLICIT) >> (port & 7);
  return (bits & ((1 << size) - 1)) === 0;
}

/** An access to a device may have raised an interrupt. Behind a closed IF it waits for who opens it, and ends the slice. */
function noticeInterrupt(cpu: Cpu): void {
  const waits = cpu.environment.interrupts.pending && cpu.svm.physicalInterruptsOpen(false);
  if (waits || cpu.nmiPending) cpu.endSlice();
}

/** IN, behind its checks. */
function readPort(cpu: Cpu, port: number, size: PortSize): number {
  const value = cpu.environment.ports.read(port, size) >>> 0;
  noticeInterrupt(cpu);
  meetPortBreakpoints(cpu, port, size);
  return value;
}

/** OUT, behind its checks. What else it may change outside the processor ends the slice itself. */
function writePort(cpu: Cpu, port: number, size: PortSize, value: number): void {
  cpu.environment.ports.write(port, size, value);
  noticeInterrupt(cpu);
  meetPortBreakpoints(cpu, port, size);
}

function input(cpu: Cpu, instruction: Instruction, port: number, size: PortSize): void {
  checkPermission(cpu, port, size);
  cpu.svm.interceptIo(port, size, true, false, false, instruction.addressSize, instruction.segment);
  setAccumulator(cpu.state, size, readPort(cpu, port, size));
}

function output(cpu: Cpu, instruction: Instruction, port: number, size: PortSize): void {
  checkPermission(cpu, port, size);
  cpu.svm.interceptIo(port, size, false, false, false, instruction.addressSize, instruction.segment);
  const value = cpu.state.gpr(RAX);
  writePort(cpu, port, size, size === 4 ? value : value & (2 ** (size * 8) - 1));
}

const isRepeated = (instruction: Instruction): boolean => instruction.rep || instruction.repne;

/** INS: whatever the write could raise is raised before the device notices anything. */
const inputString = (size: PortSize): StringOperation => ({
  compares: false,
  quota: QUOTA,
  run: () => 0,
  step(cpu, instruction) {
    const { state } = cpu;
    const port = state.gpr16(RDX);
    checkPermission(cpu, port, size);
    cpu.svm.interceptIo(port, size, true, true, isRepeated(instruction), instruction.addressSize, ES);
    const destination = index(state, instruction, RDI);
    checkWrite(cpu, ES, destination, size);
    writeSegment(cpu, ES, destination, size, readPort(cpu, port, size));
    stepIndex(cpu, instruction, RDI, size);
  },
});

const outputString = (size: PortSize): StringOperation => ({
  compares: false,
  quota: QUOTA,
  run: () => 0,
  step(cpu, instruction) {
    const port = cpu.state.gpr16(RDX);
    const { addressSize, segment } = instruction;
    checkPermission(cpu, port, size);
    cpu.svm.interceptIo(port, size, false, true, isRepeated(instruction), addressSize, segment);
    writePort(cpu, port, size, readSource(cpu, instruction, size));
    stepIndex(cpu, instruction, RSI, size);
  },
});

const portInDx = (cpu: Cpu): number => cpu.state.gpr16(RDX);
const portInCode = (_cpu: Cpu, instruction: Instruction): number => instruction.immediate & 0xff;

type Transfer = (cpu: Cpu, instruction: Instruction, port: number, size: PortSize) => void;

const byte =
  (transfer: Transfer, port: (cpu: Cpu, instruction: Instruction) => number): Operation =>
  (cpu, instruction) =>
    transfer(cpu, instruction, port(cpu, instruction), 1);

const wide =
  (transfer: Transfer, port: (cpu: Cpu, instruction: Instruction) => number): Operation =>
  (cpu, instruction) =>
    transfer(cpu, instruction, port(cpu, instruction), instruction.operandSize);

export const PORT_OPERATIONS: Readonly<Record<string, Operation>> = {
  inputByteImmediate: byte(input, portInCode),
  inputImmediate: wide(input, portInCode),
  inputByte: byte(input, portInDx),
  input: wide(input, portInDx),
  outputByteImmediate: byte(output, portInCode),
  outputImmediate: wide(output, portInCode),
  outputByte: byte(output, portInDx),
  output: wide(output, portInDx),
  inputStringByte: byteForm(inputString),
  inputString: wideForm(inputString),
  outputStringByte: byteForm(outputString),
  outputString: wideForm(outputString),
};
