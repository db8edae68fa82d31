import type { Hpa } from '../../arch/address.ts';
import type { E820Entry } from '../e820.ts';
import type { InitialState } from './initial-state.ts';

/** What a loader works from. Byte arrays are only read. */
export interface LoadRequest {
  readonly image: Uint8Array;
  /** What a guest may call its image; the first word of a multiboot command line. */
  readonly name?: string | undefined;
  /** Bytes of RAM from address 0 up. */
  readonly memorySize: number;
  readonly e820: readonly E820Entry[];
  readonly commandLine?: string | undefined;
  /** Linux only. */
  readonly initrd?: Uint8Array | undefined;
  /** Multiboot only. */
  readonly modules?: readonly Module[] | undefined;
  /** Where the ACPI root pointer (RSDP) is; Linux is told, others search for it. */
  readonly acpiRsdp?: Hpa | undefined;
}

export interface Module {
  readonly data: Uint8Array;
  /** The string that goes with the module, by custom its name and arguments. */
  readonly commandLine: string;
}

/** Where the bytes go. The loader writes only after every check has passed. */
export interface LoadTarget {
  write(address: Hpa, bytes: Uint8Array): void;
}

/** A named piece of memory that the loader filled or set aside; `end` is exclusive. */
export interface LoadedRegion {
  readonly name: string;
  readonly start: Hpa;
  readonly end: Hpa;
}

export type ImageKind = 'bzimage' | 'multiboot' | 'elf' | 'boot-sector' | 'raw';

export interface LoadedImage {
  readonly kind: ImageKind;
  /** How the processor starts. */
  readonly state: InitialState;
  /** Sorted by address. */
  readonly regions: readonly LoadedRegion[];
  /** The image is a 64-bit kernel: without long mode in the processor it stops early and says nothing. */
  readonly needsLongMode: boolean;
}
