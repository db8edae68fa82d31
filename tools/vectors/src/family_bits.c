/* BT BTS BTR BTC, BSF BSR, TZCNT LZCNT POPCNT, BSWAP. */
#include "integer.h"

/* SDM vol. 2A, BT: CF is the bit, ZF is kept, the rest is undefined. */
static u32 undefined_bit_test(struct vector *v, const struct operation *op) {
  (void)v, (void)op;
  return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
}

/* SDM vol. 2A, BSF: a zero source leaves the destination undefined. */
static u32 undefined_scan(struct vector *v, const struct operation *op) {
  (void)op;
  v->undefined_result = v->destination == 0;
  return FLAG_CF | FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
}

static u32 undefined_count(struct vector *v, const struct operation *op) {
  (void)v, (void)op;
  return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
}

static u32 undefined_swap(struct vector *v, const struct operation *op) {
  v->undefined_result = op->size == 16;
  return 0;
}

/* A register offset reaches words before and after the named one: SDM vol. 2A 3.1.1.9, Bit(BitBase, BitOffset). */
static void bit_string_vector(u8 byte, int size, bool writes) {
  struct vector *v = vector_begin();
  u8 bytes[2] = {0x0f, byte};
  int reg = (int)below(8);
  u32 width = (u32)size / 8;
  int words = chance(50) ? (int)below(64) - 32 : (int)(random_u64() >> (size == 16 ? 53 : 37)) - (size == 16 ? 1024 : 1 << 26);
  u32 target = any_address(width, chance(30) ? 1 : width);
  if (chance(7)) use_code16(v);
  if (chance(2)) v->before.eflags |= FLAG_AC;
  v->used = 1u << reg;
  if (writes && chance(8)) prefix(v, 0xf0), target &= ~(width - 1);
  operand_size(v, size);
  opcode(v, 2, bytes);
  set_register(v, size, reg, (u32)words * (u32)size + below((u32)size));
  modrm_memory(v, reg, target - (u32)words * width, writes ? ACCESS_WRITE : ACCESS_READ);
  if (chance(97)) memory_value(v, target, size, operand(size));
  v->undefined_flags = undefined_bit_test(v, NULL);
  vector_end(v);
}

static void bit_test(const char *mnemonic, int digit, int size) {
  struct operation op = {.size = size, .opcode_length = 2, .digit = digit, .writes = digit != 4};
  op.lockable = op.writes;
  op.undefined = undefined_bit_test;
  op.name = named(mnemonic, " r/m%, imm8", size);
  op.opcode[0] = 0x0f, op.opcode[1] = 0xba, op.shape = RM_IMM8, op.count = 300;
  run_operation(&op);
  op.name = named(mnemonic, " r%, r%", size);
  op.opcode[1] = (u8)(0x83 + digit * 8), op.shape = RM_REG, op.count = 200, op.register_only = true;
  run_operation(&op);
  form_begin(named(mnemonic, " m%, r%", size), (struct form_options){0});
  for (int i = 0; i < 400; i++) bit_string_vector(op.opcode[1], size, op.writes);
}

static void scan(const char *pattern, u8 byte, u8 mandatory, const char *feature, int size) {
  struct operation op = {.name = sized_name(pattern, size), .shape = REG_RM, .size = size, .opcode_length = 2};
  op.opcode[0] = 0x0f, op.opcode[1] = byte;
  op.mandatory = mandatory;
  op.feature = feature;
  op.count = 400;
  op.undefined = !feature ? undefined_scan : byte == 0xb8 ? NULL : undefined_count;
  run_operation(&op);
}

void family_bits(void) {
  static const char *const mnemonics[4] = {"BT", "BTS", "BTR", "BTC"};
  family_begin("bits");
  for (int size = 16; size <= 32; size += 16) {
    for (int i = 0; i < 4; i++) bit_test(mnemonics[i], 4 + i, size);
    scan("BSF r%, r/m%", 0xbc, 0, NULL, size);
    scan("BSR r%, r/m%", 0xbd, 0, NULL, size);
    scan("TZCNT r%, r/m%", 0xbc, 0xf3, "bmi1", size);
    scan("LZCNT r%, r/m%", 0xbd, 0xf3, "abm", size);
    scan("POPCNT r%, r/m%", 0xb8, 0xf3, "popcnt", size);
    struct operation op = {.name = sized_name("BSWAP r%", size), .shape = OPCODE_REG, .size = size, .count = 80};
    op.opcode[0] = 0x0f, op.opcode[1] = 0xc8, op.opcode_length = 2, op.undefined = undefined_swap;
    run_operation(&op);
  }
}
