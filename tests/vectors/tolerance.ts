/** How far two results of a form that is not defined to the last bit may lie apart. */
import type { SlotName } from './state.ts';

const X87_REGISTER = /^r[0-7]$/;
const XMM_REGISTER = /^xmm[0-7]$/;

/** RCPPS and RSQRTPS promise a relative error of at most 1.5 * 2^-12 each (SDM vol. 2B); two may differ by both. */
const ESTIMATE_ERROR = 3 * 2 ** -12;

/** A finite 80-bit number as an integer that grows by one per representable step, with its sign; else undefined. */
function ordinal(bytes: Uint8Array): bigint | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const significand = view.getBigUint64(0, true);
  const signAndExponent = view.getUint16(8, true);
  const exponent = BigInt(signAndExponent & 0x7fff);
  if (exponent === 0x7fffn) return undefined;
  // Below the implicit integer bit, steps are 2^-63 of the binade; denormals (exponent 0) continue the lowest one.
  const fraction = significand & 0x7fff_ffff_ffff_ffffn;
  const binade = exponent === 0n ? significand >> 63n : exponent;
  const magnitude = (binade << 63n) + fraction;
  return signAndExponent & 0x8000 ? -magnitude : magnitude;
}

function closeX87(expected: Uint8Array, seen: Uint8Array, ulps: number): boolean {
  const a = ordinal(expected);
  const b = ordinal(seen);
  if (a === undefined || b === undefined) return false;
  const distance = a > b ? a - b : b - a;
  return distance <= BigInt(ulps);
}

/** Four single-precision estimates; lanes that are not finite numbers must be the same bits. */
function closeEstimates(expected: Uint8Array, seen: Uint8Array): boolean {
  const a = new DataView(expected.buffer, expected.byteOffset, expected.byteLength);
  const b = new DataView(seen.buffer, seen.byteOffset, seen.byteLength);
  for (let at = 0; at < 16; at += 4) {
    if (a.getUint32(at, true) === b.getUint32(at, true)) continue;
    const x = a.getFloat32(at, true);
    const y = b.getFloat32(at, true);
    if (!(Math.abs(x - y) <= Math.abs(x) * ESTIMATE_ERROR)) return false;
  }
  return true;
}

/** Whether a slot of an approximate form is near enough; false for slots that hold no such result. */
export function withinTolerance(
  name: SlotName,
  expected: Uint8Array,
  seen: Uint8Array,
  ulps: number,
): boolean {
  if (X87_REGISTER.test(name)) return closeX87(expected, seen, ulps);
  if (XMM_REGISTER.test(name)) return closeEstimates(expected, seen);
  return false;
}
