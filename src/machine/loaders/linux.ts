/** Loads a Linux bzImage for its 32-bit entry (kernel Documentation/arch/x86/boot.rst, "32-bit Boot Protocol"). */
import type { Hpa } from '../../arch/address.ts';
import { InputError } from '../../arch/input-error.ts';
import { type E820Entry, LOW_MEMORY_END, ONE_MIB } from '../e820.ts';
import { hex, ImageReader } from './image-reader.ts';
import { flatGdt, protectedState } from './initial-state.ts';
import { HEADER, type LinuxHeader, parseLinuxHeader } from './linux-header.ts';
import { LoadPlan } from './load-plan.ts';
import type { LoadedImage, LoadRequest, LoadTarget } from './request.ts';

// biome-ignore format: table
/** Offsets in boot_params ("The zero page", kernel Documentation/arch/x86/zero-page.rst). */
const BOOT_PARAMS = {
  EXT_MEM_K:      0x002, // in screen_info: KiB above 1 MiB, 16 bits
  ACPI_RSDP_ADDR: 0x070,
  ALT_MEM_K:      0x1e0, // KiB above 1 MiB, 32 bits
  E820_ENTRIES:   0x1e8,
  E820_TABLE:     0x2d0,
  SIZE:           0x1000,
} as const;
const E820_ENTRY_SIZE = 20;
const E820_MAX = 128;

/** The selectors that the protocol demands. */
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;

/** type_of_loader of a loader without a number of its own. */
const UNDEFINED_LOADER = 0xff;
const VIDEO_NORMAL = 0xffff;

/**
 * Loads a bzImage: the kernel where it prefers to be, boot_params, command line and GDT in conventional memory, the
 * initrd as high as the kernel can take it.
 * @throws InputError before anything is written, where the image or the request cannot be
 */
export function loadLinux(request: LoadRequest, target: LoadTarget): LoadedImage {
  const reader = new ImageReader('Linux kernel image', request.image);
  const header = parseLinuxHeader(reader);
  if (request.modules?.length) {
    throw new InputError('A Linux kernel takes no multiboot modules; give it an initrd.');
  }
  const plan = new LoadPlan(request.memorySize, request.e820);
  const entry = placeKernel(plan, header);
  const gdt = plan.putHigh('the GDT', flatGdt(BOOT_CS, BOOT_DS), 16, LOW_MEMORY_END);
  const commandLine = plan.putHigh('the command line', commandLineBytes(request, header), 16, LOW_MEMORY_END);
  const initrd = placeInitrd(plan, request, header);
  const bootParams = plan.putHigh(
    'boot_params',
    makeBootParams(request, header, entry, commandLine, initrd),
    4096,
    LOW_MEMORY_END,
  );
  return {
    kind: 'bzimage',
    state: protectedState(entry, { ESI: bootParams }, BOOT_CS, BOOT_DS, gdt),
    regions: plan.commit(target),
    needsLongMode: header.is64Bit,
  };
}

/**
 * Puts the protected-mode kernel into memory, sets aside what it will use, and returns its address, which is its entry.
 * A relocatable kernel runs at its load address, but never below pref_address, so it is loaded there at once; any other
 * is loaded at code32_start and moves itself to pref_address.
 */
function placeKernel(plan: LoadPlan, header: LinuxHeader): number {
  const { kernel, relocatable, code32Start, prefAddress, alignment, initSize } = header;
  const runtime = relocatable ? Math.ceil(prefAddress / alignment) * alignment : prefAddress || code32Start;
  const address = relocatable ? runtime : code32Start;
  plan.put('the kernel', address, kernel);
  const end = address + kernel.length;
  const workspaceEnd = runtime + initSize;
  const parts = [
    [runtime, Math.min(address, workspaceEnd)],
    [Math.max(end, runtime), workspaceEnd],
  ] as const;
  for (const [from, to] of parts) {
    if (from < to) plan.reserve("the kernel's workspace (init_size)", from, to - from);
  }
  return address;
}

function commandLineBytes({ commandLine = '' }: LoadRequest, { commandLineSize }: LinuxHeader): Uint8Array {
  const bytes = new TextEncoder().encode(`${commandLine}\0`);
  if (bytes.indexOf(0) !== bytes.length - 1) {
    throw new InputError(
      `The kernel's command line has a zero character at position ${bytes.indexOf(0)}; none may be in it.`,
    );
  }
  if (bytes.length - 1 <= commandLineSize) return bytes;
  throw new InputError(
    `The kernel's command line has ${bytes.length - 1} bytes; this kernel takes at most ${commandLineSize} ` +
      `(cmdline_size at offset ${hex(HEADER.CMDLINE_SIZE)}).`,
  );
}

interface Initrd {
  readonly address: number;
  readonly size: number;
}

function placeInitrd(plan: LoadPlan, { initrd }: LoadRequest, { initrdAddrMax }: LinuxHeader): Initrd {
  if (!initrd?.length) return { address: 0, size: 0 };
  // initrd_addr_max is the last byte's address, so the end may be one more.
  return { address: plan.putHigh('the initrd', initrd, 4096, initrdAddrMax + 1), size: initrd.length };
}

function makeBootParams(
  { memorySize, e820, acpiRsdp = 0 as Hpa }: LoadRequest,
  header: LinuxHeader,
  entry: number,
  commandLine: Hpa,
  initrd: Initrd,
): Uint8Array {
  const bytes = new Uint8Array(BOOT_PARAMS.SIZE);
  const view = new DataView(bytes.buffer);
  bytes.set(header.bytes, HEADER.START);
  view.setUint16(HEADER.VID_MODE, VIDEO_NORMAL, true);
  view.setUint8(HEADER.TYPE_OF_LOADER, UNDEFINED_LOADER);
  view.setUint32(HEADER.CODE32_START, entry, true);
  view.setUint32(HEADER.RAMDISK_IMAGE, initrd.address, true);
  view.setUint32(HEADER.RAMDISK_SIZE, initrd.size, true);
  view.setUint32(HEADER.CMD_LINE_PTR, commandLine, true);
  const kibAboveOneMib = Math.max(0, memorySize - ONE_MIB) / 1024;
  view.setUint16(BOOT_PARAMS.EXT_MEM_K, Math.min(kibAboveOneMib, 0xffff), true);
  view.setUint32(BOOT_PARAMS.ALT_MEM_K, kibAboveOneMib, true);
  // The field came with 2.14; before, the kernel does not look there.
  if (header.version >= 0x020e) view.setBigUint64(BOOT_PARAMS.ACPI_RSDP_ADDR, BigInt(acpiRsdp), true);
  writeE820(view, e820);
  return bytes;
}

function writeE820(view: DataView, e820: readonly E820Entry[]): void {
  if (e820.length > E820_MAX) {
    throw new InputError(
      `The memory map has ${e820.length} entries; Linux's boot_params take at most ${E820_MAX}.`,
    );
  }
  view.setUint8(BOOT_PARAMS.E820_ENTRIES, e820.length);
  e820.forEach(({ base, size, type }, index) => {
    const at = BOOT_PARAMS.E820_TABLE + index * E820_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(base), true);
    view.setBigUint64(at + 8, BigInt(size), true);
    view.setUint32(at + 16, type, true);
  });
}
