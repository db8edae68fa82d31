/* Control, status, environment: FLDCW to FXRSTOR, FNINIT, FINCSTP, FFREE, FWAIT, and the pointers of the last instruction. */
#include "x87.h"

#include <stdio.h>
#include <string.h>

enum { ALL_CODES = STATUS_C0 | STATUS_C1 | STATUS_C2 | STATUS_C3 };

static void set_opcode(struct vector *v, u8 first) { opcode(v, 1, &first); }

/* A state with any last-instruction pointers; all eight registers get values of any class. */
static struct vector *full_state(void) {
  struct vector *v = x87_begin();
  v->before.x87.opcode = (u16)below(0x800);
  v->before.x87.instruction_pointer = (u32)random_u64();
  v->before.x87.data_pointer = (u32)random_u64();
  for (int i = 0; i < 8; i++) set_st(v, i, f80_any());
  return v;
}

/* A place for an operand of that many bytes; rarely one that faults. True if it can be written. */
static bool choose_place(u32 bytes, u32 alignment, u32 *linear) {
  u32 trouble = below(25);
  /* Over 64 KiB, 16-bit addresses wrap inside an image: left out as no manual says where. */
  do *linear = any_address(bytes, alignment);
  while (*linear < 0x10000 && *linear + bytes > 0x10000);
  if (trouble == 0) *linear = (DATA_END - below(bytes)) & ~(alignment - 1);
  if (trouble == 1) *linear = READ_ONLY_PAGE + 0x100;
  return trouble > 1;
}

static void load_control(void) {
  form_begin("FLDCW m16", (struct form_options){0});
  for (int n = 0; n < 200; n++) {
    struct vector *v = full_state();
    u32 linear;
    if (choose_place(2, 1, &linear)) memory_value(v, linear, 16, chance(30) ? random_u64() : 0x40 | (random_u64() & 0xf3f));
    set_opcode(v, 0xd9);
    modrm_memory(v, 5, linear, ACCESS_READ);
    v->undefined_status = ALL_CODES;
    vector_end(v);
  }
}

static void store_words(void) {
  static const struct {
    const char *name;
    u8 opcode;
    int digit;
  } stores[] = {{"FNSTCW m16", 0xd9, 7}, {"FNSTSW m16", 0xdd, 7}};
  for (int i = 0; i < 2; i++) {
    form_begin(stores[i].name, (struct form_options){0});
    for (int n = 0; n < 60; n++) {
      struct vector *v = full_state();
      u32 linear;
      choose_place(2, 1, &linear);
      set_opcode(v, stores[i].opcode);
      modrm_memory(v, stores[i].digit, linear, ACCESS_WRITE);
      v->undefined_status = ALL_CODES;
      vector_end(v);
    }
  }
}

static void fixed_forms(void) {
  static const struct {
    const char *name;
    u8 first, second;
    bool stack;
  } forms[] = {
      {"FNSTSW AX", 0xdf, 0xe0, false}, {"FNOP", 0xd9, 0xd0, false},    {"FINCSTP", 0xd9, 0xf7, false},
      {"FDECSTP", 0xd9, 0xf6, false},   {"FNCLEX", 0xdb, 0xe2, false},  {"FNINIT", 0xdb, 0xe3, false},
      {"FNENI", 0xdb, 0xe0, false},     {"FNDISI", 0xdb, 0xe1, false},  {"FNSETPM", 0xdb, 0xe4, false},
      {"FFREE ST(i)", 0xdd, 0xc0, true}, {"FFREEP ST(i)", 0xdf, 0xc0, true},
  };
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    form_begin(forms[i].name, (struct form_options){0});
    for (int n = 0; n < 60; n++) {
      struct vector *v = full_state();
      set_opcode(v, forms[i].first);
      tail(v, 8, forms[i].second + (forms[i].stack ? below(8) : 0));
      if (forms[i].first != 0xdb || forms[i].second != 0xe3) v->undefined_status = STATUS_C0 | STATUS_C2 | STATUS_C3;
      vector_end(v);
    }
  }
  form_begin("FWAIT", (struct form_options){0});
  for (int n = 0; n < 60; n++) {
    struct vector *v = full_state();
    if (n & 1) v->before.x87.status |= 1, v->before.x87.control &= (u16)~1, v->before.x87.status |= STATUS_ES | STATUS_B;
    set_opcode(v, 0x9b);
    vector_end(v);
  }
}

/* FNSTENV and FNSAVE in both operand sizes; the selectors in the image belong to no state slot and are loose. */
static void store_environment(const char *name, u8 first, int size, u32 bytes) {
  form_begin(name, (struct form_options){0});
  for (int n = 0; n < 150; n++) {
    struct vector *v = full_state();
    u32 linear;
    if (chance(20)) use_code16(v);
    bool fits = choose_place(bytes, 1, &linear);
    v->order_open = true;
    operand_size(v, size);
    set_opcode(v, first);
    modrm_memory(v, 6, linear, ACCESS_WRITE);
    v->undefined_status = first == 0xd9 ? ALL_CODES : 0;
    u32 word = (u32)size / 8;
    if (fits) {
      v->loose[v->loose_count++] = (struct patch){.address = linear + 4 * word, .length = 2};
      v->loose[v->loose_count++] = (struct patch){.address = linear + 6 * word, .length = size == 32 ? 4 : 2};
    }
    vector_end(v);
  }
}

static void environment_image(u8 *image, int size) {
  u16 fields[7] = {(u16)(0x40 | (random_u64() & 0xf3f)), (u16)random_u64(), (u16)random_u64(), (u16)random_u64(),
                   (u16)random_u64(), (u16)random_u64(), (u16)random_u64()};
  if (chance(70)) fields[0] |= 0x3f;
  if (!(fields[1] & ~fields[0] & 0x3f)) fields[1] &= 0x7f7f;
  else fields[1] |= STATUS_ES | STATUS_B;
  for (int i = 0; i < 7; i++) {
    u32 value = fields[i] | (u32)random_u64() << 16;
    memcpy(image + i * size / 8, &value, (size_t)size / 8);
  }
}

static void load_environment(const char *name, u8 first, int size, u32 bytes) {
  u8 image[108];
  form_begin(name, (struct form_options){0});
  for (int n = 0; n < 200; n++) {
    struct vector *v = full_state();
    u32 linear;
    if (chance(20)) use_code16(v);
    environment_image(image, size);
    for (int i = 0; first == 0xdd && i < 8; i++) f80_bytes(f80_any(), image + 7 * size / 8 + 10 * i);
    if (choose_place(bytes, 1, &linear)) memory(v, linear, image, bytes);
    v->order_open = true;
    operand_size(v, size);
    set_opcode(v, first);
    modrm_memory(v, 4, linear, ACCESS_READ);
    vector_end(v);
  }
}

/* FXSAVE: MXCSR_MASK and the reserved end of the image differ between models (APM vol. 2 11.4.4). */
static void fxsave(void) {
  form_begin("FXSAVE m512", (struct form_options){.feature = "fxsr"});
  for (int n = 0; n < 150; n++) {
    struct vector *v = full_state();
    u32 linear;
    bool fits = choose_place(512, 16, &linear);
    if (fits && chance(4)) linear += 8;
    v->order_open = true;
    v->before.mxcsr = (u32)random_u64() & 0xffff;
    for (int i = 0; i < 8; i++) {
      u64 halves[2] = {random_u64(), random_u64()};
      set_xmm(v, i, halves);
    }
    opcode(v, 2, (const u8[]){0x0f, 0xae});
    modrm_memory(v, 0, linear, ACCESS_WRITE);
    if (fits) {
      v->loose[v->loose_count++] = (struct patch){.address = linear + 28, .length = 4};
      v->loose[v->loose_count++] = (struct patch){.address = linear + 288, .length = 224};
    }
    vector_end(v);
  }
}

static void fxrstor(void) {
  static u8 image[512];
  form_begin("FXRSTOR m512", (struct form_options){.feature = "fxsr"});
  for (int n = 0; n < 150; n++) {
    struct vector *v = full_state();
    u32 linear, mxcsr = chance(88) ? (u32)random_u64() & 0xffff : 1u << below(32);
    bool fits = choose_place(512, 16, &linear);
    for (int i = 0; i < 512; i += 8) {
      u64 value = random_u64();
      memcpy(image + i, &value, 8);
    }
    environment_image(image, 16);
    image[5] = 0;
    if (mxcsr == 0x20000) mxcsr = 0; /* misaligned SSE, an AMD feature that others do not have */
    memcpy(image + 24, &mxcsr, 4);
    for (int i = 0; i < 8; i++) f80_bytes(f80_any(), image + 32 + 16 * i);
    memset(image + 288, 0, 224);
    if (fits) memory(v, linear, image, 512);
    if (fits && chance(4)) linear += 4;
    else if (linear < DATA_END && linear + 512 > DATA_END) memory_value(v, linear + 24, 32, 0x1f80);
    v->order_open = true;
    opcode(v, 2, (const u8[]){0x0f, 0xae});
    modrm_memory(v, 1, linear, ACCESS_READ);
    vector_end(v);
  }
}

/*
 * An instruction and FNSTENV after it: shows which instructions move the last-instruction pointers, and the full tag
 * word. Under AMD's rules FXSAVE would show neither.
 */
static void pointers_after(const char *name, const u8 *code, int length, bool in_memory) {
  static const u8 store16[] = {0x66, 0xd9, 0x35, 0x00, 0x66, 0x00, 0x00}, *store32 = store16 + 1;
  char text[64];
  snprintf(text, sizeof text, "%s; FNSTENV m", name);
  form_begin(text, (struct form_options){0});
  for (int n = 0; n < 16; n++) {
    struct vector *v = full_state();
    bool sixteen = n % 4 == 3;
    v->before.x87.control |= 0x3f;
    v->before.x87.status &= (u16) ~(STATUS_ES | STATUS_B);
    v->steps = 2;
    memcpy(v->code, code, (size_t)length);
    v->length = length;
    if (in_memory) memcpy(v->code + v->length, "\x00\x61\x00\x00", 4), v->length += 4;
    memcpy(v->code + v->length, sixteen ? store16 : store32, sixteen ? 7 : 6);
    v->length += sixteen ? 7 : 6;
    if (in_memory) memory_value(v, 0x6100, 64, f64_any());
    v->undefined_status = ALL_CODES;
    v->loose[v->loose_count++] = (struct patch){.address = sixteen ? 0x6602 : 0x6604, .length = 2};
    vector_end(v);
  }
}

static void last_instruction_pointers(void) {
  static const struct {
    const char *name;
    u8 code[3];
    u8 length;
    bool in_memory;
  } list[] = {
      {"FLD1", {0xd9, 0xe8}, 2, false},          {"FLD m32", {0xd9, 0x05}, 2, true},
      {"FADD m64", {0xdc, 0x05}, 2, true},       {"FADD ST(0), ST(3)", {0xd8, 0xc3}, 2, false},
      {"FST m64", {0xdd, 0x15}, 2, true},        {"FISTP m16", {0xdf, 0x1d}, 2, true},
      {"FXCH ST(1)", {0xd9, 0xc9}, 2, false},    {"FNCLEX", {0xdb, 0xe2}, 2, false},
      {"FNINIT", {0xdb, 0xe3}, 2, false},        {"FLDCW m16", {0xd9, 0x2d}, 2, true},
      {"FNSTCW m16", {0xd9, 0x3d}, 2, true},     {"FNSTSW m16", {0xdd, 0x3d}, 2, true},
      {"FNSTSW AX", {0xdf, 0xe0}, 2, false},     {"FFREE ST(2)", {0xdd, 0xc2}, 2, false},
      {"FINCSTP", {0xd9, 0xf7}, 2, false},       {"FNOP", {0xd9, 0xd0}, 2, false},
      {"FWAIT", {0x9b}, 1, false},               {"FCOMI ST(0), ST(1)", {0xdb, 0xf1}, 2, false},
      {"FLD m32 with segment prefix", {0x3e, 0xd9, 0x05}, 3, true}, {"FBSTP m80", {0xdf, 0x35}, 2, true},
      {"EMMS", {0x0f, 0x77}, 2, false},          {"PADDB MM1, MM2", {0x0f, 0xfc, 0xca}, 3, false},
      {"FSQRT", {0xd9, 0xfa}, 2, false},         {"FCMOVE ST(0), ST(2)", {0xda, 0xca}, 2, false},
  };
  for (size_t i = 0; i < sizeof list / sizeof *list; i++)
    pointers_after(list[i].name, list[i].code, list[i].length, list[i].in_memory);
}

void family_x87_control(void) {
  family_begin("x87-control");
  load_control();
  store_words();
  fixed_forms();
  store_environment("FNSTENV m14", 0xd9, 16, 14), store_environment("FNSTENV m28", 0xd9, 32, 28);
  store_environment("FNSAVE m94", 0xdd, 16, 94), store_environment("FNSAVE m108", 0xdd, 32, 108);
  load_environment("FLDENV m14", 0xd9, 16, 14), load_environment("FLDENV m28", 0xd9, 32, 28);
  load_environment("FRSTOR m94", 0xdd, 16, 94), load_environment("FRSTOR m108", 0xdd, 32, 108);
  fxsave();
  fxrstor();
  last_instruction_pointers();
}
