/** The processor against a real one: every MMX, SSE and SSE2 form. */
import { describe, expect, it } from 'vitest';
import { loadFamily } from './format.ts';
import { describeReport, runFamily } from './harness.ts';
import { UmbraDriver } from './umbra-driver.ts';

const FAMILIES = ['mmx', 'sse-move', 'sse-arithmetic', 'sse-convert', 'sse2-integer'];
const SLOW = 120_000;

describe('SIMD instructions, against vectors of a real processor', () => {
  it.each(FAMILIES)(
    '%s',
    (name) => {
      const family = loadFamily(name);
      const report = runFamily(family, new UmbraDriver());
      expect(report.failed, describeReport(report, family.baseline)).toBe(0);
      expect(report.run).toBe(family.header.count);
      expect(report.skipped).toBe(0);
    },
    SLOW,
  );

  it('tells a wrong result', () => {
    const driver = new UmbraDriver();
    const readState = driver.readState.bind(driver);
    driver.readState = (into) => {
      readState(into);
      into.xmm(1)[15] ^= 1;
    };
    const report = runFamily(loadFamily('sse2-integer'), driver, { forms: /^PADDD xmm/ });
    expect(report).toMatchObject({ run: 120, failed: 120 });
  });
});
