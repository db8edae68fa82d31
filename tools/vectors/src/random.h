/* The seeded generator behind every operand: the same seed gives the same files on every machine. */
#ifndef VECTORS_RANDOM_H
#define VECTORS_RANDOM_H

#include "machine.h"

extern u64 random_seed;

/* Restarts the stream from the seed and a name, so that one form's vectors do not depend on another's. */
void random_restart(const char *family, const char *form);
u64 random_u64(void);
/* Uniform in [0, limit). */
u32 below(u32 limit);
/* True `percent` times in a hundred. */
bool chance(u32 percent);
/* An integer operand of 8, 16, 32 or 64 bits: boundary values, powers of two, small and uniform ones. */
u64 operand(int size);
/* The boundary values alone, for exhaustive pairs. */
u64 boundary(int size, u32 index);
enum { BOUNDARIES = 14 };

#endif
