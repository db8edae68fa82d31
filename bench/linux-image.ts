import type { Hpa } from '../src/arch/address.ts';
import { Assembler, address, ds, eax, es, esi, fs, gs, mem, ss } from '../src/guest/assembler.ts';
import { elfImage } from '../src/guest/elf.ts';
import { e820Map } from '../src/machine/e820.ts';
import { loadImage } from '../src/machine/loaders/load.ts';

/** Of an ELF header (System V ABI, figure 4-3). */
const E_SHENTSIZE = 0x2e;
const SECTION_HEADER_SIZE = 40;

const STUB = 0x8_0000;
const MULTIBOOT_MAGIC = 0x1bad_b002;
/** The selectors that Linux's 32-bit boot protocol demands. */
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;

export interface LinuxBoot {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly commandLine: string;
  readonly memoryBytes: number;
}

/**
 * A bzImage with its initrd and boot_params, laid out by Umbra's own loader and wrapped into a multiboot ELF image, for
 * machines that boot Linux through a BIOS only and have none (v86's package).
 */
export function linuxAsMultiboot({
  kernel,
  initrd,
  commandLine,
  memoryBytes,
}: LinuxBoot): Uint8Array<ArrayBuffer> {
  const pieces: { address: number; bytes: Uint8Array }[] = [];
  const { state } = loadImage(
    { image: kernel, initrd, commandLine, memorySize: memoryBytes, e820: e820Map(memoryBytes) },
    { write: (at: Hpa, bytes) => pieces.push({ address: at, bytes: bytes.slice() }) },
  );
  const stub = emitStub(state.eip, state.gprs[6], state.gdtr);
  const image = elfImage(STUB, [{ address: STUB, bytes: stub }, ...pieces]);
  // v86 complains of an executable without sections unless their size is right.
  new DataView(image.buffer).setUint16(E_SHENTSIZE, SECTION_HEADER_SIZE, true);
  return image;
}

/** From multiboot's entry state to that of the 32-bit boot protocol: its GDT, its selectors, ESI = boot_params. */
function emitStub(
  entry: number,
  bootParams: number,
  gdtr: { readonly base: number; readonly limit: number },
): Uint8Array {
  const a = new Assembler(STUB);
  a.define('kernel', entry);
  a.cli();
  a.lgdt(mem(address('gdt-pointer')));
  a.jmpFar(BOOT_CS, 'boot-cs');
  a.label('boot-cs');
  a.mov(eax, BOOT_DS);
  for (const segment of [ds, es, fs, gs, ss]) a.mov(segment, eax);
  a.mov(esi, bootParams);
  a.jmp('kernel');
  a.align(4);
  a.data32(MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC >>> 0);
  a.label('gdt-pointer');
  a.data16(gdtr.limit);
  a.data32(gdtr.base);
  return a.finish().bytes;
}
