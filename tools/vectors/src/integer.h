/* Integer instruction forms with a ModRM operand (or none), described as data and run with many operands. */
#ifndef VECTORS_INTEGER_H
#define VECTORS_INTEGER_H

#include "vector.h"

enum shape {
  RM_REG,     /* r/m, r */
  REG_RM,     /* r, r/m */
  RM_IMM,     /* r/m, immediate of the operand size */
  RM_IMM8,    /* r/m, imm8 (sign-extended where the instruction says so) */
  RM_REG_IMM8,
  REG_RM_IMM,
  REG_RM_IMM8,
  RM_ONLY,
  ACC_IMM,    /* AL, AX or EAX with immediate */
  OPCODE_REG, /* register in the low opcode bits */
  OPCODE_REG_IMM,
  IMPLICIT,   /* nothing but the opcode */
  IMPLICIT_IMM8
};

struct operation {
  const char *name;
  enum shape shape;
  int size;    /* operand size in bits */
  int rm_size; /* of r/m where it differs */
  u8 opcode[3];
  int opcode_length;
  int digit;     /* ModRM.reg where it extends the opcode */
  u8 mandatory;  /* F2, F3 or 66 that belongs to the opcode; 0 for none */
  bool writes;   /* the r/m operand is written */
  bool lockable; /* LOCK is valid with r/m in memory */
  bool memory_only, register_only;
  u32 implicit;  /* registers used beyond the operands, bit per GPR */
  int count;
  void (*prepare)(struct vector *v, const struct operation *op);
  u64 (*immediate)(void); /* where the usual operands would not do */
  u32 (*undefined)(struct vector *v, const struct operation *op);
  const char *feature;
};

void run_operation(const struct operation *op);
/* "ADD r/m%, r%" with % as the size: the text lives until the next call. */
const char *sized_name(const char *pattern, int size);
const char *named(const char *mnemonic, const char *operands, int size);

/* Common answers for `undefined`. */
u32 undefined_af(struct vector *v, const struct operation *op);

void family_integer_alu(void);
void family_integer_unary(void);
void family_integer_multiply(void);
void family_shifts(void);
void family_bits(void);
void family_moves(void);
void family_conditionals(void);
void family_addressing(void);
void family_stack(void);
void family_control(void);
void family_strings(void);
void family_decimal(void);
void family_segments(void);
void family_decoding(void);

#endif
