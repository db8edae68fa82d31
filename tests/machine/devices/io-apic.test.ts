import { describe, expect, it } from 'vitest';
import type { ApicMessage } from '../../../src/machine/devices/apic-messages.ts';
import { IoApic } from '../../../src/machine/devices/io-apic.ts';
import { LocalApic } from '../../../src/machine/devices/local-apic.ts';
import { MmioBus } from '../../../src/machine/mmio-bus.ts';
import { ManualClock } from './manual-clock.ts';

const BASE = 0xfec0_0000;

function access(mmio: MmioBus) {
  const select = (register: number) => mmio.write(BASE, 4, register);
  return {
    read: (register: number) => {
      select(register);
      return mmio.read(BASE + 0x10, 4);
    },
    write: (register: number, value: number) => {
      select(register);
      mmio.write(BASE + 0x10, 4, value);
    },
  };
}

function machine() {
  const mmio = new MmioBus();
  const sent: ApicMessage[] = [];
  const apic = new IoApic((message) => sent.push(message));
  apic.attach(mmio);
  return { apic, mmio, sent, ...access(mmio) };
}

describe('I/O APIC', () => {
  it('shows ID, version and 24 masked entries', () => {
    const { mmio, read, write } = machine();
    expect([read(0), read(1), read(2)]).toEqual([0, 0x0017_0011, 0]);
    write(0, 0xffff_ffff);
    expect([read(0), read(2)]).toEqual([0x0f00_0000, 0x0f00_0000]);
    for (let entry = 0; entry < 24; entry++)
      expect([read(0x10 + 2 * entry), read(0x11 + 2 * entry)]).toEqual([0x1_0000, 0]);
    expect(read(0x40)).toBe(0);
    expect(mmio.read(BASE, 4)).toBe(0x40);
    write(0x10, 0xffff_ffff);
    write(0x11, 0xffff_ffff);
    expect([read(0x10), read(0x11)]).toEqual([0x1_afff, 0xff00_0000]);
  });

  it('sends what the entry says on an edge, and nothing while masked', () => {
    const { apic, sent, write } = machine();
    const line = apic.line(4);
    line.set(true);
    write(0x19, 0x0500_0000);
    write(0x18, 0x0_0934);
    expect(sent).toEqual([]);
    line.set(false);
    line.set(true);
    line.set(true);
    expect(sent).toEqual([{ vector: 0x34, mode: 1, levelTriggered: false, destination: 5, logical: true }]);
  });

  it('holds a level by remote IRR until EOI, and sends it again while asserted', () => {
    const { apic, sent, read, write } = machine();
    const line = apic.line(9);
    write(0x22, 0x0_8041);
    line.set(true);
    expect([sent.length, read(0x22)]).toEqual([1, 0x0_c041]);
    line.set(false);
    line.set(true);
    expect(sent.length).toBe(1);
    apic.endOfInterrupt(0x40);
    expect(sent.length).toBe(1);
    apic.endOfInterrupt(0x41);
    expect([sent.length, read(0x22)]).toEqual([2, 0x0_c041]);
    line.set(false);
    apic.endOfInterrupt(0x41);
    expect([sent.length, read(0x22)]).toEqual([2, 0x0_8041]);
    expect(sent[1].levelTriggered).toBe(true);
  });

  it('delivers a level that waited under the mask, and forgets remote IRR as an edge entry', () => {
    const { apic, sent, read, write } = machine();
    write(0x22, 0x1_8041);
    apic.line(9).set(true);
    expect(sent).toEqual([]);
    write(0x22, 0x0_8041);
    expect(sent.length).toBe(1);
    // The way of Linux to clear a remote IRR that hangs: masked and edge, then level again.
    write(0x22, 0x1_0041);
    expect(read(0x22)).toBe(0x1_0041);
    write(0x22, 0x0_8041);
    expect(sent.length).toBe(2);
  });

  it('treats NMI and ExtINT as edges', () => {
    const { apic, sent, read, write } = machine();
    write(0x10, 0x0_8700);
    apic.line(0).set(true);
    apic.endOfInterrupt(0);
    write(0x10, 0x0_8700);
    expect(sent).toEqual([{ vector: 0, mode: 7, levelTriggered: false, destination: 0, logical: false }]);
    expect(read(0x10)).toBe(0x0_8700);
  });

  it('works with a local APIC: level, EOI, level again', () => {
    const mmio = new MmioBus();
    const local: LocalApic = new LocalApic({
      clock: new ManualClock().clock,
      pic: { pending: false, acknowledge: () => 0 },
      onEoi: (vector) => apic.endOfInterrupt(vector),
      onNmi: () => {},
    });
    const apic = new IoApic((message) => local.receive(message));
    local.attach(mmio);
    apic.attach(mmio);
    mmio.write(0xfee0_00f0, 4, 0x1ff);
    const { read, write } = access(mmio);
    write(0x2a, 0x0_8055);
    apic.line(13).set(true);
    expect(local.acknowledge()).toBe(0x55);
    expect(local.pending).toBe(false);
    mmio.write(0xfee0_00b0, 4, 0);
    expect(local.acknowledge()).toBe(0x55);
    apic.line(13).set(false);
    mmio.write(0xfee0_00b0, 4, 0);
    expect([local.pending, read(0x2a)]).toEqual([false, 0x0_8055]);
  });
});
