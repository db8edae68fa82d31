/* What the decoder must see: prefixes, lengths, LOCK, invalid encodings, privileged instructions, TF. */
#include "integer.h"

#include <stdio.h>
#include <string.h>

static void raw(struct vector *v, const u8 *bytes, int length) {
  memcpy(v->code, bytes, (size_t)length);
  v->length = length;
}

static bool is_prefix(u32 byte) {
  return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || (byte >= 0x64 && byte <= 0x67) || byte == 0xf0 ||
         byte == 0xf2 || byte == 0xf3;
}

/* Memory operand [0x6100] or register EDX, whatever the opcode makes of them. */
static int with_modrm(u8 *code, int length, u32 digit, bool in_memory) {
  code[length++] = (u8)(digit << 3 | (in_memory ? 5 : 0xc2));
  if (in_memory) memcpy(code + length, "\x00\x61\x00\x00", 4), length += 4;
  memset(code + length, 0x01, 4); /* an immediate, if the opcode takes one; else the next instruction */
  return length;
}

/*
 * LOCK before every opcode: #UD but for the lockable ones with a memory operand (SDM vol. 2A, LOCK). Left out are the
 * system calls and MOV CR, where AMD gives LOCK a meaning of its own (APM vol. 3, MOV CRn).
 */
static void lock_sweep(bool two_bytes) {
  form_begin(two_bytes ? "LOCK 0F xx" : "LOCK xx", (struct form_options){0});
  for (u32 opcode = 0; opcode < 256; opcode++) {
    bool vex = !two_bytes && (opcode == 0xc4 || opcode == 0xc5 || opcode == 0x62 || opcode == 0x8f);
    if (!two_bytes && (is_prefix(opcode) || opcode == 0x0f)) continue;
    if (two_bytes && (opcode == 0x05 || opcode == 0x07 || opcode == 0x34 || opcode == 0x35 || (opcode & 0xfc) == 0x20)) continue;
    bool grouped = two_bytes ? opcode == 0xba || opcode == 0xc7 : (opcode & 0xfc) == 0x80 || (opcode & 0xf6) == 0xf6;
    for (u32 digit = 0; digit < (grouped ? 8u : 1u); digit++) {
      for (int in_memory = 0; in_memory < (vex ? 1 : 2); in_memory++) {
        struct vector *v = vector_begin();
        u8 code[16] = {0xf0, 0x0f};
        int length = two_bytes ? 2 : 1;
        code[length++] = (u8)opcode;
        length = with_modrm(code, length, vex ? 0 : digit, in_memory || vex);
        u32 immediate = (opcode & 0xfc) == 0x80 && !two_bytes ? (opcode == 0x81 ? 4 : 1) : opcode == 0xba && two_bytes ? 1 : 0;
        raw(v, code, length + (int)immediate);
        vector_end(v);
      }
    }
  }
}

struct encoding {
  u8 bytes[4];
  u8 length;
  bool modrm;    /* followed by ModRM with every digit of the mask */
  u8 digits;
  bool memory, reg;
};

static void sweep(const char *name, const struct encoding *encodings, int count) {
  form_begin(name, (struct form_options){0});
  for (int i = 0; i < count; i++) {
    const struct encoding *e = &encodings[i];
    for (u32 digit = 0; digit < 8; digit++) {
      if (e->modrm ? !(e->digits >> digit & 1) : digit > 0) continue;
      for (int in_memory = 0; in_memory < 2; in_memory++) {
        if (e->modrm ? !(in_memory ? e->memory : e->reg) : in_memory) continue;
        struct vector *v = vector_begin();
        u8 code[16];
        int length = e->length;
        if (chance(25)) use_code16(v);
        memcpy(code, e->bytes, e->length);
        if (e->modrm && v->code16 && in_memory) {
          code[length++] = (u8)(digit << 3 | 6), code[length++] = 0, code[length++] = 0x61;
          memset(code + length, 1, 4);
        } else if (e->modrm) length = with_modrm(code, length, digit, in_memory);
        raw(v, code, length);
        vector_end(v);
      }
    }
  }
}

static void invalid_encodings(void) {
  static const struct encoding list[] = {
      {{0xfe}, 1, true, 0xfc, true, true},        {{0xff}, 1, true, 0x80, true, true},
      {{0xff}, 1, true, 0x28, false, true},       {{0xc6}, 1, true, 0x7e, true, true},
      {{0xc7}, 1, true, 0x7e, true, true},        {{0x8f}, 1, true, 0x10, true, true},
      {{0x8d}, 1, true, 0xff, false, true},       {{0x8c}, 1, true, 0xc0, true, true},
      {{0x8e}, 1, true, 0xc2, true, true},        {{0x0f, 0x0b}, 2, false, 0, false, false},
      {{0x0f, 0xb9}, 2, true, 0x01, true, true},  {{0x0f, 0xff}, 2, false, 0, false, false},
      {{0x0f, 0xba}, 2, true, 0x0f, true, true},  {{0x0f, 0xc7}, 2, true, 0x02, false, true},
      {{0x0f, 0x00}, 2, true, 0xc0, true, true},  {{0x0f, 0xb2}, 2, true, 0xff, false, true},
      {{0x0f, 0xb4}, 2, true, 0x01, false, true}, {{0x0f, 0xb5}, 2, true, 0x01, false, true},
      {{0x0f, 0x04}, 2, false, 0, false, false},  {{0x0f, 0x0a}, 2, false, 0, false, false},
      {{0x0f, 0x0c}, 2, false, 0, false, false},  {{0x0f, 0x24}, 2, true, 0x01, false, true},
      {{0x0f, 0x26}, 2, true, 0x01, false, true}, {{0x0f, 0x36}, 2, false, 0, false, false},
      {{0x0f, 0x39}, 2, false, 0, false, false},  {{0x0f, 0x3b}, 2, false, 0, false, false},
      {{0x0f, 0x3f}, 2, false, 0, false, false},  {{0x0f, 0xa6}, 2, false, 0, false, false},
      {{0x0f, 0xa7}, 2, false, 0, false, false},
  };
  sweep("invalid encodings", list, sizeof list / sizeof *list);
}

static void privileged(void) {
  static const struct encoding list[] = {
      {{0xf4}, 1, false, 0, false, false},       {{0xfa}, 1, false, 0, false, false},
      {{0xfb}, 1, false, 0, false, false},       {{0xe4, 0x40}, 2, false, 0, false, false},
      {{0xe5, 0x40}, 2, false, 0, false, false}, {{0xe6, 0x40}, 2, false, 0, false, false},
      {{0xe7, 0x40}, 2, false, 0, false, false}, {{0xec}, 1, false, 0, false, false},
      {{0xed}, 1, false, 0, false, false},       {{0xee}, 1, false, 0, false, false},
      {{0xef}, 1, false, 0, false, false},       {{0x6c}, 1, false, 0, false, false},
      {{0x6d}, 1, false, 0, false, false},       {{0x6e}, 1, false, 0, false, false},
      {{0x6f}, 1, false, 0, false, false},       {{0xf3, 0x6c}, 2, false, 0, false, false},
      {{0xf3, 0x6e}, 2, false, 0, false, false}, {{0x0f, 0x06}, 2, false, 0, false, false},
      {{0x0f, 0x08}, 2, false, 0, false, false}, {{0x0f, 0x09}, 2, false, 0, false, false},
      {{0x0f, 0x30}, 2, false, 0, false, false}, {{0x0f, 0x32}, 2, false, 0, false, false},
      {{0x0f, 0x20}, 2, true, 0x1d, false, true}, {{0x0f, 0x22}, 2, true, 0x1d, false, true},
      {{0x0f, 0x21}, 2, true, 0xcf, false, true}, {{0x0f, 0x23}, 2, true, 0xcf, false, true},
      {{0x0f, 0x00}, 2, true, 0x0c, true, true}, {{0x0f, 0x01}, 2, true, 0xcc, true, false},
  };
  sweep("privileged at CPL 3", list, sizeof list / sizeof *list);
}

/* Any number of prefixes in any order before a plain instruction; more than 15 bytes is #GP (SDM vol. 2A 2.3.11). */
static void prefix_mixtures(void) {
  static const u8 prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3};
  static const struct {
    u8 bytes[8];
    u8 length;
    u8 undefined;
  } plain[] = {
      {{0x90}, 1},                   {{0x01, 0xc8}, 2},       {{0x29, 0xd3}, 2},
      {{0x40}, 1},                   {{0x89, 0xd1}, 2},       {{0x80, 0xc3, 0x7f}, 3},
      {{0x0f, 0xb6, 0xc1}, 3},       {{0x0f, 0xaf, 0xca}, 3, FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF}, {{0xd1, 0xe0}, 2, FLAG_AF},
      {{0x99}, 1},                   {{0xf8}, 1},             {{0x0f, 0xc8}, 2},
      {{0x8d, 0x43, 0x05}, 3},       {{0x0f, 0x94, 0xc0}, 3}, {{0x0f, 0x1f, 0x00}, 3},
      {{0xeb, 0x10}, 2},             {{0x74, 0x10}, 2},       {{0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}, 8},
  };
  enum { LONG_NOP = 17, LONG_NOP_BYTES_16 = 5 };
  form_begin("prefix mixtures", (struct form_options){0});
  for (int i = 0; i < 900; i++) {
    struct vector *v = vector_begin();
    u8 code[32];
    u32 which = below(18), wanted = chance(30) ? 13 + below(4) : below(16);
    int length = 0, count = (int)wanted - plain[which].length;
    if (chance(15)) use_code16(v);
    /* F3 before 0F B8-BD, 0F C8 is no prefix mixture but another instruction; none of those is listed. */
    bool address_16 = v->code16;
    while (length < count) {
      code[length++] = prefixes[below(10)];
      if (code[length - 1] == 0x67) address_16 = !v->code16;
    }
    memcpy(code + length, plain[which].bytes, plain[which].length);
    v->undefined_flags = plain[which].undefined;
    /* With 16-bit addresses it has no SIB byte and half the displacement. */
    raw(v, code, length + (which == LONG_NOP && address_16 ? LONG_NOP_BYTES_16 : plain[which].length));
    vector_end(v);
  }
}

/* Instructions that run over the end of the code pages or of the code segment fault before they execute. */
static void fetch_over_edges(void) {
  static const u8 long_move[] = {0xc7, 0x05, 0x00, 0x61, 0x00, 0x00, 0x78, 0x56, 0x34, 0x12};
  form_begin("fetch over an edge", (struct form_options){0});
  for (u32 i = 0; i < 44; i++) {
    struct vector *v = vector_begin();
    bool limited = i >= 22;
    u32 inside = i % 11;
    u32 end = limited ? 0x1800 : CODE_END;
    if (inside == 0) inside = 10;
    if (limited) v->before.segment[CS] = SELECTOR_CODE_SMALL;
    v->before.eip = end - inside;
    raw(v, long_move, inside < 10 && !limited ? (int)inside : 10);
    vector_end(v);
  }
}

/* TF: #DB after the instruction, after one iteration of a repeat; not after a load of SS (SDM vol. 3B 18.3.1.4). */
static void single_step(void) {
  static const struct {
    u8 bytes[4];
    u8 length, steps;
  } list[] = {
      {{0x90}, 1, 1},       {{0x01, 0xc8}, 2, 1}, {{0xeb, 0x20}, 2, 1},       {{0xf3, 0xa4}, 2, 1},
      {{0xf3, 0xaa}, 2, 1}, {{0xf3, 0xa6}, 2, 1}, {{0x9c}, 1, 1},             {{0x9d}, 1, 1},
      {{0x0f, 0x0b}, 2, 1}, {{0xf4}, 1, 1},       {{0xc3}, 1, 1},             {{0x37}, 1, 1},
      {{0xcc}, 1, 1},       {{0xa4}, 1, 1},       {{0xf7, 0xf1}, 2, 1},       {{0x8e, 0xd1, 0x90}, 3, 2},
      {{0x17, 0x90}, 2, 2}, {{0xe2, 0x05}, 2, 1}, {{0x8e, 0xd9, 0x90}, 3, 2}, {{0xcd, 0x20}, 2, 1},
  };
  form_begin("single step", (struct form_options){0});
  for (u32 i = 0; i < 20 * 8; i++) {
    struct vector *v = vector_begin();
    v->before.eflags |= FLAG_TF;
    v->before.gpr[ECX] = below(4);
    if (list[i % 20].bytes[0] == 0x8e) v->before.gpr[ECX] = SELECTOR_USER_DATA;
    v->before.gpr[ESI] = DATA_PAGES + below(0x100), v->before.gpr[EDI] = DATA_PAGES + 0x200 + below(0x100);
    v->steps = list[i % 20].steps;
    if (list[i % 20].bytes[0] == 0x37) v->undefined_flags = FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF;
    memory_value(v, STACK_START, 32, list[i % 20].bytes[0] == 0x17 ? SELECTOR_USER_DATA : random_u64() & 0xfff);
    raw(v, list[i % 20].bytes, list[i % 20].length);
    vector_end(v);
  }
}

void family_decoding(void) {
  family_begin("decoding");
  lock_sweep(false);
  lock_sweep(true);
  invalid_encodings();
  privileged();
  prefix_mixtures();
  fetch_over_edges();
  single_step();
}
