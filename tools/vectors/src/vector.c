/* Baseline state, encoding helpers and the running of a vector. */
#include "vector.h"

#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vector current;

struct vector *vector_begin(void) {
  struct vector *v = &current;
  memset(v, 0, offsetof(struct vector, patches));
  v->patch_count = v->loose_count = 0;
  v->undefined_flags = v->undefined_status = 0;
  v->undefined_result = v->progresses = v->order_open = false;
  v->undefined_at_fault = 0;
  v->used = 0;
  v->steps = 1;
  v->before = record_baseline;
  u64 bits = random_u64();
  v->before.eflags |= (u32)bits & FLAGS_ARITHMETIC;
  return v;
}

void prefix(struct vector *v, u8 byte) {
  if (v->prefix_count == 16) abort();
  v->prefixes[v->prefix_count++] = byte;
}

void opcode(struct vector *v, int length, const u8 *bytes) {
  memcpy(v->opcode, bytes, (size_t)length);
  v->opcode_length = length;
}

void tail(struct vector *v, int size, u64 value) {
  for (int i = 0; i < size / 8; i++) v->tail[v->tail_length++] = (u8)(value >> 8 * i);
}

void operand_size(struct vector *v, int size) {
  if ((size == 16 && !v->code16) || (size == 32 && v->code16)) prefix(v, 0x66);
}

void address_size(struct vector *v, int size) {
  if ((size == 16) != v->code16) prefix(v, 0x67);
}

void memory(struct vector *v, u32 linear, const void *bytes, u32 length) {
  bool mapped = world_is_mapped(linear) && world_is_mapped(linear + length - 1);
  if (v->patch_count == MAX_PATCHES || length > MAX_PATCH || !mapped) {
    fprintf(stderr, "%s/%s: cannot prepare %u bytes at %x\n", record_family, record_form, length, linear);
    exit(1);
  }
  struct patch *patch = &v->patches[v->patch_count++];
  patch->address = linear;
  patch->length = length;
  memcpy(patch->bytes, bytes, length);
}

void memory_value(struct vector *v, u32 linear, int size, u64 value) {
  memory(v, linear, &value, (u32)size / 8); /* both sides are little-endian */
}

void use_code16(struct vector *v) {
  v->code16 = true;
  v->before.segment[CS] = SELECTOR_CODE_16;
}

void set_register(struct vector *v, int size, int index, u64 value) {
  u32 *gpr = v->before.gpr;
  if (size == 32) gpr[index] = (u32)value;
  else if (size == 16) gpr[index] = (gpr[index] & 0xffff0000) | (u16)value;
  else if (index < 4) gpr[index] = (gpr[index] & 0xffffff00) | (u8)value;
  else gpr[index - 4] = (gpr[index - 4] & 0xffff00ff) | (u32)(u8)value << 8;
}

u64 get_register(const struct vector *v, int size, int index) {
  const u32 *gpr = v->before.gpr;
  if (size == 32) return gpr[index];
  if (size == 16) return (u16)gpr[index];
  return index < 4 ? (u8)gpr[index] : (u8)(gpr[index - 4] >> 8);
}

u32 register_bit(int size, int index) { return 1u << (size == 8 ? index & 3 : index); }

u32 any_address(u32 bytes, u32 alignment) {
  static const struct {
    u32 start, end;
  } ranges[] = {{DATA_PAGES, DATA_END}, {DATA_PAGES, DATA_END}, {EDGE_PAGES, EDGE_END}, {STACK_PAGE, STACK_PAGE + 0x1000}};
  u32 i = below(8);
  i = i < 4 ? i : 0;
  u32 room = ranges[i].end - ranges[i].start - bytes;
  u32 offset = chance(8) ? (chance(50) ? 0 : room) : chance(8) && room > 0x1000 ? 0x1000 - bytes / 2 : below(room + 1);
  return (ranges[i].start + offset) & ~(alignment - 1);
}

void set_xmm(struct vector *v, int index, const void *bytes) { memcpy(v->before.xmm[index], bytes, 16); }

static void join_code(struct vector *v) {
  u8 *at = v->code;
  memcpy(at, v->prefixes, (size_t)v->prefix_count);
  memcpy(at += v->prefix_count, v->opcode, (size_t)v->opcode_length);
  memcpy(at += v->opcode_length, v->tail, (size_t)v->tail_length);
  v->length = (int)(at - v->code) + v->tail_length;
}

static void place(const struct vector *v) {
  memcpy(world(code_base(v->before.segment[CS]) + v->before.eip), v->code, (size_t)v->length);
  for (int i = 0; i < v->patch_count; i++) memcpy(world(v->patches[i].address), v->patches[i].bytes, v->patches[i].length);
}

static void complain(const struct vector *v, const char *what) {
  fprintf(stderr, "%s/%s: %s:", record_family, record_form, what);
  for (int i = 0; i < v->length; i++) fprintf(stderr, " %02x", v->code[i]);
  fprintf(stderr, " (eip %x, eflags %x)\n", v->after.eip, v->after.eflags);
}

/* Interrupts between entry and exit can disturb what software cannot set (x87 pointers): two runs must agree. */
static bool run_agreeing(struct vector *v) {
  struct state again;
  struct fault fault_again;
  static u8 image[WORLD_END];
  for (int attempt = 0; attempt < 5; attempt++) {
    record_restore_world();
    place(v);
    if (!native_run(&v->before, &v->after, &v->fault)) {
      complain(v, "does not end");
      exit(1);
    }
    memcpy(image, world(0), WORLD_END);
    record_restore_world();
    place(v);
    if (!native_run(&v->before, &again, &fault_again)) exit(1);
    if (!memcmp(&again, &v->after, sizeof again) && !memcmp(&fault_again, &v->fault, sizeof fault_again) &&
        !memcmp(image, world(0), WORLD_END))
      return true;
  }
  complain(v, "differs between runs");
  return false;
}

void vector_end(struct vector *v) {
  if (v->length == 0) join_code(v);
  if (run_agreeing(v)) record_vector(v);
  record_restore_world();
}
