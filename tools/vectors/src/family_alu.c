/* ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT, MUL IMUL DIV IDIV. */
#include "integer.h"

static const int sizes[3] = {8, 16, 32};

static void binary(const char *mnemonic, int row, int size) {
  bool compare = row == 7, logic = row == 1 || row == 4 || row == 6;
  u8 wide = size != 8;
  struct operation op = {.size = size, .opcode_length = 1, .count = 400, .undefined = logic ? undefined_af : NULL};
  op.writes = op.lockable = !compare;
  op.name = named(mnemonic, " r/m%, r%", size);
  op.shape = RM_REG, op.opcode[0] = (u8)(row * 8 + wide);
  run_operation(&op);
  op.name = named(mnemonic, " r/m%, imm%", size);
  op.shape = RM_IMM, op.opcode[0] = (u8)(0x80 + wide), op.digit = row, op.count = 200;
  run_operation(&op);
  op.name = named(mnemonic, size == 8 ? " r/m%, imm8 (82)" : " r/m%, imm8", size);
  op.shape = RM_IMM8, op.opcode[0] = (u8)(0x82 + wide), op.count = size == 8 ? 40 : 200;
  run_operation(&op);
  op.writes = op.lockable = false;
  op.name = named(mnemonic, " r%, r/m%", size);
  op.shape = REG_RM, op.opcode[0] = (u8)(row * 8 + 2 + wide), op.count = 200;
  run_operation(&op);
  op.name = named(mnemonic, " acc, imm%", size);
  op.shape = ACC_IMM, op.opcode[0] = (u8)(row * 8 + 4 + wide), op.count = 80;
  run_operation(&op);
}

static void test(int size) {
  u8 wide = size != 8;
  struct operation op = {.size = size, .opcode_length = 1, .count = 200, .undefined = undefined_af};
  op.name = sized_name("TEST r/m%, r%", size);
  op.shape = RM_REG, op.opcode[0] = (u8)(0x84 + wide);
  run_operation(&op);
  op.name = sized_name("TEST acc, imm%", size);
  op.shape = ACC_IMM, op.opcode[0] = (u8)(0xa8 + wide), op.count = 80;
  run_operation(&op);
  for (op.digit = 0; op.digit < 2; op.digit++) {
    op.name = sized_name(op.digit ? "TEST r/m%, imm% (/1)" : "TEST r/m%, imm%", size);
    op.shape = RM_IMM, op.opcode[0] = (u8)(0xf6 + wide), op.count = op.digit ? 60 : 150;
    run_operation(&op);
  }
}

void family_integer_alu(void) {
  static const char *const mnemonics[8] = {"ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP"};
  family_begin("integer-alu");
  for (int row = 0; row < 8; row++) {
    for (int i = 0; i < 3; i++) binary(mnemonics[row], row, sizes[i]);
  }
  for (int i = 0; i < 3; i++) test(sizes[i]);
}

void family_integer_unary(void) {
  family_begin("integer-unary");
  for (int i = 0; i < 3; i++) {
    u8 wide = sizes[i] != 8;
    struct operation op = {
        .size = sizes[i], .opcode_length = 1, .count = 200, .shape = RM_ONLY, .writes = true, .lockable = true};
    op.opcode[0] = (u8)(0xfe + wide);
    op.name = sized_name("INC r/m%", sizes[i]), op.digit = 0, run_operation(&op);
    op.name = sized_name("DEC r/m%", sizes[i]), op.digit = 1, run_operation(&op);
    op.opcode[0] = (u8)(0xf6 + wide);
    op.name = sized_name("NOT r/m%", sizes[i]), op.digit = 2, run_operation(&op);
    op.name = sized_name("NEG r/m%", sizes[i]), op.digit = 3, run_operation(&op);
    if (!wide) continue;
    op.shape = OPCODE_REG, op.count = 100;
    op.name = sized_name("INC r%", sizes[i]), op.opcode[0] = 0x40, run_operation(&op);
    op.name = sized_name("DEC r%", sizes[i]), op.opcode[0] = 0x48, run_operation(&op);
  }
}

static u64 signed_value(int size, u64 value) {
  return size == 64 ? value : (u64)((long long)(value << (64 - size)) >> (64 - size));
}

static u32 undefined_multiply(struct vector *v, const struct operation *op) {
  (void)v, (void)op;
  return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
}

static u32 undefined_all(struct vector *v, const struct operation *op) {
  (void)v, (void)op;
  return FLAGS_ARITHMETIC;
}

static void prepare_multiply(struct vector *v, const struct operation *op) {
  set_register(v, op->size, EAX, operand(op->size));
  if (op->size != 8) set_register(v, op->size, EDX, operand(op->size));
}

/* A dividend whose quotient mostly fits: quotient * divisor + remainder, sometimes just beyond. */
static void prepare_divide(struct vector *v, const struct operation *op) {
  int size = op->size;
  bool is_signed = op->digit == 7;
  u64 divisor = is_signed ? signed_value(size, v->destination) : v->destination;
  u64 quotient = is_signed ? signed_value(size, operand(size)) : operand(size);
  u64 magnitude = (long long)divisor < 0 && is_signed ? 0 - divisor : divisor;
  u64 remainder = magnitude ? random_u64() % magnitude : 0;
  u64 dividend = quotient * divisor + ((long long)(quotient * divisor) < 0 && is_signed ? 0 - remainder : remainder);
  if (chance(10)) dividend = operand(64);
  if (chance(10)) dividend = (u64)operand(size);
  if (size == 8) {
    set_register(v, 16, EAX, dividend);
    return;
  }
  set_register(v, size, EAX, dividend);
  set_register(v, size, EDX, dividend >> size);
}

void family_integer_multiply(void) {
  family_begin("integer-multiply");
  for (int i = 0; i < 3; i++) {
    int size = sizes[i];
    struct operation op = {.size = size, .opcode_length = 1, .count = 500, .shape = RM_ONLY};
    op.implicit = 1 << EAX | 1 << EDX;
    op.opcode[0] = size == 8 ? 0xf6 : 0xf7;
    op.undefined = undefined_multiply, op.prepare = prepare_multiply;
    op.name = sized_name("MUL r/m%", size), op.digit = 4, run_operation(&op);
    op.name = sized_name("IMUL r/m%", size), op.digit = 5, run_operation(&op);
    op.undefined = undefined_all, op.prepare = prepare_divide, op.count = 700;
    op.name = sized_name("DIV r/m%", size), op.digit = 6, run_operation(&op);
    op.name = sized_name("IDIV r/m%", size), op.digit = 7, run_operation(&op);
    if (size == 8) continue;
    op = (struct operation){.size = size, .opcode_length = 1, .count = 400, .undefined = undefined_multiply};
    op.name = sized_name("IMUL r%, r/m%, imm%", size), op.shape = REG_RM_IMM, op.opcode[0] = 0x69, run_operation(&op);
    op.name = sized_name("IMUL r%, r/m%, imm8", size), op.shape = REG_RM_IMM8, op.opcode[0] = 0x6b, run_operation(&op);
    op.name = sized_name("IMUL r%, r/m%", size), op.shape = REG_RM, op.opcode[0] = 0x0f, op.opcode[1] = 0xaf;
    op.opcode_length = 2, run_operation(&op);
  }
}
