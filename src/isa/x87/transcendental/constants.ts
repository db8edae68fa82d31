import { type Real, real } from './real.ts';

/** Enough for arguments that come within 2^-70 of a multiple of pi, and for the longest intermediate results. */
const SCALE = 512;
const GUARD = 32n;

/** atan(1/n) or atanh(1/n) times 2^SCALE times a guard, by their series. */
function inverseSeries(n: bigint, alternating: boolean): bigint {
  let power = (1n << (BigInt(SCALE) + GUARD)) / n;
  let sum = power;
  for (let k = 3n, sign = alternating ? -1n : 1n; power > 0n; k += 2n) {
    power /= n * n;
    sum += (sign * power) / k;
    if (alternating) sign = -sign;
  }
  return sum;
}

/** pi by Machin's formula: 16 atan(1/5) - 4 atan(1/239). */
export const PI: Real = real(
  (16n * inverseSeries(5n, true) - 4n * inverseSeries(239n, true)) >> GUARD,
  SCALE,
);

/** ln 2 = 18 atanh(1/26) - 2 atanh(1/4801) + 8 atanh(1/8749). */
export const LN2: Real = real(
  (18n * inverseSeries(26n, false) - 2n * inverseSeries(4801n, false) + 8n * inverseSeries(8749n, false)) >>
    GUARD,
  SCALE,
);

/** The processor's own pi for argument reduction, 66 significant bits (SDM vol. 1 8.3.8): 4 * 0.C90FDAA22168C234C. */
export const PI_66: Real = real(0xc90f_daa2_2168_c234_cn, 66);
