import type { Operand } from '../../../isa/builder.ts';
import type { SimdOperand } from '../../../isa/simd/index.ts';
import { Int } from '../../../wasm/expression.ts';
import type { FunctionBuilder } from '../../../wasm/function.ts';
import { V128 } from '../../../wasm/vector.ts';
import type { MemoryAccess } from '../memory.ts';

const readLow = (address: Int, bits: 32 | 64): Int => Int.load(bits === 64 ? 'i64' : 'i32', bits, address);

/** An XMM register, or its low 32 or 64 bits. */
export function xmmOperand(code: FunctionBuilder, address: Int, bits: 32 | 64 | 128): SimdOperand {
  return {
    bits,
    read: () => readLow(address, bits === 32 ? 32 : 64),
    write: (value) => code.store(value.type === 'i32' ? 32 : 64, address, value),
    vector: () => V128.load(bits, address),
    setVector: (value) => {
      if (bits === 32) code.store(32, address, value.extract('i32x4', 0));
      else code.storeVector(bits, address, value);
    },
  };
}

const ALL_ONES = Int.const32(0xffff);
const SIGN_EXPONENT = 8;

/** An MMX register: writing it sets sign and exponent of the x87 register to ones (SDM vol. 1 9.6.2). */
export function mmxOperand(code: FunctionBuilder, address: Int, bits: 32 | 64): SimdOperand {
  const finish = (): void => code.store(16, address, ALL_ONES, SIGN_EXPONENT);
  return {
    bits,
    read: () => readLow(address, bits),
    write: (value) => {
      code.store(64, address, value);
      finish();
    },
    vector: () => V128.load(bits, address),
    setVector: (value) => {
      code.storeVector(64, address, value);
      finish();
    },
  };
}

/** Memory of 16 bits (zero-extended when read) to 128. */
export function simdMemoryOperand(
  memory: MemoryAccess,
  bits: 16 | 32 | 64 | 128,
  linear: (write: boolean) => Int,
  aligned: boolean,
): SimdOperand {
  if (bits === 128) {
    return {
      bits,
      read: () => memory.readVector(linear(false), aligned).extract('i64x2', 0),
      write: () => {
        throw new TypeError('a 128-bit memory operand is written whole');
      },
      vector: () => memory.readVector(linear(false), aligned),
      setVector: (value) => memory.writeVector(linear(true), value, aligned),
    };
  }
  const read = (): Int => memory.read(linear(false), bits);
  return {
    bits: bits === 16 ? 32 : bits,
    read,
    write: (value) => memory.write(linear(true), bits, value),
    vector: () => V128.low(read()),
    setVector: (value) => memory.write(linear(true), bits, value.extract(bits === 64 ? 'i64x2' : 'i32x4', 0)),
  };
}

/** A general register or an immediate. */
export function integerOperand(operand: Operand): SimdOperand {
  return {
    bits: operand.bits === 16 ? 32 : operand.bits,
    read: () => operand.read(),
    write: (value) => operand.write(value),
    vector: () => V128.low(operand.read()),
    setVector: (value) => operand.write(value.extract('i32x4', 0)),
  };
}
