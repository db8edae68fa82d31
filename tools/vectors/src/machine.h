/*
 * The state of the processor that a vector sets and observes, and the memory it may touch.
 * Everything lies in the low 128 KiB so that 16-bit addresses and 16-bit branch targets reach it.
 */
#ifndef VECTORS_MACHINE_H
#define VECTORS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
enum { ES, CS, SS, DS, FS, GS };

enum {
  FLAG_CF = 0x1,
  FLAG_PF = 0x4,
  FLAG_AF = 0x10,
  FLAG_ZF = 0x40,
  FLAG_SF = 0x80,
  FLAG_TF = 0x100,
  FLAG_IF = 0x200,
  FLAG_DF = 0x400,
  FLAG_OF = 0x800,
  FLAG_RF = 0x10000,
  FLAG_AC = 0x40000,
  FLAG_ID = 0x200000,
  FLAGS_ARITHMETIC = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF
};

enum { FAULT_DE = 0, FAULT_DB = 1, FAULT_BP = 3, FAULT_OF = 4, FAULT_GP = 13, FAULT_PF = 14, FAULT_NONE = 0xff };

/* Pages of a vector's world; everything else below 4 GiB is not mapped. */
enum {
  CODE_PAGES = 0x2000, /* two pages, user, read and execute */
  CODE_END = 0x4000,   /* not mapped */
  DATA_PAGES = 0x6000, /* two pages, read and write */
  DATA_END = 0x8000,   /* not mapped */
  READ_ONLY_PAGE = 0xa000,
  STACK_PAGE = 0xc000,
  EDGE_PAGES = 0xf000, /* two pages around 64 KiB, read and write */
  EDGE_END = 0x11000,
  WORLD_END = 0x11000,
  CODE_START = 0x2400,
  STACK_START = 0xc800
};

/* Selectors of the local descriptor table that native.c installs (index * 8 + TI + RPL 3). */
enum {
  SELECTOR_EMPTY = 0x07,
  SELECTOR_FS = 0x0f,
  SELECTOR_GS = 0x17,
  SELECTOR_READ_ONLY = 0x1f,
  SELECTOR_EXPAND_DOWN_32 = 0x27,
  SELECTOR_EXPAND_DOWN_16 = 0x2f,
  SELECTOR_NOT_PRESENT_DATA = 0x37,
  SELECTOR_CODE_32 = 0x3f,
  SELECTOR_EXECUTE_ONLY = 0x47,
  SELECTOR_CODE_16 = 0x4f,
  SELECTOR_STACK_16 = 0x57,
  SELECTOR_NOT_PRESENT_CODE = 0x5f,
  SELECTOR_SMALL_DATA = 0x67,
  SELECTOR_PAGE_LIMIT = 0x6f,
  SELECTOR_CODE_SMALL = 0x77,
  SELECTOR_BEYOND_LDT = 0x7f,
  SELECTOR_USER_CODE = 0x23,
  SELECTOR_USER_DATA = 0x2b
};

enum { FS_BASE = 0x6000, FS_LIMIT = 0x1fff, CODE_SMALL_LIMIT = 0x17ff };
#define GS_BASE 0xffff0000u

/* x87 registers are kept by physical number R0-R7, so that a push or pop changes one register only. */
struct x87 {
  u16 control, status;
  u8 tags; /* abridged, as FXSAVE has it: bit n set = Rn not empty */
  u16 opcode;
  u32 instruction_pointer;
  u32 data_pointer;
  u8 registers[8][10];
};

struct state {
  u32 gpr[8];
  u32 eip, eflags;
  u16 segment[6];
  struct x87 x87;
  u32 mxcsr;
  u8 xmm[8][16];
};

struct fault {
  u8 vector;
  u32 error;
  u32 cr2;
};

/* Installs memory, descriptors and signal handlers; ends the program with a message if the system refuses. */
void native_open(void);

/* The bytes of the world at a linear address: a writable view of the same memory the vector sees. */
u8 *world(u32 linear);
bool world_is_mapped(u32 linear);
u8 base_byte(u32 linear);

/* Base of a code segment: 0 for all but one. */
u32 code_base(u16 selector);

/*
 * Loads `before`, runs at its CS:EIP until something traps, and fills `after` and `fault`.
 * Arriving at an INT3 filler, or where nothing can be fetched, counts as completion without fault.
 * False if the code did not come to an end within a second.
 */
bool native_run(const struct state *before, struct state *after, struct fault *fault);

/* JSON text of pages and descriptors, for the header of a family file. */
const char *native_environment_json(void);

#endif
