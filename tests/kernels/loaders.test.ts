import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { loadImage } from '../../src/machine/loaders/load.ts';
import { recognise } from '../../src/machine/loaders/recognise.ts';
import { MIB, request, TestMemory } from '../machine/loaders/images.ts';
import { describeWithKernels, kernelFile } from './kernels.ts';

describeWithKernels("Debian's kernels in the bzImage loader", () => {
  for (const flavour of ['686', '686-pae']) {
    it(`vmlinuz-${flavour} loads with its initrd into 64 MiB`, () => {
      const image = readFileSync(kernelFile(`vmlinuz-${flavour}`));
      const initrd = readFileSync(kernelFile('initramfs.cpio.gz'));
      expect(recognise(image)).toBe('bzimage');
      const memory = new TestMemory(64 * MIB);
      const loaded = loadImage(request(image, 64 * MIB, { initrd, commandLine: 'console=ttyS0' }), memory);
      expect(loaded.needsLongMode).toBe(false);
      // CLD, the first instruction of the kernel's 32-bit entry.
      expect(memory.bytes[loaded.state.eip]).toBe(0xfc);
      const params = loaded.state.gprs[6] as number;
      const start = memory.u32(params + 0x218);
      expect(start % 4096).toBe(0);
      expect(start + initrd.length).toBeGreaterThan(64 * MIB - 4096);
      expect(
        memory.bytes.subarray(start, start + initrd.length).every((byte, at) => byte === initrd[at]),
      ).toBe(true);
    });

    it(`vmlinuz-${flavour} is refused where its memory is too small, and cut off anywhere`, () => {
      const image = readFileSync(kernelFile(`vmlinuz-${flavour}`));
      expect(() => loadImage(request(image, 16 * MIB), new TestMemory(16 * MIB))).toThrow(
        /does not fit into 16M/,
      );
      for (const length of [0x300, 0x5000, image.length >>> 1]) {
        expect(() =>
          loadImage(request(image.subarray(0, length), 64 * MIB), new TestMemory(64 * MIB)),
        ).toThrow(/is truncated/);
      }
    });
  }
});
