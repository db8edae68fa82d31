import { RIGHTS } from '../../arch/paging/format.ts';
import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';
import { TLB_FLAG } from '../tlb.ts';
import type { Operation } from './operations.ts';
import { requirePrivilege } from './system-registers.ts';

/** TR3 to TR5 test the cache, which is not modelled and so only keeps what it is told; TR6 and TR7 the TLB. */
const [FIRST, COMMAND, DATA] = [3, 6, 7] as const;

// biome-ignore format: table
/** TR6 (Intel486 programmer's reference manual, 10.5.2): of each attribute the bit and its complement. */
const TR6 = { LOOKUP: 0x001, W: 0x040, U: 0x100, D: 0x400, VALID: 0x800 } as const;
/** TR7: a lookup hit; the block is an arbitrary one of four. */
const TR7 = { HIT: 0x010, BLOCK_SHIFT: 2 } as const;
const ATTRIBUTES = [TR6.W, TR6.U, TR6.D] as const;

/** The register that ModRM names; there is none below TR3. */
function numberOf(cpu: Cpu, instruction: Instruction): number {
  const number = instruction.regField;
  if (number < FIRST) cpu.raiseUndefined();
  requirePrivilege(cpu);
  return number;
}

/** Attributes of a TLB entry where TR6 has them. */
function attributesOf(flags: number): number {
  return (
    ((flags & RIGHTS.W) !== 0 ? TR6.W : 0) |
    ((flags & RIGHTS.U) !== 0 ? TR6.U : 0) |
    ((flags & TLB_FLAG.DIRTY) !== 0 ? TR6.D : 0)
  );
}

/** In a lookup a pair says: neither bit matches nothing, both match anything, one the value that it stands for. */
function matches(command: number, attributes: number): boolean {
  return ATTRIBUTES.every((bit) => (command & ((attributes & bit) !== 0 ? bit : bit >> 1)) !== 0);
}

function lookUp(cpu: Cpu, command: number): void {
  const { tlb, asid } = cpu.paging;
  const entry = tlb.find(command >>> 12, asid);
  const hit = entry >= 0 && (command & TR6.VALID) !== 0 && matches(command, attributesOf(tlb.flags(entry)));
  cpu.testRegisters[DATA] = hit
    ? (tlb.frame(entry) * 4096) | TR7.HIT | ((entry & 3) << TR7.BLOCK_SHIFT)
    : (cpu.testRegisters[DATA] as number) & ~TR7.HIT;
}

/** Enters the translation of TR6 and TR7 into the TLB, or takes one out. */
function enter(cpu: Cpu, command: number): void {
  const { paging } = cpu;
  paging.invalidatePage((command & ~0xfff) >>> 0, paging.asid);
  if ((command & TR6.VALID) !== 0) {
    const rights =
      RIGHTS.X | ((command & TR6.W) !== 0 ? RIGHTS.W : 0) | ((command & TR6.U) !== 0 ? RIGHTS.U : 0);
    const dirty = (command & TR6.D) !== 0 ? TLB_FLAG.DIRTY : 0;
    paging.tlb.insert(
      command >>> 12,
      paging.asid,
      (cpu.testRegisters[DATA] as number) >>> 12,
      rights | dirty,
    );
  }
  cpu.updateContext();
}

/** MOV from and to test registers, which the 386 and 486 have (SDM vol. 3B 22.18.4 tells that they are gone since). */
export const TEST_REGISTER_OPERATIONS: Readonly<Record<string, Operation>> = {
  storeTestRegister: (cpu, instruction) => {
    const number = numberOf(cpu, instruction);
    cpu.state.setGpr(instruction.rmRegister, cpu.testRegisters[number] as number);
  },
  loadTestRegister: (cpu, instruction) => {
    const number = numberOf(cpu, instruction);
    const value = cpu.state.gpr(instruction.rmRegister);
    cpu.testRegisters[number] = value;
    if (number !== COMMAND) return;
    if ((value & TR6.LOOKUP) !== 0) lookUp(cpu, value);
    else enter(cpu, value);
  },
};
