import type { Int } from '../wasm/expression.ts';
import type { Bits, Builder } from './builder.ts';
import { type Form, form, type Semantics } from './form.ts';

type Change = (x: Int, mask: Int) => Int;

/** A one-bit mask of the operand's type. */
function maskOf(op: Builder, bits: Bits, place: Int): Int {
  return op.constant(bits, 1).shl(bits === 64 ? place.toI64Unsigned() : place);
}

/** BT, BTS, BTR, BTC on a register or with an immediate offset, which is taken modulo the operand size. */
const withinOperand =
  (change?: Change): Semantics =>
  (op, to, offset) => {
    const place = op.let(
      offset
        .read()
        .toI32()
        .and(to.bits - 1),
    );
    const x = op.let(change ? to.modify() : to.read());
    const mask = op.let(maskOf(op, to.bits, place));
    if (change) to.write(change(x, mask));
    op.flags.setCarry(x.and(mask).eqz().eqz());
  };

/** With a register offset the bit string in memory is not bounded: the offset selects the unit (SDM vol. 2A "BT"). */
const bitString =
  (change?: Change): Semantics =>
  (op, _memory, offset) => {
    const bits = offset.bits;
    const signed = op.let(offset.read().signExtend(bits).toI32());
    const log2 = bits === 16 ? 4 : bits === 32 ? 5 : 6;
    const unit = op.memoryAt(signed.shrS(log2).mul(bits / 8), bits);
    const x = op.let(change ? unit.modify() : unit.read());
    const mask = op.let(maskOf(op, bits, signed.and(bits - 1)));
    if (change) unit.write(change(x, mask));
    op.flags.setCarry(x.and(mask).eqz().eqz());
  };

/**
 * A zero source sets ZF and leaves the destination as it was, as processors do (SDM calls it undefined). The other
 * flags, undefined too, are as AMD's have them: PF is the parity of the index, the rest is clear.
 */
const scan =
  (place: (op: Builder, x: Int, bits: Bits) => Int): Semantics =>
  (op, to, from) => {
    const x = op.let(from.read());
    op.if(
      x.eqz(),
      () => op.flags.logic(32, op.constant(32, 0)),
      () => {
        const index = op.let(place(op, x, from.bits));
        to.write(index);
        // A bit beyond the low byte keeps index 0 from setting ZF.
        op.flags.logic(32, op.let(index.toI32().or(0x100)));
      },
    );
  };

const highest = (op: Builder, x: Int, bits: Bits): Int =>
  op.constant(bits, bits === 64 ? 63 : 31).sub(x.clz());

const populationCount: Semantics = (op, to, from) => {
  const x = op.let(from.read());
  to.write(x.popcnt());
  // Clears everything but ZF (SDM vol. 2B "POPCNT").
  op.flags.write(x.eqz().shl(6));
};

/**
 * LZCNT: the operand's width for zero (APM vol. 3). CF tells zero, ZF a set top bit; of the undefined flags AMD's
 * processors keep OF and clear the others.
 */
const countLeadingZeros: Semantics = (op, to, from) => {
  const x = op.let(from.read());
  const result = op.let(from.bits === 16 ? x.clz().sub(16) : x.clz());
  to.write(result);
  op.flags.write(op.flags.overflow().shl(11).or(x.eqz()).or(result.eqz().shl(6)));
};

/** A 16-bit BSWAP is undefined; processors give zero. */
const byteSwap: Semantics = (op, to) => {
  if (to.bits === 16) {
    to.write(op.constant(16, 0));
    return;
  }
  const x = op.let(to.read());
  if (to.bits === 64) {
    const pairs = op.let(x.and(0x00ff00ff00ff00ffn).shl(8).or(x.shrU(8).and(0x00ff00ff00ff00ffn)));
    const words = op.let(pairs.and(0x0000ffff0000ffffn).shl(16).or(pairs.shrU(16).and(0x0000ffff0000ffffn)));
    to.write(words.rotl(32));
    return;
  }
  to.write(
    x
      .rotl(8)
      .and(0x00ff00ff)
      .or(x.rotr(8).and(0xff00ff00 | 0)),
  );
};

const test = undefined;
const set: Change = (x, mask) => x.or(mask);
const reset: Change = (x, mask) => x.and(mask.not());
const complement: Change = (x, mask) => x.xor(mask);

/** The three encodings of one bit operation. Register and memory forms with a register offset differ in meaning. */
function bitForms(name: string, opcode: string, digit: number, change: Change | undefined): Form[] {
  const lock = change ? ({ lock: true } as const) : {};
  return [
    form(name, `0F ${opcode} /r`, 'Rv,Gv', withinOperand(change)),
    form(name, `0F ${opcode} /r`, 'Mv,Gv', bitString(change), lock),
    form(name, `0F BA /${digit}`, 'Ev,Ib', withinOperand(change), lock),
  ];
}

// biome-ignore format: table
export const BITS: readonly Form[] = [
  ...bitForms('BT',  'A3', 4, test),
  ...bitForms('BTS', 'AB', 5, set),
  ...bitForms('BTR', 'B3', 6, reset),
  ...bitForms('BTC', 'BB', 7, complement),
  form('BSF',    '0F BC /r',    'Gv,Ev', scan((_op, x) => x.ctz())),
  form('BSR',    '0F BD /r',    'Gv,Ev', scan(highest)),
  form('LZCNT',  'F3 0F BD /r', 'Gv,Ev', countLeadingZeros, { feature: 'abm' }),
  form('POPCNT', 'F3 0F B8 /r', 'Gv,Ev', populationCount, { feature: 'popcnt' }),
  form('BSWAP',  '0F C8+r',     'Zv',    byteSwap),
];
