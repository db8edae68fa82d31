/** Copying and filling between 1 and 4096 bytes of host memory, quickly also for the few bytes that are most common. */
import { Int } from '../../wasm/expression.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';

/** From how many bytes on the host's own copy and fill cost less than moves in line. */
const FEW = 32;

/** The lesser of two unsigned values. */
export function least(code: FunctionBuilder, x: Int, y: Int): Int {
  const [a, b] = [code.let(x), code.let(y)];
  return code.let(a.select(b, a.ltU(b)));
}

type Width = 8 | 16 | 32 | 64;
const typeOf = (width: Width): 'i32' | 'i64' => (width === 64 ? 'i64' : 'i32');

/** Moves of `width` bits that together cover `bytes` bytes: `parts` from the front, as many from the end. */
function covered(bytes: Int, width: Width, parts: number): Int[] {
  const step = width / 8;
  const front = Array.from({ length: parts }, (_, n) => Int.const32(n * step));
  const back = Array.from({ length: parts }, (_, n) => bytes.sub((n + 1) * step));
  return [...front, ...back];
}

/**
 * Chooses by length: 16 to FEW bytes, 8 to 15, 4 to 7, 2 or 3, 1. Elements of `size` bytes leave out what is less.
 */
function byLength(
  code: FunctionBuilder,
  bytes: Int,
  size: 1 | 2 | 4,
  move: (width: Width, places: readonly Int[]) => void,
): void {
  const ladder: readonly (readonly [least: number, width: Width, parts: number])[] = [
    [16, 64, 2],
    [8, 64, 1],
    [4, 32, 1],
    [2, 16, 1],
  ];
  const rest = ladder.filter(([from]) => from >= size);
  const climb = (rung: number): void => {
    const step = rest[rung];
    if (step === undefined) {
      move(8, [Int.const32(0)]);
      return;
    }
    const [from, width, parts] = step;
    if (from === size) move(width, covered(bytes, width, parts));
    else
      code.if(
        bytes.geU(from),
        () => move(width, covered(bytes, width, parts)),
        () => climb(rung + 1),
      );
  };
  climb(0);
}

/** Copies `bytes` bytes; source and destination may overlap. */
export function copyBytes(code: FunctionBuilder, to: Int, from: Int, bytes: Int, size: 1 | 2 | 4): void {
  code.if(
    bytes.gtU(FEW),
    () => code.memoryCopy(to, from, bytes),
    () =>
      byLength(code, bytes, size, (width, places) => {
        // All is read before any is written.
        const values = places.map((place) => code.let(Int.load(typeOf(width), width, from.add(place))));
        places.forEach((place, n) => {
          code.store(width, to.add(place), values[n] as Int);
        });
      }),
  );
}

/** Writes `value`, an element of `size` bytes, over and over; `bytes` is a multiple of its size. */
export function fillBytes(code: FunctionBuilder, to: Int, bytes: Int, value: Int, size: 1 | 2 | 4): void {
  const unit = { 1: 0x0101_0101_0101_0101n, 2: 0x0001_0001_0001_0001n, 4: 0x0000_0001_0000_0001n }[size];
  const pattern = code.let(value.toI64Unsigned().mul(unit));
  code.if(
    bytes.gtU(FEW),
    () => fillMany(code, to, bytes, pattern, size),
    () =>
      byLength(code, bytes, size, (width, places) => {
        const part = width === 64 ? pattern : pattern.toI32();
        for (const place of places) code.store(width, to.add(place), part);
      }),
  );
}

function fillMany(code: FunctionBuilder, to: Int, bytes: Int, pattern: Int, size: 1 | 2 | 4): void {
  const uniform = pattern.and(0xff).mul(0x0101_0101_0101_0101n).eq(pattern);
  const fill = (): void => code.memoryFill(to, pattern.toI32().and(0xff), bytes);
  if (size === 1) fill();
  else code.if(uniform, fill, () => fillPattern(code, to, bytes, pattern));
}

/** Eight bytes at a time, then the last eight once more. */
function fillPattern(code: FunctionBuilder, to: Int, bytes: Int, pattern: Int): void {
  const place = code.local('i32');
  const last = code.let(to.add(bytes).sub(8));
  code.set(place, to);
  code.loop((again) => {
    code.store(64, code.get(place), pattern);
    code.set(place, code.get(place).add(8));
    code.branch(again, code.get(place).ltU(last));
  });
  code.store(64, last, pattern);
}
