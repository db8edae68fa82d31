/* Writes records into a growing buffer and the whole family to its file. */
#include "record.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct state record_baseline = {
    .gpr = {0xa0a1a2a3, 0xc0c1c2c3, 0xd0d1d2d3, 0xb0b1b2b3, STACK_START, 0xe0e1e2e3, 0x50515253, 0x70717273},
    .eip = CODE_START,
    .eflags = FLAG_IF | 2,
    .segment = {SELECTOR_USER_DATA, SELECTOR_USER_CODE, SELECTOR_USER_DATA, SELECTOR_USER_DATA, SELECTOR_FS,
                SELECTOR_GS},
    .x87 = {.control = 0x37f,
            .registers = {{1, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f},
                          {2, 0, 0, 0, 0, 0, 0, 0x90, 0x00, 0xc0},
                          {3, 0, 0, 0, 0, 0, 0, 0xa0, 0x01, 0x40},
                          {4, 0, 0, 0, 0, 0, 0, 0xb0, 0x02, 0xc0},
                          {5, 0, 0, 0, 0, 0, 0, 0xc0, 0x03, 0x40},
                          {6, 0, 0, 0, 0, 0, 0, 0xd0, 0x04, 0xc0},
                          {7, 0, 0, 0, 0, 0, 0, 0xe0, 0x05, 0x40},
                          {8, 0, 0, 0, 0, 0, 0, 0xf0, 0x06, 0xc0}}},
    .mxcsr = 0x1f80,
    .xmm = {{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f},
            {0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f},
            {0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f},
            {0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f},
            {0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f},
            {0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f},
            {0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x7b, 0x7c, 0x7d, 0x7e, 0x7f},
            {0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f}},
};

const char *record_family, *record_form;

/* Every piece of state, in the order of its number in the file; widths in bytes. */
static const struct {
  const char *name;
  u16 offset, width;
} slots[] = {
#define SLOT(NAME, FIELD) {NAME, offsetof(struct state, FIELD), sizeof(((struct state *)0)->FIELD)}
    SLOT("eax", gpr[0]),         SLOT("ecx", gpr[1]),
    SLOT("edx", gpr[2]),         SLOT("ebx", gpr[3]),
    SLOT("esp", gpr[4]),         SLOT("ebp", gpr[5]),
    SLOT("esi", gpr[6]),         SLOT("edi", gpr[7]),
    SLOT("eip", eip),            SLOT("eflags", eflags),
    SLOT("es", segment[0]),      SLOT("cs", segment[1]),
    SLOT("ss", segment[2]),      SLOT("ds", segment[3]),
    SLOT("fs", segment[4]),      SLOT("gs", segment[5]),
    SLOT("fcw", x87.control),    SLOT("fsw", x87.status),
    SLOT("ftw", x87.tags),       SLOT("fop", x87.opcode),
    SLOT("fip", x87.instruction_pointer), SLOT("fdp", x87.data_pointer),
    SLOT("mxcsr", mxcsr),
    SLOT("r0", x87.registers[0]), SLOT("r1", x87.registers[1]),
    SLOT("r2", x87.registers[2]), SLOT("r3", x87.registers[3]),
    SLOT("r4", x87.registers[4]), SLOT("r5", x87.registers[5]),
    SLOT("r6", x87.registers[6]), SLOT("r7", x87.registers[7]),
    SLOT("xmm0", xmm[0]),        SLOT("xmm1", xmm[1]),
    SLOT("xmm2", xmm[2]),        SLOT("xmm3", xmm[3]),
    SLOT("xmm4", xmm[4]),        SLOT("xmm5", xmm[5]),
    SLOT("xmm6", xmm[6]),        SLOT("xmm7", xmm[7]),
};
enum { SLOTS = sizeof slots / sizeof *slots };

static struct {
  u8 *bytes;
  size_t length, room;
} records, forms;
static u32 form_count, family_count;

static void put(void *where, const void *bytes, size_t length) {
  typeof(records) *buffer = where;
  while (buffer->length + length > buffer->room) {
    buffer->room = buffer->room ? buffer->room * 2 : 1 << 20;
    buffer->bytes = realloc(buffer->bytes, buffer->room);
    if (!buffer->bytes) abort();
  }
  memcpy(buffer->bytes + buffer->length, bytes, length);
  buffer->length += length;
}

static void put_number(u32 value, int bytes) { put(&records, &value, (size_t)bytes); }
static void put_text(const char *text) { put(&forms, text, strlen(text)); }

static const u8 *base_image(void) {
  static u8 image[WORLD_END];
  static bool filled;
  for (u32 i = 0; !filled && i < WORLD_END; i++) image[i] = base_byte(i);
  filled = true;
  return image;
}

void record_restore_world(void) { memcpy(world(0), base_image(), WORLD_END); }

static void put_slots(const struct state *from, const struct state *to, bool with_eip) {
  size_t at = records.length;
  u8 count = 0;
  put_number(0, 1);
  for (u8 i = 0; i < SLOTS; i++) {
    const u8 *a = (const u8 *)from + slots[i].offset, *b = (const u8 *)to + slots[i].offset;
    if (slots[i].offset == offsetof(struct state, eip) ? !with_eip : !memcmp(a, b, slots[i].width)) continue;
    put_number(i, 1);
    put(&records, b, slots[i].width);
    count++;
  }
  records.bytes[at] = count;
}

struct ranges {
  u32 count;
  struct {
    u32 address, length;
  } list[256];
};

static void put_patch(u32 address, u32 length, const u8 *bytes) {
  put_number(address, 4);
  put_number(length, 2);
  if (bytes) put(&records, bytes, length);
}

static void put_before_memory(const struct vector *v) {
  put_number((u32)v->patch_count, 1);
  for (int i = 0; i < v->patch_count; i++) put_patch(v->patches[i].address, v->patches[i].length, v->patches[i].bytes);
}

/* What the run changed: differing bytes, joined over gaps of up to four. `ranges` gets count, addresses and lengths. */
static void put_after_memory(const struct vector *v, struct ranges *ranges) {
  static u8 expected[WORLD_END];
  const u8 *seen = world(0);
  memcpy(expected, base_image(), WORLD_END);
  memcpy(expected + code_base(v->before.segment[CS]) + v->before.eip, v->code, (size_t)v->length);
  for (int i = 0; i < v->patch_count; i++)
    memcpy(expected + v->patches[i].address, v->patches[i].bytes, v->patches[i].length);
  size_t at = records.length;
  u8 count = 0;
  put_number(0, 1);
  for (u32 i = 0; i < WORLD_END; i++) {
    if (expected[i] == seen[i]) continue;
    u32 end = i + 1;
    for (u32 next = end; next < WORLD_END && next < end + 4; next++) {
      if (expected[next] != seen[next]) end = next + 1;
    }
    put_patch(i, end - i, seen + i);
    ranges->list[count].address = i, ranges->list[count].length = end - i;
    count++;
    i = end;
  }
  records.bytes[at] = count;
  ranges->count = count;
}

/* Without exception, or with one that is a trap: #DB, #BP, #OF (SDM vol. 3A 6.5). */
static bool instruction_completed(const struct vector *v) {
  u8 vector = v->fault.vector;
  return vector == FAULT_NONE || vector == FAULT_DB || vector == FAULT_BP || vector == FAULT_OF;
}

/*
 * An instruction that faults halfway may have written already or not: that is the processor's own affair, unless it
 * was a repeated string instruction.
 */
static void put_loose_memory(const struct vector *v, const struct ranges *written) {
  bool completed = instruction_completed(v);
  size_t at = records.length;
  put_number(0, 1);
  u8 count = 0;
  for (int i = 0; completed && i < v->loose_count; i++, count++)
    put_patch(v->loose[i].address, v->loose[i].length, NULL);
  for (u32 i = 0; !completed && !v->progresses && i < written->count; i++, count++)
    put_patch(written->list[i].address, written->list[i].length, NULL);
  records.bytes[at] = count;
}

enum {
  HAS_FAULT = 1,
  HAS_BEFORE_MEMORY = 2,
  HAS_AFTER_MEMORY = 4,
  HAS_UNDEFINED_FLAGS = 8,
  HAS_LOOSE_MEMORY = 16,
  HAS_UNDEFINED_RESULT = 32,
  HAS_UNDEFINED_STATUS = 64,
  HAS_STEPS = 128
};

void record_vector(const struct vector *v) {
  u32 fallthrough = v->before.eip + (v->fault.vector == FAULT_NONE ? (u32)v->length : 0);
  size_t flags_at = records.length;
  u8 flags = 0;
  struct ranges written;
  put_number(0, 1);
  put_number((u32)v->length, 1);
  put(&records, v->code, (size_t)v->length);
  if (v->steps != 1) flags |= HAS_STEPS, put_number((u32)v->steps, 1);
  put_slots(&record_baseline, &v->before, v->before.eip != record_baseline.eip);
  put_slots(&v->before, &v->after, v->after.eip != fallthrough);
  if (v->patch_count) flags |= HAS_BEFORE_MEMORY, put_before_memory(v);
  size_t after_at = records.length;
  put_after_memory(v, &written);
  if (records.bytes[after_at]) flags |= HAS_AFTER_MEMORY;
  else records.length = after_at;
  if (v->fault.vector != FAULT_NONE) {
    flags |= HAS_FAULT;
    put_number(v->fault.vector, 1);
    put_number(v->fault.error, 4);
    if (v->fault.vector == FAULT_PF) put_number(v->fault.cr2, 4);
  }
  bool completed = instruction_completed(v);
  u32 undefined_flags = completed ? v->undefined_flags : v->undefined_at_fault;
  if (undefined_flags) flags |= HAS_UNDEFINED_FLAGS, put_number(undefined_flags, 4);
  if (v->undefined_status && completed) flags |= HAS_UNDEFINED_STATUS, put_number(v->undefined_status, 2);
  bool open_fault = v->order_open && v->fault.vector == FAULT_PF;
  if (completed ? v->undefined_result : open_fault) flags |= HAS_UNDEFINED_RESULT;
  size_t loose_at = records.length;
  put_loose_memory(v, &written);
  if (records.bytes[loose_at]) flags |= HAS_LOOSE_MEMORY;
  else records.length = loose_at;
  records.bytes[flags_at] = flags;
  form_count++;
  family_count++;
}

static void end_form(void) {
  char text[40];
  if (!record_form) return;
  sprintf(text, ",\"count\":%u}", form_count);
  put_text(text);
  if (!form_count) fprintf(stderr, "%s/%s: no vectors\n", record_family, record_form);
  record_form = NULL;
}

void family_begin(const char *name) {
  record_family = name;
  records.length = forms.length = 0;
  family_count = 0;
}

void form_begin(const char *name, struct form_options options) {
  end_form();
  random_restart(record_family, name);
  put_text(forms.length ? ",\n{\"name\":\"" : "{\"name\":\"");
  put_text(name);
  put_text("\"");
  if (options.feature) put_text(",\"feature\":\""), put_text(options.feature), put_text("\"");
  if (options.approximate) put_text(",\"approximate\":true");
  form_count = 0;
  static char kept[128];
  snprintf(kept, sizeof kept, "%s", name);
  record_form = kept;
}

static void processor_json(char *text) {
  u32 a, b, c, d;
  char vendor[13] = {0};
  __cpuid(0, a, b, c, d);
  memcpy(vendor, &b, 4), memcpy(vendor + 4, &d, 4), memcpy(vendor + 8, &c, 4);
  __cpuid(1, a, b, c, d);
  u32 family = (a >> 8 & 15) + ((a >> 8 & 15) == 15 ? a >> 20 & 255 : 0), model = (a >> 4 & 15) | (a >> 12 & 0xf0);
  sprintf(text, "{\"vendor\":\"%s\",\"family\":%u,\"model\":%u,\"stepping\":%u}", vendor, family, model, a & 15);
}

static void write_slots_json(FILE *out) {
  fprintf(out, "\"slots\":[");
  for (int i = 0; i < SLOTS; i++) {
    fprintf(out, "%s{\"name\":\"%s\",\"width\":%u,\"baseline\":\"", i ? "," : "", slots[i].name, slots[i].width);
    for (int j = 0; j < slots[i].width; j++) fprintf(out, "%02x", ((const u8 *)&record_baseline)[slots[i].offset + j]);
    fprintf(out, "\"}");
  }
  fprintf(out, "]");
}

static void write_header(FILE *out) {
  char processor[128];
  processor_json(processor);
  fprintf(out, "{\"family\":\"%s\",\"seed\":%llu,\"count\":%u,\n\"processor\":%s,\n\"environment\":%s,\n", record_family,
          (unsigned long long)random_seed, family_count, processor, native_environment_json());
  write_slots_json(out);
  fprintf(out, ",\n\"forms\":[");
  fwrite(forms.bytes, 1, forms.length, out);
  fprintf(out, "]}\n");
}

void family_end(const char *directory) {
  char path[512];
  char *header = NULL;
  size_t length = 0;
  end_form();
  FILE *text = open_memstream(&header, &length);
  write_header(text);
  fclose(text);
  snprintf(path, sizeof path, "%s/%s.bin", directory, record_family);
  FILE *out = fopen(path, "wb");
  u32 header_length = (u32)length;
  if (!out) perror(path), exit(1);
  fwrite("UMBV\1\0\0\0", 1, 8, out);
  fwrite(&header_length, 4, 1, out);
  fwrite(header, 1, length, out);
  fwrite(records.bytes, 1, records.length, out);
  if (fclose(out)) perror(path), exit(1);
  printf("%-24s %7u vectors %9zu bytes\n", record_family, family_count, length + records.length);
  free(header);
}
