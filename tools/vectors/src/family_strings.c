/* MOVS CMPS STOS LODS SCAS: bare and repeated, both directions, all sizes, faults in the middle of a repeat. */
#include "integer.h"

#include <string.h>

enum kind { MOVS, CMPS, STOS, LODS, SCAS };

static const struct {
  const char *name;
  u8 opcode;
  bool source, destination, writes, compares;
} kinds[] = {
    {"MOVS", 0xa4, true, true, true, false},  {"CMPS", 0xa6, true, true, false, true},
    {"STOS", 0xaa, false, true, true, false}, {"LODS", 0xac, true, false, false, false},
    {"SCAS", 0xae, false, true, false, true},
};

enum { MAX_ELEMENTS = 24 };

/* Where a run of elements starts: in the middle, or so near an edge that a repeat runs over it. */
static u32 run_start(u32 span, bool down, bool near_edge, bool sixteen) {
  static const u32 low_edges[] = {DATA_PAGES, STACK_PAGE, EDGE_PAGES};
  static const u32 high_edges[] = {DATA_END, STACK_PAGE + 0x1000, 0x10000};
  if (near_edge) return down ? low_edges[below(3)] + below(span) : high_edges[below(3)] - 1 - below(span);
  u32 page = sixteen || chance(70) ? DATA_PAGES : EDGE_PAGES;
  return page + 0x200 + below(0x1c00);
}

/* Two runs that agree up to a point, so that comparisons stop at different places. */
static void fill_compared(struct vector *v, enum kind kind, int size, u32 from, u32 to, bool down) {
  u8 bytes[MAX_ELEMENTS * 4];
  u32 width = (u32)size / 8, span = MAX_ELEMENTS * width;
  u64 element = operand(size);
  bool equal = chance(60);
  for (u32 i = 0; i < MAX_ELEMENTS; i++) {
    u64 value = chance(equal ? 92 : 10) ? element : operand(size);
    memcpy(bytes + i * width, &value, width);
  }
  u32 low = down ? to - (MAX_ELEMENTS - 1) * width : to;
  if (!world_is_mapped(low) || !world_is_mapped(low + span - 1)) return;
  memory(v, low, bytes, span);
  if (kind == SCAS) {
    set_register(v, size, EAX, element);
    return;
  }
  u32 source = down ? from - (MAX_ELEMENTS - 1) * width : from;
  if (!world_is_mapped(source) || !world_is_mapped(source + span - 1)) return;
  if (source < low + span && low < source + span) return;
  for (u32 changes = below(3); changes > 0; changes--) bytes[below(span)] ^= (u8)(1u << below(8));
  memory(v, source, bytes, span);
}

static void string_vector(enum kind kind, int size, u8 repeat) {
  struct vector *v = vector_begin();
  v->progresses = true;
  u32 width = (u32)size / 8;
  bool down = chance(40), sixteen, fs = kinds[kind].source && chance(10), based;
  if (chance(10)) use_code16(v);
  sixteen = chance(v->code16 ? 70 : 25);
  u32 span = width * 12;
  u32 from = run_start(span, down, chance(6), sixteen || fs), to = run_start(span, down, chance(8), sixteen);
  if (kind == MOVS && chance(25)) to = from + below(3 * width) - below(3 * width); /* overlapping */
  if (chance(2)) to = READ_ONLY_PAGE + 4;
  based = kinds[kind].destination && to - FS_BASE < 0x1f00 && chance(15); /* ES with a base of its own */
  if (based) v->before.segment[ES] = SELECTOR_FS;
  if (down) v->before.eflags |= FLAG_DF;
  if (chance(2)) v->before.eflags |= FLAG_AC;
  if (size != 8) operand_size(v, size);
  address_size(v, sixteen ? 16 : 32);
  if (fs) prefix(v, 0x64);
  else if (chance(4)) prefix(v, 0x36);
  if (repeat) prefix(v, repeat);
  /* Intel restores the flags that a repeat began with (SDM vol. 2B, REP), AMD keeps those of the last comparison. */
  if (repeat && kinds[kind].compares) v->undefined_at_fault = FLAGS_ARITHMETIC;
  opcode(v, 1, (const u8[]){(u8)(kinds[kind].opcode + (size != 8))});
  set_register(v, size, EAX, operand(size));
  v->before.gpr[ECX] = chance(10) ? 0 : 1 + below(MAX_ELEMENTS - 1);
  v->before.gpr[ESI] = from - (fs ? FS_BASE : 0);
  v->before.gpr[EDI] = to - (based ? FS_BASE : 0);
  for (int r = 0; sixteen && r < 8; r++) { /* upper halves must be ignored and kept */
    if (r == ECX || r == ESI || r == EDI) v->before.gpr[r] = (u16)v->before.gpr[r] | (u32)random_u64() << 16;
  }
  if (kinds[kind].compares) fill_compared(v, kind, size, from, to, down);
  /*
   * With 16-bit addresses and anything in EDI above DI, this processor copies in blocks even where the destination begins
   * less than eight bytes after the source, and so misses the bytes it just wrote. No manual allows that.
   */
  if (sixteen && kind == MOVS && to - from < 64) v->before.gpr[EDI] = (u16)v->before.gpr[EDI];
  vector_end(v);
}

void family_strings(void) {
  static const struct {
    const char *text;
    u8 byte;
  } repeats[3] = {{"", 0}, {"REP ", 0xf3}, {"REPNE ", 0xf2}};
  family_begin("strings");
  for (enum kind kind = MOVS; kind <= SCAS; kind++) {
    for (int size = 8; size <= 32; size *= 2) {
      for (int r = 0; r < 3; r++) {
        char suffix[8] = {size == 8 ? 'B' : size == 16 ? 'W' : 'D', 0};
        char text[16];
        strcpy(text, kinds[kind].name), strcat(text, suffix);
        form_begin(named(repeats[r].text, text, size), (struct form_options){0});
        for (int i = 0; i < (r == 0 ? 80 : 200); i++) string_vector(kind, size, repeats[r].byte);
      }
    }
  }
}
