/** The processor against a real one: every integer instruction form, undefined flags included. */
import { describe, expect, it } from 'vitest';
import { loadFamily } from './format.ts';
import { describeReport, runFamily } from './harness.ts';
import { UmbraDriver } from './umbra-driver.ts';

// biome-ignore format: table
const FAMILIES = [
  'integer-alu', 'integer-unary', 'integer-multiply', 'shifts', 'bits', 'decimal', 'moves', 'conditionals',
  'addressing', 'stack', 'control', 'strings', 'segments', 'decoding',
];
const SLOW = 120_000;

describe('the processor, against vectors of a real one', () => {
  it.each(FAMILIES)(
    '%s',
    (name) => {
      const family = loadFamily(name);
      const driver = new UmbraDriver();
      const report = runFamily(family, driver, { features: driver.features });
      expect(report.failed, describeReport(report, family.baseline)).toBe(0);
      expect(report.run).toBeGreaterThan(0.8 * family.header.count);
    },
    SLOW,
  );

  it('has a driver that notices a wrong result', () => {
    const family = loadFamily('decimal');
    const driver = new UmbraDriver();
    const { state } = driver.cpu;
    const readState = driver.readState.bind(driver);
    driver.readState = (into) => {
      state.setGpr(3, 0);
      readState(into);
    };
    expect(runFamily(family, driver, { forms: /^DAA$/ })).toMatchObject({ run: 1024, failed: 1024 });
  });
});
