import { InputError } from '../../arch/input-error.ts';
import { loadElf } from './elf.ts';
import { loadLinux } from './linux.ts';
import { lookAlike } from './look-alike.ts';
import { loadMultiboot } from './multiboot.ts';
import { BOOT_SECTOR, loadRaw, type RawOptions } from './raw.ts';
import { recognise } from './recognise.ts';
import type { LoadedImage, LoadRequest, LoadTarget } from './request.ts';

/**
 * Loads an image of any kind that is known.
 * @param raw where given, the image is loaded raw, whatever it looks like
 * @throws InputError with a sentence, before anything is written
 */
export function loadImage(request: LoadRequest, target: LoadTarget, raw?: RawOptions): LoadedImage {
  if (raw) return loadRaw(request, target, raw);
  switch (recognise(request.image)) {
    case 'bzimage':
      return loadLinux(request, target);
    case 'multiboot':
      return loadMultiboot(request, target);
    case 'elf':
      return loadElf(request, target);
    case 'boot-sector':
      return { ...loadRaw(request, target, BOOT_SECTOR), kind: 'boot-sector' };
    default:
      throw unknownImage(request.image);
  }
}

function unknownImage(image: Uint8Array): InputError {
  const alike = lookAlike(image);
  return new InputError(
    `The image is not a bzImage, multiboot or ELF image${alike === undefined ? '' : ` (it looks like ${alike})`}; ` +
      'use --raw ADDRESS to run its bytes.',
  );
}
