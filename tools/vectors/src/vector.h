/* One vector from its making to its record: baseline state, encoding, execution, bytes in the family file. */
#ifndef VECTORS_VECTOR_H
#define VECTORS_VECTOR_H

#include "machine.h"
#include "random.h"

enum { MAX_PATCHES = 4, MAX_PATCH = 544, MAX_CODE = 32 };

struct patch {
  u32 address;
  u32 length;
  u8 bytes[MAX_PATCH];
};

struct vector {
  struct state before, after;
  struct fault fault;

  /* Parts of the encoding, joined by vector_end: prefixes, opcode, then ModRM with all that follows. */
  u8 prefixes[16], opcode[4], tail[24];
  int prefix_count, opcode_length, tail_length;
  u8 code[MAX_CODE];
  int length;
  int steps;   /* instructions in `code`; 1 but for a few pairs */
  bool code16; /* runs in a 16-bit code segment: 66 and 67 select 32 bits */

  struct patch patches[MAX_PATCHES]; /* memory to write before the run */
  int patch_count;
  bool progresses; /* what it wrote before a fault is architecture (repeated strings), not an accident */
  struct patch loose[2]; /* address and length of result bytes that the manual leaves open */
  int loose_count;

  bool order_open; /* several accesses in no promised order: which one faults, and CR2, is open */
  u32 undefined_flags;  /* EFLAGS bits the manual leaves undefined after this very vector */
  u32 undefined_at_fault; /* EFLAGS bits open if it faults on its way */
  u16 undefined_status; /* the same for the x87 status word */
  bool undefined_result;

  u32 used; /* registers that addressing must not take for base or index, bit per GPR */

  /* What operand helpers chose, for the callbacks that fill in implicit operands. */
  u32 linear;      /* of the memory operand */
  u64 destination; /* value of the r/m operand */
  u64 source;      /* value of the register operand or immediate */
};

struct form_options {
  const char *feature;  /* CPUID bit the form needs, or NULL for what every CPU with CPUID has */
  bool approximate;     /* result is not defined to the last bit: compare with tolerance */
};

void family_begin(const char *name);
void family_end(const char *directory);
void form_begin(const char *name, struct form_options options);

/* A vector with the baseline state and random arithmetic flags. */
struct vector *vector_begin(void);
/* Puts the code and memory in place, runs it twice, drops it if the runs differ, and records it. */
void vector_end(struct vector *vector);

void prefix(struct vector *vector, u8 byte);
void opcode(struct vector *vector, int length, const u8 *bytes);
void tail(struct vector *vector, int size_in_bits, u64 value);
/* Adds 66 or 67 where the size differs from the code segment's default. */
void operand_size(struct vector *vector, int size);
void address_size(struct vector *vector, int size);
void memory(struct vector *vector, u32 linear, const void *bytes, u32 length);
void memory_value(struct vector *vector, u32 linear, int size_in_bits, u64 value);
void use_code16(struct vector *vector);

/* ModRM with a register in r/m. */
void modrm_register(struct vector *vector, int reg, int rm);
enum access { ACCESS_READ, ACCESS_WRITE };
/* ModRM, SIB and displacement of a random address form that reaches `linear`; may add 67 and a segment prefix. */
void modrm_memory(struct vector *vector, int reg, u32 linear, enum access access);
/* ModRM of the plain [disp32] form. */
void modrm_absolute(struct vector *vector, int reg, u32 offset);

/* Registers as instructions name them: 8-bit 4-7 are AH CH DH BH. */
void set_register(struct vector *vector, int size, int index, u64 value);
u64 get_register(const struct vector *vector, int size, int index);
/* Bit of the 32-bit register that holds it, for `used`. */
u32 register_bit(int size, int index);

/* An address for a memory operand that lies wholly in mapped, writable memory. */
u32 any_address(u32 bytes, u32 alignment);

void set_xmm(struct vector *vector, int index, const void *bytes);

#endif
