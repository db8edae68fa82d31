import { FCW, FSW } from '../control.ts';
import { BIAS, INTEGER_BIT, MAX_EXPONENT } from '../softfloat/format.ts';
import { SCREEN_DONE } from '../softfloat/operands.ts';
import type { X87 } from '../state.ts';
import {
  angleOf,
  cosineOf,
  logarithmOf,
  logarithmOfSum,
  powerOf,
  sineOf,
  tangentOf,
} from '../transcendental/functions.ts';
import { absolute, bitLength, exactly, type Outcome, real, shift } from '../transcendental/real.ts';
import { number, type Operand, type Result } from '../transcendental/result.ts';
import { type Handler, splitFaulted, underflowInto } from './handler.ts';

/** Operands of this magnitude are out of range for FSIN and its like: 2^63 (SDM vol. 1 8.3.8). */
const OUT_OF_RANGE = BIAS + 63;

function load(fpu: X87, slot: number): Operand {
  const word = fpu.signExponent(slot);
  const exponent = word & MAX_EXPONENT;
  const significand = fpu.significand(slot);
  return {
    sign: word >> 15,
    infinite: exponent === MAX_EXPONENT,
    mantissa: word >> 15 ? -significand : significand,
    scale: BIAS + 63 - Math.max(exponent, 1),
  };
}

/** Rounds to 64 bits by RC (precision control does not act here) and stores; answers OE, UE, PE and C1. */
function store(fpu: X87, slot: number, value: Outcome): number {
  const size = absolute(value.mantissa);
  const length = bitLength(size);
  const wide = shift(size, 128 - length);
  const lost = length > 128 && shift(wide, length - 128) !== size;
  const low = BigInt.asUintN(64, wide) | (lost || value.accuracy === 'approximate' ? 1n : 0n);
  const exponent = length - 1 - value.scale + BIAS;
  const sign = value.mantissa < 0n ? 1 : 0;
  const flags = fpu.soft.roundPack(slot, sign, exponent, wide >> 64n, low, fpu.control | FCW.PC);
  if (value.accuracy === 'exact') return flags;
  return flags | FSW.PE | (exponent <= 0 && !lost && value.accuracy === 'signalled' ? FSW.UE : 0);
}

/** Stores a result with its exceptions in their order: #IA and #Z before #D, the rest after it. Answers the flags. */
function deliver(fpu: X87, slot: number, result: Result, denormal: number): number {
  if (result.kind === 'invalid') {
    if (fpu.invalidMasked) fpu.setIndefinite(slot);
    return FSW.IE;
  }
  if (result.kind === 'infinity' && result.zeroDivide) {
    if (!fpu.stopped(FSW.ZE)) storeInfinity(fpu, slot, result.sign);
    return FSW.ZE;
  }
  if (fpu.stopped(denormal)) return denormal;
  if (result.kind === 'number') return store(fpu, slot, result.value) | denormal;
  if (result.kind === 'zero') fpu.setSlot(slot, 0, 0, result.sign << 15);
  else storeInfinity(fpu, slot, result.sign);
  return denormal;
}

const storeInfinity = (fpu: X87, slot: number, sign: number): void =>
  fpu.setNumber(slot, INTEGER_BIT, (sign << 15) | MAX_EXPONENT);

/** ST(0) becomes a function of itself: F2XM1. */
export const powerOfTwo: Handler = (fpu) => {
  if (fpu.isEmpty(0)) return underflowInto(fpu, 0);
  fpu.complete(evaluate(fpu, fpu.st(0), powerOf));
};

/** The flags of `compute` on ST(0), its result in `slot`. */
function evaluate(fpu: X87, slot: number, compute: (x: Operand) => Result): number {
  const source = fpu.st(0);
  const answer = fpu.soft.screen(slot, source, source, fpu.control);
  return answer & SCREEN_DONE ? answer & FSW.IE : deliver(fpu, slot, compute(load(fpu, source)), answer);
}

/** Sets C2 and answers true for an operand that the instruction does not reduce; otherwise clears C2. */
function outOfRange(fpu: X87): boolean {
  const exponent = fpu.signExponent(fpu.st(0)) & MAX_EXPONENT;
  if (exponent < OUT_OF_RANGE || exponent === MAX_EXPONENT || fpu.significandHigh(fpu.st(0)) >= 0)
    return false;
  fpu.complete(FSW.C2);
  return true;
}

/** FSIN and FCOS. */
const trigonometric = (compute: (x: Operand) => Result): Handler => {
  return (fpu) => {
    fpu.setConditions(0, FSW.C2);
    if (fpu.isEmpty(0)) return underflowInto(fpu, 0);
    if (outOfRange(fpu)) return;
    fpu.complete(evaluate(fpu, fpu.st(0), compute));
  };
};
export const fsin = trigonometric(sineOf);
export const fcos = trigonometric(cosineOf);

/** FSINCOS and FPTAN: one function replaces ST(0), the other is pushed. */
const trigonometricPair = (first: (x: Operand) => Result, second: (x: Operand) => Result): Handler => {
  return (fpu) => {
    fpu.setConditions(0, FSW.C2);
    if (splitFaulted(fpu) || outOfRange(fpu)) return;
    const pushed = evaluate(fpu, fpu.st(7), second);
    const replaced = evaluate(fpu, fpu.st(0), first);
    fpu.complete(replaced | (pushed & ~FSW.C1));
    if (!fpu.stopped(replaced)) fpu.push();
  };
};
export const fsincos = trigonometricPair(sineOf, cosineOf);
const oneBeside = (x: Operand): Result => (x.infinite ? tangentOf(x) : number(exactly(real(1n, 0))));
export const fptan = trigonometricPair(tangentOf, oneBeside);

/** ST(1) becomes a function of ST(1) and ST(0), then a pop. */
const binary = (compute: (y: Operand, x: Operand) => Result): Handler => {
  return (fpu) => {
    if (fpu.isEmpty(0) || fpu.isEmpty(1)) return underflowInto(fpu, 1, true);
    const [x, y] = [fpu.st(0), fpu.st(1)];
    const answer = fpu.soft.screen(y, y, x, fpu.control);
    const flags =
      answer & SCREEN_DONE ? answer & FSW.IE : deliver(fpu, y, compute(load(fpu, y), load(fpu, x)), answer);
    fpu.complete(flags);
    if (!fpu.stopped(flags)) fpu.pop();
  };
};
export const fyl2x = binary(logarithmOf);
export const fyl2xp1 = binary(logarithmOfSum);
export const fpatan = binary(angleOf);
