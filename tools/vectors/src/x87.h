/* x87 forms described as data, run with chosen operands in ST(0) and ST(i) or memory. */
#ifndef VECTORS_X87_H
#define VECTORS_X87_H

#include "float.h"
#include "vector.h"

enum { STATUS_C0 = 0x100, STATUS_C1 = 0x200, STATUS_C2 = 0x400, STATUS_C3 = 0x4000, STATUS_ES = 0x80, STATUS_B = 0x8000 };

enum x87_operand {
  NO_OPERAND,  /* fixed second byte */
  STACK,       /* second byte + i */
  M_F32, M_F64, M_F80, M_I16, M_I32, M_I64, M_BCD,              /* read */
  M_OUT16, M_OUT32, M_OUT64, M_OUT80                            /* written */
};

enum x87_values {
  ANY_VALUES,   /* any class in ST(0) and a partner in ST(i) */
  TO_INT16, TO_INT32, TO_INT64, TO_BCD, TO_F32, TO_F64, /* ST(0) around what the conversion can hold */
  SCALES,       /* ST(1) is a shift count */
  REMAINDERS,   /* exponents of ST(0) and ST(1) up to 70 apart */
  ANGLES, LOGARITHMS, /* for the transcendental functions */
  POWERS,             /* F2XM1: defined from -1 to 1 */
  LOGARITHMS_NEAR_ONE /* FYL2XP1: defined from sqrt(1/2) - 1 to sqrt(2) - 1 */
};

struct x87_form {
  const char *name;
  u8 opcode, second; /* second byte, or ModRM.reg << 3 for memory */
  enum x87_operand operand;
  enum x87_values values;
  int count;
  int pushes;          /* needs ST(7) empty */
  u16 undefined;       /* status bits, beyond what every form leaves undefined */
  bool keeps_codes;    /* C0 C2 C3 are defined (or kept) */
  const char *feature;
  bool approximate;
};

/* A vector with random TOP, tags, control and status; the exception-pending case is rare but consistent. */
struct vector *x87_begin(void);
/* Sets ST(i) as seen through TOP. */
void set_st(struct vector *v, int i, struct f80 value);
/* Marks ST(i) in use or empty. */
void tag_st(struct vector *v, int i, bool used);
void run_x87_form(const struct x87_form *form);

void family_x87_arithmetic(void);
void family_x87_compare(void);
void family_x87_move(void);
void family_x87_control(void);
void family_x87_functions(void);
void family_x87_transcendental(void);
void family_x87_decoding(void);

#endif
