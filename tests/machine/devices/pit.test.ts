import { describe, expect, it } from 'vitest';
import { Oscillator } from '../../../src/machine/devices/oscillator.ts';
import { Pit } from '../../../src/machine/devices/pit.ts';
import { IoBus } from '../../../src/machine/io-bus.ts';
import { ManualClock } from './manual-clock.ts';

describe('oscillator', () => {
  it('is exact over days: no drift against whole-number arithmetic', () => {
    const time = new ManualClock();
    for (const hertz of [1_193_182, 3_579_545, 32_768]) {
      const oscillator = new Oscillator(time.clock, hertz);
      for (const cycles of [0, 1, 2, 1_193_181, 1_193_182, 7_777_777_777, 123_456_789_012]) {
        const tick = oscillator.tickOf(cycles);
        const exact = (BigInt(cycles) * 1_000_000_000n + BigInt(hertz) - 1n) / BigInt(hertz);
        expect(BigInt(tick)).toBe(exact);
        const at = new Oscillator(new ManualClockAt(tick).clock, hertz);
        expect(at.cycles).toBe(cycles);
        if (tick > 0)
          expect(new Oscillator(new ManualClockAt(tick - 1).clock, hertz).cycles).toBe(cycles - 1);
      }
    }
  });

  it('refuses what it cannot hold exactly', () => {
    expect(() => new Oscillator(new ManualClock().clock, 14_318_180)).toThrow(
      '14318180 Hz cannot be derived exactly.',
    );
  });
});

class ManualClockAt extends ManualClock {
  constructor(tick: number) {
    super();
    this.sleep(tick);
  }
}

function machine() {
  const time = new ManualClock();
  const io = new IoBus();
  const edges: [number, boolean][] = [];
  let level = false;
  const pit = new Pit(time.clock, {
    set: (next) => {
      if (next !== level) edges.push([time.now, next]);
      level = next;
    },
  });
  pit.attach(io);
  pit.reset();
  return { time, io, pit, edges };
}

describe('8254', () => {
  it('interrupts 250 times a second with the count Linux uses, 1193182 / 4773 of them exactly', () => {
    const { time, io, edges } = machine();
    io.write(0x43, 1, 0x34);
    io.write(0x40, 1, 4773 & 0xff);
    io.write(0x40, 1, 4773 >> 8);
    time.moveTo(10_000_000_000);
    const rises = edges.filter(([, level]) => level).map(([tick]) => tick);
    // The control word raises OUT; then one edge ends each period of 4773 pulses.
    expect(rises.length).toBe(1 + Math.floor((11_931_820 - 1) / 4773));
    expect(rises[1]).toBe(Math.ceil((4774 * 1e9) / 1_193_182));
    const last = BigInt(1 + 2499 * 4773);
    expect(BigInt(rises[2499])).toBe((last * 1_000_000_000n + 1_193_181n) / 1_193_182n);
  });

  it('fires one-shots (mode 4) after N + 1 pulses and stops', () => {
    const { time, io, edges } = machine();
    io.write(0x43, 1, 0x38);
    io.write(0x40, 1, 0x10);
    io.write(0x40, 1, 0x00);
    time.moveTo(1_000_000_000);
    const tick = (pulse: number) => Math.ceil((pulse * 1e9) / 1_193_182);
    expect(edges).toEqual([
      [0, true],
      [tick(17), false],
      [tick(18), true],
    ]);
    expect(time.clock.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it('makes up for edges of a late clock without going through all of them', () => {
    const { time, io, edges } = machine();
    io.write(0x43, 1, 0x14);
    io.write(0x40, 1, 10);
    time.sleep(1_000_000_000);
    time.clock.advance();
    expect(edges.length).toBeGreaterThanOrEqual(3);
    expect(edges.length).toBeLessThan(10);
    expect(edges.some(([, level]) => !level)).toBe(true);
    expect(time.clock.nextDeadline).toBeGreaterThan(1_000_000_000);
  });

  it('counts down counter 2 behind its gate, visible at OUT', () => {
    const { time, io, pit } = machine();
    io.write(0x43, 1, 0xb0);
    io.write(0x42, 1, 0x9c);
    io.write(0x42, 1, 0x2e);
    time.move(1_000_000);
    expect([io.read(0x42, 1), io.read(0x42, 1)]).toEqual([0x9c, 0x2e]);
    pit.speakerGate = true;
    const start = Math.floor((1_000_000 * 1_193_182) / 1e9);
    const due = Math.ceil(((start + 0x2e9c) * 1e9) / 1_193_182);
    time.moveTo(due - 1);
    expect(pit.speakerOut).toBe(false);
    time.moveTo(due);
    expect(pit.speakerOut).toBe(true);
  });

  it('shows the fresh count to a reader that is faster than the crystal, as Linux calibrates', () => {
    const { time, io, pit } = machine();
    pit.speakerGate = true;
    io.write(0x43, 1, 0xb0);
    io.write(0x42, 1, 0xff);
    io.write(0x42, 1, 0xff);
    expect([io.read(0x42, 1), io.read(0x42, 1)]).toEqual([0xff, 0xff]);
    const steps: number[] = [];
    for (let msb = 0xff; steps.length < 4; ) {
      io.read(0x42, 1);
      if (io.read(0x42, 1) !== msb) {
        msb--;
        steps.push(time.now);
      }
      time.move(10);
    }
    // 256 pulses a step: 214552 ns, seen by a poll every 10 ns.
    for (let i = 1; i < steps.length; i++) {
      expect(Math.abs(steps[i] - steps[i - 1] - (256 * 1e9) / 1_193_182)).toBeLessThanOrEqual(11);
    }
  });

  it('reads back several counters with one command, status first', () => {
    const { time, io } = machine();
    io.write(0x43, 1, 0x34);
    io.write(0x40, 1, 0x00);
    io.write(0x40, 1, 0x01);
    io.write(0x43, 1, 0x56);
    io.write(0x41, 1, 18);
    time.move(100_000);
    io.write(0x43, 1, 0xc6);
    expect(io.read(0x40, 1)).toBe(0xb4);
    // Pulse 119: counter 0 was loaded by pulse 1.
    expect([io.read(0x40, 1), io.read(0x40, 1)]).toEqual([0x100 - 118, 0]);
    expect(io.read(0x41, 1) & 0x7f).toBe(0x16);
    expect(io.read(0x41, 1)).toBe(18 - 2 * (118 % 9));
    expect(io.read(0x43, 1)).toBe(0xff);
  });

  it('toggles the refresh bit about every 15 us', () => {
    const { time, pit } = machine();
    let toggles = 0;
    let last = pit.refreshToggle;
    for (let us = 1; us <= 1000; us++) {
      time.moveTo(us * 1000);
      if (pit.refreshToggle !== last) toggles++;
      last = pit.refreshToggle;
    }
    expect(toggles).toBe(66);
  });
});
