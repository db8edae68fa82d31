/* Floating-point operands: every class of 80-, 64- and 32-bit value, and pairs that cancel, overflow or round hard. */
#ifndef VECTORS_FLOAT_H
#define VECTORS_FLOAT_H

#include "random.h"

struct f80 {
  u64 significand;
  u16 exponent; /* with the sign in bit 15 */
};

void f80_bytes(struct f80 value, u8 bytes[10]);
/* Any class, denormals, pseudo-denormals, unnormals, pseudo-infinities and NaNs included. */
struct f80 f80_any(void);
/* A finite normal number whose exponent lies within `spread` of 1.0's. */
struct f80 f80_near_one(int spread);
struct f80 f80_scaled(struct f80 value, int by);
/* A second operand, often one that is close to the first in value or exponent. */
struct f80 f80_partner(struct f80 first);
/* A value around where conversion to a signed integer of that size turns, often with a fraction of a half. */
struct f80 f80_near_integer(int size);
/* A value around the limits and rounding points of the narrower format. */
struct f80 f80_near_double(void);
struct f80 f80_near_single(void);

u32 f32_any(void);
u64 f64_any(void);
u32 f32_partner(u32 first);
u64 f64_partner(u64 first);
/* Values around the limits of int32 (and int64 for double), for conversions. */
u32 f32_near_integer(void);
u64 f64_near_integer(void);

#endif
