/** Where Debian's kernels are for the tests that need them, and what to say where they are not. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe } from 'vitest';

export const FOLDER = resolve(process.env.UMBRA_KERNELS ?? 'kernels');
const NAMES = ['vmlinuz-686', 'vmlinuz-686-pae', 'initramfs.cpio.gz'];

/** Path of one of the files that `umbra kernels` makes. */
export const kernelFile = (name: string): string => join(FOLDER, name);

/**
 * A `describe` that runs only with the kernels at hand and says plainly why it does not. With UMBRA_REQUIRE_KERNELS
 * set, as in CI, it runs regardless, so that missing kernels fail.
 */
export function describeWithKernels(name: string, body: () => void): void {
  const missing = NAMES.filter((file) => !existsSync(kernelFile(file)));
  if (missing.length > 0 && !process.env.UMBRA_REQUIRE_KERNELS) {
    console.log(
      `skipped, because ${FOLDER} has no ${missing.join(', ')}: "npm run umbra -- kernels" fetches them: ${name}`,
    );
    describe.skip(name, body);
    return;
  }
  describe(name, body);
}
