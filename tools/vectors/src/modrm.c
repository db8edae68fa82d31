/* ModRM, SIB and displacement: random address forms that reach a wanted linear address. */
#include "vector.h"

#include <stdlib.h>

static u8 modrm_byte(int mod, int reg, int rm) { return (u8)(mod << 6 | (reg & 7) << 3 | (rm & 7)); }

void modrm_register(struct vector *v, int reg, int rm) { tail(v, 8, modrm_byte(3, reg, rm)); }

void modrm_absolute(struct vector *v, int reg, u32 offset) {
  tail(v, 8, modrm_byte(0, reg, v->code16 ? 6 : 5));
  tail(v, v->code16 ? 16 : 32, offset);
}

/* A register that neither holds an operand nor was taken already, or -1. */
static int free_register(struct vector *v, u32 excluded) {
  for (int attempt = 0; attempt < 16; attempt++) {
    int r = (int)below(8);
    if (!((v->used | excluded) >> r & 1)) return r;
  }
  return -1;
}

static u32 base_of_segment(const struct vector *v, int segment) {
  switch (v->before.segment[segment]) {
  case SELECTOR_FS: return FS_BASE;
  case SELECTOR_GS: return GS_BASE;
  case SELECTOR_CODE_SMALL: return CODE_PAGES;
  default: return 0;
  }
}

/* -1 for no override. FS reaches its own window only; CS cannot be written. */
static int choose_segment(u32 linear, enum access access) {
  if (!chance(8)) return -1;
  int segment = (int)below(6);
  if (segment == CS && access == ACCESS_WRITE) segment = ES;
  if (segment == FS && linear - FS_BASE > FS_LIMIT - 15) segment = SS;
  return segment;
}

static u32 displacement8(void) { return (u32)(int)(signed char)below(256); }

/* [base + index * scale + disp] in 32 bits: registers get what makes the sum `offset`. */
static void address32(struct vector *v, int reg, u32 offset) {
  int base = free_register(v, 0);
  int index = free_register(v, 1u << ESP | (base < 0 ? 0 : 1u << base));
  u32 kind = below(10);
  if (base < 0 || kind == 0) {
    tail(v, 8, modrm_byte(0, reg, 5));
    tail(v, 32, offset);
    return;
  }
  u32 scale = below(4);
  bool sib = base == ESP || kind >= 5;
  bool indexed = sib && index >= 0 && kind >= 6;
  u32 index_value = indexed ? (chance(50) ? below(256) : (u32)operand(32)) : 0;
  u32 sum = offset - (index_value << scale);
  if (indexed) set_register(v, 32, index, index_value);
  if (indexed && kind == 9) { /* no base */
    tail(v, 8, modrm_byte(0, reg, 4));
    tail(v, 8, modrm_byte((int)scale, index, 5));
    tail(v, 32, sum);
    return;
  }
  int mod = base == EBP ? 1 + (int)below(2) : (int)below(3);
  u32 displacement = mod == 0 ? 0 : mod == 1 ? displacement8() : (u32)operand(32);
  set_register(v, 32, base, sum - displacement);
  tail(v, 8, modrm_byte(mod, reg, sib ? 4 : base));
  if (sib) tail(v, 8, modrm_byte((int)scale, indexed ? index : 4, base));
  if (mod) tail(v, mod == 1 ? 8 : 32, displacement);
}

/* The eight 16-bit forms; the upper halves of the registers must not matter. */
static void address16(struct vector *v, int reg, u32 offset) {
  static const int bases[8] = {EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX};
  static const int indexes[8] = {ESI, EDI, ESI, EDI, -1, -1, -1, -1};
  int form = (int)below(8);
  bool taken = v->used >> bases[form] & 1 || (indexes[form] >= 0 && v->used >> indexes[form] & 1);
  int mod = (int)below(3);
  if (taken || (form == 6 && mod == 0)) {
    tail(v, 8, modrm_byte(0, reg, 6));
    tail(v, 16, offset);
    return;
  }
  u32 displacement = mod == 0 ? 0 : mod == 1 ? displacement8() : (u32)operand(16);
  u32 index_value = indexes[form] < 0 ? 0 : (u32)random_u64();
  if (indexes[form] >= 0) set_register(v, 32, indexes[form], index_value);
  set_register(v, 32, bases[form], (u32)random_u64());
  set_register(v, 16, bases[form], offset - displacement - index_value);
  tail(v, 8, modrm_byte(mod, reg, form));
  if (mod) tail(v, mod * 8, displacement);
}

void modrm_memory(struct vector *v, int reg, u32 linear, enum access access) {
  static const u8 override[6] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
  int segment = choose_segment(linear, access);
  u32 offset = linear - base_of_segment(v, segment < 0 ? DS : segment);
  bool short_form = offset < 0x10000 && chance(v->code16 ? 70 : 12);
  v->linear = linear;
  address_size(v, short_form ? 16 : 32);
  if (segment >= 0) prefix(v, override[segment]);
  if (short_form) address16(v, reg, offset);
  else address32(v, reg, offset);
}
