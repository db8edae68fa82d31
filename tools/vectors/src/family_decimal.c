/* DAA DAS AAA AAS, and AAM and AAD with any base. */
#include "integer.h"

/* Every AL, four times, each with other flags. */
static void adjust(const char *name, u8 byte, u32 undefined) {
  form_begin(name, (struct form_options){0});
  for (u32 i = 0; i < 1024; i++) {
    struct vector *v = vector_begin();
    opcode(v, 1, &byte);
    set_register(v, 16, EAX, operand(16));
    set_register(v, 8, EAX, i);
    v->undefined_flags = undefined;
    vector_end(v);
  }
}

static void based(const char *name, u8 byte) {
  form_begin(name, (struct form_options){0});
  for (u32 i = 0; i < 600; i++) {
    struct vector *v = vector_begin();
    opcode(v, 1, &byte);
    tail(v, 8, i < 4 ? 0 : i < 150 ? 10 : chance(30) ? operand(8) : below(256));
    set_register(v, 16, EAX, chance(50) ? operand(16) : below(10) << 8 | below(10));
    v->undefined_flags = FLAG_OF | FLAG_AF | FLAG_CF;
    vector_end(v);
  }
}

void family_decimal(void) {
  family_begin("decimal");
  adjust("DAA", 0x27, FLAG_OF);
  adjust("DAS", 0x2f, FLAG_OF);
  adjust("AAA", 0x37, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF);
  adjust("AAS", 0x3f, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF);
  based("AAM imm8", 0xd4);
  based("AAD imm8", 0xd5);
}
