import { describe, expect, it } from 'vitest';
import { AcpiPm } from '../../../src/machine/devices/acpi-pm.ts';
import { IoBus } from '../../../src/machine/io-bus.ts';
import { ManualClock } from './manual-clock.ts';

const [STATUS, ENABLE, CONTROL, TIMER] = [0x600, 0x602, 0x604, 0x608];

function machine() {
  const time = new ManualClock();
  const io = new IoBus();
  const state = { sci: false, off: 0 };
  const pm = new AcpiPm({
    clock: time.clock,
    sci: { set: (level) => (state.sci = level) },
    onPowerOff: () => state.off++,
  });
  pm.attach(io);
  return { time, io, pm, state };
}

describe('ACPI fixed hardware', () => {
  it('is in ACPI mode from the start', () => {
    const { io } = machine();
    expect(io.read(CONTROL, 2)).toBe(0x0001);
    io.write(CONTROL, 2, 0x0000);
    expect(io.read(CONTROL, 2)).toBe(0x0001);
  });

  it('powers off for SLP_EN with the type of S5, as ACPICA writes it', () => {
    const { io, state } = machine();
    io.write(CONTROL, 2, 0x1401);
    expect([state.off, io.read(CONTROL, 2)]).toEqual([0, 0x1401]);
    io.write(CONTROL, 2, 0x3401);
    expect([state.off, io.read(CONTROL, 2)]).toEqual([1, 0x1401]);
  });

  it('wakes at once from any other sleep state', () => {
    const { io, state } = machine();
    io.write(CONTROL, 2, 0x2401);
    expect([state.off, io.read(STATUS, 2)]).toEqual([0, 0x8000]);
    io.write(STATUS, 2, 0x8000);
    expect(io.read(STATUS, 2)).toBe(0);
  });

  it('counts 3579545 times a second in 24 bits', () => {
    const { time, io } = machine();
    time.moveTo(1_000_000_000);
    expect(io.read(TIMER, 4)).toBe(3_579_545);
    time.moveTo(10_000_000_000);
    expect(io.read(TIMER, 4)).toBe(35_795_450 % 2 ** 24);
    expect(io.read(TIMER + 1, 1)).toBe((35_795_450 >> 8) & 0xff);
    io.write(TIMER, 4, 0);
    expect(io.read(TIMER, 4)).toBe(35_795_450 % 2 ** 24);
  });

  it('sets TMR_STS when the top bit changes, and interrupts if enabled', () => {
    const { time, io, state } = machine();
    const half = Math.ceil((2 ** 23 * 1e9) / 3_579_545);
    time.moveTo(half - 1);
    expect(io.read(STATUS, 2)).toBe(0);
    time.moveTo(half);
    expect([io.read(STATUS, 2), state.sci]).toEqual([0x0001, false]);
    io.write(STATUS, 2, 0x0001);
    io.write(ENABLE, 2, 0x0001);
    expect([io.read(STATUS, 2), state.sci]).toEqual([0, false]);
    time.moveTo(2 * half);
    expect(state.sci).toBe(true);
    io.write(STATUS, 2, 0x0001);
    expect(state.sci).toBe(false);
  });

  it('asks for a shutdown by the power button', () => {
    const { io, pm, state } = machine();
    pm.pressPowerButton();
    expect([io.read(STATUS, 2), state.sci]).toEqual([0x0100, false]);
    io.write(ENABLE, 2, 0xffff);
    expect(io.read(ENABLE, 2)).toBe(0x0721);
    expect([io.read(STATUS, 4), state.sci]).toEqual([0x0721_0100, true]);
    io.write(STATUS + 1, 1, 0x01);
    expect([io.read(STATUS, 2), state.sci]).toEqual([0, false]);
  });
});
