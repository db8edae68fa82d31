import { describe, expect, it } from 'vitest';
import {
  loadFamily,
  type Vector,
  type VectorEnvironment,
  type VectorFamily,
  type VectorFault,
} from './format.ts';
import { describeReport, type RunOptions, runFamily, type VectorDriver } from './harness.ts';
import { VectorState } from './state.ts';
import { withinTolerance } from './tolerance.ts';

/** A processor that knows the answers; `spoil` may change what it shows for each vector. */
class ReplayDriver implements VectorDriver {
  readonly #vectors: Generator<Vector>;
  readonly #pages = new Map<number, Uint8Array>();
  readonly #spoil: (vector: Vector, driver: ReplayDriver) => VectorFault | null;
  readonly state = new VectorState();

  constructor(
    family: VectorFamily,
    spoil: (vector: Vector, driver: ReplayDriver) => VectorFault | null = (vector) => vector.fault,
  ) {
    this.#vectors = family.vectors();
    this.#spoil = spoil;
  }

  open(environment: VectorEnvironment): void {
    for (const { address, size } of environment.pages) {
      for (let page = address; page < address + size; page += 4096)
        this.#pages.set(page, new Uint8Array(4096));
    }
  }

  writeMemory(linear: number, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      const page = (linear + i) & ~0xfff;
      this.#pages.get(page)![linear + i - page] = byte;
    });
  }

  readPage = (linear: number): Uint8Array => this.#pages.get(linear & ~0xfff)!;
  setState = (state: VectorState): void => this.state.copyFrom(state);
  readState = (into: VectorState): void => into.copyFrom(this.state);

  run(): VectorFault | null {
    const vector = this.#vectors.next().value as Vector;
    this.state.copyFrom(vector.after);
    for (const { address, bytes } of vector.memoryAfter) this.writeMemory(address, bytes);
    return this.#spoil(vector, this);
  }
}

const decimal = loadFamily('decimal');
const conditionals = loadFamily('conditionals');

function spoiled(
  family: VectorFamily,
  spoil: (vector: Vector, driver: ReplayDriver) => VectorFault | null,
  options?: RunOptions,
): ReturnType<typeof runFamily> {
  return runFamily(family, new ReplayDriver(family, spoil), options);
}

describe('runFamily', () => {
  it.each(['decimal', 'strings', 'decoding', 'x87-control', 'sse-move'])(
    '%s passes on the right answers',
    (name) => {
      const family = loadFamily(name);
      const report = runFamily(family, new ReplayDriver(family));
      expect(report).toMatchObject({ run: family.header.count, failed: 0, skipped: 0, mismatches: [] });
    },
  );

  it('sees a wrong register, and says what was expected', () => {
    const report = spoiled(decimal, (vector, { state }) => {
      if (vector.form.name === 'DAA' && vector.index === 5) state.set('ebx', 0xdead);
      return vector.fault;
    });
    expect(report.failedForms).toEqual([{ form: 'DAA', run: 1024, failed: 1 }]);
    expect(report.mismatches[0].differences).toEqual(['ebx b0b1b2b3, seen 0000dead']);
    expect(describeReport(report, decimal.baseline)).toContain('decimal / DAA #5: 27  daa');
  });

  it('sees a byte written where none belongs, once', () => {
    const report = spoiled(conditionals, (vector, driver) => {
      if (vector.index === 3) driver.writeMemory(0xa123, Uint8Array.of(1));
      return vector.fault;
    });
    expect(report.failed).toBe(conditionals.header.forms.length);
    expect(report.mismatches[0].differences[0]).toMatch(/^\[a123\] .*, seen 01/);
  });

  it('sees a missing write', () => {
    const report = spoiled(conditionals, (vector, driver) => {
      for (const { address, bytes } of vector.memoryAfter)
        driver.writeMemory(
          address,
          bytes.map((byte) => ~byte),
        );
      return vector.fault;
    });
    expect(report.failedForms.map(({ form }) => form)).toContain('SETO r/m8');
  });

  it('sees a missing and a wrong exception', () => {
    const missing = spoiled(decimal, () => null, { forms: /./ });
    expect(missing.mismatches[0].differences[0]).toBe('#0(0) cr2 0, seen no exception');
    expect(missing.failedForms.map(({ form }) => form)).toEqual(['AAM imm8']);
    const wrong = spoiled(decimal, (vector) => (vector.fault ? { vector: 13, errorCode: 8, cr2: 0 } : null));
    expect(wrong.mismatches[0].differences[0]).toBe('#0(0) cr2 0, seen #13(8) cr2 0');
  });

  it('compares undefined flags unless told not to', () => {
    const flip = (vector: Vector, { state }: ReplayDriver): VectorFault | null => {
      state.set('eflags', state.get('eflags') ^ 0x800);
      return vector.fault;
    };
    expect(spoiled(decimal, flip).failed).toBe(decimal.header.count);
    // AAM by zero faults: its flags are defined, as they were.
    const faults = [...decimal.vectors()].filter(({ fault }) => fault).length;
    expect(spoiled(decimal, flip, { ignoreUndefined: true }).failed).toBe(faults);
    expect(faults).toBeGreaterThan(0);
  });

  it('does not look at RF, which faults set in the pushed image', () => {
    const report = spoiled(decimal, (vector, { state }) => {
      state.set('eflags', state.get('eflags') | 0x10000);
      return vector.fault;
    });
    expect(report.failed).toBe(0);
  });

  it('skips forms that need an absent feature', () => {
    const cmov = conditionals.header.forms.filter(({ feature }) => feature === 'cmov');
    const skipped = cmov.reduce((sum, { count }) => sum + count, 0);
    const report = runFamily(conditionals, new ReplayDriver(conditionals), {
      features: new Set(),
      forms: /^SET/,
    });
    expect(report.skipped).toBe(skipped);
    expect(report.run + report.skipped).toBe(conditionals.header.count);
  });

  it('names the vector at which a driver throws', () => {
    const run = (): unknown =>
      spoiled(decimal, (vector) => {
        if (vector.index === 2) throw new RangeError('memory access out of bounds');
        return vector.fault;
      });
    expect(run).toThrow('The driver failed at decimal / DAA #2 (daa).');
  });
});

describe('withinTolerance', () => {
  const x87 = (signAndExponent: number, significand: bigint): Uint8Array => {
    const bytes = new Uint8Array(10);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, significand, true);
    view.setUint16(8, signAndExponent, true);
    return bytes;
  };
  const ONE = 0x8000000000000000n;

  it('counts steps between 80-bit numbers, across binades and zero', () => {
    const belowOne = x87(0x3ffe, 0xffffffffffffffffn);
    expect(withinTolerance('r3', x87(0x3fff, ONE), belowOne, 1)).toBe(true);
    expect(withinTolerance('r3', x87(0x3fff, ONE + 1n), belowOne, 1)).toBe(false);
    expect(withinTolerance('r3', x87(0x3fff, ONE + 1n), belowOne, 2)).toBe(true);
    expect(withinTolerance('r3', x87(0, 1n), x87(0x8000, 1n), 2)).toBe(true);
    expect(withinTolerance('r3', x87(0, ONE - 1n), x87(1, ONE), 1)).toBe(true);
    expect(withinTolerance('r3', x87(0x3fff, ONE), x87(0xbfff, ONE), 1000)).toBe(false);
  });

  it('wants infinities and NaNs exactly', () => {
    expect(withinTolerance('r0', x87(0x7fff, ONE), x87(0x7ffe, 0xffffffffffffffffn), 5)).toBe(false);
  });

  it('allows reciprocal estimates three parts in 4096 of each lane', () => {
    const lanes = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
    expect(withinTolerance('xmm1', lanes(1, 2, 3, 4), lanes(1.0007, 1.9987, 3, 4), 1)).toBe(true);
    expect(withinTolerance('xmm1', lanes(1, 2, 3, 4), lanes(1, 2, 3, 4.004), 1)).toBe(false);
    expect(withinTolerance('xmm1', lanes(1, 2, 3, Number.NaN), lanes(1, 2, 3, 4), 1)).toBe(false);
  });

  it('concerns result registers only', () => {
    expect(withinTolerance('eax', new Uint8Array(4), Uint8Array.of(1, 0, 0, 0), 9)).toBe(false);
  });
});
