import { describe, expect, it } from 'vitest';
import { Pci } from '../../../src/machine/devices/pci.ts';
import { hostBridge, isaBridge } from '../../../src/machine/devices/pci-bridges.ts';
import { IoBus } from '../../../src/machine/io-bus.ts';

function machine() {
  const io = new IoBus();
  let resets = 0;
  let inits = 0;
  const pci = new Pci(
    () => resets++,
    () => inits++,
  );
  pci.attach(io);
  pci.add(0, 0, hostBridge());
  pci.add(1, 0, isaBridge());
  const select = (device: number, register: number, bus = 0, fn = 0) =>
    io.write(0xcf8, 4, (0x8000_0000 | (bus << 16) | (device << 11) | (fn << 8) | register) >>> 0);
  const read = (device: number, register: number, bus = 0, fn = 0) => {
    select(device, register, bus, fn);
    return io.read(0xcfc, 4);
  };
  return { io, pci, select, read, resets: () => resets, inits: () => inits };
}

describe('PCI', () => {
  it('is found the way Linux looks for mechanism 1', () => {
    const { io, resets } = machine();
    io.write(0xcfb, 1, 0x01);
    const before = io.read(0xcf8, 4);
    io.write(0xcf8, 4, 0x8000_0000);
    expect(io.read(0xcf8, 4)).toBe(0x8000_0000);
    io.write(0xcf8, 4, before);
    expect(resets()).toBe(0);
    // Mechanism 2 must not be found: bytes at CF8h and CFAh do not read back 0.
    io.write(0xcf8, 1, 0);
    io.write(0xcfa, 1, 0);
    expect([io.read(0xcf8, 1), io.read(0xcfa, 1)]).toEqual([0xff, 0xff]);
  });

  it('has a host bridge and an ISA bridge, and nothing else', () => {
    const { read } = machine();
    expect(read(0, 0x00)).toBe(0x1237_8086);
    expect(read(0, 0x08)).toBe(0x0600_0002);
    expect(read(1, 0x00)).toBe(0x7000_8086);
    expect(read(1, 0x08)).toBe(0x0601_0000);
    expect(read(0, 0x0c)).toBe(0);
    for (let device = 2; device < 32; device++) expect(read(device, 0)).toBe(0xffff_ffff);
    expect(read(0, 0, 1)).toBe(0xffff_ffff);
    expect(read(0, 0, 0, 1)).toBe(0xffff_ffff);
  });

  it('reads words and bytes, and floats without the enable bit', () => {
    const { io, select } = machine();
    select(1, 0);
    expect([io.read(0xcfc, 2), io.read(0xcfe, 2), io.read(0xcff, 1)]).toEqual([0x8086, 0x7000, 0x70]);
    io.write(0xcf8, 4, 0x0000_0800);
    expect(io.read(0xcfc, 4)).toBe(0xffff_ffff);
    io.write(0xcf8, 4, 0xffff_ffff);
    expect(io.read(0xcf8, 4)).toBe(0x80ff_fffc);
  });

  it('has no base addresses, and keeps device-specific registers', () => {
    const { io, select, read } = machine();
    for (let bar = 0x10; bar <= 0x30; bar += 4) {
      select(0, bar);
      io.write(0xcfc, 4, 0xffff_ffff);
      expect(io.read(0xcfc, 4)).toBe(0);
    }
    select(1, 0x80);
    io.write(0xcfe, 1, 0x02);
    expect(read(1, 0x80)).toBe(0x0002_0000);
    select(0, 0x00);
    io.write(0xcfc, 4, 0);
    expect(read(0, 0)).toBe(0x1237_8086);
    expect(read(1, 0x60)).toBe(0x8080_8080);
  });

  it('resets the machine on the rising edge of bit 2 of CF9h', () => {
    const { io, resets } = machine();
    io.write(0xcf9, 1, 0x02);
    expect([io.read(0xcf9, 1), resets()]).toEqual([0x02, 0]);
    io.write(0xcf9, 1, 0x06);
    io.write(0xcf9, 1, 0x06);
    expect(resets()).toBe(1);
  });

  it('pulses INIT instead where bit 1 of CF9h is clear', () => {
    const { io, resets, inits } = machine();
    io.write(0xcf9, 1, 0x04);
    io.write(0xcf9, 1, 0x04);
    expect([resets(), inits()]).toEqual([0, 1]);
  });

  it('refuses two functions in one place', () => {
    expect(() => machine().pci.add(1, 0, isaBridge())).toThrow('PCI function 00:1.0 is taken.');
  });
});
