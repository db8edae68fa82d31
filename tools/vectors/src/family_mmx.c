/* MMX, its SSE and SSE2 additions, and the same integer operations on XMM registers. */
#include "simd.h"

#include "x87.h"

#include <stdio.h>
#include <string.h>

/* The operations that exist for MM and, with 66, for XMM: name, opcode, bytes read from memory in the MM form. */
static const struct {
  const char *name;
  u8 opcode;
  int width;
  enum simd_elements elements;
  const char *mm_feature;
} shared[] = {
    {"PUNPCKLBW", 0x60, 4, BITS, "mmx"},  {"PUNPCKLWD", 0x61, 4, BITS, "mmx"},  {"PUNPCKLDQ", 0x62, 4, BITS, "mmx"},
    {"PACKSSWB", 0x63, 8, BITS, "mmx"},   {"PCMPGTB", 0x64, 8, BITS, "mmx"},    {"PCMPGTW", 0x65, 8, BITS, "mmx"},
    {"PCMPGTD", 0x66, 8, BITS, "mmx"},    {"PACKUSWB", 0x67, 8, BITS, "mmx"},   {"PUNPCKHBW", 0x68, 8, BITS, "mmx"},
    {"PUNPCKHWD", 0x69, 8, BITS, "mmx"},  {"PUNPCKHDQ", 0x6a, 8, BITS, "mmx"},  {"PACKSSDW", 0x6b, 8, BITS, "mmx"},
    {"PCMPEQB", 0x74, 8, BITS, "mmx"},    {"PCMPEQW", 0x75, 8, BITS, "mmx"},    {"PCMPEQD", 0x76, 8, BITS, "mmx"},
    {"PSRLW", 0xd1, 8, COUNTS, "mmx"},    {"PSRLD", 0xd2, 8, COUNTS, "mmx"},    {"PSRLQ", 0xd3, 8, COUNTS, "mmx"},
    {"PADDQ", 0xd4, 8, BITS, "sse2"},     {"PMULLW", 0xd5, 8, BITS, "mmx"},     {"PSUBUSB", 0xd8, 8, BITS, "mmx"},
    {"PSUBUSW", 0xd9, 8, BITS, "mmx"},    {"PMINUB", 0xda, 8, BITS, "sse"},     {"PAND", 0xdb, 8, BITS, "mmx"},
    {"PADDUSB", 0xdc, 8, BITS, "mmx"},    {"PADDUSW", 0xdd, 8, BITS, "mmx"},    {"PMAXUB", 0xde, 8, BITS, "sse"},
    {"PANDN", 0xdf, 8, BITS, "mmx"},      {"PAVGB", 0xe0, 8, BITS, "sse"},      {"PSRAW", 0xe1, 8, COUNTS, "mmx"},
    {"PSRAD", 0xe2, 8, COUNTS, "mmx"},    {"PAVGW", 0xe3, 8, BITS, "sse"},      {"PMULHUW", 0xe4, 8, BITS, "sse"},
    {"PMULHW", 0xe5, 8, BITS, "mmx"},     {"PSUBSB", 0xe8, 8, BITS, "mmx"},     {"PSUBSW", 0xe9, 8, BITS, "mmx"},
    {"PMINSW", 0xea, 8, BITS, "sse"},     {"POR", 0xeb, 8, BITS, "mmx"},        {"PADDSB", 0xec, 8, BITS, "mmx"},
    {"PADDSW", 0xed, 8, BITS, "mmx"},     {"PMAXSW", 0xee, 8, BITS, "sse"},     {"PXOR", 0xef, 8, BITS, "mmx"},
    {"PSLLW", 0xf1, 8, COUNTS, "mmx"},    {"PSLLD", 0xf2, 8, COUNTS, "mmx"},    {"PSLLQ", 0xf3, 8, COUNTS, "mmx"},
    {"PMULUDQ", 0xf4, 8, BITS, "sse2"},   {"PMADDWD", 0xf5, 8, BITS, "mmx"},    {"PSADBW", 0xf6, 8, BITS, "sse"},
    {"PSUBB", 0xf8, 8, BITS, "mmx"},      {"PSUBW", 0xf9, 8, BITS, "mmx"},      {"PSUBD", 0xfa, 8, BITS, "mmx"},
    {"PSUBQ", 0xfb, 8, BITS, "sse2"},     {"PADDB", 0xfc, 8, BITS, "mmx"},      {"PADDW", 0xfd, 8, BITS, "mmx"},
    {"PADDD", 0xfe, 8, BITS, "mmx"},
};

static const struct {
  const char *name;
  u8 opcode;
  int digit;
  bool xmm_only;
} shifts[] = {
    {"PSRLW", 0x71, 2, false}, {"PSRAW", 0x71, 4, false}, {"PSLLW", 0x71, 6, false},  {"PSRLD", 0x72, 2, false},
    {"PSRAD", 0x72, 4, false}, {"PSLLD", 0x72, 6, false}, {"PSRLQ", 0x73, 2, false},  {"PSLLQ", 0x73, 6, false},
    {"PSRLDQ", 0x73, 3, true}, {"PSLLDQ", 0x73, 7, true},
};

static void shared_forms(bool xmm) {
  char name[40];
  for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
    struct simd_form form = {.name = name, .mandatory = xmm ? 0x66 : 0, .opcode = shared[i].opcode};
    form.reg = form.rm = xmm ? XMM : MM;
    form.width = xmm ? 16 : shared[i].width;
    form.elements = shared[i].elements;
    form.aligned = xmm;
    form.feature = xmm ? "sse2" : shared[i].mm_feature;
    form.count = 120;
    snprintf(name, sizeof name, "%s %s", shared[i].name, xmm ? "xmm, xmm/m128" : "mm, mm/m64");
    run_simd_form(&form);
  }
  for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
    if (shifts[i].xmm_only && !xmm) continue;
    struct simd_form form = {.name = name, .mandatory = xmm ? 0x66 : 0, .opcode = shifts[i].opcode, .reg = NO_FILE};
    form.rm = xmm ? XMM : MM;
    form.digit = shifts[i].digit;
    form.elements = COUNTS;
    form.immediate = form.register_only = true;
    form.feature = xmm ? "sse2" : "mmx";
    form.count = 80;
    snprintf(name, sizeof name, "%s %s, imm8", shifts[i].name, xmm ? "xmm" : "mm");
    run_simd_form(&form);
  }
}

/* name, mandatory prefix, opcode, reg, rm, memory width, elements, count */
static const struct simd_form mmx_only[] = {
    {"MOVD mm, r/m32", 0, 0x6e, MM, GPR, 4, BITS, 60, .feature = "mmx"},
    {"MOVD r/m32, mm", 0, 0x7e, MM, GPR, 4, BITS, 60, .store = true, .feature = "mmx"},
    {"MOVQ mm, mm/m64", 0, 0x6f, MM, MM, 8, BITS, 60, .feature = "mmx"},
    {"MOVQ mm/m64, mm", 0, 0x7f, MM, MM, 8, BITS, 60, .store = true, .feature = "mmx"},
    {"PSHUFW mm, mm/m64, imm8", 0, 0x70, MM, MM, 8, BITS, 120, .immediate = true, .feature = "sse"},
    {"PINSRW mm, r32/m16, imm8", 0, 0xc4, MM, GPR, 2, BITS, 80, .immediate = true, .feature = "sse"},
    {"PEXTRW r32, mm, imm8", 0, 0xc5, GPR, MM, 0, BITS, 60, .immediate = true, .register_only = true, .feature = "sse"},
    {"PMOVMSKB r32, mm", 0, 0xd7, GPR, MM, 0, BITS, 60, .register_only = true, .feature = "sse"},
    {"MOVNTQ m64, mm", 0, 0xe7, MM, MM, 8, BITS, 40, .store = true, .memory_only = true, .feature = "sse"},
};

static const struct simd_form xmm_only[] = {
    {"PUNPCKLQDQ xmm, xmm/m128", 0x66, 0x6c, XMM, XMM, 16, BITS, 80, .aligned = true, .feature = "sse2"},
    {"PUNPCKHQDQ xmm, xmm/m128", 0x66, 0x6d, XMM, XMM, 16, BITS, 80, .aligned = true, .feature = "sse2"},
    {"PSHUFD xmm, xmm/m128, imm8", 0x66, 0x70, XMM, XMM, 16, BITS, 120, .aligned = true, .immediate = true, .feature = "sse2"},
    {"PSHUFHW xmm, xmm/m128, imm8", 0xf3, 0x70, XMM, XMM, 16, BITS, 120, .aligned = true, .immediate = true, .feature = "sse2"},
    {"PSHUFLW xmm, xmm/m128, imm8", 0xf2, 0x70, XMM, XMM, 16, BITS, 120, .aligned = true, .immediate = true, .feature = "sse2"},
    {"PINSRW xmm, r32/m16, imm8", 0x66, 0xc4, XMM, GPR, 2, BITS, 80, .immediate = true, .feature = "sse2"},
    {"PEXTRW r32, xmm, imm8", 0x66, 0xc5, GPR, XMM, 0, BITS, 60, .immediate = true, .register_only = true, .feature = "sse2"},
    {"PMOVMSKB r32, xmm", 0x66, 0xd7, GPR, XMM, 0, BITS, 60, .register_only = true, .feature = "sse2"},
    {"MOVD xmm, r/m32", 0x66, 0x6e, XMM, GPR, 4, BITS, 60, .feature = "sse2"},
    {"MOVD r/m32, xmm", 0x66, 0x7e, XMM, GPR, 4, BITS, 60, .store = true, .feature = "sse2"},
    {"MOVQ xmm, xmm/m64", 0xf3, 0x7e, XMM, XMM, 8, BITS, 60, .feature = "sse2"},
    {"MOVQ xmm/m64, xmm", 0x66, 0xd6, XMM, XMM, 8, BITS, 60, .store = true, .feature = "sse2"},
    {"MOVQ2DQ xmm, mm", 0xf3, 0xd6, XMM, MM, 0, BITS, 60, .register_only = true, .feature = "sse2"},
    {"MOVDQ2Q mm, xmm", 0xf2, 0xd6, MM, XMM, 0, BITS, 60, .register_only = true, .feature = "sse2"},
    {"MOVDQA xmm, xmm/m128", 0x66, 0x6f, XMM, XMM, 16, BITS, 60, .aligned = true, .feature = "sse2"},
    {"MOVDQA xmm/m128, xmm", 0x66, 0x7f, XMM, XMM, 16, BITS, 60, .store = true, .aligned = true, .feature = "sse2"},
    {"MOVDQU xmm, xmm/m128", 0xf3, 0x6f, XMM, XMM, 16, BITS, 60, .feature = "sse2"},
    {"MOVDQU xmm/m128, xmm", 0xf3, 0x7f, XMM, XMM, 16, BITS, 60, .store = true, .feature = "sse2"},
    {"MOVNTDQ m128, xmm", 0x66, 0xe7, XMM, XMM, 16, BITS, 40, .store = true, .aligned = true, .memory_only = true, .feature = "sse2"},
    {"MOVNTI m32, r32", 0, 0xc3, GPR, GPR, 4, BITS, 40, .store = true, .memory_only = true, .feature = "sse2"},
};

/* MASKMOVQ and MASKMOVDQU write selected bytes at DS:EDI. */
static void masked_move(bool xmm) {
  form_begin(xmm ? "MASKMOVDQU xmm, xmm" : "MASKMOVQ mm, mm", (struct form_options){.feature = xmm ? "sse2" : "sse"});
  for (int n = 0; n < 120; n++) {
    struct vector *v = xmm ? vector_begin() : x87_begin();
    u64 values[4] = {random_u64(), random_u64(), random_u64() | (chance(50) ? 0x8080808080808080ull : 0), random_u64()};
    int reg = (int)below(8), rm = (int)below(8);
    u32 linear = any_address(16, 1);
    bool near = linear < 0xfff0 && chance(20);
    if (chance(5)) linear = DATA_END - below(16);
    address_size(v, near ? 16 : 32);
    if (xmm) prefix(v, 0x66);
    opcode(v, 2, (const u8[]){0x0f, 0xf7});
    modrm_register(v, reg, rm);
    v->before.gpr[EDI] = linear | (near ? (u32)random_u64() << 16 : 0);
    if (xmm) set_xmm(v, reg, values), set_xmm(v, rm, values + 2);
    else memcpy(v->before.x87.registers[reg], values, 8), memcpy(v->before.x87.registers[rm], values + 2, 8);
    vector_end(v);
  }
}

static void emms(void) {
  form_begin("EMMS", (struct form_options){.feature = "mmx"});
  for (int n = 0; n < 30; n++) {
    struct vector *v = x87_begin();
    opcode(v, 2, (const u8[]){0x0f, 0x77});
    vector_end(v);
  }
}

void family_mmx(void) {
  family_begin("mmx");
  shared_forms(false);
  for (size_t i = 0; i < sizeof mmx_only / sizeof *mmx_only; i++) run_simd_form(&mmx_only[i]);
  masked_move(false);
  emms();
}

void family_sse2_integer(void) {
  family_begin("sse2-integer");
  shared_forms(true);
  for (size_t i = 0; i < sizeof xmm_only / sizeof *xmm_only; i++) run_simd_form(&xmm_only[i]);
  masked_move(true);
}
