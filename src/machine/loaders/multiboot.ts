/** Loads a multiboot 1 kernel, ELF or flat, with its modules (Multiboot Specification 0.6.96, sections 3.2 and 3.3). */
import type { Hpa } from '../../arch/address.ts';
import { InputError } from '../../arch/input-error.ts';
import { E820_TYPE, type E820Entry, LOW_MEMORY_END, ONE_MIB } from '../e820.ts';
import { placeElf } from './elf.ts';
import { ImageReader } from './image-reader.ts';
import { flatGdt, protectedState } from './initial-state.ts';
import { LoadPlan } from './load-plan.ts';
import { parseMultibootHeader } from './multiboot-header.ts';
import type { LoadedImage, LoadRequest, LoadTarget, Module } from './request.ts';

/** What EAX holds at the entry: the kernel was loaded by multiboot. */
const BOOTLOADER_MAGIC = 0x2bad_b002;

// biome-ignore format: table
/** Offsets in the information structure. */
const INFO = {
  FLAGS: 0, MEM_LOWER: 4, MEM_UPPER: 8, CMDLINE: 16, MODS_COUNT: 20, MODS_ADDR: 24, MMAP_LENGTH: 44, MMAP_ADDR: 48,
  BOOT_LOADER_NAME: 64, SIZE: 88,
} as const;

// biome-ignore format: table
/** Bits of its flags: which fields are valid. */
const INFO_FLAG = { MEMORY: 0x001, CMDLINE: 0x004, MODULES: 0x008, MEMORY_MAP: 0x040, LOADER_NAME: 0x200 } as const;

const MODULE_SIZE = 16;
const MMAP_ENTRY_SIZE = 24;
const LOADER_NAME = 'Umbra';

const CODE_SELECTOR = 0x08;
const DATA_SELECTOR = 0x10;

/**
 * Loads a multiboot kernel. Modules follow the kernel on page boundaries; the information structure with its strings
 * and lists, and a GDT, lie in conventional memory.
 * @throws InputError before anything is written, where the image or the request cannot be
 */
export function loadMultiboot(request: LoadRequest, target: LoadTarget): LoadedImage {
  if (request.initrd?.length)
    throw new InputError('A multiboot kernel takes no initrd; give it the file as a module.');
  const plan = new LoadPlan(request.memorySize, request.e820);
  const { entry, end } = placeImage(plan, new ImageReader('multiboot image', request.image));
  const gdt = plan.putHigh('the GDT', flatGdt(CODE_SELECTOR, DATA_SELECTOR), 16, LOW_MEMORY_END);
  const information = placeInformation(plan, request, end);
  return {
    kind: 'multiboot',
    state: protectedState(
      entry,
      { EAX: BOOTLOADER_MAGIC, EBX: information },
      CODE_SELECTOR,
      DATA_SELECTOR,
      gdt,
    ),
    regions: plan.commit(target),
    needsLongMode: false,
  };
}

/** Puts the kernel itself into memory; `end` is the address behind it. */
function placeImage(plan: LoadPlan, reader: ImageReader): { entry: number; end: number } {
  const { flat } = parseMultibootHeader(reader);
  if (!flat) return placeElf(plan, reader);
  const bytes = reader.slice(
    flat.fileOffset,
    flat.fileLength,
    'the image that the multiboot header describes',
  );
  plan.put('the kernel', flat.loadAddress, bytes, flat.memorySize);
  return { entry: flat.entry, end: flat.loadAddress + flat.memorySize };
}

function placeInformation(plan: LoadPlan, request: LoadRequest, kernelEnd: number): Hpa {
  const { commandLine = '', name = '', modules = [], e820 } = request;
  const low = (what: string, bytes: Uint8Array): Hpa => plan.putHigh(what, bytes, 16, LOW_MEMORY_END);
  const bytes = new Uint8Array(INFO.SIZE);
  const view = new DataView(bytes.buffer);
  const set = (offset: number, value: number): void => view.setUint32(offset, value, true);
  set(
    INFO.FLAGS,
    INFO_FLAG.MEMORY | INFO_FLAG.CMDLINE | INFO_FLAG.MODULES | INFO_FLAG.MEMORY_MAP | INFO_FLAG.LOADER_NAME,
  );
  // KiB of memory from 0, and from 1 MiB up to the first hole.
  set(INFO.MEM_LOWER, ramFrom(0, e820) / 1024);
  set(INFO.MEM_UPPER, ramFrom(ONE_MIB, e820) / 1024);
  // The first word is the kernel's own name, as for a program.
  const line = [name, commandLine].filter((part) => part !== '').join(' ');
  set(INFO.CMDLINE, low('the command line', zeroTerminated('The command line', line)));
  set(INFO.MODS_COUNT, modules.length);
  set(INFO.MODS_ADDR, low('the list of modules', placeModules(plan, modules, kernelEnd)));
  const map = memoryMap(e820);
  set(INFO.MMAP_LENGTH, map.length);
  set(INFO.MMAP_ADDR, low('the memory map', map));
  set(INFO.BOOT_LOADER_NAME, low("the loader's name", zeroTerminated("The loader's name", LOADER_NAME)));
  return low('the multiboot information', bytes);
}

/** Puts the modules and their strings into memory and returns the list that describes them. */
function placeModules(plan: LoadPlan, modules: readonly Module[], kernelEnd: number): Uint8Array {
  const list = new Uint8Array(modules.length * MODULE_SIZE);
  const view = new DataView(list.buffer);
  modules.forEach(({ data, commandLine }, index) => {
    const start = plan.putLow(`module ${index}`, data, 4096, Math.max(ONE_MIB, kernelEnd));
    const text = zeroTerminated(`The string of module ${index}`, commandLine);
    const string = plan.putHigh(`the string of module ${index}`, text, 16, LOW_MEMORY_END);
    view.setUint32(index * MODULE_SIZE, start, true);
    view.setUint32(index * MODULE_SIZE + 4, start + data.length, true);
    view.setUint32(index * MODULE_SIZE + 8, string, true);
  });
  return list;
}

/** Bytes of RAM from an address up to the next hole. */
const ramFrom = (address: number, e820: readonly E820Entry[]): number =>
  e820.find(({ base, type }) => base === address && type === E820_TYPE.RAM)?.size ?? 0;

function memoryMap(e820: readonly E820Entry[]): Uint8Array {
  const bytes = new Uint8Array(e820.length * MMAP_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  e820.forEach(({ base, size, type }, index) => {
    const at = index * MMAP_ENTRY_SIZE;
    // The size field does not count itself.
    view.setUint32(at, MMAP_ENTRY_SIZE - 4, true);
    view.setBigUint64(at + 4, BigInt(base), true);
    view.setBigUint64(at + 12, BigInt(size), true);
    view.setUint32(at + 20, type, true);
  });
  return bytes;
}

function zeroTerminated(what: string, text: string): Uint8Array {
  const bytes = new TextEncoder().encode(`${text}\0`);
  const zero = bytes.indexOf(0);
  if (zero === bytes.length - 1) return bytes;
  throw new InputError(`${what} has a zero character at position ${zero}; none may be in it.`);
}
