import { describe, expect, it } from 'vitest';
import { createPcDevices, type PcOptions } from '../../../src/machine/devices/pc.ts';
import { ManualClock } from './manual-clock.ts';

const LOCAL_APIC = 0xfee0_0000;
const IO_APIC = 0xfec0_0000;
const EOI = 0xb0;

function machine(options: Partial<PcOptions> = {}) {
  const time = new ManualClock();
  const events: string[] = [];
  const sent: number[] = [];
  const pc = createPcDevices({
    clock: time.clock,
    memoryBytes: 128 << 20,
    serialOut: (byte) => sent.push(byte),
    debugConsoleOut: (byte) => events.push(`console ${byte}`),
    onReset: () => events.push('reset'),
    onPowerOff: () => events.push('power off'),
    onDebugExit: (status) => events.push(`exit ${status}`),
    onA20: (enabled) => events.push(`a20 ${enabled}`),
    onNmi: () => events.push('nmi'),
    onInterrupt: () => events.push('interrupt'),
    ...options,
  });
  const out = (port: number, ...values: number[]) => {
    for (const value of values) pc.io.write(port, 1, value);
  };
  const apic = (offset: number, value: number) => pc.mmio.write(LOCAL_APIC + offset, 4, value);
  const redirect = (input: number, low: number) => {
    pc.mmio.write(IO_APIC, 4, 0x10 + 2 * input);
    pc.mmio.write(IO_APIC + 0x10, 4, low);
  };
  return { time, pc, events, sent, out, apic, redirect };
}

/** Programs counter 0 for 250 interrupts a second, as Linux does. */
function startTimer(out: (port: number, ...values: number[]) => void): void {
  out(0x43, 0x34);
  out(0x40, 4773 & 0xff, 4773 >> 8);
}

describe('PC', () => {
  it('comes up quiet: nothing pending, interrupts masked, devices as firmware leaves them', () => {
    const { time, pc, events } = machine();
    expect(events).toEqual([]);
    time.moveTo(1e9);
    expect([pc.interrupts.pending, pc.a20.enabled]).toEqual([false, true]);
    expect([pc.io.read(0x21, 1), pc.io.read(0xa1, 1), pc.io.read(0x4d0, 2)]).toEqual([0xfb, 0xff, 0x0200]);
    expect([0xf0, 0x350, 0x360].map((offset) => pc.mmio.read(LOCAL_APIC + offset, 4))).toEqual([
      0x1ff, 0x700, 0x400,
    ]);
    pc.mmio.write(IO_APIC, 4, 0);
    expect(pc.mmio.read(IO_APIC + 0x10, 4)).toBe(0x0100_0000);
    expect([pc.io.read(0x3fb, 1), pc.io.read(0x3fd, 1)]).toEqual([0x03, 0x60]);
    expect(pc.io.read(0x2f8, 4)).toBe(0xffff_ffff);
  });

  it('takes the timer through 8259 and LINT0 in virtual wire mode', () => {
    const { time, pc, out, events } = machine();
    out(0x21, 0xfa);
    // The mode word of the firmware's own timer raised OUT, and the 8259 latched that edge under the mask.
    expect(pc.interrupts.acknowledge()).toBe(0x08);
    out(0x20, 0x20);
    events.length = 0;
    startTimer(out);
    const vectors: number[] = [];
    while (time.now < 1e9) {
      time.moveTo(time.clock.nextDeadline);
      if (!pc.interrupts.pending) continue;
      vectors.push(pc.interrupts.acknowledge());
      out(0x20, 0x20);
    }
    expect(new Set(vectors)).toEqual(new Set([0x08]));
    expect(vectors.length).toBeGreaterThanOrEqual(249);
    expect(vectors.length).toBeLessThanOrEqual(251);
    expect(events.filter((event) => event === 'interrupt').length).toBe(vectors.length);
  });

  it('takes the timer through input 2 of the I/O APIC', () => {
    const { time, pc, out, apic, redirect } = machine();
    redirect(2, 0x0030);
    startTimer(out);
    let interrupts = 0;
    while (time.now < 1e9) {
      time.moveTo(time.clock.nextDeadline);
      if (!pc.interrupts.pending) continue;
      expect(pc.interrupts.acknowledge()).toBe(0x30);
      apic(EOI, 0);
      interrupts++;
    }
    expect(interrupts).toBeGreaterThanOrEqual(249);
    expect(interrupts).toBeLessThanOrEqual(251);
  });

  it('takes the timer through ExtINT at input 0 of the I/O APIC', () => {
    const { time, pc, out, apic, redirect } = machine();
    apic(0x350, 0x1_0700);
    redirect(0, 0x0700);
    out(0x21, 0xfa);
    startTimer(out);
    time.moveTo(10_000_000);
    expect([pc.interrupts.pending, pc.interrupts.acknowledge(), pc.interrupts.pending]).toEqual([
      true,
      0x08,
      false,
    ]);
  });

  it('interrupts through the 8259s alone without an APIC', () => {
    const { time, pc, out, events } = machine({ hasApic: false });
    expect([pc.apic, pc.ioApic, pc.interrupts]).toEqual([undefined, undefined, pc.pic]);
    expect(pc.mmio.read(LOCAL_APIC + 0x30, 4)).toBe(0xffff_ffff);
    out(0xa1, 0xfe);
    out(0x70, 0x0b);
    out(0x71, 0x12);
    time.moveTo(1e9);
    expect(events).toEqual(['interrupt']);
    expect(pc.interrupts.acknowledge()).toBe(0x70);
    pc.nmi.set(true);
    expect(events).toEqual(['interrupt', 'nmi']);
  });

  it('wires COM1, keyboard, RTC, x87 errors and ACPI to their IRQs', () => {
    const { pc, sent, out, apic, redirect } = machine();
    for (const [input, vector] of [
      [1, 0x31],
      [4, 0x34],
      [9, 0x8039],
      [13, 0x3d],
    ])
      redirect(input, vector);
    const take = () => {
      if (!pc.interrupts.pending) return 0;
      const vector = pc.interrupts.acknowledge();
      apic(EOI, 0);
      return vector;
    };
    out(0x3fc, 0x0b);
    out(0x3f9, 0x02);
    out(0x3f8, 0x55);
    expect([sent, take()]).toEqual([[0x55], 0x34]);
    pc.keyboard.type([0x1c]);
    expect([take(), pc.io.read(0x60, 1)]).toEqual([0x31, 0x1e]);
    pc.coprocessor.setFerr(true);
    expect(take()).toBe(0x3d);
    out(0x602, 0x00, 0x00);
    pc.io.write(0x602, 2, 0x0100);
    pc.acpi.pressPowerButton();
    expect(pc.interrupts.acknowledge()).toBe(0x39);
    pc.io.write(0x600, 2, 0x0100);
    apic(EOI, 0);
    expect(take()).toBe(0);
  });

  it('resets, powers off, exits, and gates A20 on the ports software knows', () => {
    const { pc, events, out } = machine();
    out(0x64, 0xfe);
    out(0x92, 0x01);
    out(0xcf9, 0x02, 0x06);
    pc.io.write(0x604, 2, 0x3401);
    pc.io.write(0xf4, 4, 0x10);
    out(0x64, 0xdd);
    out(0x92, 0x02);
    out(0xe9, 0x41);
    expect(events).toEqual([
      'reset',
      'reset',
      'reset',
      'power off',
      'exit 33',
      'a20 false',
      'a20 true',
      'console 65',
    ]);
  });

  it('keeps NMI back behind port 70h', () => {
    const { pc, events, out } = machine();
    out(0x70, 0x8f);
    pc.nmi.set(true);
    pc.nmi.set(false);
    expect(events).toEqual([]);
    out(0x70, 0x0f);
    pc.nmi.set(true);
    expect(events).toEqual(['nmi']);
  });

  it('comes back from reset as it was at the start', () => {
    const { pc, events, out, apic, redirect } = machine();
    out(0x64, 0xdd);
    out(0x21, 0x00);
    expect(pc.interrupts.pending).toBe(true);
    out(0x43, 0x34);
    apic(0x350, 0x1_0000);
    redirect(4, 0x34);
    pc.apic!.baseLo = 0xd000_0800;
    pc.reset();
    expect(pc.a20.enabled).toBe(true);
    expect(pc.io.read(0x21, 1)).toBe(0xfb);
    expect(pc.mmio.read(LOCAL_APIC + 0x350, 4)).toBe(0x700);
    pc.mmio.write(IO_APIC, 4, 0x18);
    expect(pc.mmio.read(IO_APIC + 0x10, 4)).toBe(0x1_0000);
    expect(pc.interrupts.pending).toBe(false);
    expect(events).toEqual(['a20 false', 'interrupt', 'a20 true']);
  });

  it('gives the same measure of time everywhere: 8254, APIC timer, PM timer and RTC against ticks', () => {
    const { time, pc, out, apic } = machine();
    apic(0x3e0, 0x3);
    apic(0x320, 0x1_00ec);
    apic(0x380, 0xffff_ffff);
    // 50 ms on counter 2 behind its gate, as Linux measures the TSC.
    const count = Math.floor(1_193_182 / 20);
    out(0x61, 0x01);
    out(0x43, 0xb0);
    const start = time.now;
    const pmStart = pc.io.read(0x608, 4);
    const apicStart = pc.mmio.read(LOCAL_APIC + 0x390, 4);
    out(0x42, count & 0xff, count >> 8);
    while ((pc.io.read(0x61, 1) & 0x20) === 0) time.move(100);
    const ticks = time.now - start;
    expect(Math.abs(ticks - (count + 1) / 1.193182e-3)).toBeLessThan(1000);
    expect(Math.abs(pc.io.read(0x608, 4) - pmStart - ticks * 3.579545e-3)).toBeLessThan(2);
    // 100 MHz bus clock divided by 16: 160 ticks a count.
    expect(apicStart - pc.mmio.read(LOCAL_APIC + 0x390, 4)).toBe(Math.floor(ticks / 160));
  });

  it('can be had twice on one clock without touching each other', () => {
    const time = new ManualClock();
    const outputs: number[][] = [[], []];
    const [first, second] = outputs.map((output) =>
      createPcDevices({
        clock: time.clock,
        memoryBytes: 64 << 20,
        serialOut: (byte) => output.push(byte),
        debugConsoleOut: () => {},
        onReset: () => {},
        onPowerOff: () => {},
        onDebugExit: () => {},
        onA20: () => {},
      }),
    );
    first.io.write(0x3f8, 1, 1);
    second.io.write(0x3f8, 1, 2);
    second.io.write(0x21, 1, 0xfa);
    time.moveTo(1e9);
    expect(outputs).toEqual([[1], [2]]);
    expect([first.interrupts.pending, second.interrupts.pending]).toEqual([false, true]);
  });

  it('has no device on IRQ 2', () => {
    expect(() => machine().pc.irq(2)).toThrow('IRQ 2 is the cascade');
  });
});
