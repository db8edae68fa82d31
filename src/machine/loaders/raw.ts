/** Loads an image that says nothing about itself: its bytes go to an address, and the processor starts there. */
import { InputError } from '../../arch/input-error.ts';
import { LOW_MEMORY_END, ONE_MIB } from '../e820.ts';
import { hex } from './image-reader.ts';
import { flatGdt, protectedState, realState } from './initial-state.ts';
import { LoadPlan } from './load-plan.ts';
import type { LoadedImage, LoadRequest, LoadTarget } from './request.ts';

export interface RawOptions {
  /** Physical address of the first byte and of the entry. */
  readonly address: number;
  /** The processor's mode at the entry. */
  readonly mode: 'real' | 'protected';
}

/** As firmware loads and enters a boot sector. */
export const BOOT_SECTOR: RawOptions = { address: 0x7c00, mode: 'real' };

const CODE_SELECTOR = 0x08;
const DATA_SELECTOR = 0x10;
/** DL of a boot sector: the first hard disk, by the custom of PC firmware. */
const FIRST_DISK = 0x80;

/**
 * Loads a raw image. In real mode CS:IP is the address, with CS = 0 below 64 KiB, DS = ES = SS = 0, and the stack grows
 * down from 0x7c00. In protected mode the segments are flat and the stack is the image's business.
 * @throws InputError before anything is written
 */
export function loadRaw(
  request: LoadRequest,
  target: LoadTarget,
  options: RawOptions = BOOT_SECTOR,
): LoadedImage {
  const { image, commandLine, initrd, modules } = request;
  const { address, mode } = options;
  if (image.length === 0) throw new InputError('The image is empty.');
  if (commandLine || initrd?.length || modules?.length) {
    throw new InputError('A raw image or boot sector takes no command line, initrd or modules.');
  }
  if (!Number.isInteger(address) || address < 0) {
    throw new InputError(
      `A raw image cannot go to the address ${address}; a whole number from 0 up is needed.`,
    );
  }
  if (mode === 'real' && address >= ONE_MIB) {
    throw new InputError(`Real mode cannot start at ${hex(address)}; the address must be below 0x100000.`);
  }
  const plan = new LoadPlan(request.memorySize, request.e820);
  plan.put('the raw image', address, image);
  return {
    kind: 'raw',
    state: mode === 'real' ? realEntry(address) : protectedEntry(plan, address),
    regions: plan.commit(target),
    needsLongMode: false,
  };
}

function realEntry(address: number) {
  const segment = address < 0x1_0000 ? 0 : address >>> 4;
  return realState(segment, address - segment * 16, { ESP: BOOT_SECTOR.address, EDX: FIRST_DISK });
}

function protectedEntry(plan: LoadPlan, address: number) {
  const gdt = plan.putHigh('the GDT', flatGdt(CODE_SELECTOR, DATA_SELECTOR), 16, LOW_MEMORY_END);
  return protectedState(address, {}, CODE_SELECTOR, DATA_SELECTOR, gdt);
}
