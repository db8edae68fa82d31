import { defineConfig } from 'vitest/config';

/** The tests that need nothing but Node. Real kernels have their own file, vitest.kernels.config.ts. */
export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    exclude: ['tests/kernels/**'],
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});
