/* ROL ROR RCL RCR SHL SHR SAL SAR by 1, by CL, by imm8; SHLD and SHRD. */
#include "integer.h"

enum { BY_ONE, BY_CL, BY_IMMEDIATE };

/* Mostly counts that mean something, sometimes any byte: the processor keeps five bits. */
static u64 count_byte(void) {
  switch (below(6)) {
  case 0: return below(256);
  case 1: return below(3);
  case 2: return 7 + below(3) + 8 * below(4);
  default: return below(34);
  }
}

static void prepare_cl(struct vector *v, const struct operation *op) {
  (void)op;
  set_register(v, 8, ECX, count_byte());
}

static u32 count_of(const struct vector *v, const struct operation *op) {
  if ((op->opcode[0] & 0xfe) == 0xd0) return 1;
  return ((op->opcode[0] & 0xfe) == 0xd2 ? v->before.gpr[ECX] : (u32)v->source) & 31;
}

/* SDM vol. 2B, RCL/RCR/ROL/ROR and SAL/SAR/SHL/SHR, "Flags Affected". */
static u32 undefined_shift(struct vector *v, const struct operation *op) {
  u32 count = count_of(v, op), flags = 0;
  bool rotate = op->digit < 4;
  if (count == 0) return 0;
  if (count != 1) flags |= FLAG_OF;
  if (rotate) return flags;
  flags |= FLAG_AF;
  if (op->digit != 7 && count >= (u32)op->size) flags |= FLAG_CF;
  return flags;
}

static void shift_form(const char *mnemonic, int digit, int size, int by) {
  static const char *const operands[3] = {" r/m%, 1", " r/m%, CL", " r/m%, imm8"};
  static const u8 opcodes[3] = {0xd0, 0xd2, 0xc0};
  struct operation op = {.name = named(mnemonic, operands[by], size), .size = size, .opcode_length = 1, .digit = digit};
  op.shape = by == BY_IMMEDIATE ? RM_IMM8 : RM_ONLY;
  op.opcode[0] = (u8)(opcodes[by] + (size != 8));
  op.writes = true;
  op.count = by == BY_ONE ? 150 : digit == 6 ? 100 : 600;
  op.implicit = by == BY_CL ? 1 << ECX : 0;
  op.prepare = by == BY_CL ? prepare_cl : NULL;
  op.immediate = count_byte;
  op.undefined = undefined_shift;
  run_operation(&op);
}

static u32 double_count(const struct vector *v, const struct operation *op) {
  return (op->shape == RM_REG ? v->before.gpr[ECX] : (u32)v->source) & 31;
}

/* SDM vol. 2B, SHLD: with a count above the operand size, the result and all flags are undefined. */
static u32 undefined_double(struct vector *v, const struct operation *op) {
  u32 count = double_count(v, op);
  if (count == 0) return 0;
  if (count > (u32)op->size) {
    v->undefined_result = true;
    return FLAGS_ARITHMETIC;
  }
  return FLAG_AF | (count == 1 ? 0 : FLAG_OF);
}

static void double_shift(const char *pattern, u8 byte, int size, bool by_cl) {
  struct operation op = {.name = sized_name(pattern, size), .size = size, .opcode_length = 2, .opcode = {0x0f, byte}};
  op.shape = by_cl ? RM_REG : RM_REG_IMM8;
  op.writes = true;
  op.count = 600;
  op.implicit = by_cl ? 1 << ECX : 0;
  op.prepare = by_cl ? prepare_cl : NULL;
  op.immediate = count_byte;
  op.undefined = undefined_double;
  run_operation(&op);
}

void family_shifts(void) {
  static const char *const mnemonics[8] = {"ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SAL", "SAR"};
  static const int sizes[3] = {8, 16, 32};
  family_begin("shifts");
  for (int digit = 0; digit < 8; digit++) {
    for (int i = 0; i < 3; i++) {
      for (int by = BY_ONE; by <= BY_IMMEDIATE; by++) shift_form(mnemonics[digit], digit, sizes[i], by);
    }
  }
  for (int size = 16; size <= 32; size += 16) {
    double_shift("SHLD r/m%, r%, imm8", 0xa4, size, false);
    double_shift("SHLD r/m%, r%, CL", 0xa5, size, true);
    double_shift("SHRD r/m%, r%, imm8", 0xac, size, false);
    double_shift("SHRD r/m%, r%, CL", 0xad, size, true);
  }
}
