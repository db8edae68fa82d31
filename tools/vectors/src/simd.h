/* MMX and SSE forms described as data: register files on both sides, memory width, element type. */
#ifndef VECTORS_SIMD_H
#define VECTORS_SIMD_H

#include "float.h"
#include "vector.h"

enum simd_file { MM, XMM, GPR, NO_FILE };

enum simd_elements {
  BITS,     /* integers of any width */
  COUNTS,   /* second operand is a shift count */
  F32, F64, /* every element; a scalar form just ignores the upper ones */
  F32_TO_INT, F64_TO_INT, F64_TO_F32,
  I32
};

struct simd_form {
  const char *name;
  u8 mandatory, opcode;
  enum simd_file reg, rm; /* ModRM.reg and ModRM.r/m when it is a register */
  int width;              /* bytes in memory; 0: no memory form */
  enum simd_elements elements;
  int count;
  bool store;             /* r/m is the destination */
  bool aligned;           /* memory must be aligned to its width */
  bool immediate;
  bool memory_only, register_only;
  int digit;              /* ModRM.reg when `reg` is NO_FILE */
  bool approximate;
  const char *feature;
};

void run_simd_form(const struct simd_form *form);

void family_mmx(void);
void family_sse_arithmetic(void);
void family_sse_move(void);
void family_sse_convert(void);
void family_sse2_integer(void);
void family_sse3(void);

#endif
