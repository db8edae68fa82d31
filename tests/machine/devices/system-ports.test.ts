import { describe, expect, it } from 'vitest';
import { A20Gate } from '../../../src/machine/devices/a20-gate.ts';
import { CoprocessorErrors } from '../../../src/machine/devices/coprocessor.ts';
import { DebugPorts } from '../../../src/machine/devices/debug-ports.ts';
import { Pit } from '../../../src/machine/devices/pit.ts';
import { SystemControl } from '../../../src/machine/devices/system-control.ts';
import { IoBus } from '../../../src/machine/io-bus.ts';
import { ManualClock } from './manual-clock.ts';

describe('system control ports', () => {
  function machine() {
    const time = new ManualClock();
    const io = new IoBus();
    const events: string[] = [];
    const a20 = new A20Gate((enabled) => events.push(`a20 ${enabled ? 'on' : 'off'}`));
    const pit = new Pit(time.clock, { set: () => {} });
    pit.attach(io);
    const control = new SystemControl({ pit, a20, onInit: () => events.push('init') });
    control.attach(io);
    return { time, io, events, a20, control };
  }

  it('lets A20 pass while either gate does', () => {
    const { io, events, a20 } = machine();
    io.write(0x92, 1, 0x02);
    a20.keyboard = false;
    expect(events).toEqual([]);
    expect(io.read(0x92, 1)).toBe(0x02);
    io.write(0x92, 1, 0x00);
    expect(events).toEqual(['a20 off']);
    io.write(0x92, 1, 0x02);
    expect(events).toEqual(['a20 off', 'a20 on']);
  });

  it('resets on the rising edge of bit 0 of port 92h', () => {
    const { io, events } = machine();
    io.write(0x92, 1, 0x01);
    io.write(0x92, 1, 0x01);
    expect(events).toEqual(['init']);
    expect(io.read(0x92, 1)).toBe(0x01);
    io.write(0x92, 1, 0x00);
    io.write(0x92, 1, 0x01);
    expect(events).toEqual(['init', 'init']);
  });

  it('starts counter 2 by port 61h and shows its end in bit 5', () => {
    const { time, io, control } = machine();
    io.write(0x61, 1, 0xfc);
    expect(io.read(0x61, 1) & 0xef).toBe(0x0c);
    io.write(0x43, 1, 0xb0);
    io.write(0x42, 1, 100);
    io.write(0x42, 1, 0);
    time.move(1_000_000);
    expect(io.read(0x61, 1) & 0x20).toBe(0);
    io.write(0x61, 1, 0x01);
    time.move(83_000);
    expect(io.read(0x61, 1) & 0x21).toBe(0x01);
    time.move(2_000);
    expect(io.read(0x61, 1) & 0x21).toBe(0x21);
    expect(control.speaker).toBe(false);
    io.write(0x61, 1, 0x03);
    expect(control.speaker).toBe(true);
  });
});

describe('debug ports', () => {
  it('remembers POST codes, prints, and exits with (v << 1) | 1', () => {
    const io = new IoBus();
    const console: number[] = [];
    const exits: number[] = [];
    const codes: number[] = [];
    new DebugPorts({
      consoleOut: (byte) => console.push(byte),
      onExit: (status) => exits.push(status),
      onPostCode: (code) => codes.push(code),
    }).attach(io);
    io.write(0x80, 1, 0x42);
    expect([io.read(0x80, 1), io.read(0xe9, 1), io.read(0xf4, 4)]).toEqual([0x42, 0xe9, 0xffff_ffff]);
    io.write(0xe9, 1, 0x41);
    io.write(0xf4, 1, 0);
    io.write(0xf4, 2, 0x1234);
    io.write(0xf4, 4, 0x8000_0003);
    io.write(0xf5, 1, 1);
    expect([console, codes, exits]).toEqual([[0x41], [0x42], [1, 0x2469, 7]]);
  });
});

describe('coprocessor errors', () => {
  it('raises IRQ 13 with FERR#, and IGNNE# from the write to F0h until FERR# goes', () => {
    const io = new IoBus();
    let irq = false;
    const errors = new CoprocessorErrors({ set: (level) => (irq = level) });
    errors.attach(io);
    io.write(0xf0, 1, 0);
    expect(errors.ignoreErrors).toBe(false);
    errors.setFerr(true);
    expect(irq).toBe(true);
    io.write(0xf0, 1, 0);
    expect([irq, errors.ignoreErrors]).toEqual([false, true]);
    errors.setFerr(false);
    expect(errors.ignoreErrors).toBe(false);
    errors.setFerr(true);
    expect(irq).toBe(true);
  });
});
