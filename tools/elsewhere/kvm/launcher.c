/*
 * The smallest user space that runs a multiboot image on Linux's KVM: process 1 of an initramfs. It loads KVM's modules,
 * makes a PC with RAM, COM1 and the debug exit port 0xf4, prints what the image prints, and resets the machine. Where a
 * scenario kills the guest, or the guest says nothing for some seconds, a new one goes on behind that scenario.
 *
 * No C library: it is 32-bit code for 32- and 64-bit kernels, made by
 *   gcc -m32 -static -nostdlib -ffreestanding -fno-pie -no-pie -fno-stack-protector -O2 launcher.c
 * Arguments are the image's command line; `without=FEATURE` (nx, pge, smep or smap) takes one from the guest's CPUID,
 * `patience=SECONDS` says how long a guest may be silent, and `npt=1` gives KVM nested paging.
 */
#include <linux/kvm.h>

enum {
	SYS_exit = 1, SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_waitpid = 7, SYS_mount = 21,
	SYS_alarm = 27, SYS_mkdir = 39, SYS_ioctl = 54, SYS_reboot = 88, SYS_mmap2 = 192, SYS_finit_module = 350,
};
enum { O_RDWR = 2, PROT_RW = 3, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20, SIGALRM = 14, ENTRIES = 160 };
/* Seconds of this machine's clock that a guest may be silent unless `patience=SECONDS` says otherwise. */
static unsigned long patience = 2;
enum { MEMORY = 128 << 20, BOOT_INFO = 0x9000, COMMAND_LINE = 0x9100, COMMAND_LINE_SIZE = 512 };
enum { COM1 = 0x3f8, COM1_LINE_STATUS = 0x3fd, TRANSMITTER_EMPTY = 0x60, DEBUG_EXIT = 0xf4 };

long system_call(long number, long a, long b, long c, long d, long e, long f);
__asm__(".globl system_call\nsystem_call:\n"
	"push %ebp; push %edi; push %esi; push %ebx\n"
	"mov 20(%esp),%eax; mov 24(%esp),%ebx; mov 28(%esp),%ecx; mov 32(%esp),%edx\n"
	"mov 36(%esp),%esi; mov 40(%esp),%edi; mov 44(%esp),%ebp\n"
	"int $0x80\n"
	"pop %ebx; pop %esi; pop %edi; pop %ebp; ret\n"
	".globl _start\n_start: mov %esp,%eax; push %eax; call launch\n");

/* What the compiler makes of assignments and loops. */
void *memcpy(void *to, const void *from, unsigned long size)
{
	for (unsigned long i = 0; i < size; i++)
		((volatile unsigned char *)to)[i] = ((const unsigned char *)from)[i];
	return to;
}

void *memset(void *to, int value, unsigned long size)
{
	for (unsigned long i = 0; i < size; i++)
		((volatile unsigned char *)to)[i] = value;
	return to;
}

static unsigned long length(const char *text)
{
	unsigned long size = 0;
	while (text[size])
		size++;
	return size;
}

/* The memory of the guest; 0 in the process that waits for it. */
static unsigned char *guest;

/* What the process that runs a guest tells the one that waits for it. */
static struct progress {
	/* Number of the last scenario with a result, and of scenarios. */
	unsigned long last, planned;
	/* The guest has come to its end. */
	int ended;
} *progress;

static char line[4096];
static unsigned long line_size;

/* What follows a prefix in a text; 0 if the text does not begin so. */
static const char *after(const char *prefix, const char *text)
{
	while (*prefix)
		if (*text++ != *prefix++)
			return 0;
	return text;
}

static unsigned long decimal(const char *text)
{
	unsigned long value = 0;
	while (*text >= '0' && *text <= '9')
		value = value * 10 + (*text++ - '0');
	return value;
}

/* Reads a line of TAP: how far is the guest? */
static void note_progress(void)
{
	const char *result = after("ok ", line);
	if (!result)
		result = after("not ok ", line);
	if (result)
		progress->last = decimal(result);
	const char *plan = after("1..", line);
	if (plan)
		progress->planned = decimal(plan);
}

static void flush(void)
{
	note_progress();
	/* Whoever speaks is alive. */
	if (guest)
		system_call(SYS_alarm, patience, 0, 0, 0, 0, 0);
	for (unsigned long done = 0; done < line_size;) {
		long count = system_call(SYS_write, 1, (long)line + done, line_size - done, 0, 0, 0);
		if (count <= 0)
			break;
		done += count;
	}
	line_size = 0;
}

static void print_byte(char byte)
{
	line[line_size++] = byte;
	if (byte == '\n' || line_size == sizeof line)
		flush();
}

static void print(const char *text)
{
	while (*text)
		print_byte(*text++);
}

static void print_number(unsigned long value)
{
	if (value >= 16)
		print_number(value >> 4);
	print_byte("0123456789abcdef"[value & 15]);
}

/* What became of the guest, on a line of its own. */
static void say(const char *what, unsigned long value)
{
	if (line_size)
		print_byte('\n');
	print("launcher: ");
	print(what);
	print(" 0x");
	print_number(value);
	print("\n");
}

/* Ends the process of a guest. */
static __attribute__((noreturn)) void end(const char *how, unsigned long value)
{
	say(how, value);
	system_call(SYS_exit, 0, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

/* A system call that must not fail. */
static long must(const char *what, long result)
{
	if (result < 0 && result > -4096)
		end(what, -result);
	return result;
}

static long open_file(const char *path)
{
	return system_call(SYS_open, (long)path, O_RDWR, 0, 0, 0, 0);
}

static long ioctl(long file, unsigned long request, void *argument)
{
	return system_call(SYS_ioctl, file, request, (long)argument, 0, 0, 0);
}

static void *map(long file, unsigned long size)
{
	long flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	return (void *)must("mmap", system_call(SYS_mmap2, 0, size, PROT_RW, flags, file, 0));
}

static void load_module(const char *path, const char *parameters)
{
	long file = system_call(SYS_open, (long)path, 0, 0, 0, 0, 0);
	if (file >= 0)
		system_call(SYS_finit_module, file, (long)parameters, 0, 0, 0, 0);
}

/* Puts the program segments of a 32-bit ELF image where they belong; answers the entry. */
static unsigned long load_image(const char *path)
{
	static unsigned char file[32 << 20];
	long descriptor = must("open image", system_call(SYS_open, (long)path, 0, 0, 0, 0, 0));
	unsigned long size = 0;
	for (;;) {
		long count = must("read image", system_call(SYS_read, descriptor, (long)file + size, sizeof file - size, 0, 0, 0));
		if (count == 0)
			break;
		size += count;
	}
	unsigned long headers = *(unsigned int *)(file + 28);
	for (unsigned int i = 0; i < *(unsigned short *)(file + 44); i++) {
		const unsigned int *header = (unsigned int *)(file + headers + i * 32);
		if (header[0] != 1)
			continue;
		if (header[3] > MEMORY || header[5] > MEMORY - header[3])
			end("the image does not fit", header[3]);
		memcpy(guest + header[3], file + header[1], header[4]);
	}
	return *(unsigned int *)(file + 24);
}

/* One bit of CPUID that the guest can do without. */
static const struct {
	const char *option;
	unsigned int leaf, word, bit;
} features[] = {
	{ "without=nx", 0x80000001, 3, 20 },
	{ "without=pge", 1, 3, 13 },
	{ "without=smep", 7, 1, 7 },
	{ "without=smap", 7, 1, 20 },
};

static int is(const char *one, const char *other)
{
	while (*one && *one == *other)
		one++, other++;
	return *one == *other;
}

static struct {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[ENTRIES];
} cpuid;

static void without(const char *option)
{
	for (unsigned int f = 0; f < sizeof features / sizeof *features; f++) {
		if (!is(features[f].option, option))
			continue;
		for (unsigned int i = 0; i < cpuid.head.nent; i++) {
			struct kvm_cpuid_entry2 *entry = &cpuid.entries[i];
			unsigned int *words = &entry->eax;
			if (entry->function == features[f].leaf && entry->index == 0)
				words[features[f].word] &= ~(1u << features[f].bit);
		}
	}
}

static void set_segment(struct kvm_segment *segment, unsigned int selector, unsigned int type)
{
	*segment = (struct kvm_segment){
		.base = 0, .limit = 0xffffffff, .selector = selector, .type = type,
		.present = 1, .dpl = 0, .db = 1, .s = 1, .g = 1,
	};
}

/* Multiboot 0.6.96, 3.2: flat protected mode, EAX and EBX as the specification says. */
static void set_registers(long vcpu, unsigned long entry)
{
	struct kvm_sregs system;
	must("KVM_GET_SREGS", ioctl(vcpu, KVM_GET_SREGS, &system));
	set_segment(&system.cs, 0x08, 0xb);
	set_segment(&system.ds, 0x10, 0x3);
	system.es = system.fs = system.gs = system.ss = system.ds;
	system.cr0 = 0x11;
	must("KVM_SET_SREGS", ioctl(vcpu, KVM_SET_SREGS, &system));
	struct kvm_regs general = { .rip = entry, .rax = 0x2badb002, .rbx = BOOT_INFO, .rflags = 2 };
	must("KVM_SET_REGS", ioctl(vcpu, KVM_SET_REGS, &general));
}

static void port_access(struct kvm_run *run)
{
	unsigned char *data = (unsigned char *)run + run->io.data_offset;
	unsigned long bytes = run->io.size * run->io.count;
	if (run->io.direction == KVM_EXIT_IO_IN) {
		memset(data, run->io.port == COM1_LINE_STATUS ? TRANSMITTER_EMPTY : 0xff, bytes);
		return;
	}
	if (run->io.port == DEBUG_EXIT) {
		progress->ended = 1;
		end("debug exit", data[0]);
	}
	/* Bytes for the divisor are not output: the image sets it once, before it prints. */
	static unsigned char control;
	if (run->io.port == COM1 + 3)
		control = data[0];
	if (run->io.port == COM1 && !(control & 0x80))
		for (unsigned long i = 0; i < bytes; i++)
			print_byte(data[i]);
}

static void run_guest(long vcpu, struct kvm_run *run)
{
	for (;;) {
		long result = ioctl(vcpu, KVM_RUN, 0);
		if (result == -4) /* EINTR */
			continue;
		must("KVM_RUN", result);
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			port_access(run);
			break;
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, sizeof run->mmio.data);
			break;
		case KVM_EXIT_INTR:
			break;
		case KVM_EXIT_HLT:
			end("the guest halted", 0);
		case KVM_EXIT_SHUTDOWN:
			end("the guest had a triple fault", 0);
		case KVM_EXIT_INTERNAL_ERROR:
			end("KVM cannot go on: internal error", run->internal.suberror);
		default:
			end("KVM cannot go on: exit reason", run->exit_reason);
		}
	}
}

/* Arguments of the launcher, and where a guest begins, as a multiboot command line. */
static void write_command_line(long count, char **arguments, unsigned long first)
{
	char *to = (char *)guest + COMMAND_LINE;
	unsigned long used = 0;
	for (long i = 1; i < count; i++) {
		unsigned long size = length(arguments[i]);
		if (used + size + 32 > COMMAND_LINE_SIZE)
			end("the command line is too long", used + size);
		memcpy(to + used, arguments[i], size);
		used += size;
		to[used++] = ' ';
	}
	/* The image takes the last one of options of a name. */
	if (first) {
		memcpy(to + used, "first=", 6);
		used += 6;
		unsigned long digit = 1;
		while (digit <= first / 10)
			digit *= 10;
		for (; digit; digit /= 10)
			to[used++] = '0' + first / digit % 10;
	}
}

/* A process: makes a virtual machine and runs the image from its scenario number `first`, 0 for what arguments say. */
static __attribute__((noreturn)) void run_machine(long kvm, long count, char **arguments, unsigned long first)
{
	system_call(SYS_alarm, patience, 0, 0, 0, 0, 0);
	long vm = must("KVM_CREATE_VM", ioctl(kvm, KVM_CREATE_VM, 0));
	guest = map(-1, MEMORY);
	struct kvm_userspace_memory_region region = {
		.memory_size = MEMORY, .userspace_addr = (unsigned long)guest,
	};
	must("KVM_SET_USER_MEMORY_REGION", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
	long vcpu = must("KVM_CREATE_VCPU", ioctl(vm, KVM_CREATE_VCPU, 0));
	long size = must("KVM_GET_VCPU_MMAP_SIZE", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	struct kvm_run *run = map(vcpu, size);

	cpuid.head.nent = ENTRIES;
	must("KVM_GET_SUPPORTED_CPUID", ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid));
	for (long i = 1; i < count; i++)
		without(arguments[i]);
	must("KVM_SET_CPUID2", ioctl(vcpu, KVM_SET_CPUID2, &cpuid));
	write_command_line(count, arguments, first);
	unsigned int *information = (unsigned int *)(guest + BOOT_INFO);
	information[0] = 1 << 0 | 1 << 2;
	information[1] = 640;
	information[2] = (MEMORY >> 10) - 1024;
	information[4] = COMMAND_LINE;
	set_registers(vcpu, load_image("/image"));
	run_guest(vcpu, run);
	__builtin_unreachable();
}

/* Runs guests one after another until one comes to its end. */
static void run_machines(long kvm, long count, char **arguments)
{
	for (unsigned long first = 0;;) {
		int status = 0;
		long child = must("fork", system_call(SYS_fork, 0, 0, 0, 0, 0, 0));
		if (child == 0)
			run_machine(kvm, count, arguments, first);
		must("waitpid", system_call(SYS_waitpid, child, (long)&status, 0, 0, 0, 0));
		if ((status & 0x7f) == SIGALRM)
			say("the guest was silent, seconds:", patience);
		/* The one that ran has no result; and whoever has none at all would not get one the next time either. */
		unsigned long next = progress->last + 2;
		if (progress->ended || next <= first || next > progress->planned)
			return;
		first = next;
	}
}

void launch(long *stack)
{
	progress = (void *)system_call(SYS_mmap2, 0, sizeof *progress, PROT_RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	system_call(SYS_mkdir, (long)"/dev", 0755, 0, 0, 0, 0);
	system_call(SYS_mount, (long)"dev", (long)"/dev", (long)"devtmpfs", 0, 0, 0);
	load_module("/irqbypass.ko", "");
	load_module("/ccp.ko", "");
	load_module("/kvm.ko", "");
	const char *paging = "nested=1 npt=0";
	for (long i = 1; i < stack[0]; i++) {
		const char *seconds = after("patience=", ((char **)(stack + 1))[i]);
		if (seconds)
			patience = decimal(seconds);
		if (is("npt=1", ((char **)(stack + 1))[i]))
			paging = "nested=1 npt=1";
	}
	load_module("/kvm-amd.ko", paging);
	long kvm = open_file("/dev/kvm");
	if (kvm < 0)
		say("there is no /dev/kvm", -kvm);
	else
		run_machines(kvm, stack[0], (char **)(stack + 1));
	/* Magic numbers and the restart command of reboot(2); QEMU's -no-reboot ends with it. */
	system_call(SYS_reboot, 0xfee1dead, 672274793, 0x1234567, 0, 0, 0);
}
