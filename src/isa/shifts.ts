import type { Int } from '../wasm/expression.ts';
import type { Bits, Builder, Operand } from './builder.ts';
import { type Form, form, type Semantics } from './form.ts';

/** A bit of `value` as an i32, 0 or 1. `place` counts from 0. */
const bit = (value: Int, place: number | Int): Int => value.shrU(place).toI32().and(1);

/** Counts are taken modulo 32, or 64 for a 64-bit operand (SDM vol. 2B "SAL/SAR/SHL/SHR"), as an i32. */
const maskedCount = (op: Builder, to: Operand, count: Operand): Int =>
  op.let(
    count
      .read()
      .toI32()
      .and(to.bits === 64 ? 63 : 31),
  );

/** The count in the type of the shifted value. */
const typed = (count: Int, like: Int): Int => (like.type === 'i64' ? count.toI64Unsigned() : count);

type ShiftBody = (op: Builder, to: Operand, x: Int, count: Int) => void;

/** Flags and destination stay as they are when the masked count is 0; memory is checked for writing all the same. */
const shift =
  (body: ShiftBody): Semantics =>
  (op, to, count) => {
    const x = op.let(to.modify());
    const masked = maskedCount(op, to, count);
    op.if(masked.eqz().eqz(), () => body(op, to, x, masked));
  };

/** An 8-, 16- or 32-bit shift is done in i64, where no count up to 31 overflows the type. */
const wide = (value: Int): Int => value.toI64Unsigned();

const shl: ShiftBody = (op, to, x, count) => {
  if (to.bits === 64) {
    const n = count.toI64Unsigned();
    const result = op.let(x.shl(n));
    const carry = op.let(bit(x, op.constant(64, 64).sub(n)));
    to.write(result);
    op.flags.shift(64, result, carry, carry.xor(bit(result, 63)));
    return;
  }
  const shifted = op.let(wide(x).shl(count.toI64Unsigned()));
  const result = op.let(shifted.toI32());
  const carry = op.let(bit(shifted, to.bits));
  to.write(result);
  op.flags.shift(to.bits, result, carry, carry.xor(bit(result, to.bits - 1)));
};

const shr: ShiftBody = (op, to, x, count) => {
  const value = to.bits === 64 ? x : op.let(wide(x));
  const n = op.let(count.toI64Unsigned());
  const shifted = op.let(value.shrU(n));
  const result = op.let(to.bits === 64 ? shifted : shifted.toI32());
  const carry = op.let(bit(value, n.sub(1)));
  to.write(result);
  // OF is the operand's former top bit for count 1; this is what processors give for other counts, too, shifted along.
  op.flags.shift(to.bits, result, carry, bit(result, to.bits - 1).xor(bit(result, to.bits - 2)));
};

const sar: ShiftBody = (op, to, x, count) => {
  const value = op.let(x.signExtend(to.bits).toI64Signed());
  const n = op.let(count.toI64Unsigned());
  const shifted = op.let(value.shrS(n));
  const result = op.let(to.bits === 64 ? shifted : shifted.toI32());
  const carry = op.let(bit(value.shrS(n.sub(1)), 0));
  to.write(result);
  op.flags.shift(to.bits, result, carry, op.constant(32, 0));
};

/** The value repeated often enough that a rotation is a shift of it. */
function repeated(op: Builder, x: Int, bits: Bits): Int {
  if (bits === 8) return op.let(x.mul(0x01010101));
  if (bits === 16) return op.let(x.or(x.shl(16)));
  return x;
}

const rol: ShiftBody = (op, to, x, count) => {
  const value = repeated(op, x, to.bits);
  const result = op.let(value.rotl(typed(count, value)));
  const carry = op.let(bit(result, 0));
  to.write(result);
  op.flags.rotate(carry, carry.xor(bit(result, to.bits - 1)));
};

const ror: ShiftBody = (op, to, x, count) => {
  const value = repeated(op, x, to.bits);
  const result = op.let(value.rotr(typed(count, value)));
  const carry = op.let(bit(result, to.bits - 1));
  to.write(result);
  op.flags.rotate(carry, carry.xor(bit(result, to.bits - 2)));
};

/** Rotates through carry turn a (bits + 1)-wide value; the count is taken modulo that width. */
const rotateThroughCarry =
  (left: boolean): ShiftBody =>
  (op, to, x, count) => {
    const width = to.bits + 1;
    if (to.bits === 64) {
      rotateCarry64(op, to, x, count, left);
      return;
    }
    // A whole turn changes nothing but OF.
    const n = op.let((to.bits < 32 ? count.remU(width) : count).toI64Unsigned());
    const value = op.let(wide(x).or(op.flags.carry().toI64Unsigned().shl(to.bits)));
    const back = op.constant(64, width).sub(n);
    const rotated = op.let(left ? value.shl(n).or(value.shrU(back)) : value.shrU(n).or(value.shl(back)));
    finishCarryRotate(op, to, rotated.toI32(), bit(rotated, to.bits), left);
  };

function rotateCarry64(op: Builder, to: Operand, x: Int, turns: Int, left: boolean): void {
  const n = op.let(turns.toI64Unsigned());
  const carryIn = op.flags.carry().toI64Unsigned();
  // Two shifts where one by 64 could be asked for, which WebAssembly would take as 0.
  const rotated = left
    ? x
        .shl(n)
        .or(carryIn.shl(n.sub(1)))
        .or(x.shrU(op.constant(64, 64).sub(n)).shrU(1))
    : x
        .shrU(n)
        .or(carryIn.shl(op.constant(64, 64).sub(n)))
        .or(x.shl(op.constant(64, 64).sub(n)).shl(1));
  const result = op.let(rotated);
  finishCarryRotate(op, to, result, bit(x, left ? op.constant(64, 64).sub(n) : n.sub(1)), left);
}

function finishCarryRotate(op: Builder, to: Operand, value: Int, carryOut: Int, left: boolean): void {
  const result = op.let(value);
  const carry = op.let(carryOut);
  to.write(result);
  const top = bit(result, to.bits - 1);
  op.flags.rotate(carry, left ? carry.xor(top) : top.xor(bit(result, to.bits - 2)));
}

/** What a double shift gives: the result, CF and OF. */
type DoubleShifted = readonly [result: Int, carry: Int, overflow: Int];

/** SHLD and SHRD: `to` and `from` side by side, shifted as one value. */
const doubleShift =
  (left: boolean): Semantics =>
  (op, to, from, count) => {
    const x = op.let(to.modify());
    const fill = op.let(from.read());
    const n = maskedCount(op, to, count);
    op.if(n.eqz().eqz(), () => {
      const shifted = to.bits === 16 ? doubleShift16 : doubleShiftWide;
      const [result, carry, overflow] = shifted(op, to.bits, x, fill, n, left);
      to.write(result);
      op.flags.shift(to.bits, result, carry, overflow);
    });
  };

/** SHLD: whether the sign is not the bit that went out; SHRD: whether it is not the bit below it. */
const doubleShiftOverflow = (bits: Bits, result: Int, carry: Int, left: boolean): Int =>
  bit(result, bits - 1).xor(left ? carry : bit(result, bits - 2));

function doubleShiftWide(op: Builder, bits: Bits, x: Int, fill: Int, n: Int, left: boolean): DoubleShifted {
  const count = op.let(typed(n, x));
  const back = op.constant(bits, bits).sub(count);
  const result = op.let(left ? x.shl(count).or(fill.shrU(back)) : x.shrU(count).or(fill.shl(back)));
  const carry = op.let(bit(x, left ? back : count.sub(1)));
  return [result, carry, doubleShiftOverflow(bits, result, carry, left)];
}

/**
 * A 16-bit operand with a count above 16 is undefined. AMD's processors go on into a second copy of the source and
 * clear CF; from 16 on, SHLD makes OF equal CF.
 */
function doubleShift16(op: Builder, bits: Bits, x: Int, fill: Int, n: Int, left: boolean): DoubleShifted {
  const count = op.let(n.toI64Unsigned());
  const [a, b] = [op.let(wide(x)), op.let(wide(fill))];
  const twice = op.let(b.shl(16).or(b));
  const value = op.let(left ? a.shl(32).or(twice) : a.or(twice.shl(16)));
  const shifted = op.let(left ? value.shl(count) : value.shrU(count));
  const result = op.let((left ? shifted.shrU(32) : shifted).toI32().and(0xffff));
  const carry = op.let((left ? bit(shifted, 48) : bit(value, count.sub(1))).and(n.leU(16)));
  const overflow = left
    ? carry.xor(bit(result, 15).and(n.ltU(16)))
    : doubleShiftOverflow(bits, result, carry, left);
  return [result, carry, op.let(overflow)];
}

function shiftForms(name: string, digit: number, body: ShiftBody): Form[] {
  const semantics = shift(body);
  return [
    form(name, `C0 /${digit}`, 'Eb,Ib', semantics),
    form(name, `C1 /${digit}`, 'Ev,Ib', semantics),
    form(name, `D0 /${digit}`, 'Eb,1', semantics),
    form(name, `D1 /${digit}`, 'Ev,1', semantics),
    form(name, `D2 /${digit}`, 'Eb,CL', semantics),
    form(name, `D3 /${digit}`, 'Ev,CL', semantics),
  ];
}

// biome-ignore format: table
export const SHIFTS: readonly Form[] = [
  ...shiftForms('ROL', 0, rol),
  ...shiftForms('ROR', 1, ror),
  ...shiftForms('RCL', 2, rotateThroughCarry(true)),
  ...shiftForms('RCR', 3, rotateThroughCarry(false)),
  ...shiftForms('SHL', 4, shl),
  ...shiftForms('SHR', 5, shr),
  ...shiftForms('SAL', 6, shl),
  ...shiftForms('SAR', 7, sar),
  form('SHLD', '0F A4 /r', 'Ev,Gv,Ib', doubleShift(true)),
  form('SHLD', '0F A5 /r', 'Ev,Gv,CL', doubleShift(true)),
  form('SHRD', '0F AC /r', 'Ev,Gv,Ib', doubleShift(false)),
  form('SHRD', '0F AD /r', 'Ev,Gv,CL', doubleShift(false)),
];
