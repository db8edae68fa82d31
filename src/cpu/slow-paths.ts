import { VECTOR } from '../arch/exceptions.ts';
import { ACCESS } from '../arch/paging/permissions.ts';
import { CR0, CR4 } from '../arch/registers.ts';
import { FORMS } from '../isa/table.ts';
import { X87_OPERATION } from '../isa/x87-table.ts';
import type { Cpu } from './cpu.ts';
import { raiseException } from './events/exceptions.ts';
import { VmExit } from './guest-exception.ts';
import type { InterpreterImports } from './interpreter/imports.ts';
import {
  BUDGET,
  CS,
  EIP_BASE,
  FAULT,
  LEAVE_RECORD,
  RECORD,
  RECORD_SIZE,
  SCRATCH_RECORDS,
  SEGMENT_SIZE,
  SEGMENTS,
  SIMD_MASK,
  SIMD_TRANSFER,
  SS,
} from './layout.ts';
import type { Operation } from './system/operations.ts';
import { OPERATIONS } from './system/operations-table.ts';

const LARGEST_LENGTH = 4096;
/** By form: no instruction follows it in its block. */
const ENDS: readonly boolean[] = FORMS.map((form) => form.ends === true);
/** By form: the name of its operation, or the number of its x87 operation, if TypeScript carries it out. */
const OPERATION_KEYS: readonly (string | number | undefined)[] = FORMS.map(({ semantics }) => {
  if (typeof semantics !== 'string') return undefined;
  const number = X87_OPERATION.exec(semantics)?.[1];
  return number === undefined ? semantics : Number(number);
});

/** What interpreted code calls when it cannot go on by itself. */
export class SlowPaths implements InterpreterImports {
  readonly #cpu: Cpu;
  #operations: readonly (Operation | undefined)[] = [];
  /** A write in progress hit decoded code: the block must be left. */
  #codeChanged = false;

  readonly #block: (() => number) | undefined;

  /** @param block where blocks come from, if not from memory */
  constructor(cpu: Cpu, block?: () => number) {
    this.#cpu = cpu;
    this.#block = block;
    const observe = cpu.physical.onCodeWrite;
    cpu.physical.onCodeWrite = (frame, offset, bytes) => {
      const changed = observe(frame, offset, bytes);
      if (changed) this.#codeChanged = true;
      return changed;
    };
  }

  /** Finds the operation of each form; the processor's parts must exist by now. */
  bindOperations(): void {
    const { x87 } = this.#cpu;
    const own: Readonly<Record<string, Operation>> = { fxsave: x87.fxsave, fxrstor: x87.fxrstor };
    this.#operations = OPERATION_KEYS.map((key) => {
      if (key === undefined) return undefined;
      return typeof key === 'number' ? x87.operation(key) : (own[key] ?? OPERATIONS[key]);
    });
  }

  readSlow(record: number, linear: number, size: number): number {
    return this.#access(record, linear, size, this.#cpu.dataAccess) ? this.#read(record, linear, size) : 0;
  }

  readSlow64(record: number, linear: number): bigint {
    return this.#access(record, linear, 8, this.#cpu.dataAccess) ? this.#read64(record, linear) : 0n;
  }

  modifySlow(record: number, linear: number, size: number): number {
    const access = this.#cpu.dataAccess | ACCESS.WRITE;
    return this.#access(record, linear, size, access) ? this.#read(record, linear, size) : 0;
  }

  modifySlow64(record: number, linear: number): bigint {
    const access = this.#cpu.dataAccess | ACCESS.WRITE;
    return this.#access(record, linear, 8, access) ? this.#read64(record, linear) : 0n;
  }

  writeSlow(record: number, linear: number, size: number, value: number): number {
    if (!this.#access(record, linear, size, this.#cpu.dataAccess | ACCESS.WRITE)) return 0;
    return this.#afterWrite(record, () => {
      this.#cpu.memory.write(linear >>> 0, size as 4, value >>> 0, this.#cpu.dataAccess);
    });
  }

  writeSlow64(record: number, linear: number, value: bigint): number {
    if (!this.#access(record, linear, 8, this.#cpu.dataAccess | ACCESS.WRITE)) return 0;
    return this.#afterWrite(record, () => {
      const { memory, dataAccess } = this.#cpu;
      memory.write(linear >>> 0, 4, Number(value & 0xffff_ffffn), dataAccess);
      memory.write((linear + 4) >>> 0, 4, Number((value >> 32n) & 0xffff_ffffn), dataAccess);
    });
  }

  readSlow128(record: number, linear: number, aligned: number): void {
    if (!this.#vectorAccess(record, linear, aligned, this.#cpu.dataAccess)) return;
    for (let byte = 0; byte < 16; byte += 4) {
      this.#cpu.state.u32[(SIMD_TRANSFER + byte) >> 2] = this.#read(record, linear + byte, 4);
    }
  }

  writeSlow128(record: number, linear: number, aligned: number): number {
    const { dataAccess, memory, state } = this.#cpu;
    if (!this.#vectorAccess(record, linear, aligned, dataAccess | ACCESS.WRITE)) return 0;
    return this.#afterWrite(record, () => {
      for (let byte = 0; byte < 16; byte += 4) {
        const value = state.u32[(SIMD_TRANSFER + byte) >> 2] as number;
        memory.write((linear + byte) >>> 0, 4, value, dataAccess);
      }
    });
  }

  writeMaskedSlow(record: number, linear: number, size: number): number {
    const { dataAccess, memory, state } = this.#cpu;
    if (!this.#access(record, linear, size, dataAccess | ACCESS.WRITE)) return 0;
    return this.#afterWrite(record, () => {
      for (let byte = 0; byte < size; byte++) {
        if ((state.u8[SIMD_MASK + byte] as number) < 0x80) continue;
        memory.write((linear + byte) >>> 0, 1, state.u8[SIMD_TRANSFER + byte] as number, dataAccess);
      }
    });
  }

  /** #UD for CR0.EM and, of SSE, CR4.OSFXSR; #NM for CR0.TS; else an x87 exception is pending (SDM vol. 3A 2.5, 12.1). */
  simdUnavailable(record: number, sse: number): void {
    const { cr0, cr4 } = this.#cpu.state;
    const isUndefined = (cr0 & CR0.EM) !== 0 || (sse !== 0 && (cr4 & CR4.OSFXSR) === 0);
    const vector = isUndefined ? VECTOR.UD : (cr0 & CR0.TS) !== 0 ? VECTOR.NM : VECTOR.MF;
    this.#fault(record, vector, -1);
  }

  /** Without CR4.OSXMMEXCPT it is #UD (SDM vol. 3A 2.5). */
  simdException(record: number): void {
    const { cr4 } = this.#cpu.state;
    this.#fault(record, (cr4 & CR4.OSXMMEXCPT) !== 0 ? VECTOR.XM : VECTOR.UD, -1);
  }

  generalProtection(record: number): void {
    this.#fault(record, VECTOR.GP, 0);
  }

  segmentFault(record: number, segment: number): void {
    this.#fault(record, (segment - SEGMENTS) / SEGMENT_SIZE === SS ? VECTOR.SS : VECTOR.GP, 0);
  }

  raise(record: number, vector: number): void {
    this.#fault(record, vector, -1);
  }

  external(record: number): number {
    const cpu: Cpu = this.#cpu;
    cpu.instruction.record = record;
    cpu.instructionEip = cpu.eipOf(record);
    const form = cpu.instruction.form;
    cpu.nextEip = (cpu.instructionEip + cpu.instruction.length) >>> 0;
    const fallThrough = cpu.nextEip;
    this.#codeChanged = false;
    cpu.chargedAhead = cpu.instruction.remaining;
    try {
      const operation = this.#operations[form];
      if (operation === undefined) cpu.raiseUndefined();
      operation(cpu, cpu.instruction);
    } catch (error) {
      this.#caught(error, record);
      return 0;
    } finally {
      cpu.chargedAhead = 0;
    }
    const goesOn = !ENDS[form] && cpu.nextEip === fallThrough;
    if (goesOn && !this.#codeChanged && !cpu.sliceEndRequested) return record + RECORD_SIZE;
    cpu.state.eip = cpu.nextEip;
    cpu.leaveBlock(record);
    return 0;
  }

  find(): number {
    const cpu = this.#cpu;
    const { state } = cpu;
    if ((state.i32[BUDGET >> 2] as number) <= 0 || cpu.stopRequested) return 0;
    if (this.#block !== undefined) return this.#block();
    for (;;) {
      const record = this.#findBlock(state.eip);
      if (record > 0) return record;
      // The fetch faulted; the exception counts as an instruction, so that no guest can fault for ever in here.
      raiseException(cpu, cpu.exception.vector, cpu.exception.errorCode, state.eip);
      cpu.countEvent();
      if ((state.i32[BUDGET >> 2] as number) <= 0 || cpu.stopRequested) return 0;
    }
  }

  link(record: number): number {
    const cpu = this.#cpu;
    const { state } = cpu;
    // A full cache would be cleared, and this record with it.
    if ((state.i32[BUDGET >> 2] as number) <= 0 || cpu.code.full) return 0;
    const target = this.#findBlock(state.eip);
    if (target === 0) {
      raiseException(cpu, cpu.exception.vector, cpu.exception.errorCode, state.eip);
      cpu.countEvent();
      return 0;
    }
    if (state.i32[(record + RECORD.DISPLACEMENT) >> 2] === this.#foundFrame) {
      state.i32[(record + RECORD.LINK) >> 2] = target;
    }
    return target;
  }

  shorten(record: number): number {
    const { state } = this.#cpu;
    const count = state.u8[record + RECORD.REMAINING] as number;
    const budget = (state.i32[BUDGET >> 2] as number) + count;
    if (budget <= 0) {
      state.i32[BUDGET >> 2] = budget;
      state.eip = this.#cpu.eipOf(record);
      return 0;
    }
    state.i32[BUDGET >> 2] = 0;
    state.u8.copyWithin(SCRATCH_RECORDS, record, record + budget * RECORD_SIZE);
    for (let place = 0; place < budget; place++) {
      state.u8[SCRATCH_RECORDS + place * RECORD_SIZE + RECORD.REMAINING] = budget - place;
    }
    const end = SCRATCH_RECORDS + budget * RECORD_SIZE;
    this.#cpu.code.endOfSlice(end, state.u16[(record + budget * RECORD_SIZE + RECORD.OFFSET) >> 1] as number);
    return SCRATCH_RECORDS;
  }

  #foundFrame = -1;

  /** The block at a linear EIP, remembered for next time; 0 with an exception filled in. */
  #findBlock(eip: number): number {
    const cpu = this.#cpu;
    const { state, code } = cpu;
    const limit = state.segmentLimit(CS);
    if (eip > limit) {
      cpu.exception.vector = VECTOR.GP;
      cpu.exception.errorCode = 0;
      return 0;
    }
    if (code.full) code.clear();
    const room = Math.min(limit - eip + 1, LARGEST_LENGTH);
    const linear = (state.segmentBase(CS) + eip) >>> 0;
    const mode = cpu.decodeMode;
    const address = cpu.paging.translate(linear, cpu.dataAccess | ACCESS.FETCH);
    if (address < 0) return 0;
    const frame = Math.floor(address / 4096);
    const offset = linear & 0xfff;
    let record = 0;
    if (cpu.physical.isRam(frame)) {
      this.#foundFrame = frame;
      record = code.block(frame, offset, mode, room);
      if (record === 0) {
        this.#foundFrame = -1;
        record = this.#crossing(frame, linear, mode, room);
        if (record === 0) return 0;
      }
    } else {
      this.#foundFrame = -1;
      record = this.#outsideRam(linear, mode, room);
      if (record === 0) return 0;
    }
    state.u32[EIP_BASE >> 2] = eip - offset;
    if (room >= LARGEST_LENGTH && this.#foundFrame >= 0) code.remember(eip, record);
    return record;
  }

  /** An instruction that the page, or the segment, does not hold whole. */
  #crossing(frame: number, linear: number, mode: number, room: number): number {
    const cpu = this.#cpu;
    const offset = linear & 0xfff;
    if (offset + room > 4096) {
      const second = cpu.paging.translate(((linear & ~0xfff) + 4096) >>> 0, cpu.dataAccess | ACCESS.FETCH);
      if (second < 0) return 0;
      const secondFrame = Math.floor(second / 4096);
      if (!cpu.physical.isRam(secondFrame)) return this.#outsideRam(linear, mode, room);
      const record = cpu.code.crossingBlock(frame, offset, secondFrame, mode, room);
      if (record !== 0) return record;
    }
    // The code segment ends within the instruction (SDM vol. 3A 5.3).
    cpu.exception.vector = VECTOR.GP;
    cpu.exception.errorCode = 0;
    return 0;
  }

  /** Code in a device or a hole: bytes are fetched one by one and nothing is kept. */
  #outsideRam(linear: number, mode: number, room: number): number {
    const cpu = this.#cpu;
    const bytes = new Uint8Array(16);
    let count = 0;
    for (; count < Math.min(15, room); count++) {
      const place = (linear + count) >>> 0;
      const address = cpu.paging.translate(place, cpu.dataAccess | ACCESS.FETCH);
      if (address < 0) break;
      bytes[count] = cpu.physical.read8(address);
    }
    const record = cpu.code.uncachedBlock(bytes, count, linear & 0xfff, mode);
    if (record === 0 && count >= Math.min(15, room)) {
      cpu.exception.vector = VECTOR.GP;
      cpu.exception.errorCode = 0;
    }
    return record;
  }

  /** Checks an access; on success the fast TLB may take the page's next one. */
  #access(record: number, linear: number, size: number, access: number): boolean {
    const cpu = this.#cpu;
    const place = linear >>> 0;
    if (cpu.memory.allows(place, size, access)) {
      if (cpu.memory === cpu.paging) cpu.paging.fill(place, cpu.cpl === 3);
      return true;
    }
    this.#fault(record, cpu.exception.vector, cpu.exception.errorCode);
    return false;
  }

  #vectorAccess(record: number, linear: number, aligned: number, access: number): boolean {
    if (aligned === 0 || (linear & 15) === 0) return this.#access(record, linear, 16, access);
    this.#fault(record, VECTOR.GP, 0);
    return false;
  }

  #read(record: number, linear: number, size: number): number {
    const cpu = this.#cpu;
    cpu.chargedAhead = cpu.state.u8[record + RECORD.REMAINING] as number;
    const value = cpu.memory.read(linear >>> 0, size as 4, cpu.dataAccess);
    cpu.chargedAhead = 0;
    return value;
  }

  #read64(record: number, linear: number): bigint {
    const low = BigInt(this.#read(record, linear, 4));
    return BigInt.asIntN(64, low | (BigInt(this.#read(record, linear + 4, 4)) << 32n));
  }

  #afterWrite(record: number, write: () => void): number {
    const cpu = this.#cpu;
    this.#codeChanged = false;
    cpu.chargedAhead = cpu.state.u8[record + RECORD.REMAINING] as number;
    write();
    cpu.chargedAhead = 0;
    if (!this.#codeChanged && !cpu.sliceEndRequested) return 0;
    cpu.leaveBlock(record);
    cpu.state.eip = (cpu.eipOf(record) + (cpu.state.u8[record + RECORD.LENGTH] as number)) >>> 0;
    return LEAVE_RECORD;
  }

  #caught(error: unknown, record: number): void {
    const cpu = this.#cpu;
    if (error === cpu.exception) this.#fault(record, cpu.exception.vector, cpu.exception.errorCode);
    else if (error instanceof VmExit) {
      cpu.leaveBlock(record);
      cpu.state.u32[FAULT >> 2] = 1;
    } else throw error;
  }

  /** Delivers a fault of the instruction at `record`. */
  #fault(record: number, vector: number, errorCode: number): void {
    const cpu = this.#cpu;
    // What the instruction met before it faulted it will meet again.
    cpu.pendingDebug = 0;
    cpu.instruction.record = record;
    cpu.chargedAhead = cpu.instruction.remaining;
    raiseException(cpu, vector, errorCode, cpu.eipOf(record));
    cpu.chargedAhead = 0;
    cpu.leaveBlock(record);
    cpu.state.u32[FAULT >> 2] = 1;
  }
}
