import { describe, expect, it } from 'vitest';
import { Rtc, type RtcOptions } from '../../../src/machine/devices/rtc.ts';
import { IoBus } from '../../../src/machine/io-bus.ts';
import { ManualClock } from './manual-clock.ts';

const SECOND = 1_000_000_000;

function machine(options: Partial<RtcOptions> = {}) {
  const time = new ManualClock();
  const io = new IoBus();
  const irqs: number[] = [];
  let level = false;
  const irq = {
    set: (next: boolean) => {
      if (next && !level) irqs.push(time.now);
      level = next;
    },
  };
  const rtc = new Rtc({ clock: time.clock, irq, memoryBytes: 64 << 20, ...options });
  rtc.attach(io);
  const read = (index: number) => {
    io.write(0x70, 1, index);
    return io.read(0x71, 1);
  };
  const write = (index: number, value: number) => {
    io.write(0x70, 1, index);
    io.write(0x71, 1, value);
  };
  /** Century, year, month, day, weekday, hours, minutes, seconds as they stand. */
  const now = () =>
    [0x32, 9, 8, 7, 6, 4, 2, 0].map((index) => read(index).toString(16).padStart(2, '0')).join(' ');
  return { time, io, rtc, read, write, now, irqs };
}

describe('MC146818', () => {
  it('starts on Monday 2021-07-12 00:00:00 in BCD and 24 hours, and counts', () => {
    const { time, now, read } = machine();
    expect(now()).toBe('20 21 07 12 02 00 00 00');
    expect([read(0x0a), read(0x0b), read(0x0c), read(0x0d)]).toEqual([0x26, 0x02, 0, 0x80]);
    time.moveTo(SECOND - 1);
    expect(now()).toBe('20 21 07 12 02 00 00 00');
    time.moveTo(SECOND);
    expect(now()).toBe('20 21 07 12 02 00 00 01');
    time.moveTo(86_400 * SECOND + 3_725 * SECOND);
    expect(now()).toBe('20 21 07 13 03 01 02 05');
  });

  it('starts at the epoch it is given and turns the century', () => {
    const { time, now } = machine({ epochSeconds: 4_102_444_799 });
    expect(now()).toBe('20 99 12 31 05 23 59 59');
    time.moveTo(SECOND);
    expect(now()).toBe('21 00 01 01 06 00 00 00');
  });

  it('shows UIP from 2228 us before each second to its end', () => {
    const { time, read } = machine();
    const lead = Math.floor(((32_768 - 73) * 1e9) / 32_768);
    time.moveTo(lead - 1);
    expect(read(0x0a)).toBe(0x26);
    time.moveTo(lead + 1);
    expect(read(0x0a)).toBe(0xa6);
    time.moveTo(SECOND);
    expect(read(0x0a)).toBe(0x26);
  });

  it('takes binary and 12-hour formats', () => {
    const { time, write, now } = machine();
    write(0x0b, 0x86);
    for (const [index, value] of [
      [4, 23],
      [2, 59],
      [0, 59],
      [7, 28],
      [8, 2],
      [9, 24],
      [0x32, 20],
      [6, 4],
    ])
      write(index, value);
    write(0x0b, 0x06);
    time.moveTo(SECOND);
    expect(now()).toBe('14 18 02 1d 05 00 00 00');
    write(0x0b, 0x80);
    for (const [index, value] of [
      [4, 0x11],
      [2, 0x59],
      [0, 0x59],
      [7, 0x28],
      [9, 0x23],
      [0x32, 0x20],
    ])
      write(index, value);
    write(0x0b, 0x00);
    time.moveTo(2 * SECOND);
    expect(now()).toBe('20 23 02 28 05 92 00 00');
    time.moveTo((2 + 11 * 3600 + 3599) * SECOND);
    expect(now()).toBe('20 23 02 28 05 91 59 59');
    time.moveTo((2 + 12 * 3600) * SECOND);
    expect(now()).toBe('20 23 03 01 06 12 00 00');
  });

  it('stands still under SET, which clears UIE, and under a divider reset; then half a second to the first update', () => {
    const { time, write, read, now } = machine();
    write(0x0b, 0x92);
    expect(read(0x0b)).toBe(0x82);
    time.moveTo(3 * SECOND);
    expect(read(0x0a)).toBe(0x26);
    expect(now()).toBe('20 21 07 12 02 00 00 00');
    // As Linux sets the clock: divider in reset, SET, write, and back.
    write(0x0a, 0x76);
    write(0, 0x30);
    write(0x0b, 0x02);
    time.moveTo(4.25 * SECOND);
    write(0x0a, 0x26);
    time.moveTo(4.75 * SECOND - 40_000);
    expect(read(0)).toBe(0x30);
    time.moveTo(4.75 * SECOND);
    expect(read(0)).toBe(0x31);
  });

  it('interrupts at the end of updates, once for each read of register C', () => {
    const { time, write, read, irqs } = machine();
    write(0x0b, 0x12);
    time.moveTo(2.5 * SECOND);
    expect(irqs).toEqual([SECOND]);
    // PF is set too, whether enabled or not.
    expect(read(0x0c)).toBe(0xd0);
    expect(read(0x0c) & 0xb0).toBe(0);
    time.moveTo(3 * SECOND);
    expect(irqs).toEqual([SECOND, 3 * SECOND]);
  });

  it('interrupts periodically at 1024 Hz and at the odd rates 1 and 2', () => {
    for (const [rate, hertz] of [
      [6, 1024],
      [1, 256],
      [2, 128],
      [3, 8192],
      [15, 2],
    ]) {
      const { time, write, read, irqs } = machine();
      write(0x0a, 0x20 | rate);
      write(0x0b, 0x42);
      for (let i = 1; i <= 5; i++) {
        time.moveTo(Math.ceil((i * 1e9) / hertz));
        expect(read(0x0c)).toBe(hertz === 2 && i % 2 === 0 ? 0xd0 : 0xc0);
      }
      expect(irqs).toEqual([1, 2, 3, 4, 5].map((i) => Math.ceil((i * 1e9) / hertz)));
    }
  });

  it('goes off at the alarm, with wildcards too', () => {
    const { time, write, read, irqs } = machine();
    write(1, 0x05);
    write(3, 0xff);
    write(5, 0xc0);
    write(0x0b, 0x22);
    time.moveTo(64 * SECOND);
    expect(irqs).toEqual([5 * SECOND]);
    expect(read(0x0c)).toBe(0xf0);
    time.moveTo(65 * SECOND);
    expect(irqs).toEqual([5 * SECOND, 65 * SECOND]);
    read(0x0c);
    write(3, 0x02);
    write(5, 0x01);
    time.moveTo(90_000 * SECOND);
    expect(irqs.slice(2)).toEqual([3725 * SECOND]);
  });

  it('finds an alarm that passed while nobody looked', () => {
    const { time, write, read, irqs } = machine();
    write(1, 0x00);
    write(3, 0x30);
    write(5, 0x12);
    time.sleep(40_000 * SECOND);
    expect(read(0x0c) & 0x30).toBe(0x10);
    time.sleep(10_000 * SECOND);
    expect(read(0x0c) & 0x30).toBe(0x30);
    expect(irqs).toEqual([]);
  });

  it('reports memory as PC firmware does', () => {
    const { read } = machine();
    const word = (index: number) => read(index) | (read(index + 1) << 8);
    expect(word(0x15)).toBe(640);
    expect(word(0x17)).toBe(63 * 1024);
    expect(word(0x30)).toBe(63 * 1024);
    expect(word(0x34)).toBe((48 << 20) / 65536);
    let sum = 0;
    for (let index = 0x10; index <= 0x2d; index++) sum += read(index);
    expect((read(0x2e) << 8) | read(0x2f)).toBe(sum);
    const big = machine({ memoryBytes: 2 ** 31 });
    expect(big.read(0x30) | (big.read(0x31) << 8)).toBe(0xffff);
    expect(big.read(0x34) | (big.read(0x35) << 8)).toBe((2 ** 31 - (16 << 20)) / 65536);
  });

  it('keeps memory over a reset, which ends interrupts', () => {
    const { write, read, rtc, io } = machine();
    write(0x40, 0x5a);
    write(0x0b, 0x7a);
    io.write(0x70, 1, 0x8f);
    expect(rtc.nmiMasked).toBe(true);
    io.write(0x71, 1, 0x0a);
    rtc.reset();
    expect(rtc.nmiMasked).toBe(false);
    expect([read(0x40), read(0x0f), read(0x0b)]).toEqual([0x5a, 0x0a, 0x02]);
    expect(io.read(0x70, 1)).toBe(0xff);
  });
});
