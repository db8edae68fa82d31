/* Runs one vector on this machine's processor: memory, descriptors, entry, and the signal that ends it. */
#define _GNU_SOURCE
#include "machine.h"

#include <asm/ldt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

/* Layout known to native_enter.S. `fx` is the 512-byte FXSAVE image in its 32-bit form. */
struct entry {
  u32 gpr[8];
  u16 segment[6];
  u16 unused[2];
  u64 iret[5];
  u64 padding;
  u8 fx[512] __attribute__((aligned(16)));
};
_Static_assert(offsetof(struct entry, segment) == 32, "native_enter.S");
_Static_assert(offsetof(struct entry, iret) == 48, "native_enter.S");
_Static_assert(offsetof(struct entry, fx) == 96, "native_enter.S");

void native_enter(struct entry *entry);
void native_signal(int signal, siginfo_t *info, void *context);
void native_capture(int signal, siginfo_t *info, ucontext_t *context);
extern u16 captured_segments[6];
extern u64 saved_fs_base;

/* Its address gives ESP bits 31:16 after an IRET to a 16-bit stack, which restores SP only. */
#define ENTRY_ADDRESS 0x50000ul

static struct entry *entry;
static struct state captured;
static struct fault captured_fault;
static volatile bool timed_out;
static volatile bool inside;

static const struct {
  u32 address, size;
  const char *access;
} pages[] = {
    {CODE_PAGES, 0x2000, "rx"},     {DATA_PAGES, 0x2000, "rw"}, {READ_ONLY_PAGE, 0x1000, "r"},
    {STACK_PAGE, 0x1000, "rw"},     {EDGE_PAGES, 0x2000, "rw"},
};
enum { PAGE_RANGES = sizeof pages / sizeof *pages };

static const struct {
  u16 selector;
  u32 base, limit;
  u8 contents, fixed, pages, absent, wide;
} local_descriptors[] = {
    /* contents: 0 data, 1 expand-down data, 2 code; fixed: read-only data or execute-only code */
    {SELECTOR_FS, FS_BASE, FS_LIMIT, 0, 0, 0, 0, 1},
    {SELECTOR_GS, GS_BASE, 0xfffff, 0, 0, 1, 0, 1},
    {SELECTOR_READ_ONLY, 0, 0xfffff, 0, 1, 1, 0, 1},
    {SELECTOR_EXPAND_DOWN_32, 0, 0x6fff, 1, 0, 0, 0, 1},
    {SELECTOR_EXPAND_DOWN_16, 0, 0x6fff, 1, 0, 0, 0, 0},
    {SELECTOR_NOT_PRESENT_DATA, 0, 0xfffff, 0, 0, 1, 1, 1},
    {SELECTOR_CODE_32, 0, 0xfffff, 2, 0, 1, 0, 1},
    {SELECTOR_EXECUTE_ONLY, 0, 0xfffff, 2, 1, 1, 0, 1},
    {SELECTOR_CODE_16, 0, 0xffff, 2, 0, 0, 0, 0},
    {SELECTOR_STACK_16, 0, 0xffff, 0, 0, 0, 0, 0},
    {SELECTOR_NOT_PRESENT_CODE, 0, 0xfffff, 2, 0, 1, 1, 1},
    {SELECTOR_SMALL_DATA, 0, 0x6010, 0, 0, 0, 0, 1},
    {SELECTOR_PAGE_LIMIT, 0, 0x7, 0, 0, 1, 0, 1},
    {SELECTOR_CODE_SMALL, CODE_PAGES, CODE_SMALL_LIMIT, 2, 0, 0, 0, 1},
};
enum { LOCAL_DESCRIPTORS = sizeof local_descriptors / sizeof *local_descriptors };

/* The entries of Linux's GDT that vectors name (arch/x86/include/asm/segment.h), as LAR and LSL see them. */
static const struct {
  u16 selector;
  u64 descriptor;
} global_descriptors[] = {
    {0x08, 0x00cf9b000000ffffull}, {0x18, 0x00cf93000000ffffull}, {0x20, 0x00cffb000000ffffull},
    {0x28, 0x00cff3000000ffffull}, {0x60, 0},
};
enum { GLOBAL_DESCRIPTORS = sizeof global_descriptors / sizeof *global_descriptors };

static void fail(const char *what) {
  perror(what);
  exit(1);
}

bool world_is_mapped(u32 linear) {
  for (int i = 0; i < PAGE_RANGES; i++) {
    if (linear - pages[i].address < pages[i].size) return true;
  }
  return false;
}

u8 base_byte(u32 linear) {
  return (linear & ~0x1fffu) == CODE_PAGES ? 0xcc : (u8)((linear * 0x9e3779b1u) >> 24);
}

static u8 *writable_world;

u8 *world(u32 linear) { return writable_world + linear; }

static void open_memory(void) {
  int file = memfd_create("world", 0);
  if (file < 0 || ftruncate(file, WORLD_END)) fail("memfd_create");
  writable_world = mmap(NULL, WORLD_END, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
  if (writable_world == MAP_FAILED) fail("mmap of the writable view");
  for (int i = 0; i < PAGE_RANGES; i++) {
    int protection = PROT_READ | (pages[i].access[1] == 'w' ? PROT_WRITE : 0) |
                     (pages[i].access[1] == 'x' ? PROT_EXEC : 0);
    void *address = (void *)(uintptr_t)pages[i].address;
    if (mmap(address, pages[i].size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, file,
             pages[i].address) != address)
      fail("mmap below 64 KiB (needs root, or sysctl vm.mmap_min_addr=0)");
  }
  entry = mmap((void *)ENTRY_ADDRESS, 4096, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
  if (entry == MAP_FAILED) fail("mmap of the entry block");
  for (u32 linear = 0; linear < WORLD_END; linear++) *world(linear) = base_byte(linear);
}

static void open_descriptors(void) {
  for (int i = 0; i < LOCAL_DESCRIPTORS; i++) {
    struct user_desc request = {
        .entry_number = local_descriptors[i].selector >> 3,
        .base_addr = local_descriptors[i].base,
        .limit = local_descriptors[i].limit,
        .seg_32bit = local_descriptors[i].wide,
        .contents = local_descriptors[i].contents,
        .read_exec_only = local_descriptors[i].fixed,
        .limit_in_pages = local_descriptors[i].pages,
        .seg_not_present = local_descriptors[i].absent,
        .useable = 1,
    };
    if (syscall(SYS_modify_ldt, 0x11, &request, sizeof request)) fail("modify_ldt");
  }
}

/* The descriptor that Linux builds from such a request (fill_ldt): DPL 3, accessed, AVL set. */
static u64 local_descriptor(int i) {
  u64 base = local_descriptors[i].base, limit = local_descriptors[i].limit;
  u64 type = 1 | (local_descriptors[i].fixed ? 0 : 2) | (u64)local_descriptors[i].contents << 2;
  u64 access = type | 0x10 | 0x60 | (local_descriptors[i].absent ? 0 : 0x80);
  u64 flags = 1 | (local_descriptors[i].wide ? 4 : 0) | (local_descriptors[i].pages ? 8 : 0);
  return (limit & 0xffff) | (base & 0xffffff) << 16 | access << 40 | (limit >> 16) << 48 | flags << 52 |
         (base >> 24) << 56;
}

static void open_signals(void) {
  size_t size = 1 << 18;
  stack_t stack = {.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                   .ss_size = size};
  if (sigaltstack(&stack, NULL)) fail("sigaltstack");
  struct sigaction action = {.sa_sigaction = native_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    if (sigaction(signals[i], &action, NULL)) fail("sigaction");
  }
}

void native_open(void) {
  open_memory();
  open_descriptors();
  open_signals();
}

static void write_u16(u8 *at, u16 value) { memcpy(at, &value, 2); }
static void write_u32(u8 *at, u32 value) { memcpy(at, &value, 4); }
static u16 read_u16(const u8 *at) { return (u16)(at[0] | at[1] << 8); }
static u32 read_u32(const u8 *at) { return read_u16(at) | (u32)read_u16(at + 2) << 16; }

static void fill_fx(u8 *fx, const struct state *state) {
  const struct x87 *x87 = &state->x87;
  int top = x87->status >> 11 & 7;
  memset(fx, 0, 512);
  write_u16(fx, x87->control);
  write_u16(fx + 2, x87->status);
  fx[4] = x87->tags;
  write_u16(fx + 6, x87->opcode);
  write_u32(fx + 8, x87->instruction_pointer);
  write_u32(fx + 16, x87->data_pointer);
  write_u32(fx + 24, state->mxcsr);
  for (int i = 0; i < 8; i++) memcpy(fx + 32 + 16 * i, x87->registers[(i + top) & 7], 10);
  memcpy(fx + 160, state->xmm, sizeof state->xmm);
}

static void read_fx(const u8 *fx, struct state *state) {
  struct x87 *x87 = &state->x87;
  x87->control = read_u16(fx);
  x87->status = read_u16(fx + 2);
  x87->tags = fx[4];
  x87->opcode = read_u16(fx + 6) & 0x7ff;
  x87->instruction_pointer = read_u32(fx + 8);
  x87->data_pointer = read_u32(fx + 16);
  state->mxcsr = read_u32(fx + 24);
  int top = x87->status >> 11 & 7;
  for (int i = 0; i < 8; i++) memcpy(x87->registers[(i + top) & 7], fx + 32 + 16 * i, 10);
  memcpy(state->xmm, fx + 160, sizeof state->xmm);
}

void native_capture(int signal, siginfo_t *info, ucontext_t *context) {
  static const int order[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};
  const greg_t *registers = context->uc_mcontext.gregs;
  (void)info;
  u16 cs = registers[REG_CSGSFS] & 0xffff;
  if (!inside || cs == 0x33) {
    dprintf(2, "signal %d in the generator itself at %llx\n", signal, (unsigned long long)registers[REG_RIP]);
    _exit(1);
  }
  inside = false;
  timed_out = signal == SIGALRM;
  for (int i = 0; i < 8; i++) captured.gpr[i] = (u32)registers[order[i]];
  captured.eip = (u32)registers[REG_RIP];
  captured.eflags = (u32)registers[REG_EFL] & ~(u32)FLAG_RF;
  memcpy(captured.segment, captured_segments, sizeof captured.segment);
  captured.segment[CS] = cs;
  captured.segment[SS] = (u64)registers[REG_CSGSFS] >> 48;
  read_fx((const u8 *)context->uc_mcontext.fpregs, &captured);
  captured_fault.vector = (u8)registers[REG_TRAPNO];
  captured_fault.error = (u32)registers[REG_ERR];
  captured_fault.cr2 = captured_fault.vector == FAULT_PF ? (u32)registers[REG_CR2] : 0;
}

u32 code_base(u16 selector) { return selector == SELECTOR_CODE_SMALL ? CODE_PAGES : 0; }

static void recognise_completion(const struct state *before) {
  u32 linear = code_base(captured.segment[CS]) + captured.eip;
  u32 start = code_base(before->segment[CS]) + before->eip;
  bool code = linear - 1 - CODE_PAGES < CODE_END - CODE_PAGES;
  bool filler = captured_fault.vector == FAULT_BP && code && *world(linear - 1) == 0xcc && linear - 1 != start;
  bool fetch = captured_fault.vector == FAULT_PF && (captured_fault.error & 0x10) && captured_fault.cr2 == linear &&
               linear != start;
  bool over_limit = captured_fault.vector == FAULT_GP && linear != start &&
                    captured.segment[CS] == SELECTOR_CODE_SMALL && captured.eip > CODE_SMALL_LIMIT;
  if (filler) captured.eip--;
  if (filler || fetch || over_limit) captured_fault = (struct fault){.vector = FAULT_NONE};
  /* Outside a pending exception, AMD's XSAVE reports the three x87 pointers as zero (APM vol. 2 11.4.4). */
  if (!(captured.x87.status & 0x80)) {
    captured.x87.opcode = before->x87.opcode;
    captured.x87.instruction_pointer = before->x87.instruction_pointer;
    captured.x87.data_pointer = before->x87.data_pointer;
  }
}

bool native_run(const struct state *before, struct state *after, struct fault *fault) {
  static const struct itimerval second = {.it_value = {.tv_sec = 1}};
  static int uses;
  memcpy(entry->gpr, before->gpr, sizeof entry->gpr);
  memcpy(entry->segment, before->segment, sizeof entry->segment);
  entry->iret[0] = before->eip;
  entry->iret[1] = before->segment[CS];
  entry->iret[2] = before->eflags;
  entry->iret[3] = before->gpr[ESP];
  entry->iret[4] = before->segment[SS];
  fill_fx(entry->fx, before);
  if (uses++ % 256 == 0) setitimer(ITIMER_REAL, &second, NULL); /* re-armed long before it can ring */
  inside = true;
  native_enter(entry);
  if (timed_out) return false;
  recognise_completion(before);
  *after = captured;
  *fault = captured_fault;
  return true;
}

/* The bits that vectors can feel: AM, WP and NE; OSXMMEXCPT, OSFXSR and PAE; NXE. */
enum { CR0 = 0x80050033, CR4 = 0x620, EFER = 0x800 };

const char *native_environment_json(void) {
  static char text[4096];
  int at = sprintf(text, "{\"cpl\":3,\"cr0\":%u,\"cr4\":%u,\"efer\":%u,\"userGates\":[3,4],\"pages\":[", CR0, CR4, EFER);
  for (int i = 0; i < PAGE_RANGES; i++) {
    at += sprintf(text + at, "%s{\"address\":%u,\"size\":%u,\"access\":\"%s\"}", i ? "," : "", pages[i].address,
                  pages[i].size, pages[i].access);
  }
  at += sprintf(text + at, "],\"gdt\":[");
  for (int i = 0; i < GLOBAL_DESCRIPTORS; i++) {
    u64 raw = global_descriptors[i].descriptor;
    at += sprintf(text + at, "%s{\"selector\":%u,\"low\":%u,\"high\":%u}", i ? "," : "",
                  global_descriptors[i].selector, (u32)raw, (u32)(raw >> 32));
  }
  at += sprintf(text + at, "],\"gdtLimit\":%u,\"ldt\":[", 0x7f);
  for (int i = 0; i < LOCAL_DESCRIPTORS; i++) {
    u64 raw = local_descriptor(i);
    at += sprintf(text + at, "%s{\"selector\":%u,\"low\":%u,\"high\":%u}", i ? "," : "",
                  local_descriptors[i].selector & ~3u, (u32)raw, (u32)(raw >> 32));
  }
  sprintf(text + at, "],\"ldtLimit\":%u}", 0x77);
  return text;
}
