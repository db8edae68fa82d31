/* MOV MOVZX MOVSX XCHG XADD CMPXCHG CMPXCHG8B XLAT, sign extensions of the accumulator, flag instructions, NOP. */
#include "integer.h"

#include <string.h>

static const int sizes[3] = {8, 16, 32};

static void plain_moves(int size) {
  u8 wide = size != 8;
  struct operation op = {.size = size, .opcode_length = 1, .count = 120};
  op.name = sized_name("MOV r/m%, r%", size), op.shape = RM_REG, op.opcode[0] = (u8)(0x88 + wide), op.writes = true;
  run_operation(&op);
  op.name = sized_name("MOV r/m%, imm%", size), op.shape = RM_IMM, op.opcode[0] = (u8)(0xc6 + wide);
  run_operation(&op);
  op.name = sized_name("MOV r%, r/m%", size), op.shape = REG_RM, op.opcode[0] = (u8)(0x8a + wide), op.writes = false;
  run_operation(&op);
  op.name = sized_name("MOV r%, imm%", size), op.shape = OPCODE_REG_IMM, op.opcode[0] = wide ? 0xb8 : 0xb0;
  op.count = 60;
  run_operation(&op);
}

/* A0-A3: an offset of the address size, without ModRM. */
static void direct_offset(const char *name, u8 byte, int size) {
  form_begin(name, (struct form_options){0});
  for (int i = 0; i < 60; i++) {
    struct vector *v = vector_begin();
    u32 linear = i < 4 ? DATA_END + below(16) : any_address((u32)size / 8, 1);
    if (chance(10)) use_code16(v);
    bool near = linear < 0x10000 && chance(v->code16 ? 80 : 25);
    if (size != 8) operand_size(v, size);
    address_size(v, near ? 16 : 32);
    bool fs = linear - FS_BASE < FS_LIMIT - 4 && chance(15);
    if (fs) prefix(v, 0x64);
    opcode(v, 1, &byte);
    tail(v, near ? 16 : 32, linear - (fs ? FS_BASE : 0));
    set_register(v, size, EAX, operand(size));
    if (i >= 4 && byte < 0xa2) memory_value(v, linear, size, operand(size));
    vector_end(v);
  }
}

static void extending_moves(void) {
  for (int to = 16; to <= 32; to += 16) {
    for (int from = 8; from <= 16; from += 8) {
      struct operation op = {.size = to, .rm_size = from, .shape = REG_RM, .opcode_length = 2, .count = 120};
      op.opcode[0] = 0x0f;
      op.name = sized_name(from == 8 ? "MOVZX r%, r/m8" : "MOVZX r%, r/m16", to);
      op.opcode[1] = from == 8 ? 0xb6 : 0xb7, run_operation(&op);
      op.name = sized_name(from == 8 ? "MOVSX r%, r/m8" : "MOVSX r%, r/m16", to);
      op.opcode[1] = from == 8 ? 0xbe : 0xbf, run_operation(&op);
    }
  }
}

/* Half of the comparisons succeed. */
static void prepare_compare(struct vector *v, const struct operation *op) {
  set_register(v, op->size, EAX, chance(50) ? v->destination : operand(op->size));
}

static void exchanges(int size) {
  u8 wide = size != 8;
  struct operation op = {.size = size, .opcode_length = 1, .count = 120, .shape = RM_REG};
  op.writes = op.lockable = true;
  op.name = sized_name("XCHG r/m%, r%", size), op.opcode[0] = (u8)(0x86 + wide), run_operation(&op);
  op.opcode[0] = 0x0f, op.opcode_length = 2, op.count = 400;
  op.name = sized_name("XADD r/m%, r%", size), op.opcode[1] = (u8)(0xc0 + wide), run_operation(&op);
  op.name = sized_name("CMPXCHG r/m%, r%", size), op.opcode[1] = (u8)(0xb0 + wide), op.implicit = 1 << EAX;
  op.prepare = prepare_compare, run_operation(&op);
  if (!wide) return;
  op = (struct operation){.size = size, .opcode_length = 1, .count = 60, .shape = OPCODE_REG, .opcode = {0x90}};
  op.name = sized_name("XCHG acc, r%", size), run_operation(&op);
}

static void prepare_compare64(struct vector *v, const struct operation *op) {
  u64 expected = chance(50) ? v->destination : chance(50) ? v->destination ^ 1ull << below(64) : operand(64);
  (void)op;
  set_register(v, 32, EAX, expected);
  set_register(v, 32, EDX, expected >> 32);
  set_register(v, 32, ECX, operand(32));
  set_register(v, 32, EBX, operand(32));
}

static void compare_exchange64(void) {
  struct operation op = {.name = "CMPXCHG8B m64", .shape = RM_ONLY, .size = 32, .rm_size = 64, .opcode = {0x0f, 0xc7}};
  op.opcode_length = 2, op.digit = 1, op.memory_only = op.writes = op.lockable = true;
  op.implicit = 1 << EAX | 1 << ECX | 1 << EDX | 1 << EBX;
  op.prepare = prepare_compare64;
  op.count = 300;
  op.feature = "cx8";
  run_operation(&op);
}

static void translate(void) {
  form_begin("XLAT", (struct form_options){0});
  for (int i = 0; i < 80; i++) {
    struct vector *v = vector_begin();
    u8 byte = 0xd7, al = (u8)below(256);
    u32 linear = i < 3 ? DATA_END + below(8) : any_address(1, 1);
    if (chance(10)) use_code16(v);
    bool near = linear < 0x10000 && chance(30);
    bool gs = !near && chance(10);
    address_size(v, near ? 16 : 32);
    if (gs) prefix(v, 0x65);
    opcode(v, 1, &byte);
    set_register(v, 8, EAX, al);
    set_register(v, near ? 16 : 32, EBX, linear - al - (gs ? GS_BASE : 0));
    if (i >= 3) memory_value(v, linear, 8, random_u64());
    vector_end(v);
  }
}

static void prepare_accumulator(struct vector *v, const struct operation *op) {
  set_register(v, 32, EAX, operand(op->size == 16 && chance(50) ? 16 : 32));
  set_register(v, 32, EDX, operand(32));
}

static void implicit(const char *name, u8 byte, int size, int count) {
  struct operation op = {.name = name, .shape = IMPLICIT, .size = size, .opcode = {byte}, .opcode_length = 1};
  op.count = count;
  op.prepare = prepare_accumulator;
  run_operation(&op);
}

/* The multi-byte NOP computes an address but never touches it: SDM vol. 2B, NOP. */
static void no_operations(void) {
  implicit("NOP", 0x90, 32, 10);
  struct operation op = {.name = "PAUSE", .shape = IMPLICIT, .size = 32, .opcode = {0x90}, .opcode_length = 1};
  op.mandatory = 0xf3, op.count = 10;
  run_operation(&op);
  for (int size = 16; size <= 32; size += 16) {
    op = (struct operation){.name = sized_name("NOP r/m%", size), .shape = RM_ONLY, .size = size, .opcode_length = 2};
    op.opcode[0] = 0x0f, op.opcode[1] = 0x1f, op.count = 30;
    run_operation(&op);
  }
}

void family_moves(void) {
  family_begin("moves");
  for (int i = 0; i < 3; i++) plain_moves(sizes[i]);
  for (int i = 0; i < 3; i++) {
    direct_offset(sized_name("MOV acc, moffs%", sizes[i]), sizes[i] == 8 ? 0xa0 : 0xa1, sizes[i]);
    direct_offset(sized_name("MOV moffs%, acc", sizes[i]), sizes[i] == 8 ? 0xa2 : 0xa3, sizes[i]);
  }
  extending_moves();
  for (int i = 0; i < 3; i++) exchanges(sizes[i]);
  compare_exchange64();
  translate();
  implicit("CBW", 0x98, 16, 60), implicit("CWDE", 0x98, 32, 60);
  implicit("CWD", 0x99, 16, 60), implicit("CDQ", 0x99, 32, 60);
  implicit("LAHF", 0x9f, 32, 80), implicit("SAHF", 0x9e, 32, 150);
  implicit("CMC", 0xf5, 32, 30), implicit("CLC", 0xf8, 32, 20), implicit("STC", 0xf9, 32, 20);
  implicit("CLD", 0xfc, 32, 20), implicit("STD", 0xfd, 32, 20);
  implicit("SALC", 0xd6, 32, 30);
  no_operations();
}
