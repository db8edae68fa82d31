/**
 * Floating-point instructions take a short cut when PE is set already and everything else is masked. It must give what
 * the long way gives, and never hide a flag.
 */
import { describe, expect, it } from 'vitest';
import { CR4 } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { MXCSR, SYSTEM, XMM } from '../../../src/cpu/layout.ts';
import { Sequence } from '../../isa/x87/reference.ts';
import { bareCpu, CODE } from '../bare.ts';

const PE = 0x20;
const MASKED = 0x1f80;
const RESULT = XMM;
const OPERAND = XMM + 16;
const ROUNDS = 400;

/** Suffixes by mandatory prefix: packed and scalar, single and double. */
const VARIANTS = { ps: [], ss: [0xf3], pd: [0x66], sd: [0xf2] } as const;
type Variant = keyof typeof VARIANTS;

const FOURFOLD = { sqrt: 0x51, add: 0x58, mul: 0x59, sub: 0x5c, min: 0x5d, div: 0x5e, max: 0x5f } as const;

/** op xmm0,xmm1; conversions to general registers are followed by movd xmm0,eax. */
const INSTRUCTIONS: readonly (readonly [name: string, source: Variant, code: readonly number[]])[] = [
  ...Object.entries(FOURFOLD).flatMap(([name, opcode]) =>
    (Object.keys(VARIANTS) as Variant[]).map(
      (variant) => [`${name}${variant}`, variant, [...VARIANTS[variant], 0x0f, opcode, 0xc1]] as const,
    ),
  ),
  ...(Object.keys(VARIANTS) as Variant[]).flatMap((variant) =>
    [0, 1, 2, 3, 4, 5, 6, 7].map(
      (predicate) =>
        [`cmp${variant} ${predicate}`, variant, [...VARIANTS[variant], 0x0f, 0xc2, 0xc1, predicate]] as const,
    ),
  ),
  ['cvtdq2ps', 'ps', [0x0f, 0x5b, 0xc1]],
  ['cvtps2dq', 'ps', [0x66, 0x0f, 0x5b, 0xc1]],
  ['cvttps2dq', 'ps', [0xf3, 0x0f, 0x5b, 0xc1]],
  ['cvtpd2dq', 'pd', [0xf2, 0x0f, 0xe6, 0xc1]],
  ['cvttpd2dq', 'pd', [0x66, 0x0f, 0xe6, 0xc1]],
  ['cvtps2pd', 'ps', [0x0f, 0x5a, 0xc1]],
  ['cvtpd2ps', 'pd', [0x66, 0x0f, 0x5a, 0xc1]],
  ['cvtss2sd', 'ss', [0xf3, 0x0f, 0x5a, 0xc1]],
  ['cvtsd2ss', 'sd', [0xf2, 0x0f, 0x5a, 0xc1]],
  ['cvttss2si', 'ss', [0xf3, 0x0f, 0x2c, 0xc1, 0x66, 0x0f, 0x6e, 0xc0]],
  ['cvtss2si', 'ss', [0xf3, 0x0f, 0x2d, 0xc1, 0x66, 0x0f, 0x6e, 0xc0]],
  ['cvttsd2si', 'sd', [0xf2, 0x0f, 0x2c, 0xc1, 0x66, 0x0f, 0x6e, 0xc0]],
  ['cvtsd2si', 'sd', [0xf2, 0x0f, 0x2d, 0xc1, 0x66, 0x0f, 0x6e, 0xc0]],
  ['ucomiss', 'ss', [0x0f, 0x2e, 0xc1]],
  ['ucomisd', 'sd', [0x66, 0x0f, 0x2e, 0xc1]],
];

/** Bits of a number that is ordinary, special, at an end of the range or near the limits of int32. */
function bitsOf(numbers: Sequence, double: boolean): bigint {
  const width = double ? 52n : 23n;
  const bias = double ? 1023 : 127;
  const fields = [0, 1, 2, bias - 1, bias, bias + 24, bias + 30, bias + 31, 2 * bias, 2 * bias + 1];
  const field =
    numbers.below(2) === 0 ? bias - 10 + numbers.below(30) : (fields[numbers.below(10)] as number);
  const fraction = [0n, 1n, ~0n, numbers.bits64(), numbers.bits64() << BigInt(numbers.below(52))];
  const sign = BigInt(numbers.below(2)) << (double ? 63n : 31n);
  return (
    sign | (BigInt(field) << width) | BigInt.asUintN(Number(width), fraction[numbers.below(5)] as bigint)
  );
}

function vectorOf(numbers: Sequence, double: boolean): bigint[] {
  if (double) return [bitsOf(numbers, true), bitsOf(numbers, true)];
  const pair = () => bitsOf(numbers, false) | (bitsOf(numbers, false) << 32n);
  return [pair(), pair()];
}

interface Outcome {
  readonly result: readonly bigint[];
  readonly flags: number;
  readonly mxcsr: number;
}

class Machine {
  readonly #cpu: Cpu;
  readonly #words: BigUint64Array;
  readonly #steps: number;

  constructor(code: readonly number[]) {
    this.#cpu = bareCpu((a) => a.raw(...code, 0xf4));
    this.#cpu.state.setSystem(SYSTEM.CR4, CR4.OSFXSR | CR4.OSXMMEXCPT);
    this.#words = new BigUint64Array(this.#cpu.state.u8.buffer);
    this.#steps = code.length > 5 ? 2 : 1;
  }

  run(mxcsr: number, x: readonly bigint[], y: readonly bigint[]): Outcome {
    const { state } = this.#cpu;
    this.#words.set(x, RESULT >> 3);
    this.#words.set(y, OPERAND >> 3);
    state.u32[MXCSR >> 2] = mxcsr;
    state.eflags = 2;
    state.eip = CODE;
    this.#cpu.run(this.#cpu.now + this.#steps);
    const result = [...this.#words.subarray(RESULT >> 3, (RESULT >> 3) + 2)];
    return { result, flags: state.eflags, mxcsr: state.u32[MXCSR >> 2] as number };
  }
}

describe('the short cut of floating-point instructions', () => {
  it.each(INSTRUCTIONS)('%s', (name, source, code) => {
    const machine = new Machine(code);
    const numbers = new Sequence(0x51d_ce11 + name.length);
    const double = source === 'pd' || source === 'sd';
    for (let n = 0; n < ROUNDS; n++) {
      const [x, y] = [vectorOf(numbers, double), vectorOf(numbers, double)];
      // All modes but rounding to nearest go the long way; DAZ and FTZ do not.
      const modes = (numbers.below(4) === 0 ? 0x8000 : 0) | (numbers.below(4) === 0 ? 0x40 : 0);
      const long = machine.run(MASKED | modes, x, y);
      const short = machine.run(MASKED | modes | PE, x, y);
      const where = `${name} ${[...x, ...y].map((half) => half.toString(16)).join(' ')} ${modes.toString(16)}`;
      expect(short.result, where).toEqual(long.result);
      expect(short.flags, where).toBe(long.flags);
      expect(short.mxcsr, where).toBe(long.mxcsr | PE);
    }
  });
});
