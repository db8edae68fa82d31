/* Vectors whose stack matters: 16- and 32-bit stacks, in the middle of the page and over its edges. */
#ifndef VECTORS_STACK_H
#define VECTORS_STACK_H

#include "integer.h"

/* vector_begin with a random stack pointer; ESP is marked used. */
struct vector *stack_begin(void);
/* The linear address SS:ESP (SP on a 16-bit stack) plus an offset. */
u32 stack_linear(const struct vector *v, int offset);

#endif
