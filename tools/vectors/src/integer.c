/* Runs one described form: places its operands, then a round of places where the access must fault. */
#include "integer.h"

#include <stdio.h>
#include <string.h>

enum place { ANYWHERE, UNMAPPED, INTO_UNMAPPED, READ_ONLY, OVER_FS_LIMIT, MISALIGNED, LOCKED_REGISTER, PLACES };

const char *sized_name(const char *pattern, int size) {
  static char text[96];
  size_t at = 0;
  for (; *pattern && at < sizeof text - 4; pattern++) {
    if (*pattern == '%') at += (size_t)sprintf(text + at, "%d", size);
    else text[at++] = *pattern;
  }
  text[at] = 0;
  return text;
}

const char *named(const char *mnemonic, const char *operands, int size) {
  char pattern[80];
  snprintf(pattern, sizeof pattern, "%s%s", mnemonic, operands);
  return sized_name(pattern, size);
}

u32 undefined_af(struct vector *v, const struct operation *op) {
  (void)v, (void)op;
  return FLAG_AF;
}

static int rm_size(const struct operation *op) { return op->rm_size ? op->rm_size : op->size; }

static bool has_rm(const struct operation *op) { return op->shape <= RM_ONLY; }

static bool has_reg(const struct operation *op) {
  return op->shape == RM_REG || op->shape == REG_RM || op->shape == RM_REG_IMM8 || op->shape == REG_RM_IMM ||
         op->shape == REG_RM_IMM8;
}

static int immediate_size(const struct operation *op) {
  switch (op->shape) {
  case RM_IMM:
  case REG_RM_IMM:
  case ACC_IMM:
  case OPCODE_REG_IMM: return op->size;
  case RM_IMM8:
  case RM_REG_IMM8:
  case REG_RM_IMM8:
  case IMPLICIT_IMM8: return 8;
  default: return 0;
  }
}

static u32 address_for(enum place place, u32 bytes) {
  switch (place) {
  case UNMAPPED: return chance(50) ? DATA_END + below(0x1000) : (u32)(0x100000 + (random_u64() & 0x7fffffff));
  case INTO_UNMAPPED: return (chance(50) ? DATA_END : STACK_PAGE + 0x1000) - (bytes > 1 ? 1 + below(bytes - 1) : 0);
  case READ_ONLY: return READ_ONLY_PAGE + below(0x1000 - bytes);
  case MISALIGNED: return any_address(bytes + 4, 4) + 1 + below(3);
  default: return any_address(bytes, 1);
  }
}

/* Past the limit of FS by up to the operand's size, by plain displacement. */
static void over_fs_limit(struct vector *v, int reg, u32 bytes) {
  prefix(v, 0x64);
  address_size(v, 32);
  tail(v, 8, (u32)(reg & 7) << 3 | 5);
  tail(v, 32, FS_LIMIT + 2 - bytes + below(bytes));
}

static void place_memory(struct vector *v, const struct operation *op, int reg, enum place place, u64 value) {
  u32 bytes = (u32)rm_size(op) / 8;
  u32 linear = address_for(place, bytes);
  if (place == OVER_FS_LIMIT) {
    over_fs_limit(v, reg, bytes);
    return;
  }
  if (op->lockable && place == ANYWHERE && chance(8)) {
    prefix(v, 0xf0);
    linear &= ~(bytes - 1); /* a split lock would be throttled by the system */
  }
  modrm_memory(v, reg, linear, op->writes ? ACCESS_WRITE : ACCESS_READ);
  bool mapped = place == ANYWHERE || place == MISALIGNED;
  if (mapped) memory_value(v, linear, rm_size(op), value);
}

static void place_rm(struct vector *v, const struct operation *op, int reg, enum place place, u64 value) {
  bool in_register = op->register_only || (!op->memory_only && place == ANYWHERE && chance(60));
  if (in_register || place == LOCKED_REGISTER) {
    int rm = (int)below(8);
    if (place == LOCKED_REGISTER) prefix(v, 0xf0);
    set_register(v, rm_size(op), rm, value);
    modrm_register(v, reg, rm);
    v->destination = value;
    return;
  }
  v->destination = value;
  place_memory(v, op, reg, place, value);
}

static void choose_values(const struct operation *op, int i, u64 *a, u64 *b) {
  *a = operand(rm_size(op));
  *b = operand(op->size);
  if (i < BOUNDARIES * BOUNDARIES && op->count >= 2 * BOUNDARIES * BOUNDARIES) {
    *a = boundary(rm_size(op), (u32)i / BOUNDARIES);
    *b = boundary(op->size, (u32)i % BOUNDARIES);
  }
}

static void one_vector(const struct operation *op, int i, enum place place) {
  struct vector *v = vector_begin();
  u64 a, b;
  u8 bytes[3];
  choose_values(op, i, &a, &b);
  if (chance(7)) use_code16(v);
  if (place == MISALIGNED) v->before.eflags |= FLAG_AC;
  v->used = op->implicit;
  if (op->size != 8) operand_size(v, op->size);
  if (op->mandatory) prefix(v, op->mandatory);
  memcpy(bytes, op->opcode, 3);
  int reg = op->digit, immediate = immediate_size(op);
  if (has_reg(op)) {
    reg = (int)below(8);
    v->used |= register_bit(op->size, reg);
    set_register(v, op->size, reg, b);
  }
  if (op->shape == OPCODE_REG || op->shape == OPCODE_REG_IMM) {
    reg = (int)below(8);
    bytes[op->opcode_length - 1] += (u8)reg;
    set_register(v, op->size, reg, a);
    v->destination = a;
  }
  if (op->shape == ACC_IMM) set_register(v, op->size, EAX, a), v->destination = a;
  opcode(v, op->opcode_length, bytes);
  if (has_rm(op)) place_rm(v, op, reg, place, a);
  v->source = has_reg(op) ? get_register(v, op->size, reg) : immediate == 8 && op->size > 8 ? operand(8) : b;
  if (op->prepare) op->prepare(v, op);
  if (immediate) {
    u64 value = op->immediate ? op->immediate() : has_reg(op) ? operand(immediate) : v->source;
    tail(v, immediate, value);
    v->source = value;
  }
  if (op->undefined) v->undefined_flags = op->undefined(v, op);
  vector_end(v);
}

void run_operation(const struct operation *op) {
  form_begin(op->name, (struct form_options){.feature = op->feature});
  for (int i = 0; i < op->count; i++) one_vector(op, i, ANYWHERE);
  if (!has_rm(op)) return;
  for (enum place place = UNMAPPED; place < PLACES; place++) {
    if (op->register_only && place != LOCKED_REGISTER) continue;
    if (op->memory_only && place == LOCKED_REGISTER) continue;
    if (rm_size(op) == 8 && (place == INTO_UNMAPPED || place == MISALIGNED)) continue;
    for (int i = 0; i < 2; i++) one_vector(op, 0, place);
  }
}
