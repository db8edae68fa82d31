import { FCW, FCW_RC_SHIFT, ROUND } from '../control.ts';
import { type Handler, overflowed } from './handler.ts';

/** A constant cut to 64 bits, and what follows the cut: whether rounding to nearest adds one. */
interface Constant {
  readonly high: number;
  readonly low: number;
  readonly exponent: number;
  readonly nearestAddsOne: boolean;
  readonly exact?: true;
}

/**
 * SDM vol. 2A "FLD1/FLDL2T/...": the processor holds 66 bits of each and rounds by RC; no exception is raised.
 * log2(10), log2(e), pi, log10(2), ln(2) in that order.
 */
// biome-ignore format: table
export const CONSTANTS = {
  one:     { high: 0x8000_0000, low: 0x0000_0000, exponent: 0x3fff, nearestAddsOne: false, exact: true },
  log2Ten: { high: 0xd49a_784b, low: 0xcd1b_8afe, exponent: 0x4000, nearestAddsOne: false },
  log2E:   { high: 0xb8aa_3b29, low: 0x5c17_f0bb, exponent: 0x3fff, nearestAddsOne: true },
  pi:      { high: 0xc90f_daa2, low: 0x2168_c234, exponent: 0x4000, nearestAddsOne: true },
  log10Of2:{ high: 0x9a20_9a84, low: 0xfbcf_f798, exponent: 0x3ffd, nearestAddsOne: true },
  ln2:     { high: 0xb172_17f7, low: 0xd1cf_79ab, exponent: 0x3ffe, nearestAddsOne: true },
  zero:    { high: 0, low: 0, exponent: 0, nearestAddsOne: false, exact: true },
} as const satisfies Record<string, Constant>;

export const loadConstant = (constant: Constant): Handler => {
  return (fpu) => {
    if (overflowed(fpu)) return;
    const rounding = (fpu.control & FCW.RC) >> FCW_RC_SHIFT;
    const up = rounding === ROUND.UP || (rounding === ROUND.NEAREST && constant.nearestAddsOne);
    // None of these significands ends in 32 ones, so adding one never carries into the upper half.
    const low = constant.exact || !up ? constant.low : constant.low + 1;
    fpu.setSlot(fpu.st(7), constant.high, low, constant.exponent);
    fpu.complete(0);
    fpu.push();
  };
};
