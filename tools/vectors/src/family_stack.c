/* PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE. */
#include "stack.h"

enum { STACK_16_HIGH = 0x50000 }; /* what an IRET to a 16-bit stack leaves in ESP bits 31:16, see native.c */

struct vector *stack_begin(void) {
  struct vector *v = vector_begin();
  u32 offset = 0x200 + below(0xc00);
  if (chance(80)) offset &= ~3u;
  if (chance(6)) offset = chance(50) ? below(6) : 0x1000 - below(6);
  v->before.gpr[ESP] = STACK_PAGE + offset;
  if (chance(12)) {
    v->before.segment[SS] = SELECTOR_STACK_16;
    v->before.gpr[ESP] |= STACK_16_HIGH;
  }
  else if (chance(6)) {
    v->before.segment[SS] = SELECTOR_GS; /* a stack segment whose base is not that of DS */
    v->before.gpr[ESP] -= GS_BASE;
  }
  if (chance(12)) use_code16(v);
  if (chance(2)) v->before.eflags |= FLAG_AC;
  v->used = 1u << ESP;
  return v;
}

u32 stack_linear(const struct vector *v, int offset) {
  u32 pointer = v->before.gpr[ESP] + (u32)offset;
  if (v->before.segment[SS] == SELECTOR_GS) return pointer + GS_BASE;
  return v->before.segment[SS] == SELECTOR_STACK_16 ? pointer & 0xffff : pointer;
}

static void opcode1(struct vector *v, u32 byte) { opcode(v, 1, (const u8[]){(u8)byte}); }

static void registers(bool push, int size) {
  form_begin(sized_name(push ? "PUSH r%" : "POP r%", size), (struct form_options){0});
  for (int i = 0; i < 160; i++) {
    struct vector *v = stack_begin();
    int reg = i & 7;
    operand_size(v, size);
    opcode1(v, (push ? 0x50u : 0x58u) + (u32)reg);
    if (push && reg != ESP) set_register(v, 32, reg, operand(32));
    vector_end(v);
  }
}

/* [ESP + disp8] as operand: POP computes it after the increment, PUSH before the decrement (SDM vol. 2B, POP). */
static void modrm_stack(struct vector *v, int reg) {
  address_size(v, 32);
  tail(v, 8, 0x44 | (u32)reg << 3);
  tail(v, 8, 0x24);
  tail(v, 8, below(64));
}

static void memory_operands(bool push, int size) {
  form_begin(sized_name(push ? "PUSH r/m%" : "POP r/m%", size), (struct form_options){0});
  for (int i = 0; i < 200; i++) {
    struct vector *v = stack_begin();
    int digit = push ? 6 : 0, rm = (int)below(8);
    u32 linear = any_address((u32)size / 8, 1);
    if (i % 20 == 0) linear = push ? DATA_END - 1 : READ_ONLY_PAGE + below(64);
    operand_size(v, size);
    opcode1(v, push ? 0xff : 0x8f);
    if (chance(25)) modrm_register(v, digit, rm);
    else if (chance(15)) modrm_stack(v, digit);
    else modrm_memory(v, digit, linear, push ? ACCESS_READ : ACCESS_WRITE);
    vector_end(v);
  }
}

static void immediates(int size) {
  form_begin(sized_name("PUSH imm8 (%-bit)", size), (struct form_options){0});
  for (int i = 0; i < 60; i++) {
    struct vector *v = stack_begin();
    operand_size(v, size), opcode1(v, 0x6a), tail(v, 8, operand(8));
    vector_end(v);
  }
  form_begin(sized_name("PUSH imm%", size), (struct form_options){0});
  for (int i = 0; i < 60; i++) {
    struct vector *v = stack_begin();
    operand_size(v, size), opcode1(v, 0x68), tail(v, size, operand(size));
    vector_end(v);
  }
}

static void all_registers(int size) {
  for (int push = 1; push >= 0; push--) {
    form_begin(size == 16 ? (push ? "PUSHA" : "POPA") : (push ? "PUSHAD" : "POPAD"), (struct form_options){0});
    for (int i = 0; i < 80; i++) {
      struct vector *v = stack_begin();
      operand_size(v, size), opcode1(v, push ? 0x60 : 0x61);
      v->order_open = true;
      for (int r = 0; push && r < 8; r++) {
        if (r != ESP) set_register(v, 32, r, operand(32));
      }
      vector_end(v);
    }
  }
}

static void flags(int size) {
  form_begin(size == 16 ? "PUSHF" : "PUSHFD", (struct form_options){0});
  for (int i = 0; i < 80; i++) {
    struct vector *v = stack_begin();
    operand_size(v, size), opcode1(v, 0x9c);
    if (chance(20)) v->before.eflags |= FLAG_DF;
    if (chance(20)) v->before.eflags |= FLAG_ID;
    vector_end(v);
  }
  form_begin(size == 16 ? "POPF" : "POPFD", (struct form_options){0});
  for (int i = 0; i < 250; i++) {
    struct vector *v = stack_begin();
    operand_size(v, size), opcode1(v, 0x9d);
    if ((stack_linear(v, 0) & 0xfff) < 0xff8 && stack_linear(v, 0) >= STACK_PAGE)
      memory_value(v, stack_linear(v, 0), 32, random_u64());
    vector_end(v);
  }
}

/* Levels above 1 read the display through EBP: SDM vol. 2A, ENTER. */
static void frames(int size) {
  form_begin(sized_name("ENTER imm16, imm8 (%-bit)", size), (struct form_options){0});
  for (int i = 0; i < 400; i++) {
    struct vector *v = stack_begin();
    u32 level = i < 60 ? (u32)i % 4 : chance(70) ? below(4) : below(256);
    operand_size(v, size), opcode1(v, 0xc8);
    v->order_open = true;
    tail(v, 16, chance(70) ? below(0x100) : operand(16));
    tail(v, 8, level);
    v->before.gpr[EBP] = STACK_PAGE + 0x100 + below(0xe00);
    if (chance(5)) v->before.gpr[EBP] = STACK_PAGE + below(8);
    if (v->before.segment[SS] == SELECTOR_GS) v->before.gpr[EBP] -= GS_BASE;
    else if (chance(30)) v->before.gpr[EBP] |= 0x70000;
    vector_end(v);
  }
  form_begin(sized_name("LEAVE (%-bit)", size), (struct form_options){0});
  for (int i = 0; i < 80; i++) {
    struct vector *v = stack_begin();
    operand_size(v, size), opcode1(v, 0xc9);
    v->before.gpr[EBP] = STACK_PAGE + below(0x1000);
    if (v->before.segment[SS] == SELECTOR_GS) v->before.gpr[EBP] -= GS_BASE;
    else if (chance(20)) v->before.gpr[EBP] |= 0x70000;
    vector_end(v);
  }
}

void family_stack(void) {
  family_begin("stack");
  for (int size = 16; size <= 32; size += 16) {
    registers(true, size), registers(false, size);
    memory_operands(true, size), memory_operands(false, size);
    immediates(size);
    all_registers(size);
    flags(size);
    frames(size);
  }
}
