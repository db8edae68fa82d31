/* Loading and storing selectors, LAR LSL VERR VERW ARPL, and what limits and types forbid. */
#include "stack.h"

#include <stdio.h>

/*
 * Null selectors other than 0 are left out: the return from the kernel clears them before they can be seen (SDM vol. 2A,
 * IRET), and what a load of them leaves is then lost.
 */
static const u16 selectors[] = {
    0, SELECTOR_USER_DATA, SELECTOR_USER_CODE, SELECTOR_EMPTY, SELECTOR_FS, SELECTOR_GS, SELECTOR_READ_ONLY,
    SELECTOR_EXPAND_DOWN_32, SELECTOR_EXPAND_DOWN_16, SELECTOR_NOT_PRESENT_DATA, SELECTOR_CODE_32,
    SELECTOR_EXECUTE_ONLY, SELECTOR_CODE_16, SELECTOR_STACK_16, SELECTOR_NOT_PRESENT_CODE, SELECTOR_SMALL_DATA,
    SELECTOR_PAGE_LIMIT, SELECTOR_CODE_SMALL, SELECTOR_BEYOND_LDT, SELECTOR_FS & ~3, (SELECTOR_FS & ~3) + 1,
    SELECTOR_STACK_16 & ~1, 0x08, 0x0b, 0x18, 0x1b, 0x20, 0x28, 0x29, 0x60, 0x63, 0x80, 0x83, 0xfffb, 0xffff,
};
enum { SELECTORS = sizeof selectors / sizeof *selectors };

static void opcode1(struct vector *v, u32 byte) { opcode(v, 1, (const u8[]){(u8)byte}); }
static void opcode2(struct vector *v, u32 byte) { opcode(v, 2, (const u8[]){0x0f, (u8)byte}); }

static const char *const names[8] = {"ES", "CS", "SS", "DS", "FS", "GS", "(6)", "(7)"};

static void begin(const char *before, int segment, const char *after) {
  char name[48];
  snprintf(name, sizeof name, "%s%s%s", before, names[segment], after);
  form_begin(name, (struct form_options){0});
}

/* Segment registers start from some loadable selector, so that "unchanged" can be told from "loaded". */
static void random_segments(struct vector *v) {
  static const u16 data[] = {SELECTOR_USER_DATA, SELECTOR_FS, SELECTOR_GS, SELECTOR_READ_ONLY, 0, SELECTOR_CODE_32};
  v->before.segment[ES] = data[below(6)];
  v->before.segment[FS] = data[below(6)];
  v->before.segment[GS] = data[below(6)];
}

/* Of a word that 16-bit absolute addressing reaches too. */
static u32 low_address(void) {
  u32 linear = any_address(2, 1);
  return linear < 0xffff ? linear : DATA_PAGES + 0x10;
}

static void loads(int segment) {
  begin("MOV ", segment, ", r/m16");
  for (int i = 0; i < 2 * SELECTORS; i++) {
    struct vector *v = vector_begin();
    u16 selector = selectors[i % SELECTORS];
    int rm = (int)below(8);
    u32 linear = low_address();
    if (chance(10)) use_code16(v);
    if (chance(20)) prefix(v, 0x66);
    opcode1(v, 0x8e);
    if (i < SELECTORS) {
      set_register(v, 32, rm, selector | (u32)random_u64() << 16);
      modrm_register(v, segment, rm);
    } else {
      modrm_absolute(v, segment, linear);
      memory_value(v, linear, 16, selector);
    }
    vector_end(v);
  }
}

static void stores(int segment) {
  begin("MOV r/m, ", segment, "");
  for (int i = 0; i < 30; i++) {
    struct vector *v = vector_begin();
    u32 linear = i == 0 ? READ_ONLY_PAGE : low_address();
    random_segments(v);
    if (chance(30)) prefix(v, 0x66);
    opcode1(v, 0x8c);
    if (chance(50)) modrm_register(v, segment, (int)below(8));
    else modrm_absolute(v, segment, linear);
    vector_end(v);
  }
}

static void push_pop(int segment) {
  static const u8 one_byte[4] = {0x06, 0x0e, 0x16, 0x1e};
  for (int pop = 0; pop < 2; pop++) {
    if (pop && segment == CS) continue;
    begin(pop ? "POP " : "PUSH ", segment, "");
    for (int i = 0; i < (pop ? 2 * SELECTORS : 40); i++) {
      struct vector *v = stack_begin();
      u32 linear = stack_linear(v, 0);
      random_segments(v);
      if (chance(30)) prefix(v, 0x66);
      if (segment < 4) opcode1(v, one_byte[segment] + (u32)pop);
      else opcode2(v, (segment == FS ? 0xa0 : 0xa8) + (u32)pop);
      if (pop && linear >= STACK_PAGE && linear < STACK_PAGE + 0xffc)
        memory_value(v, linear, 32, selectors[i % SELECTORS] | random_u64() << 16);
      vector_end(v);
    }
  }
}

/* LDS and its kin: offset, then selector. */
static void far_pointers(int segment) {
  static const u8 bytes[6][2] = {{0xc4, 0}, {0, 0}, {0x0f, 0xb2}, {0xc5, 0}, {0x0f, 0xb4}, {0x0f, 0xb5}};
  for (int size = 16; size <= 32; size += 16) {
    begin("L", segment, size == 16 ? " r16, m16:16" : " r32, m16:32");
    for (int i = 0; i < 2 * SELECTORS; i++) {
      struct vector *v = vector_begin();
      u32 linear = any_address(6, 1);
      if (chance(10)) use_code16(v);
      operand_size(v, size);
      v->order_open = true;
      opcode(v, bytes[segment][1] ? 2 : 1, bytes[segment]);
      modrm_memory(v, (int)below(8), i == 7 ? DATA_END - 3 : linear, ACCESS_READ);
      memory_value(v, linear, size, operand(size));
      memory_value(v, linear + (u32)size / 8, 16, selectors[i % SELECTORS]);
      vector_end(v);
    }
  }
}

static void inspections(const char *name, u32 byte, int digit, bool with_size) {
  form_begin(name, (struct form_options){0});
  for (int i = 0; i < 3 * SELECTORS; i++) {
    struct vector *v = vector_begin();
    u16 selector = selectors[i % SELECTORS];
    int rm = (int)below(8), reg = digit < 0 ? (int)below(8) : digit;
    u32 linear = any_address(2, 1);
    if (chance(10)) use_code16(v);
    if (with_size && chance(50)) prefix(v, 0x66);
    opcode2(v, byte);
    if (i < 2 * SELECTORS) {
      set_register(v, 32, rm, selector | (u32)random_u64() << 16);
      modrm_register(v, reg, rm);
    } else {
      modrm_memory(v, reg, linear, ACCESS_READ);
      memory_value(v, linear, 16, selector);
    }
    vector_end(v);
  }
}

static void adjust_rpl(void) {
  struct operation op = {.name = "ARPL r/m16, r16", .shape = RM_REG, .size = 16, .opcode = {0x63}, .opcode_length = 1};
  op.writes = true;
  op.count = 200;
  run_operation(&op);
}

/* An offset around what the segment in DS allows. */
static u32 edge_offset(u16 selector) {
  u32 limit = selector == SELECTOR_FS ? FS_LIMIT : selector == SELECTOR_SMALL_DATA ? 0x6010 : 0x7fff;
  u32 near = chance(50) ? below(24) : 0u - below(24);
  switch (selector) {
  case SELECTOR_FS:
  case SELECTOR_SMALL_DATA:
  case SELECTOR_PAGE_LIMIT: return chance(75) ? limit + near : 0x6000 + below(0x3000);
  case SELECTOR_EXPAND_DOWN_32: return chance(70) ? 0x7000 + near : 0u - below(24);
  case SELECTOR_EXPAND_DOWN_16: return chance(60) ? 0x7000 + near : 0x10000 + near;
  case SELECTOR_STACK_16: return chance(60) ? 0x10000 + near : 0x6000 + below(0x2000);
  default: return any_address(16, 1);
  }
}

static void limited_access(const char *name, const u8 *bytes, int length, int digit, const char *feature) {
  static const u16 limited[] = {SELECTOR_FS, SELECTOR_SMALL_DATA, SELECTOR_PAGE_LIMIT, SELECTOR_EXPAND_DOWN_32,
                                SELECTOR_EXPAND_DOWN_16, SELECTOR_STACK_16, SELECTOR_READ_ONLY, SELECTOR_CODE_32,
                                SELECTOR_EXECUTE_ONLY, 0};
  form_begin(name, (struct form_options){.feature = feature});
  for (u32 i = 0; i < 220; i++) {
    struct vector *v = vector_begin();
    u16 selector = limited[i % 10];
    bool by_code = selector == SELECTOR_EXECUTE_ONLY;
    u32 offset = edge_offset(selector);
    if (by_code) v->before.segment[CS] = selector, prefix(v, 0x2e);
    else if (chance(50)) v->before.segment[DS] = selector;
    else v->before.segment[GS] = selector, prefix(v, 0x65);
    if (length == 2 && bytes[0] == 0x66) prefix(v, 0x66), opcode(v, 1, bytes + 1);
    else opcode(v, length, bytes);
    modrm_absolute(v, digit, offset);
    v->before.x87.tags = 0xff;
    vector_end(v);
  }
}

static void limits(void) {
  limited_access("MOV AL, m8 (limit)", (const u8[]){0x8a}, 1, 0, NULL);
  limited_access("MOV EAX, m32 (limit)", (const u8[]){0x8b}, 1, 0, NULL);
  limited_access("MOV m8, AL (limit)", (const u8[]){0x88}, 1, 0, NULL);
  limited_access("MOV m16, AX (limit)", (const u8[]){0x66, 0x89}, 2, 0, NULL);
  limited_access("MOV m32, EAX (limit)", (const u8[]){0x89}, 1, 0, NULL);
  limited_access("ADD m32, EAX (limit)", (const u8[]){0x01}, 1, 0, NULL);
  limited_access("CMP m32, EAX (limit)", (const u8[]){0x39}, 1, 0, NULL);
  limited_access("FSTP m80 (limit)", (const u8[]){0xdb}, 1, 7, NULL);
  limited_access("MOVUPS m128, XMM0 (limit)", (const u8[]){0x0f, 0x11}, 2, 0, "sse");
}

/* DS with a base of its own: addresses by EBP and ESP must use SS, all others DS (SDM vol. 1 3.7.4). */
static void default_segments(void) {
  form_begin("MOV r32, m32 (default segment)", (struct form_options){0});
  for (int i = 0; i < 600; i++) {
    struct vector *v = vector_begin();
    if (chance(20)) use_code16(v);
    v->before.segment[DS] = chance(60) ? SELECTOR_FS : SELECTOR_GS;
    operand_size(v, 32);
    opcode1(v, 0x8b);
    modrm_memory(v, (int)below(8), DATA_PAGES + below(0x1ff0), ACCESS_READ);
    vector_end(v);
  }
}

/* Stack segments with limits: PUSH below the floor of an expand-down segment, POP over the end of a small one. */
static void stack_limits(void) {
  for (int pop = 0; pop < 2; pop++) {
    form_begin(pop ? "POP r32 (limit)" : "PUSH r32 (limit)", (struct form_options){0});
    for (int i = 0; i < 80; i++) {
      struct vector *v = vector_begin();
      u16 selector = chance(50) ? SELECTOR_EXPAND_DOWN_32 : chance(50) ? SELECTOR_SMALL_DATA : SELECTOR_PAGE_LIMIT;
      v->before.segment[SS] = selector;
      v->before.gpr[ESP] = edge_offset(selector);
      opcode1(v, pop ? 0x58 : 0x50);
      vector_end(v);
    }
  }
}

void family_segments(void) {
  family_begin("segments");
  for (int segment = 0; segment < 8; segment++) {
    loads(segment);
    stores(segment);
    if (segment < 6) push_pop(segment);
    if (segment < 6 && segment != CS) far_pointers(segment);
  }
  inspections("LAR r, r/m16", 0x02, -1, true);
  inspections("LSL r, r/m16", 0x03, -1, true);
  inspections("VERR r/m16", 0x00, 4, false);
  inspections("VERW r/m16", 0x00, 5, false);
  adjust_rpl();
  limits();
  default_segments();
  stack_limits();
}
