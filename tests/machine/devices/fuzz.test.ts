import { describe, expect, it } from 'vitest';
import { createPcDevices } from '../../../src/machine/devices/pc.ts';
import type { AccessSize } from '../../../src/machine/ports.ts';
import { ManualClock } from './manual-clock.ts';

/** A small generator of its own (xorshift32), so that a failure comes again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

// biome-ignore format: table
const PORTS: readonly (readonly [first: number, count: number])[] = [
  [0x20, 2], [0xa0, 2], [0x4d0, 2], [0x40, 4], [0x60, 5], [0x70, 2], [0x80, 1], [0x92, 1],
  [0xe9, 1], [0xf0, 8], [0x3f8, 8], [0x600, 12], [0xcf8, 8], [0, 0x1_0000],
];
const SIZES: readonly AccessSize[] = [1, 2, 4];
const NOTABLE = [0, 1, 0xff, 0x8000_0000, 0xffff_ffff, 0x1ff, 0x700, 0x2_00ec];

/** One long run of accesses that make no sense; returns all that was read and acknowledged, folded to one number. */
function run(seed: number, accesses: number): number {
  const pick = random(seed);
  const time = new ManualClock();
  let digest = 0;
  const fold = (value: number) => {
    digest = (Math.imul(digest, 31) + value) | 0;
  };
  const pc = createPcDevices({
    clock: time.clock,
    memoryBytes: 64 << 20,
    hasApic: seed % 4 !== 0,
    serialOut: fold,
    debugConsoleOut: fold,
    onReset: () => fold(1),
    onPowerOff: () => fold(2),
    onDebugExit: fold,
    onA20: (enabled) => fold(enabled ? 3 : 4),
    onNmi: () => fold(5),
    onInit: () => fold(6),
  });
  const value = () => (pick(3) === 0 ? NOTABLE[pick(NOTABLE.length)] : pick(0x1_0000_0000));
  const mmio = (size: AccessSize) => {
    const base = pick(3) === 0 ? 0xfec0_0000 : 0xfee0_0000;
    const offset = pick(4) === 0 ? pick(0x1000) : pick(0x40) * 0x10;
    return base + offset - (offset % size);
  };
  /** What does not come from the guest's ports: input, a moved APIC, a reset. */
  const disturb = (kind: number) => {
    if (kind < 10) pc.uart.receive([pick(256)]);
    else if (kind < 20) pc.keyboard.type([pick(256)]);
    else if (kind === 20 && pc.apic) pc.apic.baseLo = value();
    else if (kind === 21) pc.reset();
  };
  for (let index = 0; index < accesses; index++) {
    const size = SIZES[pick(3)];
    const [first, count] = PORTS[pick(PORTS.length)];
    const port = first + pick(count);
    switch (pick(8)) {
      case 0:
      case 1:
        fold(pc.io.read(port, size));
        break;
      case 2:
      case 3:
        pc.io.write(port, size, value());
        break;
      case 4:
        fold(pc.mmio.read(mmio(size), size));
        break;
      case 5:
        pc.mmio.write(mmio(size), size, value());
        break;
      case 6:
        // Sometimes late, as a processor may be; sometimes exact.
        if (pick(2) === 0) time.sleep(pick(100_000));
        else time.move(pick(2_000));
        break;
      default:
        if (pc.interrupts.pending) fold(pc.interrupts.acknowledge());
        else disturb(pick(500));
    }
  }
  return digest;
}

describe('PC devices under senseless accesses', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('seed %i: never throw, never hang, and do the same again', (seed) => {
    const digest = run(seed, 20_000);
    expect(digest).not.toBe(0);
    expect(run(seed, 20_000)).toBe(digest);
  });

  it('give unsigned values no wider than the access', () => {
    const pick = random(99);
    const time = new ManualClock();
    const pc = createPcDevices({
      clock: time.clock,
      memoryBytes: 64 << 20,
      serialOut: () => {},
      debugConsoleOut: () => {},
      onReset: () => {},
      onPowerOff: () => {},
      onDebugExit: () => {},
      onA20: () => {},
    });
    for (let port = 0; port < 0x1_0000; port++) {
      const size = SIZES[pick(3)];
      const value = pc.io.read(port, size);
      if (!(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size)))
        expect.fail(`port ${port.toString(16)}: ${value}`);
    }
    for (const base of [0xfec0_0000, 0xfee0_0000]) {
      for (let offset = 0; offset < 0x1000; offset += 4) {
        const value = pc.mmio.read(base + offset, 4);
        if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 32))
          expect.fail(`${(base + offset).toString(16)}: ${value}`);
      }
    }
  });
});
