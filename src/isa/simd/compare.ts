import { Int } from '../../wasm/expression.ts';
import type { Form } from '../form.ts';
import { fourfold, type LaneSemantics } from './arithmetic.ts';
import type { SimdBuilder, SimdSemantics } from './builder.ts';
import { simd } from './form.ts';
import { isDelicate, type LaneBits, type Lanes, SingleLane } from './lanes.ts';

/** Neither operand is a NaN or a denormal: then no comparison raises anything. */
const isPlain = <Value>(lanes: Lanes<Value>, x: Value, y: Value): Int =>
  lanes.none(
    lanes.or(
      isDelicate(lanes, lanes.keep(lanes.magnitude(x))),
      isDelicate(lanes, lanes.keep(lanes.magnitude(y))),
    ),
  );

/**
 * CMPPS and its kin: the low two bits of the immediate choose equal, less, less or equal or (0 without NaNs)
 * unordered, bit 2 inverts (SDM vol. 2A table 3-1; legacy encodings have no more than eight predicates).
 */
const compare: LaneSemantics = (op, lanes, x, y, immediate) => {
  if (immediate === undefined) throw new TypeError('a comparison has a predicate');
  const predicate = op.let(immediate.read().and(7));
  const kind = op.let(predicate.and(3));
  const wanted = (condition: Int) => lanes.everywhere(condition);
  const equal = lanes.and(lanes.equal(x, y), wanted(kind.and(1).eqz()));
  const less = lanes.and(lanes.less(x, y), wanted(kind.sub(1).ltU(2)));
  const met = lanes.fill(lanes.xor(lanes.or(equal, less), wanted(predicate.shrU(2))));
  return lanes.select(isPlain(lanes, x, y), met, 'compare', x, y, predicate);
};

/** COMISS and UCOMISS: ZF and CF as of an unsigned comparison, PF for unordered; OF, SF and AF become 0. */
const order =
  (bits: LaneBits, quiet: 0 | 1): SimdSemantics =>
  (op: SimdBuilder, left, right) => {
    const lanes = new SingleLane(op, bits);
    const y = op.let(right.read());
    const x = op.let(left.read());
    const flags = lanes.equal(x, y).shl(6).or(lanes.less(x, y));
    const soft = bits === 32 ? 'order.ss' : 'order.sd';
    op.flags.write(op.chooseScalar(isPlain(lanes, x, y), flags, soft, x, y, Int.const32(quiet)));
  };

// biome-ignore format: table
export const SIMD_COMPARE: readonly Form[] = [
  ...fourfold('CMP', 'C2', compare, ',Ib'),
  simd('UCOMISS', '0F 2E /r',    'Vd,Wd', order(32, 1), { feature: 'sse' }),
  simd('UCOMISD', '66 0F 2E /r', 'Vq,Wq', order(64, 1), { feature: 'sse2' }),
  simd('COMISS',  '0F 2F /r',    'Vd,Wd', order(32, 0), { feature: 'sse' }),
  simd('COMISD',  '66 0F 2F /r', 'Vq,Wq', order(64, 0), { feature: 'sse2' }),
];
