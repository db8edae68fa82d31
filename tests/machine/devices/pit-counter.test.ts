import { describe, expect, it } from 'vitest';
import { PitCounter } from '../../../src/machine/devices/pit-counter.ts';

const LOW_BYTE = 0x10;

/** A counter with a one-byte count written at pulse 0, so that pulse 1 loads it. */
function counter(mode: number, count?: number, gate = true): PitCounter {
  const pit = new PitCounter(gate);
  pit.setControl(LOW_BYTE | (mode << 1));
  if (count !== undefined) pit.write(count);
  return pit;
}

/** OUT after each of the pulses `from`..`to`, H or L. */
function wave(pit: PitCounter, from: number, to: number): string {
  let levels = '';
  for (let clk = from; clk <= to; clk++) {
    pit.advance(clk);
    levels += pit.out ? 'H' : 'L';
  }
  return levels;
}

function counts(pit: PitCounter, from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => {
    pit.advance(from + index);
    return pit.read();
  });
}

/** OUT over the pulses again, but from nextEdge alone. */
function waveByEdges(pit: PitCounter, from: number, to: number): string {
  let levels = '';
  pit.advance(from);
  for (let clk = from; clk <= to; ) {
    const end = Math.min(pit.nextEdge, to + 1);
    levels += (pit.out ? 'H' : 'L').repeat(end - clk);
    clk = end;
    pit.advance(clk);
  }
  return levels;
}

function readBackStatus(pit: PitCounter): number {
  pit.latchStatus();
  return pit.read();
}

describe('8254 counter', () => {
  it('mode 0: OUT rises N + 1 pulses after the write and stays', () => {
    expect(wave(counter(0, 4), 0, 9)).toBe('LLLLLHHHHH');
    expect(counts(counter(0, 4), 1, 7)).toEqual([4, 3, 2, 1, 0, 0xff, 0xfe]);
  });

  it('mode 0: GATE low stops the count and leaves OUT alone', () => {
    const pit = counter(0, 4);
    pit.advance(3);
    pit.gate = false;
    expect(counts(pit, 3, 6)).toEqual([2, 2, 2, 2]);
    pit.gate = true;
    expect(counts(pit, 6, 8)).toEqual([2, 1, 0]);
    expect(pit.out).toBe(true);
    pit.gate = false;
    expect(pit.out).toBe(true);
  });

  it('mode 0: a count written while GATE is low needs no pulse to load afterwards', () => {
    const pit = counter(0, 3, false);
    expect(counts(pit, 1, 4)).toEqual([3, 3, 3, 3]);
    pit.gate = true;
    expect(wave(pit, 4, 8)).toBe('LLLHH');
  });

  it('mode 0: the first of two bytes stops the count and lowers OUT', () => {
    const pit = new PitCounter(true);
    pit.setControl(0x30);
    pit.write(2);
    pit.write(0);
    pit.advance(5);
    expect(pit.out).toBe(true);
    pit.write(3);
    expect(pit.out).toBe(false);
    expect(pit.nextEdge).toBe(Number.POSITIVE_INFINITY);
    pit.advance(20);
    pit.write(0);
    expect(pit.nextEdge).toBe(24);
  });

  it('mode 1: each rising GATE starts a pulse of N, and again from the start', () => {
    const pit = counter(1, 3, false);
    expect(wave(pit, 0, 3)).toBe('HHHH');
    pit.gate = true;
    expect(wave(pit, 4, 8)).toBe('LLLHH');
    pit.gate = false;
    pit.gate = true;
    expect(wave(pit, 8, 10)).toBe('HLL');
    pit.gate = false;
    pit.gate = true;
    expect(wave(pit, 10, 15)).toBe('LLLLHH');
  });

  it('mode 1: a count written meanwhile waits for the next trigger', () => {
    const pit = counter(1, 3, false);
    pit.gate = true;
    pit.advance(2);
    pit.write(5);
    expect(readBackStatus(pit) & 0x40).toBe(0x40);
    expect(wave(pit, 2, 5)).toBe('LLHH');
    expect(readBackStatus(pit) & 0x40).toBe(0x40);
    pit.gate = false;
    pit.gate = true;
    expect(wave(pit, 6, 11)).toBe('LLLLLH');
    expect(readBackStatus(pit) & 0x40).toBe(0);
  });

  it('mode 2: one low pulse at count 1 in every N', () => {
    expect(wave(counter(2, 3), 0, 10)).toBe('HHHLHHLHHLH');
    expect(counts(counter(2, 3), 1, 7)).toEqual([3, 2, 1, 3, 2, 1, 3]);
  });

  it('mode 2: GATE low raises OUT and stops, rising GATE reloads', () => {
    const pit = counter(2, 3);
    pit.advance(3);
    expect(pit.out).toBe(false);
    pit.gate = false;
    expect(wave(pit, 3, 6)).toBe('HHHH');
    pit.gate = true;
    expect(wave(pit, 7, 12)).toBe('HHLHHL');
  });

  it('mode 2: a new count takes over at the end of the period', () => {
    const pit = counter(2, 4);
    pit.advance(2);
    pit.write(2);
    expect(readBackStatus(pit)).toBe(0xd4);
    expect(counts(pit, 2, 9)).toEqual([3, 2, 1, 2, 1, 2, 1, 2]);
    expect(readBackStatus(pit)).toBe(0x94);
  });

  it('mode 3: half and half, the odd pulse high', () => {
    expect(wave(counter(3, 4), 0, 9)).toBe('HHHLLHHLLH');
    expect(wave(counter(3, 5), 0, 11)).toBe('HHHHLLHHHLLH');
    expect(counts(counter(3, 4), 1, 5)).toEqual([4, 2, 4, 2, 4]);
    expect(counts(counter(3, 5), 1, 6)).toEqual([4, 2, 0, 4, 2, 4]);
  });

  it('mode 3: a new count takes over at the end of the half period', () => {
    const inHigh = counter(3, 6);
    inHigh.advance(2);
    inHigh.write(4);
    expect(wave(inHigh, 1, 9)).toBe('HHHLLHHLL');
    const inLow = counter(3, 6);
    inLow.advance(5);
    inLow.write(4);
    expect(wave(inLow, 4, 11)).toBe('LLLHHLLH');
  });

  it('mode 4: one low pulse N + 1 pulses after the write', () => {
    expect(wave(counter(4, 3), 0, 8)).toBe('HHHHLHHHH');
    const pit = counter(4, 3);
    pit.advance(2);
    pit.write(2);
    expect(wave(pit, 2, 7)).toBe('HHHLHH');
  });

  it('mode 5: the pulse comes N + 1 pulses after the trigger', () => {
    const pit = counter(5, 3, false);
    expect(wave(pit, 0, 6)).toBe('HHHHHHH');
    pit.gate = true;
    expect(wave(pit, 7, 12)).toBe('HHHLHH');
    pit.gate = false;
    pit.gate = true;
    expect(wave(pit, 12, 17)).toBe('HHHHLH');
  });

  it('announces in nextEdge exactly the edges that OUT shows', () => {
    for (const mode of [0, 1, 2, 3, 4, 5]) {
      for (const count of [1, 2, 3, 4, 5, 6, 7, 200]) {
        const [first, second] = [counter(mode, count, false), counter(mode, count, false)];
        first.gate = true;
        second.gate = true;
        expect(waveByEdges(second, 0, 500), `mode ${mode}, count ${count}`).toBe(wave(first, 0, 500));
      }
    }
  });

  it('counts 65536 for 0, and 10000 in BCD', () => {
    const binary = new PitCounter(true);
    binary.setControl(0x34);
    binary.write(0);
    binary.write(0);
    binary.advance(1);
    expect(binary.nextEdge).toBe(65536);
    binary.advance(2);
    expect([binary.read(), binary.read()]).toEqual([0xff, 0xff]);
    const bcd = new PitCounter(true);
    bcd.setControl(0x35);
    bcd.write(0x34);
    bcd.write(0x12);
    bcd.advance(1);
    expect(bcd.nextEdge).toBe(1234);
    bcd.advance(36);
    expect([bcd.read(), bcd.read()]).toEqual([0x99, 0x11]);
  });

  it('latches a count until it is read whole, and ignores a second latch', () => {
    const pit = new PitCounter(true);
    pit.setControl(0x34);
    pit.write(0x00);
    pit.write(0x10);
    pit.advance(2);
    pit.latchCount();
    pit.advance(0x801);
    pit.latchCount();
    expect([pit.read(), pit.read()]).toEqual([0xff, 0x0f]);
    expect([pit.read(), pit.read()]).toEqual([0x00, 0x08]);
  });

  it('moves single bytes as the control word says', () => {
    const pit = new PitCounter(true);
    pit.setControl(0x24);
    pit.write(0x12);
    pit.advance(1);
    expect(pit.nextEdge).toBe(0x1200);
    expect([pit.read(), pit.read()]).toEqual([0x12, 0x12]);
  });

  it('reads status before count: OUT, null count, control word', () => {
    const pit = new PitCounter(true);
    pit.setControl(0x3e);
    expect(readBackStatus(pit)).toBe(0xfe);
    pit.write(6);
    expect(readBackStatus(pit)).toBe(0xfe);
    pit.write(0);
    expect(readBackStatus(pit)).toBe(0xfe);
    pit.advance(5);
    pit.latchStatus();
    pit.latchCount();
    expect([pit.read(), pit.read(), pit.read()]).toEqual([0x3e, 4, 0]);
  });

  it('rests on the illegal count of 1 in modes 2 and 3, and recovers', () => {
    for (const mode of [2, 3]) {
      const pit = counter(mode, 1);
      pit.advance(50);
      expect(pit.nextEdge).toBe(Number.POSITIVE_INFINITY);
      pit.write(4);
      pit.advance(51);
      expect(pit.nextEdge).toBe(mode === 2 ? 54 : 53);
    }
  });
});
