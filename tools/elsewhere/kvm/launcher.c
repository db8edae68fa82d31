/*
 * The smallest user space that runs a multiboot image on Linux's KVM: process 1 of an initramfs. It loads KVM's modules,
 * makes a PC with RAM, COM1 and the debug exit port 0xf4, prints what the image prints, and resets the machine.
 *
 * No C library: it is 32-bit code for 32- and 64-bit kernels, made by
 *   gcc -m32 -static -nostdlib -ffreestanding -fno-pie -no-pie -fno-stack-protector -O2 launcher.c
 * Arguments are the image's command line; `without=FEATURE` (nx, pge, smep or smap) takes one from the guest's CPUID.
 */
#include <linux/kvm.h>

enum {
	SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_mount = 21, SYS_mkdir = 39, SYS_ioctl = 54,
	SYS_reboot = 88, SYS_mmap2 = 192, SYS_finit_module = 350,
};
enum { O_RDWR = 2, PROT_RW = 3, MAP_SHARED = 1, MAP_PRIVATE_ANONYMOUS = 0x22, ENTRIES = 160 };
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

static char line[4096];
static unsigned long line_size;

static void flush(void)
{
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

static __attribute__((noreturn)) void end(const char *how, unsigned long value)
{
	print("launcher: ");
	print(how);
	print(" 0x");
	print_number(value);
	print("\n");
	/* Magic numbers and the restart command of reboot(2); QEMU's -no-reboot ends with it. */
	system_call(SYS_reboot, 0xfee1dead, 672274793, 0x1234567, 0, 0, 0);
	for (;;)
		;
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
	long flags = file < 0 ? MAP_PRIVATE_ANONYMOUS : MAP_SHARED;
	return (void *)must("mmap", system_call(SYS_mmap2, 0, size, PROT_RW, flags, file, 0));
}

static void load_module(const char *path, const char *parameters)
{
	long file = system_call(SYS_open, (long)path, 0, 0, 0, 0, 0);
	if (file >= 0)
		system_call(SYS_finit_module, file, (long)parameters, 0, 0, 0, 0);
}

static unsigned char *guest;

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
	if (run->io.port == DEBUG_EXIT)
		end("debug exit", data[0]);
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

void launch(long *stack)
{
	long count = stack[0];
	char **arguments = (char **)(stack + 1);
	system_call(SYS_mkdir, (long)"/dev", 0755, 0, 0, 0, 0);
	system_call(SYS_mount, (long)"dev", (long)"/dev", (long)"devtmpfs", 0, 0, 0);
	load_module("/irqbypass.ko", "");
	load_module("/ccp.ko", "");
	load_module("/kvm.ko", "");
	load_module("/kvm-amd.ko", "nested=1 npt=0");
	long kvm = must("open /dev/kvm", open_file("/dev/kvm"));
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
	char *command_line = (char *)guest + COMMAND_LINE;
	unsigned long used = 0;
	for (long i = 1; i < count; i++) {
		without(arguments[i]);
		unsigned long more = length(arguments[i]);
		if (used + more + 2 > COMMAND_LINE_SIZE)
			break;
		memcpy(command_line + used, arguments[i], more);
		used += more;
		command_line[used++] = ' ';
	}
	must("KVM_SET_CPUID2", ioctl(vcpu, KVM_SET_CPUID2, &cpuid));
	unsigned int *information = (unsigned int *)(guest + BOOT_INFO);
	information[0] = 1 << 0 | 1 << 2;
	information[1] = 640;
	information[2] = (MEMORY >> 10) - 1024;
	information[4] = COMMAND_LINE;
	set_registers(vcpu, load_image("/image"));
	run_guest(vcpu, run);
}
