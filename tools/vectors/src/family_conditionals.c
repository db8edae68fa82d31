/* SETcc and CMOVcc; LEA with every address form. */
#include "integer.h"

#include <stdio.h>

static const char *const conditions[16] = {"O", "NO", "B",  "AE", "E", "NE", "BE", "A",
                                           "S", "NS", "P", "NP", "L", "GE", "LE", "G"};

void family_conditionals(void) {
  family_begin("conditionals");
  for (u8 i = 0; i < 16; i++) {
    struct operation op = {.shape = RM_ONLY, .size = 8, .opcode_length = 2, .opcode = {0x0f, (u8)(0x90 + i)}};
    char name[16];
    snprintf(name, sizeof name, "SET%s r/m8", conditions[i]);
    op.name = name;
    op.writes = true;
    op.count = 80;
    run_operation(&op);
  }
  for (int size = 16; size <= 32; size += 16) {
    for (u8 i = 0; i < 16; i++) {
      struct operation op = {.shape = REG_RM, .size = size, .opcode_length = 2, .opcode = {0x0f, (u8)(0x40 + i)}};
      char name[32];
      snprintf(name, sizeof name, "CMOV%s r%d, r/m%d", conditions[i], size, size);
      op.name = name;
      op.feature = "cmov";
      op.count = 80;
      run_operation(&op);
    }
  }
}

/* Any ModRM and SIB with any register values: the sum is all that counts. */
static void effective_address(int size, int address) {
  static const u8 byte = 0x8d;
  struct vector *v = vector_begin();
  if (chance(10)) use_code16(v);
  operand_size(v, size);
  address_size(v, address);
  if (chance(5)) prefix(v, 0x64);
  opcode(v, 1, &byte);
  for (int i = 0; i < 8; i++) {
    if (chance(40)) set_register(v, 32, i, operand(32));
  }
  int mod = chance(3) ? 3 : (int)below(3), rm = (int)below(8), reg = (int)below(8);
  tail(v, 8, (u32)(mod << 6 | reg << 3 | rm));
  bool no_base = false;
  if (address == 32 && mod != 3 && rm == 4) {
    u32 sib = below(256);
    tail(v, 8, sib);
    no_base = mod == 0 && (sib & 7) == 5;
  }
  if (address == 32 && (mod == 2 || (mod == 0 && rm == 5) || no_base)) tail(v, 32, operand(32));
  if (address == 16 && (mod == 2 || (mod == 0 && rm == 6))) tail(v, 16, operand(16));
  if (mod == 1) tail(v, 8, random_u64());
  vector_end(v);
}

void family_addressing(void) {
  family_begin("addressing");
  for (int size = 16; size <= 32; size += 16) {
    form_begin(sized_name("LEA r%, m (16-bit address)", size), (struct form_options){0});
    for (int i = 0; i < 1000; i++) effective_address(size, 16);
    form_begin(sized_name("LEA r%, m (32-bit address)", size), (struct form_options){0});
    for (int i = 0; i < 2500; i++) effective_address(size, 32);
  }
}
