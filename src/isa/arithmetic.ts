import { VECTOR } from '../arch/exceptions.ts';
import { EFLAGS } from '../arch/registers.ts';
import type { Int } from '../wasm/expression.ts';
import type { Bits, Builder, Operand } from './builder.ts';
import { RAX, RDX } from './builder.ts';
import { type Form, form, type Semantics } from './form.ts';

/** The nine encodings that ADD, OR, ADC, SBB, AND, SUB, XOR and CMP share (SDM vol. 2D table A-2). */
function alu(
  name: string,
  digit: number,
  semantics: Semantics,
  lock: { lock?: true } = { lock: true },
): Form[] {
  const opcode = (column: number): string => (digit * 8 + column).toString(16).toUpperCase().padStart(2, '0');
  return [
    form(name, `${opcode(0)} /r`, 'Eb,Gb', semantics, lock),
    form(name, `${opcode(1)} /r`, 'Ev,Gv', semantics, lock),
    form(name, `${opcode(2)} /r`, 'Gb,Eb', semantics),
    form(name, `${opcode(3)} /r`, 'Gv,Ev', semantics),
    form(name, opcode(4), 'AL,Ib', semantics),
    form(name, opcode(5), 'eAX,Iz', semantics),
    form(name, `80 /${digit}`, 'Eb,Ib', semantics, lock),
    form(name, `81 /${digit}`, 'Ev,Iz', semantics, lock),
    form(name, `82 /${digit}`, 'Eb,Ib', semantics, lock),
    form(name, `83 /${digit}`, 'Ev,sIb', semantics, lock),
  ];
}

const add: Semantics = (op, to, from) => {
  const x = op.let(to.modify());
  const y = op.let(from.read());
  const result = op.let(x.add(y));
  to.write(result);
  op.flags.add(to.bits, x, y, result);
};

const sub: Semantics = (op, to, from) => {
  const x = op.let(to.modify());
  const y = op.let(from.read());
  const result = op.let(x.sub(y));
  to.write(result);
  op.flags.sub(to.bits, x, y, result);
};

/** The carry flag in the type of a `bits`-wide value. */
const carryIn = (op: Builder, bits: Bits): Int =>
  bits === 64 ? op.flags.carry().toI64Unsigned() : op.flags.carry();

const adc: Semantics = (op, to, from) => {
  const x = op.let(to.modify());
  const y = op.let(from.read());
  const result = op.let(x.add(y).add(carryIn(op, to.bits)));
  to.write(result);
  op.flags.add(to.bits, x, y, result);
};

const sbb: Semantics = (op, to, from) => {
  const x = op.let(to.modify());
  const y = op.let(from.read());
  const result = op.let(x.sub(y).sub(carryIn(op, to.bits)));
  to.write(result);
  op.flags.sub(to.bits, x, y, result);
};

const compare: Semantics = (op, left, right) => {
  const x = op.let(left.read());
  const y = op.let(right.read());
  op.flags.sub(left.bits, x, y, op.let(x.sub(y)));
};

const logic =
  (combine: (x: Int, y: Int) => Int): Semantics =>
  (op, to, from) => {
    const x = op.let(to.modify());
    const result = op.let(combine(x, from.read()));
    to.write(result);
    op.flags.logic(to.bits, result);
  };

const test: Semantics = (op, left, right) => {
  const x = op.let(left.read());
  op.flags.logic(left.bits, op.let(x.and(right.read())));
};

const increment: Semantics = (op, to) => {
  const x = op.let(to.modify());
  const result = op.let(x.add(1));
  to.write(result);
  op.flags.addKeepingCarry(to.bits, x, op.constant(to.bits, 1), result);
};

const decrement: Semantics = (op, to) => {
  const x = op.let(to.modify());
  const result = op.let(x.sub(1));
  to.write(result);
  op.flags.subKeepingCarry(to.bits, x, op.constant(to.bits, 1), result);
};

const negate: Semantics = (op, to) => {
  const x = op.let(to.modify());
  const result = op.let(x.negate());
  to.write(result);
  op.flags.sub(to.bits, op.constant(to.bits, 0), x, result);
};

const not: Semantics = (_op, to) => to.write(to.modify().not());

const exchangeAdd: Semantics = (op, to, from) => {
  const x = op.let(to.modify());
  const y = op.let(from.read());
  const result = op.let(x.add(y));
  from.write(x);
  to.write(result);
  op.flags.add(to.bits, x, y, result);
};

const compareExchange: Semantics = (op, to, from) => {
  const accumulator = op.register(RAX, to.bits);
  const old = op.let(to.modify());
  const expected = op.let(accumulator.read());
  const source = op.let(from.read());
  const equal = op.let(old.eq(expected));
  // The destination is written either way, with its old value if they differ (SDM vol. 2A CMPXCHG).
  to.write(source.select(old, equal));
  op.if(equal.eqz(), () => accumulator.write(old));
  op.flags.sub(to.bits, expected, old, op.let(expected.sub(old)));
};

/** Widened to i64, so that a product or quotient of 32-bit operands has room. */
const widen = (value: Int, bits: Bits, signed: boolean): Int =>
  signed ? value.signExtend(bits).toI64Signed() : value.toI64Unsigned();

/** Where one-operand MUL and DIV keep the double-width value: AX, or DX:AX, or EDX:EAX. */
function accumulatorPair(op: Builder, bits: Bits): { low: Operand; high: Operand } {
  return bits === 8
    ? { low: op.register(RAX, 8), high: op.highByte(RAX) }
    : { low: op.register(RAX, bits), high: op.register(RDX, bits) };
}

const multiplyAccumulator =
  (signed: boolean): Semantics =>
  (op, from) => {
    const { low, high } = accumulatorPair(op, from.bits);
    const factor = op.let(widen(from.read(), from.bits, signed));
    const product = op.let(widen(low.read(), from.bits, signed).mul(factor));
    const lowHalf = op.let(product.toI32());
    low.write(lowHalf);
    high.write(product.shrU(from.bits).toI32());
    const fits = op.let(widen(lowHalf, from.bits, true));
    const lost = signed ? fits.ne(product) : product.shrU(from.bits).eqz().eqz();
    const carry = op.let(lost);
    op.flags.rotate(carry, carry);
  };

const multiply = (op: Builder, to: Operand, x: Int, y: Int): void => {
  const product = op.let(widen(x, to.bits, true).mul(widen(y, to.bits, true)));
  const lowHalf = op.let(product.toI32());
  to.write(lowHalf);
  const carry = op.let(widen(lowHalf, to.bits, true).ne(product));
  op.flags.rotate(carry, carry);
};

/** DIV and IDIV leave all flags undefined; AMD's processors keep CF and OF, set AF and clear the others. */
const setDivisionFlags = (op: Builder): void =>
  op.flags.write(
    op.flags
      .read()
      .and(EFLAGS.CF | EFLAGS.OF)
      .or(EFLAGS.AF),
  );

const divideUnsigned: Semantics = (op, from) => {
  const { low, high } = accumulatorPair(op, from.bits);
  const divisor = op.let(from.read().toI64Unsigned());
  op.if(divisor.eqz(), () => op.raise(VECTOR.DE));
  const dividend = op.let(high.read().toI64Unsigned().shl(from.bits).or(low.read().toI64Unsigned()));
  const quotient = op.let(dividend.divU(divisor));
  op.if(quotient.shrU(from.bits).eqz().eqz(), () => op.raise(VECTOR.DE));
  const remainder = op.let(dividend.remU(divisor));
  low.write(quotient.toI32());
  high.write(remainder.toI32());
  setDivisionFlags(op);
};

const divideSigned: Semantics = (op, from) => {
  const { low, high } = accumulatorPair(op, from.bits);
  const divisor = op.let(widen(from.read(), from.bits, true));
  op.if(divisor.eqz(), () => op.raise(VECTOR.DE));
  const dividend = op.let(widen(high.read(), from.bits, true).shl(from.bits).or(low.read().toI64Unsigned()));
  // The one quotient that even 64 bits cannot hold; WebAssembly would trap on it.
  op.if(dividend.eq(-(1n << 63n)).and(divisor.eq(-1)), () => op.raise(VECTOR.DE));
  const quotient = op.let(dividend.divS(divisor));
  op.if(widen(quotient.toI32(), from.bits, true).ne(quotient), () => op.raise(VECTOR.DE));
  const remainder = op.let(dividend.remS(divisor));
  low.write(quotient.toI32());
  high.write(remainder.toI32());
  setDivisionFlags(op);
};

// biome-ignore format: table
export const ARITHMETIC: readonly Form[] = [
  ...alu('ADD', 0, add),
  ...alu('OR',  1, logic((x, y) => x.or(y))),
  ...alu('ADC', 2, adc),
  ...alu('SBB', 3, sbb),
  ...alu('AND', 4, logic((x, y) => x.and(y))),
  ...alu('SUB', 5, sub),
  ...alu('XOR', 6, logic((x, y) => x.xor(y))),
  ...alu('CMP', 7, compare, {}),
  form('TEST',    '84 /r',    'Eb,Gb',    test),
  form('TEST',    '85 /r',    'Ev,Gv',    test),
  form('TEST',    'A8',       'AL,Ib',    test),
  form('TEST',    'A9',       'eAX,Iz',   test),
  form('TEST',    'F6 /0',    'Eb,Ib',    test),
  form('TEST',    'F6 /1',    'Eb,Ib',    test),
  form('TEST',    'F7 /0',    'Ev,Iz',    test),
  form('TEST',    'F7 /1',    'Ev,Iz',    test),
  form('INC',     '40+r',     'Zv',       increment),
  form('INC',     'FE /0',    'Eb',       increment, { lock: true }),
  form('INC',     'FF /0',    'Ev',       increment, { lock: true }),
  form('DEC',     '48+r',     'Zv',       decrement),
  form('DEC',     'FE /1',    'Eb',       decrement, { lock: true }),
  form('DEC',     'FF /1',    'Ev',       decrement, { lock: true }),
  form('NEG',     'F6 /3',    'Eb',       negate, { lock: true }),
  form('NEG',     'F7 /3',    'Ev',       negate, { lock: true }),
  form('NOT',     'F6 /2',    'Eb',       not, { lock: true }),
  form('NOT',     'F7 /2',    'Ev',       not, { lock: true }),
  form('XADD',    '0F C0 /r', 'Eb,Gb',    exchangeAdd, { lock: true }),
  form('XADD',    '0F C1 /r', 'Ev,Gv',    exchangeAdd, { lock: true }),
  form('CMPXCHG', '0F B0 /r', 'Eb,Gb',    compareExchange, { lock: true }),
  form('CMPXCHG', '0F B1 /r', 'Ev,Gv',    compareExchange, { lock: true }),
  form('MUL',     'F6 /4',    'Eb',       multiplyAccumulator(false)),
  form('MUL',     'F7 /4',    'Ev',       multiplyAccumulator(false)),
  form('IMUL',    'F6 /5',    'Eb',       multiplyAccumulator(true)),
  form('IMUL',    'F7 /5',    'Ev',       multiplyAccumulator(true)),
  form('IMUL',    '0F AF /r', 'Gv,Ev',    (op, to, from) => multiply(op, to, to.read(), from.read())),
  form('IMUL',    '69 /r',    'Gv,Ev,Iz', (op, to, x, y) => multiply(op, to, x.read(), y.read())),
  form('IMUL',    '6B /r',    'Gv,Ev,sIb', (op, to, x, y) => multiply(op, to, x.read(), y.read())),
  form('DIV',     'F6 /6',    'Eb',       divideUnsigned),
  form('DIV',     'F7 /6',    'Ev',       divideUnsigned),
  form('IDIV',    'F6 /7',    'Eb',       divideSigned),
  form('IDIV',    'F7 /7',    'Ev',       divideSigned),
];
