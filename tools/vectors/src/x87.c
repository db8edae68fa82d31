/* Runs one x87 form: picks control word, stack and operands. */
#include "x87.h"

#include <string.h>

static int top_of(const struct vector *v) { return v->before.x87.status >> 11 & 7; }

void set_st(struct vector *v, int i, struct f80 value) {
  f80_bytes(value, v->before.x87.registers[(top_of(v) + i) & 7]);
}

void tag_st(struct vector *v, int i, bool used) {
  u8 bit = (u8)(1u << ((top_of(v) + i) & 7));
  v->before.x87.tags = (u8)(used ? v->before.x87.tags | bit : v->before.x87.tags & ~bit);
}

struct vector *x87_begin(void) {
  static const u16 precisions[] = {0x300, 0x300, 0x300, 0x200, 0x000};
  struct vector *v = vector_begin();
  struct x87 *x87 = &v->before.x87;
  u16 masks = chance(82) ? 0x3f : (u16)below(64);
  x87->control = (u16)(0x40 | masks | precisions[below(5)] | (chance(50) ? below(4) << 10 : 0));
  x87->status = (u16)(below(8) << 11 | (random_u64() & (STATUS_C0 | STATUS_C1 | STATUS_C2 | STATUS_C3)));
  if (chance(20)) x87->status |= (u16)(random_u64() & 0x7f & (masks | 0x40));
  if (chance(2)) x87->status |= (u16)(random_u64() & 0x3f);
  if (x87->status & ~x87->control & 0x3f) x87->status |= STATUS_ES | STATUS_B;
  x87->tags = (u8)random_u64();
  return v;
}

static struct f80 first_value(enum x87_values values) {
  switch (values) {
  case TO_INT16: return chance(75) ? f80_near_integer(16) : f80_any();
  case TO_INT32: return chance(75) ? f80_near_integer(32) : f80_any();
  case TO_INT64:
  case TO_BCD: return chance(75) ? f80_near_integer(64) : f80_any();
  case TO_F32: return f80_near_single();
  case TO_F64: return f80_near_double();
  case ANGLES: return chance(80) ? f80_near_one(chance(70) ? 8 : 66) : f80_any();
  case LOGARITHMS: return chance(80) ? f80_near_one(chance(50) ? 2 : 40) : f80_any();
  case POWERS: return chance(85) ? f80_scaled(f80_near_one(20), -20) : f80_any();
  case LOGARITHMS_NEAR_ONE: return chance(85) ? f80_scaled(f80_near_one(20), -22) : f80_any();
  default: return f80_any();
  }
}

static struct f80 second_value(enum x87_values values, struct f80 first) {
  switch (values) {
  case SCALES: return chance(75) ? f80_near_integer(16) : f80_any();
  case REMAINDERS: {
    if (chance(25)) return f80_any();
    struct f80 value = f80_near_one(0);
    int exponent = (first.exponent & 0x7fff) + 3 - (int)below(chance(70) ? 68 : 140);
    value.exponent = (u16)((value.exponent & 0x8000) | (exponent < 0 ? 0 : exponent & 0x7fff));
    return value;
  }
  case ANGLES:
  case LOGARITHMS:
  case LOGARITHMS_NEAR_ONE: return chance(80) ? f80_near_one(chance(70) ? 4 : 60) : f80_any();
  default: return f80_partner(first);
  }
}

/* Finite or infinite arguments for which the manual defines no result (SDM vol. 2A, F2XM1 and FYL2XP1). */
static bool out_of_range(enum x87_values values, struct f80 value) {
  u8 bytes[16] = {0};
  long double number;
  if ((value.exponent & 0x7fff) && !(value.significand >> 63)) return false; /* invalid encodings are defined */
  f80_bytes(value, bytes);
  memcpy(&number, bytes, sizeof number);
  if (values == POWERS) return number < -1 || number > 1;
  if (values == LOGARITHMS_NEAR_ONE) return number < 0.70710678118654752440L - 1 || number > 0.41421356237309504880L;
  return false;
}

static u32 operand_bytes(enum x87_operand kind) {
  switch (kind) {
  case M_I16:
  case M_OUT16: return 2;
  case M_F32:
  case M_I32:
  case M_OUT32: return 4;
  case M_F64:
  case M_I64:
  case M_OUT64: return 8;
  default: return 10;
  }
}

/* True if all digits are digits: the manual leaves FBLD of others undefined. */
static bool decimal_bytes(u8 bytes[10]) {
  for (int i = 0; i < 9; i++) bytes[i] = (u8)(below(10) << 4 | below(10));
  for (int i = 0; i < 9 && chance(40); i++) bytes[8 - i] = 0;
  bytes[9] = chance(50) ? 0x80 : 0;
  if (chance(95)) return true;
  u32 i = below(9);
  bytes[i] = (u8)random_u64();
  return (bytes[i] & 15) < 10 && bytes[i] >> 4 < 10;
}

static void memory_operand(struct vector *v, enum x87_operand kind, u32 linear, struct f80 first) {
  u8 bytes[10];
  switch (kind) {
  case M_F32: memory_value(v, linear, 32, f32_any()); break;
  case M_F64: memory_value(v, linear, 64, f64_any()); break;
  case M_I16: memory_value(v, linear, 16, operand(16)); break;
  case M_I32: memory_value(v, linear, 32, operand(32)); break;
  case M_I64: memory_value(v, linear, 64, operand(64)); break;
  case M_F80: f80_bytes(f80_partner(first), bytes); memory(v, linear, bytes, 10); break;
  case M_BCD: v->undefined_result = !decimal_bytes(bytes); memory(v, linear, bytes, 10); break;
  default: break;
  }
}

static void place_operand(struct vector *v, const struct x87_form *form, struct f80 first) {
  u32 bytes = operand_bytes(form->operand), linear = any_address(bytes, chance(60) ? 4 : 1);
  bool writes = form->operand >= M_OUT16;
  u32 trouble = below(100);
  if (trouble < 2) linear = (chance(50) ? DATA_END : EDGE_END) - below(bytes + 1);
  else if (trouble < 3) linear = READ_ONLY_PAGE + below(0x800);
  else if (trouble < 4) v->before.eflags |= FLAG_AC;
  if (chance(5)) use_code16(v);
  modrm_memory(v, form->second >> 3, linear, writes ? ACCESS_WRITE : ACCESS_READ);
  if (trouble >= 3) memory_operand(v, form->operand, linear, first);
}

static void one_vector(const struct x87_form *form) {
  struct vector *v = x87_begin();
  int i = form->operand == STACK ? (int)below(8) : 1;
  struct f80 first = first_value(form->values), second = second_value(form->values, first);
  set_st(v, i, second);
  set_st(v, 0, first);
  bool operands_in_use = chance(95);
  if (operands_in_use) tag_st(v, 0, true), tag_st(v, i, true);
  if (form->pushes && chance(93)) tag_st(v, 7, false);
  opcode(v, 1, &form->opcode);
  if (form->operand == NO_OPERAND) tail(v, 8, form->second);
  else if (form->operand == STACK) tail(v, 8, (u32)form->second + (u32)i);
  else place_operand(v, form, first);
  v->undefined_result |= out_of_range(form->values, first);
  v->undefined_status = (u16)(form->undefined | (v->undefined_result ? 0x3f : 0) | (form->keeps_codes ? 0 : STATUS_C0 | STATUS_C2 | STATUS_C3));
  vector_end(v);
}

void run_x87_form(const struct x87_form *form) {
  form_begin(form->name, (struct form_options){.feature = form->feature, .approximate = form->approximate});
  for (int n = 0; n < form->count; n++) one_vector(form);
}
