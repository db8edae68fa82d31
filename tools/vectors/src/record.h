/* The bytes of a family file, as README.md lays them out. */
#ifndef VECTORS_RECORD_H
#define VECTORS_RECORD_H

#include "vector.h"

extern const struct state record_baseline;
extern const char *record_family, *record_form;

/* Undoes everything vectors did to the world. */
void record_restore_world(void);
void record_vector(const struct vector *vector);

#endif
