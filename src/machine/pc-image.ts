import type { Hpa } from '../arch/address.ts';
import { buildAcpi } from './acpi/tables.ts';
import { e820Map } from './e820.ts';
import { loadImage } from './loaders/load.ts';
import type { RawOptions } from './loaders/raw.ts';
import type { LoadedImage, Module } from './loaders/request.ts';

/** An image and what goes with it, as a user gives it. */
export interface ImageOptions {
  readonly image: Uint8Array;
  readonly name?: string;
  readonly commandLine?: string;
  readonly initrd?: Uint8Array | undefined;
  readonly modules?: readonly Module[];
  readonly raw?: RawOptions | undefined;
}

export interface PcMemory {
  /** Bytes of RAM from address 0 up. */
  readonly size: number;
  write(address: Hpa, bytes: Uint8Array): void;
}

/** Loads an image into a PC's memory with the ACPI tables that firmware would leave there. @throws InputError */
export function loadPcImage(options: ImageOptions, memory: PcMemory, hasApic: boolean): LoadedImage {
  const acpi = buildAcpi({ memoryBytes: memory.size, hasApic });
  const loaded = loadImage(
    { ...options, memorySize: memory.size, e820: e820Map(memory.size), acpiRsdp: acpi.rsdp },
    memory,
    options.raw,
  );
  for (const { address, bytes } of acpi.tables) memory.write(address, bytes);
  return loaded;
}
