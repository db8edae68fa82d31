import type { Form } from '../form.ts';
import type { SimdSemantics } from './builder.ts';
import { simd } from './form.ts';

/** The destination takes the source, with zeros above. */
const move: SimdSemantics = (_op, to, from) => to.setVector(from.vector());

/** Only the low lane moves; the rest of a register stays. */
const moveLow: SimdSemantics = (_op, to, from) => to.write(from.read());

const loadHigh: SimdSemantics = (_op, to, from) => to.setVector(to.vector().replace('i64x2', 1, from.read()));
const storeHigh: SimdSemantics = (_op, to, from) => to.write(from.vector().extract('i64x2', 1));

/** MOVHLPS: the high half of the source into the low half. */
const moveHighToLow: SimdSemantics = (_op, to, from) =>
  to.setVector(to.vector().replace('i64x2', 0, from.vector().extract('i64x2', 1)));
const moveLowToHigh: SimdSemantics = (_op, to, from) =>
  to.setVector(to.vector().replace('i64x2', 1, from.vector().extract('i64x2', 0)));

const moveMask =
  (shape: 'i8x16' | 'i32x4' | 'i64x2'): SimdSemantics =>
  (_op, to, from) =>
    to.write(from.vector().bitmask(shape));

const maskedMove =
  (bits: 64 | 128): SimdSemantics =>
  (op, data, mask) =>
    op.storeMasked(bits, data.vector(), mask.vector());

const MMX = { feature: 'mmx' } as const;
const SSE = { feature: 'sse' } as const;
const SSE2 = { feature: 'sse2' } as const;
const SSE_UNALIGNED = { feature: 'sse', unaligned: true } as const;
const SSE2_UNALIGNED = { feature: 'sse2', unaligned: true } as const;

// biome-ignore format: table
export const SIMD_MOVES: readonly Form[] = [
  simd('MOVD',       '0F 6E /r',    'Pq,Ed',   move,    MMX),
  simd('MOVD',       '0F 7E /r',    'Ed,Pd',   moveLow, MMX),
  simd('MOVQ',       '0F 6F /r',    'Pq,Qq',   move,    MMX),
  simd('MOVQ',       '0F 7F /r',    'Qq,Pq',   move,    MMX),
  simd('MOVNTQ',     '0F E7 /r',    'Mq,Pq',   moveLow, SSE),
  simd('MOVD',       '66 0F 6E /r', 'Vdq,Ed',  move,    SSE2),
  simd('MOVD',       '66 0F 7E /r', 'Ed,Vd',   moveLow, SSE2),
  simd('MOVQ',       'F3 0F 7E /r', 'Vdq,Wq',  move,    SSE2),
  simd('MOVQ',       '66 0F D6 /r', 'Udq,Vq',  move,    SSE2),
  simd('MOVQ',       '66 0F D6 /r', 'Mq,Vq',   moveLow, SSE2),
  simd('MOVQ2DQ',    'F3 0F D6 /r', 'Vdq,Nq',  move,    SSE2),
  simd('MOVDQ2Q',    'F2 0F D6 /r', 'Pq,Uq',   move,    SSE2),
  simd('MOVDQA',     '66 0F 6F /r', 'Vdq,Wdq', move,    SSE2),
  simd('MOVDQA',     '66 0F 7F /r', 'Wdq,Vdq', move,    SSE2),
  simd('MOVDQU',     'F3 0F 6F /r', 'Vdq,Wdq', move,    SSE2_UNALIGNED),
  simd('MOVDQU',     'F3 0F 7F /r', 'Wdq,Vdq', move,    SSE2_UNALIGNED),
  simd('MOVNTDQ',    '66 0F E7 /r', 'Mdq,Vdq', move,    SSE2),
  simd('MOVNTI',     '0F C3 /r',    'Md,Gd',   moveLow, SSE2),
  simd('MOVUPS',     '0F 10 /r',    'Vdq,Wdq', move,    SSE_UNALIGNED),
  simd('MOVUPS',     '0F 11 /r',    'Wdq,Vdq', move,    SSE_UNALIGNED),
  simd('MOVUPD',     '66 0F 10 /r', 'Vdq,Wdq', move,    SSE2_UNALIGNED),
  simd('MOVUPD',     '66 0F 11 /r', 'Wdq,Vdq', move,    SSE2_UNALIGNED),
  simd('MOVAPS',     '0F 28 /r',    'Vdq,Wdq', move,    SSE),
  simd('MOVAPS',     '0F 29 /r',    'Wdq,Vdq', move,    SSE),
  simd('MOVAPD',     '66 0F 28 /r', 'Vdq,Wdq', move,    SSE2),
  simd('MOVAPD',     '66 0F 29 /r', 'Wdq,Vdq', move,    SSE2),
  simd('MOVNTPS',    '0F 2B /r',    'Mdq,Vdq', move,    SSE),
  simd('MOVNTPD',    '66 0F 2B /r', 'Mdq,Vdq', move,    SSE2),
  simd('MOVSS',      'F3 0F 10 /r', 'Vd,Ud',   moveLow, SSE),
  simd('MOVSS',      'F3 0F 10 /r', 'Vdq,Md',  move,    SSE),
  simd('MOVSS',      'F3 0F 11 /r', 'Wd,Vd',   moveLow, SSE),
  simd('MOVSD',      'F2 0F 10 /r', 'Vq,Uq',   moveLow, SSE2),
  simd('MOVSD',      'F2 0F 10 /r', 'Vdq,Mq',  move,    SSE2),
  simd('MOVSD',      'F2 0F 11 /r', 'Wq,Vq',   moveLow, SSE2),
  simd('MOVHLPS',    '0F 12 /r',    'Vdq,Udq', moveHighToLow, SSE),
  simd('MOVLPS',     '0F 12 /r',    'Vq,Mq',   moveLow,   SSE),
  simd('MOVLPS',     '0F 13 /r',    'Mq,Vq',   moveLow,   SSE),
  simd('MOVLPD',     '66 0F 12 /r', 'Vq,Mq',   moveLow,   SSE2),
  simd('MOVLPD',     '66 0F 13 /r', 'Mq,Vq',   moveLow,   SSE2),
  simd('MOVLHPS',    '0F 16 /r',    'Vdq,Udq', moveLowToHigh, SSE),
  simd('MOVHPS',     '0F 16 /r',    'Vdq,Mq',  loadHigh,  SSE),
  simd('MOVHPS',     '0F 17 /r',    'Mq,Vdq',  storeHigh, SSE),
  simd('MOVHPD',     '66 0F 16 /r', 'Vdq,Mq',  loadHigh,  SSE2),
  simd('MOVHPD',     '66 0F 17 /r', 'Mq,Vdq',  storeHigh, SSE2),
  simd('MOVMSKPS',   '0F 50 /r',    'Gd,Udq',  moveMask('i32x4'), SSE),
  simd('MOVMSKPD',   '66 0F 50 /r', 'Gd,Udq',  moveMask('i64x2'), SSE2),
  simd('PMOVMSKB',   '0F D7 /r',    'Gd,Nq',   moveMask('i8x16'), SSE),
  simd('PMOVMSKB',   '66 0F D7 /r', 'Gd,Udq',  moveMask('i8x16'), SSE2),
  simd('MASKMOVQ',   '0F F7 /r',    'Pq,Nq',   maskedMove(64),    SSE),
  simd('MASKMOVDQU', '66 0F F7 /r', 'Vdq,Udq', maskedMove(128),   SSE2),
];
