/* generate DIRECTORY [SEED] [FAMILY...]: writes one .bin per family into DIRECTORY. */
#include "integer.h"
#include "simd.h"
#include "x87.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  void (*run)(void);
} families[] = {
    {"integer-alu", family_integer_alu},
    {"integer-unary", family_integer_unary},
    {"integer-multiply", family_integer_multiply},
    {"shifts", family_shifts},
    {"bits", family_bits},
    {"moves", family_moves},
    {"conditionals", family_conditionals},
    {"addressing", family_addressing},
    {"stack", family_stack},
    {"control", family_control},
    {"strings", family_strings},
    {"decimal", family_decimal},
    {"segments", family_segments},
    {"decoding", family_decoding},
    {"x87-arithmetic", family_x87_arithmetic},
    {"x87-compare", family_x87_compare},
    {"x87-move", family_x87_move},
    {"x87-control", family_x87_control},
    {"x87-functions", family_x87_functions},
    {"x87-transcendental", family_x87_transcendental},
    {"x87-decoding", family_x87_decoding},
    {"mmx", family_mmx},
    {"sse-arithmetic", family_sse_arithmetic},
    {"sse-convert", family_sse_convert},
    {"sse-move", family_sse_move},
    {"sse2-integer", family_sse2_integer},
    {"sse3", family_sse3},
};

static bool wanted(const char *name, int count, char **names) {
  for (int i = 0; i < count; i++) {
    if (!strcmp(name, names[i])) return true;
  }
  return count == 0;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s DIRECTORY [SEED [FAMILY...]]\n", argv[0]);
    return 2;
  }
  if (argc > 2) random_seed = strtoull(argv[2], NULL, 0);
  native_open();
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    if (!wanted(families[i].name, argc - 3, argv + 3)) continue;
    families[i].run();
    family_end(argv[1]);
  }
  return 0;
}
