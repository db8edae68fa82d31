/* SSE, SSE2 and SSE3 floating point: arithmetic, conversion, comparison, moves, MXCSR. */
#include "simd.h"

#include <stdio.h>

/* The four variants of an arithmetic opcode. */
static const struct {
  const char *suffix, *operands;
  u8 mandatory;
  int width;
  enum simd_elements elements;
  const char *feature;
} variants[4] = {
    {"PS", "xmm, xmm/m128", 0, 16, F32, "sse"},
    {"SS", "xmm, xmm/m32", 0xf3, 4, F32, "sse"},
    {"PD", "xmm, xmm/m128", 0x66, 16, F64, "sse2"},
    {"SD", "xmm, xmm/m64", 0xf2, 8, F64, "sse2"},
};

static void variant(const char *mnemonic, u8 opcode, int which, int count, bool immediate, bool approximate) {
  char name[48];
  snprintf(name, sizeof name, "%s%s %s%s", mnemonic, variants[which].suffix, variants[which].operands,
           immediate ? ", imm8" : "");
  struct simd_form form = {.name = name, .mandatory = variants[which].mandatory, .opcode = opcode, .reg = XMM, .rm = XMM};
  form.width = variants[which].width;
  form.aligned = form.width == 16;
  form.elements = variants[which].elements;
  form.feature = variants[which].feature;
  form.count = count;
  form.immediate = immediate;
  form.approximate = approximate;
  run_simd_form(&form);
}

/* name, mandatory prefix, opcode, reg, rm, memory width, elements, count */
static const struct simd_form conversions[] = {
    {"CVTPI2PS xmm, mm/m64", 0, 0x2a, XMM, MM, 8, I32, 150, .feature = "sse"},
    {"CVTSI2SS xmm, r/m32", 0xf3, 0x2a, XMM, GPR, 4, I32, 150, .feature = "sse"},
    {"CVTPI2PD xmm, mm/m64", 0x66, 0x2a, XMM, MM, 8, I32, 120, .feature = "sse2"},
    {"CVTSI2SD xmm, r/m32", 0xf2, 0x2a, XMM, GPR, 4, I32, 120, .feature = "sse2"},
    {"CVTTPS2PI mm, xmm/m64", 0, 0x2c, MM, XMM, 8, F32_TO_INT, 200, .feature = "sse"},
    {"CVTTSS2SI r32, xmm/m32", 0xf3, 0x2c, GPR, XMM, 4, F32_TO_INT, 200, .feature = "sse"},
    {"CVTTPD2PI mm, xmm/m128", 0x66, 0x2c, MM, XMM, 16, F64_TO_INT, 200, .aligned = true, .feature = "sse2"},
    {"CVTTSD2SI r32, xmm/m64", 0xf2, 0x2c, GPR, XMM, 8, F64_TO_INT, 200, .feature = "sse2"},
    {"CVTPS2PI mm, xmm/m64", 0, 0x2d, MM, XMM, 8, F32_TO_INT, 300, .feature = "sse"},
    {"CVTSS2SI r32, xmm/m32", 0xf3, 0x2d, GPR, XMM, 4, F32_TO_INT, 300, .feature = "sse"},
    {"CVTPD2PI mm, xmm/m128", 0x66, 0x2d, MM, XMM, 16, F64_TO_INT, 300, .aligned = true, .feature = "sse2"},
    {"CVTSD2SI r32, xmm/m64", 0xf2, 0x2d, GPR, XMM, 8, F64_TO_INT, 300, .feature = "sse2"},
    {"CVTPS2PD xmm, xmm/m64", 0, 0x5a, XMM, XMM, 8, F32, 300, .feature = "sse2"},
    {"CVTPD2PS xmm, xmm/m128", 0x66, 0x5a, XMM, XMM, 16, F64_TO_F32, 500, .aligned = true, .feature = "sse2"},
    {"CVTSS2SD xmm, xmm/m32", 0xf3, 0x5a, XMM, XMM, 4, F32, 300, .feature = "sse2"},
    {"CVTSD2SS xmm, xmm/m64", 0xf2, 0x5a, XMM, XMM, 8, F64_TO_F32, 500, .feature = "sse2"},
    {"CVTDQ2PS xmm, xmm/m128", 0, 0x5b, XMM, XMM, 16, I32, 200, .aligned = true, .feature = "sse2"},
    {"CVTPS2DQ xmm, xmm/m128", 0x66, 0x5b, XMM, XMM, 16, F32_TO_INT, 300, .aligned = true, .feature = "sse2"},
    {"CVTTPS2DQ xmm, xmm/m128", 0xf3, 0x5b, XMM, XMM, 16, F32_TO_INT, 300, .aligned = true, .feature = "sse2"},
    {"CVTDQ2PD xmm, xmm/m64", 0xf3, 0xe6, XMM, XMM, 8, I32, 120, .feature = "sse2"},
    {"CVTPD2DQ xmm, xmm/m128", 0xf2, 0xe6, XMM, XMM, 16, F64_TO_INT, 300, .aligned = true, .feature = "sse2"},
    {"CVTTPD2DQ xmm, xmm/m128", 0x66, 0xe6, XMM, XMM, 16, F64_TO_INT, 300, .aligned = true, .feature = "sse2"},
    {"UCOMISS xmm, xmm/m32", 0, 0x2e, XMM, XMM, 4, F32, 300, .feature = "sse"},
    {"UCOMISD xmm, xmm/m64", 0x66, 0x2e, XMM, XMM, 8, F64, 300, .feature = "sse2"},
    {"COMISS xmm, xmm/m32", 0, 0x2f, XMM, XMM, 4, F32, 300, .feature = "sse"},
    {"COMISD xmm, xmm/m64", 0x66, 0x2f, XMM, XMM, 8, F64, 300, .feature = "sse2"},
};

static const struct simd_form moves[] = {
    {"MOVUPS xmm, xmm/m128", 0, 0x10, XMM, XMM, 16, BITS, 50, .feature = "sse"},
    {"MOVUPS xmm/m128, xmm", 0, 0x11, XMM, XMM, 16, BITS, 50, .store = true, .feature = "sse"},
    {"MOVUPD xmm, xmm/m128", 0x66, 0x10, XMM, XMM, 16, BITS, 50, .feature = "sse2"},
    {"MOVUPD xmm/m128, xmm", 0x66, 0x11, XMM, XMM, 16, BITS, 50, .store = true, .feature = "sse2"},
    {"MOVSS xmm, xmm/m32", 0xf3, 0x10, XMM, XMM, 4, F32, 60, .feature = "sse"},
    {"MOVSS xmm/m32, xmm", 0xf3, 0x11, XMM, XMM, 4, F32, 60, .store = true, .feature = "sse"},
    {"MOVSD xmm, xmm/m64", 0xf2, 0x10, XMM, XMM, 8, F64, 60, .feature = "sse2"},
    {"MOVSD xmm/m64, xmm", 0xf2, 0x11, XMM, XMM, 8, F64, 60, .store = true, .feature = "sse2"},
    {"MOVLPS xmm, m64", 0, 0x12, XMM, XMM, 8, BITS, 40, .memory_only = true, .feature = "sse"},
    {"MOVHLPS xmm, xmm", 0, 0x12, XMM, XMM, 0, BITS, 40, .register_only = true, .feature = "sse"},
    {"MOVLPS m64, xmm", 0, 0x13, XMM, XMM, 8, BITS, 40, .store = true, .memory_only = true, .feature = "sse"},
    {"MOVLPD xmm, m64", 0x66, 0x12, XMM, XMM, 8, BITS, 40, .memory_only = true, .feature = "sse2"},
    {"MOVLPD m64, xmm", 0x66, 0x13, XMM, XMM, 8, BITS, 40, .store = true, .memory_only = true, .feature = "sse2"},
    {"MOVHPS xmm, m64", 0, 0x16, XMM, XMM, 8, BITS, 40, .memory_only = true, .feature = "sse"},
    {"MOVLHPS xmm, xmm", 0, 0x16, XMM, XMM, 0, BITS, 40, .register_only = true, .feature = "sse"},
    {"MOVHPS m64, xmm", 0, 0x17, XMM, XMM, 8, BITS, 40, .store = true, .memory_only = true, .feature = "sse"},
    {"MOVHPD xmm, m64", 0x66, 0x16, XMM, XMM, 8, BITS, 40, .memory_only = true, .feature = "sse2"},
    {"MOVHPD m64, xmm", 0x66, 0x17, XMM, XMM, 8, BITS, 40, .store = true, .memory_only = true, .feature = "sse2"},
    {"MOVAPS xmm, xmm/m128", 0, 0x28, XMM, XMM, 16, BITS, 60, .aligned = true, .feature = "sse"},
    {"MOVAPS xmm/m128, xmm", 0, 0x29, XMM, XMM, 16, BITS, 60, .store = true, .aligned = true, .feature = "sse"},
    {"MOVAPD xmm, xmm/m128", 0x66, 0x28, XMM, XMM, 16, BITS, 60, .aligned = true, .feature = "sse2"},
    {"MOVAPD xmm/m128, xmm", 0x66, 0x29, XMM, XMM, 16, BITS, 60, .store = true, .aligned = true, .feature = "sse2"},
    {"MOVNTPS m128, xmm", 0, 0x2b, XMM, XMM, 16, BITS, 40, .store = true, .aligned = true, .memory_only = true, .feature = "sse"},
    {"MOVNTPD m128, xmm", 0x66, 0x2b, XMM, XMM, 16, BITS, 40, .store = true, .aligned = true, .memory_only = true, .feature = "sse2"},
    {"MOVMSKPS r32, xmm", 0, 0x50, GPR, XMM, 0, BITS, 60, .register_only = true, .feature = "sse"},
    {"MOVMSKPD r32, xmm", 0x66, 0x50, GPR, XMM, 0, BITS, 60, .register_only = true, .feature = "sse2"},
    {"UNPCKLPS xmm, xmm/m128", 0, 0x14, XMM, XMM, 16, BITS, 80, .aligned = true, .feature = "sse"},
    {"UNPCKHPS xmm, xmm/m128", 0, 0x15, XMM, XMM, 16, BITS, 80, .aligned = true, .feature = "sse"},
    {"UNPCKLPD xmm, xmm/m128", 0x66, 0x14, XMM, XMM, 16, BITS, 80, .aligned = true, .feature = "sse2"},
    {"UNPCKHPD xmm, xmm/m128", 0x66, 0x15, XMM, XMM, 16, BITS, 80, .aligned = true, .feature = "sse2"},
    {"SHUFPS xmm, xmm/m128, imm8", 0, 0xc6, XMM, XMM, 16, BITS, 120, .aligned = true, .immediate = true, .feature = "sse"},
    {"SHUFPD xmm, xmm/m128, imm8", 0x66, 0xc6, XMM, XMM, 16, BITS, 80, .aligned = true, .immediate = true, .feature = "sse2"},
    {"PREFETCHNTA m8", 0, 0x18, NO_FILE, XMM, 1, BITS, 15, .memory_only = true, .digit = 0, .feature = "sse"},
    {"PREFETCHT0 m8", 0, 0x18, NO_FILE, XMM, 1, BITS, 15, .memory_only = true, .digit = 1, .feature = "sse"},
    {"PREFETCHT1 m8", 0, 0x18, NO_FILE, XMM, 1, BITS, 15, .memory_only = true, .digit = 2, .feature = "sse"},
    {"PREFETCHT2 m8", 0, 0x18, NO_FILE, XMM, 1, BITS, 15, .memory_only = true, .digit = 3, .feature = "sse"},
    {"STMXCSR m32", 0, 0xae, NO_FILE, XMM, 4, BITS, 60, .store = true, .memory_only = true, .digit = 3, .feature = "sse"},
    {"CLFLUSH m8", 0, 0xae, NO_FILE, XMM, 1, BITS, 20, .memory_only = true, .digit = 7, .feature = "clflush"},
    {"LFENCE", 0, 0xae, NO_FILE, NO_FILE, 0, BITS, 10, .register_only = true, .digit = 5, .feature = "sse2"},
    {"MFENCE", 0, 0xae, NO_FILE, NO_FILE, 0, BITS, 10, .register_only = true, .digit = 6, .feature = "sse2"},
    {"SFENCE", 0, 0xae, NO_FILE, NO_FILE, 0, BITS, 10, .register_only = true, .digit = 7, .feature = "sse"},
};

static const struct simd_form sse3[] = {
    {"ADDSUBPD xmm, xmm/m128", 0x66, 0xd0, XMM, XMM, 16, F64, 200, .aligned = true, .feature = "pni"},
    {"ADDSUBPS xmm, xmm/m128", 0xf2, 0xd0, XMM, XMM, 16, F32, 200, .aligned = true, .feature = "pni"},
    {"HADDPD xmm, xmm/m128", 0x66, 0x7c, XMM, XMM, 16, F64, 200, .aligned = true, .feature = "pni"},
    {"HADDPS xmm, xmm/m128", 0xf2, 0x7c, XMM, XMM, 16, F32, 200, .aligned = true, .feature = "pni"},
    {"HSUBPD xmm, xmm/m128", 0x66, 0x7d, XMM, XMM, 16, F64, 200, .aligned = true, .feature = "pni"},
    {"HSUBPS xmm, xmm/m128", 0xf2, 0x7d, XMM, XMM, 16, F32, 200, .aligned = true, .feature = "pni"},
    {"MOVSLDUP xmm, xmm/m128", 0xf3, 0x12, XMM, XMM, 16, BITS, 60, .aligned = true, .feature = "pni"},
    {"MOVSHDUP xmm, xmm/m128", 0xf3, 0x16, XMM, XMM, 16, BITS, 60, .aligned = true, .feature = "pni"},
    {"MOVDDUP xmm, xmm/m64", 0xf2, 0x12, XMM, XMM, 8, BITS, 60, .feature = "pni"},
    {"LDDQU xmm, m128", 0xf2, 0xf0, XMM, XMM, 16, BITS, 60, .memory_only = true, .feature = "pni"},
};

/* Reserved bits give #GP; bit 17 is AMD's misaligned-SSE mode, which other processors reserve. */
static void load_mxcsr(void) {
  form_begin("LDMXCSR m32", (struct form_options){.feature = "sse"});
  for (int n = 0; n < 150; n++) {
    struct vector *v = vector_begin();
    u32 linear = any_address(4, 1), value = chance(70) ? (u32)random_u64() & 0xffff : 1u << below(32);
    if (value == 0x20000) value = 0x1f80;
    opcode(v, 2, (const u8[]){0x0f, 0xae});
    modrm_memory(v, 2, linear, ACCESS_READ);
    memory_value(v, linear, 32, value);
    vector_end(v);
  }
}

void family_sse_arithmetic(void) {
  static const struct {
    const char *name;
    u8 opcode;
    int count;
  } arithmetic[] = {{"SQRT", 0x51, 400}, {"ADD", 0x58, 600}, {"MUL", 0x59, 600}, {"SUB", 0x5c, 400},
                    {"MIN", 0x5d, 250},  {"DIV", 0x5e, 600}, {"MAX", 0x5f, 250}};
  static const struct {
    const char *name;
    u8 opcode;
  } logic[] = {{"AND", 0x54}, {"ANDN", 0x55}, {"OR", 0x56}, {"XOR", 0x57}};
  family_begin("sse-arithmetic");
  for (size_t i = 0; i < 7; i++) {
    for (int which = 0; which < 4; which++) variant(arithmetic[i].name, arithmetic[i].opcode, which, arithmetic[i].count, false, false);
  }
  for (int which = 0; which < 4; which++) variant("CMP", 0xc2, which, 500, true, false);
  for (size_t i = 0; i < 4; i++) variant(logic[i].name, logic[i].opcode, 0, 80, false, false), variant(logic[i].name, logic[i].opcode, 2, 80, false, false);
  for (int which = 0; which < 2; which++) variant("RSQRT", 0x52, which, 200, false, true), variant("RCP", 0x53, which, 200, false, true);
}

void family_sse_move(void) {
  family_begin("sse-move");
  for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) run_simd_form(&moves[i]);
  load_mxcsr();
}

void family_sse_convert(void) {
  family_begin("sse-convert");
  for (size_t i = 0; i < sizeof conversions / sizeof *conversions; i++) run_simd_form(&conversions[i]);
}

void family_sse3(void) {
  family_begin("sse3");
  for (size_t i = 0; i < sizeof sse3 / sizeof *sse3; i++) run_simd_form(&sse3[i]);
}
