import { describe, expect, it } from 'vitest';
import { MmioBus, type MmioRegion } from '../../../src/machine/mmio-bus.ts';

function region(name: string, base: number, size = 0x1000): MmioRegion & { written: number[] } {
  const written: number[] = [];
  return {
    name,
    base,
    size,
    written,
    device: {
      readMmio: (offset) => 0x8000_0000 + offset,
      writeMmio: (offset, size, value) => written.push(offset, size, value),
    },
  };
}

describe('MMIO bus', () => {
  it('dispatches by page, with offsets from the start of the region', () => {
    const bus = new MmioBus();
    const wide = region('wide', 0xd000_0000, 0x2000);
    bus.map(wide);
    expect(bus.read(0xd000_1004, 4)).toBe(0x8000_1004);
    expect(bus.read(0xd000_1004, 1)).toBe(4);
    bus.write(0xd000_0010, 2, 0x12345);
    expect(wide.written).toEqual([0x10, 2, 0x2345]);
    expect(bus.find(0xd000_1fff)).toBe(wide);
    expect(bus.find(0xd000_2000)).toBeUndefined();
    expect([0xcffff, 0xd0000, 0xd0001, 0xd0002].map((frame) => bus.claims(frame))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it('reads all ones where nobody is, also above 4 GiB', () => {
    const bus = new MmioBus();
    bus.map(region('low', 0xfec0_0000));
    expect(bus.read(0x1_fec0_0000, 4)).toBe(0xffff_ffff);
    expect(bus.read(0x1_fec0_0000, 2)).toBe(0xffff);
    bus.write(0x1_fec0_0000, 4, 1);
  });

  it('refuses overlaps and parts of pages', () => {
    const bus = new MmioBus();
    bus.map(region('io-apic', 0xfec0_0000));
    expect(() => bus.map(region('other', 0xfebf_f000, 0x2000))).toThrow(
      'The registers of other overlap those of io-apic at 0xfec00000.',
    );
    expect(bus.find(0xfebf_f000)).toBeUndefined();
    expect(() => bus.map(region('half', 0x800))).toThrow('not made of whole pages');
  });

  it('lets a region of the processor hide the bus and uncovers it again', () => {
    let moves = 0;
    const bus = new MmioBus(() => moves++);
    const below = region('below', 0xfec0_0000);
    const core = region('core', 0xfec0_0000);
    bus.map(below);
    bus.mapInCore(core);
    expect(bus.find(0xfec0_0000)).toBe(core);
    bus.unmap(core);
    expect(bus.find(0xfec0_0000)).toBe(below);
    expect(moves).toBe(3);
  });
});
