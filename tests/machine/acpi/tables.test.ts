import { describe, expect, it } from 'vitest';
import { type AcpiOptions, buildAcpi } from '../../../src/machine/acpi/tables.ts';
import { createPcDevices } from '../../../src/machine/devices/pc.ts';
import { ManualClock } from '../devices/manual-clock.ts';

/** The tables in a piece of memory, read as an operating system does. */
function firmware(options: AcpiOptions) {
  const memory = new Uint8Array(0x10_0000);
  const { rsdp, tables } = buildAcpi(options);
  for (const { address, bytes } of tables) memory.set(bytes, address);
  const view = new DataView(memory.buffer);
  const text = (at: number, length: number) => String.fromCharCode(...memory.subarray(at, at + length));
  const u32 = (at: number) => view.getUint32(at, true);
  const u64 = (at: number) => Number(view.getBigUint64(at, true));
  const sum = (at: number, length: number) =>
    memory.subarray(at, at + length).reduce((total, byte) => total + byte, 0) & 0xff;
  /** Signature to address, by way of RSDP and RSDT. */
  const found = new Map<string, number>();
  const rsdt = u32(rsdp + 16);
  for (let at = rsdt + 36; at < rsdt + u32(rsdt + 4); at += 4) found.set(text(u32(at), 4), u32(at));
  return { memory, view, rsdp, tables, text, u32, u64, sum, found, rsdt };
}

const MEMORY = 256 << 20;

describe('ACPI tables', () => {
  it('lie below 1 MiB, apart, with the RSDP on a 16-byte boundary', () => {
    const { rsdp, tables } = buildAcpi({ memoryBytes: MEMORY });
    expect(rsdp % 16).toBe(0);
    const sorted = [...tables].sort((a, b) => a.address - b.address);
    let end = 0xe_0000;
    for (const { address, bytes } of sorted) {
      expect(address).toBeGreaterThanOrEqual(end);
      end = address + bytes.length;
    }
    expect(end).toBeLessThanOrEqual(0x10_0000);
  });

  it('have right checksums, all the way from the RSDP', () => {
    const { rsdp, rsdt, text, u32, u64, sum, memory, found } = firmware({ memoryBytes: MEMORY });
    expect([text(rsdp, 8), memory[rsdp + 15], sum(rsdp, 20), sum(rsdp, 36)]).toEqual(['RSD PTR ', 2, 0, 0]);
    const xsdt = u64(rsdp + 24);
    expect([text(rsdt, 4), text(xsdt, 4)]).toEqual(['RSDT', 'XSDT']);
    expect([...found.keys()]).toEqual(['FACP', 'APIC']);
    const dsdt = u32(found.get('FACP')! + 40);
    expect(text(dsdt, 4)).toBe('DSDT');
    for (const table of [rsdt, xsdt, dsdt, ...found.values()]) expect(sum(table, u32(table + 4))).toBe(0);
    const listed = Array.from({ length: (u32(xsdt + 4) - 36) / 8 }, (_, index) => u64(xsdt + 36 + index * 8));
    expect(listed).toEqual([...found.values()]);
  });

  it('describe the fixed hardware in the FADT, twice alike', () => {
    const { view, u32, u64, text, found } = firmware({ memoryBytes: MEMORY });
    const fadt = found.get('FACP')!;
    const facs = u32(fadt + 36);
    expect([text(facs, 4), u32(facs + 4), facs % 64]).toEqual(['FACS', 64, 0]);
    expect(u32(fadt + 4)).toBe(244);
    expect(view.getUint16(fadt + 46, true)).toBe(9);
    // SMI_CMD, PM1a event, PM1a control, PM timer.
    expect([48, 56, 64, 76].map((at) => u32(fadt + at))).toEqual([0, 0x600, 0x604, 0x608]);
    expect([88, 89, 91, 108].map((at) => view.getUint8(fadt + at))).toEqual([4, 2, 4, 0x32]);
    expect(u64(fadt + 140)).toBe(u32(fadt + 40));
    const generic = (at: number) => [
      view.getUint8(fadt + at),
      view.getUint8(fadt + at + 1),
      u64(fadt + at + 4),
    ];
    expect([148, 172, 208].map(generic)).toEqual([
      [1, 32, 0x600],
      [1, 16, 0x604],
      [1, 32, 0x608],
    ]);
    expect(generic(116)).toEqual([1, 8, 0xcf9]);
    expect([view.getUint8(fadt + 128), u32(fadt + 112) & 0x400]).toEqual([6, 0x400]);
  });

  it('list one processor, one I/O APIC, the overrides and the NMI pin in the MADT', () => {
    const { memory, u32, found } = firmware({ memoryBytes: MEMORY, apicId: 3 });
    const madt = found.get('APIC')!;
    expect([u32(madt + 36), u32(madt + 40)]).toEqual([0xfee0_0000, 1]);
    const entries: number[][] = [];
    for (let at = madt + 44; at < madt + u32(madt + 4); at += memory[at + 1])
      entries.push([...memory.subarray(at, at + memory[at + 1])]);
    expect(entries).toEqual([
      [0, 8, 0, 3, 1, 0, 0, 0],
      [1, 12, 1, 0, 0x00, 0x00, 0xc0, 0xfe, 0, 0, 0, 0],
      [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
      [2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
      [4, 6, 0xff, 0, 0, 1],
    ]);
  });

  it('leave the MADT out where there is no APIC', () => {
    expect([...firmware({ memoryBytes: MEMORY, hasApic: false }).found.keys()]).toEqual(['FACP']);
  });

  it('put the PCI memory window above all memory', () => {
    for (const [memoryBytes, start] of [
      [MEMORY, 0x8000_0000],
      [0x9012_3000, 0x9100_0000],
    ]) {
      const { memory, view, u32, found } = firmware({ memoryBytes });
      const dsdt = u32(found.get('FACP')! + 40);
      const windows: number[][] = [];
      for (let at = dsdt + 36; at < dsdt + u32(dsdt + 4); at++) {
        // A dword address space descriptor: tag, length 23, memory.
        if (memory[at] !== 0x87 || memory[at + 1] !== 23 || memory[at + 3] !== 0) continue;
        windows.push([view.getUint32(at + 10, true), view.getUint32(at + 14, true)]);
      }
      expect(windows).toEqual([
        [0xa_0000, 0xb_ffff],
        [start, 0xfebf_ffff],
      ]);
    }
  });

  it('tell a sleep type that switches the machine off', () => {
    const { memory, u32, found } = firmware({ memoryBytes: MEMORY });
    const dsdt = u32(found.get('FACP')! + 40);
    const aml = memory.subarray(dsdt + 36, dsdt + u32(dsdt + 4));
    // Name (\_S5, Package (4) {0x05, ...
    const s5 = [0x08, 0x5c, 0x5f, 0x53, 0x35, 0x5f, 0x12, 0x08, 0x04, 0x0a];
    expect([...aml.subarray(0, s5.length)]).toEqual(s5);
    const sleepType = aml[s5.length];
    let off = 0;
    const pc = createPcDevices({
      clock: new ManualClock().clock,
      memoryBytes: MEMORY,
      serialOut: () => {},
      debugConsoleOut: () => {},
      onReset: () => {},
      onPowerOff: () => off++,
      onDebugExit: () => {},
      onA20: () => {},
    });
    pc.io.write(0x604, 2, 0x2000 | (sleepType << 10));
    expect(off).toBe(1);
  });
});
