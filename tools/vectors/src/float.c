#include "float.h"

#include <string.h>

#define INTEGER_BIT 0x8000000000000000ull
enum { BIAS = 0x3fff, SIGN = 0x8000, MAX_EXPONENT = 0x7fff };

void f80_bytes(struct f80 value, u8 bytes[10]) {
  memcpy(bytes, &value.significand, 8);
  memcpy(bytes + 8, &value.exponent, 2);
}

static u16 random_sign(void) { return chance(50) ? SIGN : 0; }

static struct f80 make(int exponent, u64 significand) {
  return (struct f80){significand, (u16)((exponent < 0 ? 0 : exponent > 0x7ffe ? 0x7ffe : exponent) | random_sign())};
}

/* Fraction bits that make rounding hard: all ones, halves of 24, 53 and 64 bits and their neighbours, sparse ones. */
static u64 hard_significand(void) {
  static const u8 roundings[] = {40, 11, 1};
  u64 unit = 1ull << roundings[below(3)], half = unit >> 1, random = random_u64() | INTEGER_BIT;
  switch (below(6)) {
  case 0: return ~0ull << below(64) | INTEGER_BIT;
  case 1: return (random & ~(unit - 1)) | half;
  case 2: return ((random & ~(unit - 1)) | half) + (chance(50) ? 1 : ~0ull);
  case 3: return INTEGER_BIT | 1ull << below(63);
  case 4: return ~0ull - (1ull << below(63));
  default: return random;
  }
}

struct f80 f80_near_one(int spread) {
  return make(BIAS - spread + (int)below((u32)(2 * spread + 1)), chance(40) ? hard_significand() : random_u64() | INTEGER_BIT);
}

struct f80 f80_scaled(struct f80 value, int by) {
  value.exponent = (u16)(value.exponent + by);
  return value;
}

static struct f80 special(void) {
  u64 random = random_u64();
  switch (below(16)) {
  case 0:
  case 1: return make(0, 0);
  case 2: return make(0, 1ull << below(63));
  case 3: return make(0, random & ~INTEGER_BIT);
  case 4: return make(0, random | INTEGER_BIT);                        /* pseudo-denormal */
  case 5: return make(1 + (int)below(0x7ffe), random & ~INTEGER_BIT);  /* unnormal */
  case 6: return (struct f80){chance(50) ? 0 : random & ~INTEGER_BIT, MAX_EXPONENT | random_sign()}; /* pseudo */
  case 7:
  case 8: return (struct f80){INTEGER_BIT, MAX_EXPONENT | random_sign()};
  case 9: return (struct f80){random | 3ull << 62, MAX_EXPONENT | random_sign()};
  case 10: return (struct f80){(random & ~(1ull << 62)) | INTEGER_BIT | 1, MAX_EXPONENT | random_sign()};
  case 11: return (struct f80){3ull << 62, MAX_EXPONENT | SIGN};
  case 12: return make(1, chance(50) ? INTEGER_BIT : random | INTEGER_BIT);
  case 13: return make(0x7ffe, chance(50) ? ~0ull : random | INTEGER_BIT);
  case 14: return make(BIAS, INTEGER_BIT);
  default: return make(BIAS + (int)below(6), INTEGER_BIT | (u64)below(16) << 59);
  }
}

struct f80 f80_any(void) {
  switch (below(8)) {
  case 0:
  case 1:
  case 2: return special();
  case 3: return make((int)below(0x7fff), hard_significand());
  case 4: return f80_near_integer(16 << below(3));
  default: return f80_near_one(chance(50) ? 3 : 80);
  }
}

struct f80 f80_partner(struct f80 first) {
  int exponent = first.exponent & 0x7fff;
  struct f80 value = first;
  switch (below(12)) {
  case 0: return first;
  case 1: value.exponent ^= SIGN; return value;
  case 2: value.significand += chance(50) ? 1 : ~0ull; value.exponent ^= random_sign(); return value;
  case 3:
  case 4: return make(exponent - 3 + (int)below(7), hard_significand());
  case 5: return make(exponent - 70 + (int)below(141), hard_significand());
  case 6: return make(BIAS + (BIAS - exponent) - 3 + (int)below(7), hard_significand()); /* product near 1 */
  case 7: return make(0x7ffe + BIAS - exponent - 3 + (int)below(7), hard_significand()); /* product overflows */
  case 8: return make(BIAS - exponent - 70 + (int)below(76), hard_significand());        /* product underflows */
  case 9: return special();
  default: return f80_any();
  }
}

struct f80 f80_near_integer(int size) {
  u64 limit = 1ull << (size - 1);
  if (chance(40)) { /* at the limit, with a fraction around a half */
    u64 integer = limit + below(4) - 2;
    int shift = __builtin_clzll(integer);
    u64 significand = integer << shift;
    if (shift) significand |= (u64)below(4) << (shift > 1 ? shift - 2 : 0) | (chance(30) ? 1 : 0);
    return make(BIAS + 63 - shift, significand | INTEGER_BIT);
  }
  int exponent = BIAS - 2 + (int)below((u32)size + 2);
  u64 significand = random_u64() | INTEGER_BIT;
  int fraction_bits = 63 - (exponent - BIAS);
  if (chance(50) && fraction_bits > 0 && fraction_bits < 64) { /* exactly halfway, or an exact integer */
    significand &= ~((1ull << fraction_bits) - 1);
    if (chance(50)) significand |= 1ull << (fraction_bits - 1);
  }
  return make(exponent, significand | INTEGER_BIT);
}

/* Exponents from well below the smallest denormal to just above the largest finite number of a format. */
static struct f80 near_format(int bias, int digits) {
  int smallest = BIAS - bias + 1, largest = BIAS + bias, exponent;
  switch (below(4)) {
  case 0: exponent = smallest - digits - 3 + (int)below((u32)digits + 6); break;
  case 1: exponent = largest - 1 + (int)below(3); break;
  default: exponent = BIAS - 20 + (int)below(40);
  }
  return make(exponent, hard_significand());
}

struct f80 f80_near_double(void) { return chance(20) ? f80_any() : near_format(1023, 53); }
struct f80 f80_near_single(void) { return chance(20) ? f80_any() : near_format(127, 24); }

u32 f32_any(void) {
  u32 sign = chance(50) ? 0x80000000u : 0, random = (u32)random_u64(), fraction = random & 0x7fffff;
  if (chance(25)) fraction = chance(50) ? 0x7fffff & (~0u << below(23)) : 1u << below(23);
  switch (below(16)) {
  case 0: return sign;
  case 1: return sign | fraction;
  case 2: return sign | 0x7f800000;
  case 3: return sign | 0x7fc00000 | fraction;
  case 4: return sign | 0x7f800000 | (fraction & 0x3fffff) | 1;
  case 5: return sign | 0x3f800000;
  case 6: return sign | 0x00800000 | (chance(50) ? 0 : fraction);
  case 7: return sign | 0x7f000000 | (chance(50) ? 0x7fffff : fraction);
  case 8: return random;
  case 9: return f32_near_integer();
  default: return sign | (u32)(127 - 20 + below(40)) << 23 | fraction;
  }
}

u64 f64_any(void) {
  u64 sign = chance(50) ? 1ull << 63 : 0, random = random_u64(), fraction = random & 0xfffffffffffffull;
  if (chance(25)) fraction = chance(50) ? 0xfffffffffffffull & (~0ull << below(52)) : 1ull << below(52);
  switch (below(16)) {
  case 0: return sign;
  case 1: return sign | fraction;
  case 2: return sign | 0x7ffull << 52;
  case 3: return sign | 0x7ff8ull << 48 | fraction;
  case 4: return sign | 0x7ffull << 52 | (fraction & 0x7ffffffffffffull) | 1;
  case 5: return sign | 0x3ffull << 52;
  case 6: return sign | 1ull << 52 | (chance(50) ? 0 : fraction);
  case 7: return sign | 0x7feull << 52 | (chance(50) ? 0xfffffffffffffull : fraction);
  case 8: return random;
  case 9: return f64_near_integer();
  case 10: return sign | (u64)(1023 - 150 + below(25)) << 52 | fraction; /* underflows in single */
  case 11: return sign | (u64)(1023 + 126 + below(3)) << 52 | fraction;  /* overflows in single */
  default: return sign | (u64)(1023 - 20 + below(40)) << 52 | fraction;
  }
}

static u64 exponent_field(int exponent, int largest) {
  return (u64)(exponent < 0 ? 0 : exponent > largest ? largest : exponent);
}

u32 f32_partner(u32 first) {
  int exponent = first >> 23 & 0xff;
  u32 sign = chance(50) ? 0x80000000u : 0, fraction = (u32)random_u64() & 0x7fffff;
  switch (below(8)) {
  case 0: return first ^ sign;
  case 1: return (first + (chance(50) ? 1 : ~0u)) ^ sign;
  case 2: return sign | (u32)exponent_field(exponent - 3 + (int)below(7), 254) << 23 | fraction;
  case 3: return sign | (u32)exponent_field(exponent - 26 + (int)below(53), 254) << 23 | fraction;
  case 4: return sign | (u32)exponent_field(127 - exponent - 25 + (int)below(28), 254) << 23 | fraction;
  case 5: return sign | (u32)exponent_field(381 - exponent - 2 + (int)below(5), 254) << 23 | fraction;
  default: return f32_any();
  }
}

u64 f64_partner(u64 first) {
  int exponent = first >> 52 & 0x7ff;
  u64 sign = chance(50) ? 1ull << 63 : 0, fraction = random_u64() & 0xfffffffffffffull;
  switch (below(8)) {
  case 0: return first ^ sign;
  case 1: return (first + (chance(50) ? 1 : ~0ull)) ^ sign;
  case 2: return sign | exponent_field(exponent - 3 + (int)below(7), 2046) << 52 | fraction;
  case 3: return sign | exponent_field(exponent - 55 + (int)below(111), 2046) << 52 | fraction;
  case 4: return sign | exponent_field(1023 - exponent - 54 + (int)below(57), 2046) << 52 | fraction;
  case 5: return sign | exponent_field(3069 - exponent - 2 + (int)below(5), 2046) << 52 | fraction;
  default: return f64_any();
  }
}

u32 f32_near_integer(void) {
  static const float limits[] = {2147483648.0f, 2147483520.0f, 32768.0f, 0.5f, 1.5f, 2.5f, 8388607.5f, 16777215.0f};
  float value = chance(50) ? limits[below(8)] : (float)(int)random_u64() / (float)(1u << below(31));
  u32 bits;
  memcpy(&bits, &value, 4);
  return (bits + below(3) - 1) ^ (chance(50) ? 0x80000000u : 0);
}

u64 f64_near_integer(void) {
  static const double limits[] = {2147483648.0, 2147483647.5, 2147483647.0, 32768.0, 0.5, 1.5, 2.5, 4503599627370495.5,
                                  9223372036854775808.0};
  double value = chance(50) ? limits[below(9)] : (double)(int)random_u64() / (double)(1u << below(31));
  u64 bits;
  memcpy(&bits, &value, 8);
  return (bits + below(3) - 1) ^ (chance(50) ? 1ull << 63 : 0);
}
