import type { Bits, Operand } from '../../isa/builder.ts';
import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import { REGISTERS } from '../layout.ts';
import type { MemoryAccess, Place } from './memory.ts';

/** Reads a register slot: `address` is where its low byte lies. */
export const readRegister = (address: Int, bits: Bits, offset = 0): Int =>
  Int.load(bits === 64 ? 'i64' : 'i32', bits, address, offset);

/** Writing 32 bits clears the upper half of the slot (SDM vol. 1 3.4.1.1); 8 and 16 bits leave the rest alone. */
export function writeRegister(code: FunctionBuilder, address: Int, bits: Bits, value: Int, offset = 0): void {
  if (bits >= 32) code.store(64, address, value.toI64Unsigned(), offset);
  else code.store(bits, address, value, offset);
}

/** A register whose address is computed at run time, from a field of the record. */
export function registerOperand(code: FunctionBuilder, address: Int, bits: Bits): Operand {
  const read = (): Int => readRegister(address, bits);
  return { bits, read, modify: read, write: (value) => writeRegister(code, address, bits, value) };
}

/** A register known when the code is made. `byte` is 1 for AH. */
export function fixedRegister(code: FunctionBuilder, number: number, bits: Bits, byte = 0): Operand {
  const place = REGISTERS + number * 8 + byte;
  const read = (): Int => readRegister(Int.const32(0), bits, place);
  return {
    bits,
    read,
    modify: read,
    write: (value) => writeRegister(code, Int.const32(0), bits, value, place),
  };
}

export function constantOperand(value: Int, bits: Bits): Operand {
  const refuse = (): never => {
    throw new TypeError('an immediate cannot be written');
  };
  return { bits, read: () => value, modify: refuse, write: refuse };
}

/**
 * A memory operand. `linear` makes the address, checked for reading or for writing; it is asked once.
 */
export function memoryOperand(memory: MemoryAccess, bits: Bits, linear: (write: boolean) => Int): Operand {
  let place: Place | undefined;
  return {
    bits,
    read: () => memory.read(linear(false), bits),
    modify: () => {
      const modified = memory.modify(linear(true), bits);
      place = modified.place;
      return modified.value;
    },
    write: (value) => {
      if (place) memory.replace(place, value);
      else memory.write(linear(true), bits, value);
    },
  };
}
