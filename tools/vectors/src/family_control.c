/* Jcc JMP CALL RET LOOP JCXZ, near and far; INT INTO BOUND. What is checked is EIP, CS and the stack. */
#include "stack.h"

#include <stdio.h>

static void opcode1(struct vector *v, u32 byte) { opcode(v, 1, (const u8[]){(u8)byte}); }

/* Ends a relative branch: the displacement must not lead into the instruction's own bytes. */
static void relative(struct vector *v, int size) {
  int length = v->prefix_count + v->opcode_length + v->tail_length + size / 8;
  for (;;) {
    u64 displacement = size == 8 ? random_u64() & 0xff : chance(50) ? below(0x1000) - 0x400 : operand(size);
    int value = size == 8 ? (signed char)displacement : size == 16 ? (short)displacement : (int)displacement;
    if (value < 0 && value >= -length) continue;
    if (size == 16 && (u16)(value + length) < length) continue;
    tail(v, size, (u64)(long long)value);
    return;
  }
}

/* A code segment whose limit lies inside the mapped pages: targets beyond it must fault on the branch itself.
 */
static void maybe_small_segment(struct vector *v) {
  if (v->code16 || !chance(10)) return;
  v->before.segment[CS] = SELECTOR_CODE_SMALL;
  v->before.eip = CODE_START - CODE_PAGES;
}

static void conditional_jumps(void) {
  static const char *const conditions[16] = {"O", "NO", "B",  "AE", "E", "NE", "BE", "A",
                                             "S", "NS", "P", "NP", "L", "GE", "LE", "G"};
  for (u32 i = 0; i < 16; i++) {
    for (int size = 8; size <= 32; size *= 2) {
      char name[24];
      snprintf(name, sizeof name, "J%s rel%d", conditions[i], size);
      form_begin(name, (struct form_options){0});
      for (int n = 0; n < (size == 8 ? 60 : 40); n++) {
        struct vector *v = vector_begin();
        if (chance(10)) use_code16(v);
        maybe_small_segment(v);
        if (size != 8) operand_size(v, size);
        else if (chance(10)) prefix(v, 0x66);
        if (size == 8) opcode1(v, 0x70 + i);
        else opcode(v, 2, (const u8[]){0x0f, (u8)(0x80 + i)});
        relative(v, size);
        vector_end(v);
      }
    }
  }
}

static void loops(void) {
  static const char *const names[4] = {"LOOPNE rel8", "LOOPE rel8", "LOOP rel8", "JECXZ rel8"};
  for (u32 i = 0; i < 4; i++) {
    form_begin(names[i], (struct form_options){0});
    for (int n = 0; n < 150; n++) {
      struct vector *v = vector_begin();
      if (chance(15)) use_code16(v);
      address_size(v, chance(30) ? 16 : 32);
      if (chance(10)) prefix(v, 0x66);
      opcode1(v, 0xe0 + i);
      v->before.gpr[ECX] = chance(50) ? below(3) : chance(30) ? 0x10000 + below(2) : (u32)operand(32);
      relative(v, 8);
      vector_end(v);
    }
  }
}

static void jump_or_call(const char *name, u32 byte, int size, bool short_form) {
  form_begin(name, (struct form_options){0});
  for (int n = 0; n < 120; n++) {
    struct vector *v = stack_begin();
    maybe_small_segment(v);
    if (!short_form) operand_size(v, size);
    opcode1(v, byte);
    relative(v, size);
    vector_end(v);
  }
}

/* Targets in the code pages, sometimes anywhere; never at the instruction itself.
 */
static u32 target(const struct vector *v) {
  u32 base = code_base(v->before.segment[CS]);
  if (chance(10)) return (u32)random_u64() | 0x100000;
  u32 offset = below(0x1f00);
  return CODE_PAGES - base + (offset >= 0x3f0 && offset < 0x420 ? 0x800 : offset);
}

static void indirect(bool call, int size) {
  char name[24];
  snprintf(name, sizeof name, "%s r/m%d", call ? "CALL" : "JMP", size);
  form_begin(name, (struct form_options){0});
  for (int n = 0; n < 150; n++) {
    struct vector *v = stack_begin();
    int digit = call ? 2 : 4, rm = (int)below(8);
    maybe_small_segment(v);
    operand_size(v, size);
    opcode1(v, 0xff);
    if (chance(40)) {
      modrm_register(v, digit, rm);
      if (rm != ESP) set_register(v, 32, rm, target(v));
    } else {
      u32 linear = any_address(4, 1);
      modrm_memory(v, digit, chance(5) ? DATA_END + below(9) : linear, ACCESS_READ);
      memory_value(v, linear, 32, target(v));
    }
    vector_end(v);
  }
}

static bool stack_is_mapped(const struct vector *v, u32 bytes) {
  u32 linear = stack_linear(v, 0);
  return linear >= STACK_PAGE && linear + bytes <= STACK_PAGE + 0x1000;
}

static void returns(int size) {
  for (int pop = 0; pop < 2; pop++) {
    form_begin(sized_name(pop ? "RET imm16 (%-bit)" : "RET (%-bit)", size), (struct form_options){0});
    for (int n = 0; n < 120; n++) {
      struct vector *v = stack_begin();
      maybe_small_segment(v);
      operand_size(v, size);
      opcode1(v, pop ? 0xc2 : 0xc3);
      if (pop) tail(v, 16, operand(16));
      if (stack_is_mapped(v, 4)) memory_value(v, stack_linear(v, 0), 32, target(v));
      vector_end(v);
    }
  }
}

/* Code selectors good and bad: wrong type, not present, more privileged, null, past the table, RPL below CPL. */
static u16 code_selector(void) {
  static const u16 good[] = {SELECTOR_USER_CODE, SELECTOR_CODE_32, SELECTOR_EXECUTE_ONLY, SELECTOR_CODE_16,
                             SELECTOR_CODE_SMALL, 0x20, SELECTOR_CODE_32 & ~3};
  static const u16 bad[] = {0, 3, SELECTOR_EMPTY, SELECTOR_USER_DATA, SELECTOR_FS, SELECTOR_NOT_PRESENT_CODE,
                            SELECTOR_NOT_PRESENT_DATA, 0x08, 0x0b, SELECTOR_BEYOND_LDT, 0x83, 0x18, 0x63, 0x5c};
  return chance(60) ? good[below(7)] : bad[below(14)];
}

/* An offset that is inside the mapped code for the selector, or sometimes outside its limit. */
static u32 far_offset(u16 selector) {
  u32 offset = 0x800 + below(0x1000);
  return chance(8) ? (u32)operand(32) : offset + (selector == SELECTOR_CODE_SMALL ? 0 : CODE_PAGES);
}

static void far_direct(const char *name, u32 byte, int size) {
  form_begin(name, (struct form_options){0});
  for (int n = 0; n < 120; n++) {
    struct vector *v = stack_begin();
    u16 selector = code_selector();
    operand_size(v, size), opcode1(v, byte);
    v->order_open = true;
    tail(v, size, far_offset(selector)), tail(v, 16, selector);
    vector_end(v);
  }
}

static void far_indirect(const char *name, int digit, int size) {
  form_begin(name, (struct form_options){0});
  for (int n = 0; n < 120; n++) {
    struct vector *v = stack_begin();
    u16 selector = code_selector();
    u32 linear = any_address(6, 1);
    operand_size(v, size), opcode1(v, 0xff);
    v->order_open = true;
    if (chance(4)) modrm_register(v, digit, (int)below(8)); /* #UD */
    else modrm_memory(v, digit, chance(4) ? DATA_END - 4 : linear, ACCESS_READ);
    memory_value(v, linear, size + 16, (u64)selector << size | (far_offset(selector) & ((1ull << size) - 1)));
    vector_end(v);
  }
}

static u32 pushed_flags(void) {
  return (u32)random_u64() & ~0x4000u; /* NT set would mean a task return */
}

static void far_returns(const char *name, u32 byte, int size, bool pop, bool interrupt) {
  form_begin(name, (struct form_options){0});
  for (int n = 0; n < 150; n++) {
    struct vector *v = stack_begin();
    u16 selector = chance(85) ? (u16)(code_selector() | 3) : code_selector();
    u32 offset = far_offset(selector), flags = pushed_flags();
    operand_size(v, size), opcode1(v, byte);
    v->order_open = true;
    /* AMD looks at the outer stack pointer, too, before it knows that it needs none: keep it mapped if the frame is. */
    if (stack_is_mapped(v, 4)) v->before.gpr[ESP] &= ~0x800u;
    if (pop) tail(v, 16, below(64) * 4);
    u32 frame32[3] = {offset, selector | (u32)random_u64() << 16, flags};
    u16 frame16[3] = {(u16)offset, selector, (u16)flags};
    u32 bytes = (interrupt ? 3u : 2u) * (u32)size / 8;
    if (stack_is_mapped(v, bytes)) memory(v, stack_linear(v, 0), size == 32 ? (void *)frame32 : (void *)frame16, bytes);
    vector_end(v);
  }
}

static void far_transfers(int size) {
  far_direct(sized_name("CALL ptr16:%", size), 0x9a, size);
  far_direct(sized_name("JMP ptr16:%", size), 0xea, size);
  far_indirect(sized_name("CALL m16:%", size), 3, size);
  far_indirect(sized_name("JMP m16:%", size), 5, size);
  far_returns(sized_name("RETF (%-bit)", size), 0xcb, size, false, false);
  far_returns(sized_name("RETF imm16 (%-bit)", size), 0xca, size, true, false);
  far_returns(size == 16 ? "IRET" : "IRETD", 0xcf, size, false, true);
}

static void bounds(int size) {
  form_begin(sized_name("BOUND r%, m%&%", size), (struct form_options){0});
  for (int n = 0; n < 150; n++) {
    struct vector *v = vector_begin();
    int reg = (int)below(8), half = size / 8;
    u32 linear = any_address((u32)size / 4, 1);
    u64 low = operand(size), high = operand(size);
    if (chance(10)) use_code16(v);
    v->used = 1u << reg;
    operand_size(v, size), opcode1(v, 0x62);
    v->order_open = true;
    modrm_memory(v, reg, n < 3 ? DATA_END - (u32)half : linear, ACCESS_READ);
    memory_value(v, linear, size, low), memory_value(v, linear + (u32)half, size, high);
    u64 edges[5] = {low, high, low - 1, high + 1, operand(size)};
    set_register(v, size, reg, edges[below(5)]);
    vector_end(v);
  }
}

/*
 * Only the gates of #BP and #OF have DPL 3 (0x80 is the system's own and left out): SDM vol. 3A 6.12.1.2.
 * INT1 is left out: under KVM, which reflects #DB, the frame shows EIP of the instruction itself.
 */
static void interrupts(void) {
  form_begin("INT3", (struct form_options){0});
  for (int n = 0; n < 10; n++) {
    struct vector *v = vector_begin();
    if (n & 1) use_code16(v);
    opcode1(v, 0xcc), vector_end(v);
  }
  form_begin("INTO", (struct form_options){0});
  for (int n = 0; n < 40; n++) {
    struct vector *v = vector_begin();
    opcode1(v, 0xce), vector_end(v);
  }
  form_begin("INT imm8", (struct form_options){0});
  for (u32 n = 0; n < 256; n++) {
    struct vector *v = vector_begin();
    if (n == 0x80) continue;
    opcode1(v, 0xcd), tail(v, 8, n), vector_end(v);
  }
}

void family_control(void) {
  family_begin("control");
  conditional_jumps();
  loops();
  jump_or_call("JMP rel8", 0xeb, 8, true);
  for (int size = 16; size <= 32; size += 16) {
    jump_or_call(sized_name("JMP rel%", size), 0xe9, size, false);
    jump_or_call(sized_name("CALL rel%", size), 0xe8, size, false);
    indirect(false, size), indirect(true, size);
    returns(size);
    far_transfers(size);
    bounds(size);
  }
  interrupts();
}
