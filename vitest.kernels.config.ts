import { defineConfig } from 'vitest/config';

/** The tests that need Debian's kernels (`umbra kernels`), and the long ones; one at a time, because they measure seconds. */
export default defineConfig({
  test: {
    include: ['tests/kernels/**/*.test.ts'],
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 300_000,
  },
});
