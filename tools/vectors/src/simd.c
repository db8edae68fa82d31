/* Runs one MMX or SSE form: MXCSR, operands, memory and its alignment. */
#include "simd.h"

#include "x87.h"

#include <string.h>

/* All exceptions masked for the most part. A flag that is already set raises nothing by itself (SDM vol. 1 11.5.3). */
static u32 random_mxcsr(void) {
  u32 masks = chance(85) ? 0x3f : below(64), value = masks << 7;
  if (chance(50)) value |= below(4) << 13;
  if (chance(20)) value |= 0x8000;
  if (chance(20)) value |= 0x40;
  if (chance(30)) value |= below(64);
  return value;
}

static u64 element(enum simd_elements kind, u64 partner, bool has_partner) {
  switch (kind) {
  case F32: return has_partner ? f32_partner((u32)partner) : f32_any();
  case F64: return has_partner ? f64_partner(partner) : f64_any();
  case F32_TO_INT: return chance(60) ? f32_near_integer() : f32_any();
  case F64_TO_INT: return chance(60) ? f64_near_integer() : f64_any();
  case F64_TO_F32: return f64_any();
  case I32: return operand(32);
  default: return chance(60) ? operand(64) : operand(8) * 0x0101010101010101ull ^ (chance(50) ? random_u64() : 0);
  }
}

static bool is_wide(enum simd_elements kind) {
  return kind == F64 || kind == F64_TO_INT || kind == F64_TO_F32 || kind == BITS || kind == COUNTS;
}

static void fill(u8 bytes[16], enum simd_elements kind, const u8 *partner) {
  int size = is_wide(kind) ? 8 : 4;
  for (int i = 0; i < 16; i += size) {
    u64 other = 0;
    if (partner) memcpy(&other, partner + i, (size_t)size);
    u64 value = element(kind, other, partner && chance(70));
    memcpy(bytes + i, &value, (size_t)size);
  }
  if (kind == COUNTS && partner) { /* the whole low quadword counts */
    u64 count = chance(85) ? below(70) : random_u64();
    memcpy(bytes, &count, 8);
  }
}

static void set_file(struct vector *v, enum simd_file file, int index, const u8 bytes[16]) {
  u32 low;
  memcpy(&low, bytes, 4);
  if (file == XMM) set_xmm(v, index, bytes);
  if (file == MM) {
    memcpy(v->before.x87.registers[index], bytes, 8);
    v->before.x87.registers[index][8] = 0xff, v->before.x87.registers[index][9] = 0xff;
  }
  if (file == GPR) set_register(v, 32, index, chance(50) ? low : (u32)operand(32));
}

static void memory_form(struct vector *v, const struct simd_form *form, int reg, const u8 bytes[16]) {
  u32 width = (u32)form->width, alignment = form->aligned ? width : chance(50) ? width : 1;
  u32 trouble = below(100), linear = any_address(width, alignment);
  if (trouble < 2) linear = (chance(50) ? DATA_END : EDGE_END) - (form->aligned ? 0 : below(width + 1));
  else if (trouble < 3) linear = READ_ONLY_PAGE + 16 * below(128);
  else if (trouble < 7) linear = any_address(width + 16, 16) + 1 + below(15);
  else if (trouble < 8) v->before.eflags |= FLAG_AC;
  modrm_memory(v, reg, linear, form->store ? ACCESS_WRITE : ACCESS_READ);
  if (trouble >= 3 && !form->store) memory(v, linear, bytes, width);
}

static void one_vector(const struct simd_form *form) {
  bool mmx = form->reg == MM || form->rm == MM;
  struct vector *v = mmx ? x87_begin() : vector_begin();
  u8 first[16], second[16];
  int reg = form->reg == NO_FILE ? form->digit : (int)below(8), rm = (int)below(8);
  fill(first, form->elements, NULL);
  fill(second, form->elements, first);
  v->before.mxcsr = random_mxcsr();
  if (chance(4)) use_code16(v);
  if (form->mandatory) prefix(v, form->mandatory);
  opcode(v, 2, (const u8[]){0x0f, form->opcode});
  if (form->reg != NO_FILE) set_file(v, form->reg, reg, first);
  if (form->reg == GPR) v->used |= 1u << reg;
  bool in_memory = form->memory_only || (form->width && !form->register_only && chance(45));
  if (in_memory) memory_form(v, form, reg, second);
  else {
    set_file(v, form->rm, rm, form->reg == NO_FILE ? first : second);
    modrm_register(v, reg, rm);
  }
  if (form->immediate) tail(v, 8, form->elements == COUNTS && chance(80) ? below(70) : random_u64());
  vector_end(v);
}

void run_simd_form(const struct simd_form *form) {
  form_begin(form->name, (struct form_options){.feature = form->feature, .approximate = form->approximate});
  for (int n = 0; n < form->count; n++) one_vector(form);
}
