/** Loads a static 32-bit x86 ELF executable by its program headers (System V ABI, chapters 4 and 5; Intel386 supplement). */
import { InputError } from '../../arch/input-error.ts';
import { LOW_MEMORY_END } from '../e820.ts';
import { hex, ImageReader } from './image-reader.ts';
import { flatGdt, protectedState } from './initial-state.ts';
import { LoadPlan } from './load-plan.ts';
import type { LoadedImage, LoadRequest, LoadTarget } from './request.ts';

// biome-ignore format: table
/** Offsets in the ELF header, 32-bit class. */
const EHDR = {
  CLASS: 4, DATA: 5, TYPE: 16, MACHINE: 18, ENTRY: 24, PHOFF: 28, PHENTSIZE: 42, PHNUM: 44, SIZE: 52,
} as const;
// biome-ignore format: table
/** Offsets in a program header. */
const PHDR = { TYPE: 0, OFFSET: 4, VADDR: 8, PADDR: 12, FILESZ: 16, MEMSZ: 20, SIZE: 32 } as const;

export const ELF_MAGIC = 0x464c_457f;
const CLASS_32 = 1;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const TYPE_EXECUTABLE = 2;
const MACHINE_386 = 3;
const SEGMENT_LOAD = 1;

const CODE_SELECTOR = 0x08;
const DATA_SELECTOR = 0x10;

export interface ElfPlacement {
  /** Physical address of the first instruction. */
  readonly entry: number;
  /** End of the highest segment in memory, exclusive. */
  readonly end: number;
}

/**
 * Puts the loadable segments of an ELF image where their physical addresses say.
 * @throws InputError where the image is truncated, corrupt, of another kind, or does not fit
 */
export function placeElf(plan: LoadPlan, reader: ImageReader): ElfPlacement {
  checkKind(reader);
  const table = reader.u32(EHDR.PHOFF, 'the ELF header');
  const count = reader.u16(EHDR.PHNUM, 'the ELF header');
  const entrySize = reader.u16(EHDR.PHENTSIZE, 'the ELF header');
  if (count === 0)
    throw reader.corrupt('it has no program headers (e_phnum at offset 0x2c is 0), so nothing to load.');
  if (entrySize !== PHDR.SIZE) {
    throw reader.corrupt(
      `e_phentsize at offset ${hex(EHDR.PHENTSIZE)} is ${entrySize}; it must be ${PHDR.SIZE}.`,
    );
  }
  reader.slice(table, count * PHDR.SIZE, `the table of ${count} program headers`);
  const virtualEntry = reader.u32(EHDR.ENTRY, 'the ELF header');
  let entry: number | undefined;
  let end = 0;
  for (let index = 0; index < count; index++) {
    const segment = readSegment(reader, table + index * PHDR.SIZE, index);
    if (!segment || segment.memorySize === 0) continue;
    plan.put(`segment ${index}`, segment.physical, segment.bytes, segment.memorySize);
    end = Math.max(end, segment.physical + segment.memorySize);
    // The entry is a virtual address; paging is off, so it counts where its segment was put.
    const offset = virtualEntry - segment.virtual;
    if (offset >= 0 && offset < segment.memorySize) entry ??= segment.physical + offset;
  }
  if (entry === undefined) {
    throw reader.corrupt(
      `the entry ${hex(virtualEntry)} (offset ${hex(EHDR.ENTRY)}) lies in none of its segments.`,
    );
  }
  return { entry, end };
}

function checkKind(reader: ImageReader): void {
  if (reader.u32(0, 'the ELF header') !== ELF_MAGIC)
    throw reader.corrupt('it must begin with 7f 45 4c 46 ("ELF").');
  const elfClass = reader.u8(EHDR.CLASS, 'the ELF header');
  if (elfClass === CLASS_64) {
    throw new InputError(
      `The ${reader.kind} is 64-bit (offset ${hex(EHDR.CLASS)}); only 32-bit ELF can be loaded as yet.`,
    );
  }
  if (elfClass !== CLASS_32)
    throw reader.corrupt(`its class at offset ${hex(EHDR.CLASS)} is ${elfClass}; 1 is 32-bit.`);
  if (reader.u8(EHDR.DATA, 'the ELF header') !== LITTLE_ENDIAN) {
    throw reader.corrupt(`its byte order at offset ${hex(EHDR.DATA)} must be 1, little-endian.`);
  }
  reader.slice(0, EHDR.SIZE, 'the ELF header');
  const machine = reader.u16(EHDR.MACHINE, 'the ELF header');
  if (machine !== MACHINE_386) {
    throw new InputError(
      `The ${reader.kind} is for another processor (e_machine at offset ${hex(EHDR.MACHINE)} is ${machine}); 3, Intel 80386, is needed.`,
    );
  }
  const type = reader.u16(EHDR.TYPE, 'the ELF header');
  if (type !== TYPE_EXECUTABLE) {
    throw new InputError(
      `The ${reader.kind} is not a static executable (e_type at offset ${hex(EHDR.TYPE)} is ${type}); 2 is needed: link it with fixed addresses.`,
    );
  }
}

interface Segment {
  readonly virtual: number;
  readonly physical: number;
  readonly bytes: Uint8Array;
  readonly memorySize: number;
}

/** Program header at `at`, or undefined where it is of a kind that is not loaded. */
function readSegment(reader: ImageReader, at: number, index: number): Segment | undefined {
  const field = (offset: number): number => reader.u32(at + offset, `program header ${index}`);
  if (field(PHDR.TYPE) !== SEGMENT_LOAD) return undefined;
  const fileSize = field(PHDR.FILESZ);
  const memorySize = field(PHDR.MEMSZ);
  if (fileSize > memorySize) {
    throw reader.corrupt(
      `segment ${index} (program header at offset ${hex(at)}) has ${hex(fileSize)} bytes in the file but ` +
        `${hex(memorySize)} in memory; p_filesz must not exceed p_memsz.`,
    );
  }
  return {
    virtual: field(PHDR.VADDR),
    physical: field(PHDR.PADDR),
    bytes: reader.slice(field(PHDR.OFFSET), fileSize, `segment ${index}`),
    memorySize,
  };
}

/**
 * Loads a plain ELF executable and enters it in 32-bit protected mode, flat, with paging and interrupts off. There is no
 * custom by which it could receive anything else, so a command line, initrd or modules are refused.
 * @throws InputError before anything is written
 */
export function loadElf(request: LoadRequest, target: LoadTarget): LoadedImage {
  if (request.commandLine || request.initrd?.length || request.modules?.length) {
    throw new InputError(
      'A plain ELF image takes no command line, initrd or modules; a multiboot header in its first 8192 bytes would let it.',
    );
  }
  const plan = new LoadPlan(request.memorySize, request.e820);
  const { entry } = placeElf(plan, new ImageReader('ELF image', request.image));
  const gdt = plan.putHigh('the GDT', flatGdt(CODE_SELECTOR, DATA_SELECTOR), 16, LOW_MEMORY_END);
  return {
    kind: 'elf',
    state: protectedState(entry, {}, CODE_SELECTOR, DATA_SELECTOR, gdt),
    regions: plan.commit(target),
    needsLongMode: false,
  };
}
