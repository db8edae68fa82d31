import { describe, expect, it } from 'vitest';
import { loadFamily } from '../../vectors/format.ts';
import { describeReport, runFamily } from '../../vectors/harness.ts';
import { VectorMachine } from './vector-machine.ts';

/** What the little machine around the FPU cannot run: MMX and the SSE part of FXSAVE. */
const FORMS = /^(?!FXSAVE|FXRSTOR|EMMS|PADDB)/;

describe('vectors of a real processor', () => {
  it.each([
    'x87-arithmetic',
    'x87-compare',
    'x87-control',
    'x87-decoding',
    'x87-functions',
    'x87-move',
    'x87-transcendental',
  ])('%s', (name) => {
    const family = loadFamily(name);
    const report = runFamily(family, new VectorMachine(), { forms: FORMS });
    expect(report.failed, describeReport(report, family.baseline)).toBe(0);
    expect(report.run).toBeGreaterThan(1000);
  });
});
