import { describe, expect, it } from 'vitest';
import { IoBus } from '../../../src/machine/io-bus.ts';
import type { AccessSize, PortDevice } from '../../../src/machine/ports.ts';

/** Remembers every access and answers with the port number in each byte. */
class Recorder implements PortDevice {
  readonly seen: string[] = [];
  readPort(port: number, size: AccessSize): number {
    this.seen.push(`r${size}@${port.toString(16)}`);
    return (port & 0xff) * 0x0101_0101;
  }
  writePort(port: number, size: AccessSize, value: number): void {
    this.seen.push(`w${size}@${port.toString(16)}=${value.toString(16)}`);
  }
}

describe('I/O bus', () => {
  it('reads all ones where nobody is and swallows writes', () => {
    const bus = new IoBus();
    expect(bus.read(0x1234, 1)).toBe(0xff);
    expect(bus.read(0x1234, 2)).toBe(0xffff);
    expect(bus.read(0x1234, 4)).toBe(0xffff_ffff);
    bus.write(0x1234, 4, 0);
    expect(bus.read(0xffff, 4)).toBe(0xffff_ffff);
  });

  it('splits wide accesses to a byte device into consecutive ports, lowest first', () => {
    const bus = new IoBus();
    const device = new Recorder();
    bus.claim({ name: 'bytes', first: 0x20, count: 4, device });
    expect(bus.read(0x20, 4)).toBe(0x2322_2120);
    bus.write(0x22, 2, 0xabcd);
    expect(device.seen).toEqual(['r1@20', 'r1@21', 'r1@22', 'r1@23', 'w1@22=cd', 'w1@23=ab']);
  });

  it('gives a wide device aligned accesses whole and splits unaligned ones', () => {
    const bus = new IoBus();
    const device = new Recorder();
    bus.claim({ name: 'dwords', first: 0xcf8, count: 8, width: 4, device });
    bus.write(0xcf8, 4, 0x8000_0001);
    bus.write(0xcfa, 4, 0x1122_3344);
    bus.write(0xcf9, 2, 0x5566);
    expect(device.seen).toEqual(['w4@cf8=80000001', 'w2@cfa=3344', 'w2@cfc=1122', 'w1@cf9=66', 'w1@cfa=55']);
  });

  it('splits an access that straddles two owners', () => {
    const bus = new IoBus();
    const device = new Recorder();
    bus.claim({ name: 'one', first: 0x60, count: 1, device });
    expect(bus.read(0x60, 2)).toBe(0xff60);
    expect(bus.read(0x5f, 2)).toBe(0x60ff);
    expect(device.seen).toEqual(['r1@60', 'r1@60']);
  });

  it('masks what a device returns to the access', () => {
    const bus = new IoBus();
    bus.claim({
      name: 'w',
      first: 0,
      count: 4,
      width: 4,
      device: { readPort: () => -1, writePort: () => {} },
    });
    expect([bus.read(0, 1), bus.read(0, 2), bus.read(0, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
  });

  it('names both owners of a conflict and the limits of the space', () => {
    const bus = new IoBus();
    const device = new Recorder();
    bus.claim({ name: 'first', first: 0x40, count: 4, device });
    expect(() => bus.claim({ name: 'second', first: 0x43, count: 2, device })).toThrow(
      'Ports 0x43-0x44 of second overlap 0x40-0x43 of first.',
    );
    expect(() => bus.claim({ name: 'far', first: 0xffff, count: 2, device })).toThrow(
      'outside the I/O space',
    );
    bus.claim({ name: 'beside', first: 0x44, count: 1, device });
  });
});
