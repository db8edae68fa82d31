import { describe, expect, it } from 'vitest';
import { Uart, type UartOptions } from '../../../src/machine/devices/uart.ts';
import { IoBus } from '../../../src/machine/io-bus.ts';
import { ManualClock } from './manual-clock.ts';

const [DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 2, 3, 4, 5, 6, 7];
const LOOP = 0x10;

function machine(options: Partial<UartOptions> = {}) {
  const time = new ManualClock();
  const io = new IoBus();
  const sent: number[] = [];
  const irq = { level: false, rises: 0 };
  const uart = new Uart({
    clock: time.clock,
    irq: {
      set: (level) => {
        if (level && !irq.level) irq.rises++;
        irq.level = level;
      },
    },
    transmit: (byte) => sent.push(byte),
    ...options,
  });
  uart.attach(io);
  const read = (register: number) => io.read(0x3f8 + register, 1);
  const write = (register: number, value: number) => io.write(0x3f8 + register, 1, value);
  /** 115200 8N1, FIFOs on with trigger level 8, DTR, RTS and OUT2 set. */
  const open = () => {
    write(LCR, 0x83);
    write(DATA, 1);
    write(IER, 0);
    write(LCR, 0x03);
    write(FCR, 0x87);
    write(MCR, 0x0b);
  };
  return { time, io, uart, sent, irq, read, write, open };
}

describe('16550A', () => {
  it('keeps its registers apart, and the divisor latch behind DLAB', () => {
    const { read, write } = machine();
    write(LCR, 0x83);
    write(DATA, 0x0c);
    write(IER, 0x01);
    expect([read(DATA), read(IER), read(LCR)]).toEqual([0x0c, 0x01, 0x83]);
    write(LCR, 0x03);
    expect([read(DATA), read(IER)]).toEqual([0, 0]);
    write(IER, 0xff);
    expect(read(IER)).toBe(0x0f);
    write(MCR, 0xff);
    expect(read(MCR)).toBe(0x1f);
    write(SCR, 0xa5);
    expect(read(SCR)).toBe(0xa5);
    write(MCR, 0);
    expect([read(LSR), read(MSR) & 0xf0]).toEqual([0x60, 0xb0]);
    write(LSR, 0);
    expect(read(LSR)).toBe(0x60);
  });

  it('looks like a 16550A to the probe of a Linux driver', () => {
    const { read, write } = machine();
    // No upper bits in IER, loopback of modem lines, FIFO bits in IIR, no EFR, no 64-byte FIFO.
    write(IER, 0);
    expect(read(IER)).toBe(0);
    write(IER, 0x0f);
    expect(read(IER)).toBe(0x0f);
    write(IER, 0x40);
    expect(read(IER)).toBe(0);
    write(MCR, LOOP | 0x0a);
    expect(read(MSR) & 0xf0).toBe(0x90);
    write(MCR, 0);
    write(LCR, 0xbf);
    expect(read(IIR)).not.toBe(0);
    write(LCR, 0);
    write(FCR, 0x01);
    expect(read(IIR) >> 6).toBe(3);
    for (const lcr of [0x00, 0x80]) {
      write(LCR, lcr);
      write(FCR, 0x21);
      expect(read(IIR) >> 5).toBe(6);
    }
    write(LCR, 0);
    write(FCR, 0);
    expect(read(IIR)).toBe(0x01);
  });

  it('sends at once, cut to the word length', () => {
    const { read, write, sent, open } = machine();
    open();
    for (const byte of [0x48, 0xff]) write(DATA, byte);
    expect(read(LSR)).toBe(0x60);
    write(LCR, 0x00);
    write(DATA, 0xff);
    write(LCR, 0x02);
    write(DATA, 0xff);
    write(LCR, 0x43);
    write(DATA, 0x41);
    expect(sent).toEqual([0x48, 0xff, 0x1f, 0x7f]);
  });

  it('raises the transmit-empty interrupt when it is enabled, again each time, and after each byte', () => {
    const { read, write, irq, open } = machine();
    open();
    write(IER, 0x02);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0xc2);
    expect(irq.level).toBe(false);
    expect(read(IIR)).toBe(0xc1);
    write(IER, 0);
    write(IER, 0x02);
    expect(read(IIR)).toBe(0xc2);
    write(DATA, 0x20);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0xc2);
    write(IER, 0x02);
    expect(read(IIR)).toBe(0xc1);
  });

  it('receives at the trigger level, and below it after four character times', () => {
    const { time, uart, read, write, irq, open } = machine();
    open();
    write(IER, 0x01);
    uart.receive([1, 2, 3]);
    expect([irq.level, read(LSR)]).toEqual([false, 0x61]);
    // 10 bits of 16 clocks of 1.8432 MHz.
    const character = Math.ceil((160 * 1e9) / 1_843_200);
    time.moveTo(4 * character - 1);
    expect(read(IIR)).toBe(0xc1);
    time.moveTo(4 * character);
    expect([irq.level, read(IIR)]).toEqual([true, 0xcc]);
    expect(read(DATA)).toBe(1);
    expect([irq.level, read(IIR)]).toEqual([false, 0xc1]);
    uart.receive([4, 5, 6, 7, 8]);
    expect(read(IIR)).toBe(0xc1);
    uart.receive([9]);
    expect([irq.level, read(IIR)]).toEqual([true, 0xc4]);
    expect([2, 3, 4, 5, 6, 7, 8, 9].map(() => read(DATA))).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
    expect([read(LSR), read(IIR)]).toEqual([0x60, 0xc1]);
    time.move(10 * character);
    expect(read(IIR)).toBe(0xc1);
  });

  it('holds at the far end what does not fit, and loses nothing', () => {
    const { uart, read, open } = machine();
    open();
    const bytes = Array.from({ length: 100_000 }, (_, index) => index & 0xff);
    uart.receive(bytes);
    const got: number[] = [];
    while (read(LSR) & 1) got.push(read(DATA));
    expect(got).toEqual(bytes);
  });

  it('has room for one byte without FIFO', () => {
    const { uart, read, write, open } = machine();
    open();
    write(FCR, 0);
    write(IER, 1);
    uart.receive([7, 8]);
    expect([read(IIR), read(DATA), read(IIR), read(DATA), read(IIR)]).toEqual([4, 7, 4, 8, 1]);
  });

  it('loses received bytes when a driver clears the FIFO, unless the far end heeds RTS', () => {
    for (const flowControl of [false, true]) {
      const { uart, read, write, open } = machine({ flowControl });
      uart.receive([1, 2]);
      write(FCR, 0x01);
      write(FCR, 0x07);
      read(DATA);
      open();
      const got: number[] = [];
      while (read(LSR) & 1) got.push(read(DATA));
      expect(got).toEqual(flowControl ? [1, 2] : []);
    }
  });

  it('loops back data and modem lines, with overruns, and disconnects the line', () => {
    const { uart, read, write, sent, open } = machine();
    open();
    read(MSR);
    write(MCR, LOOP | 0x0f);
    expect(read(MSR)).toBe(0xf0);
    write(MCR, LOOP);
    // CTS, DSR and DCD changed, and RI went off.
    expect(read(MSR)).toBe(0x0f);
    uart.receive([0x99]);
    for (let byte = 0; byte < 17; byte++) write(DATA, byte);
    expect(read(LSR)).toBe(0x63);
    expect(read(LSR)).toBe(0x61);
    expect(Array.from({ length: 16 }, () => read(DATA))).toEqual([...Array(16).keys()]);
    expect(read(LSR)).toBe(0x60);
    write(FCR, 0);
    write(DATA, 1);
    write(DATA, 2);
    expect([read(LSR), read(DATA)]).toEqual([0x63, 2]);
    expect(sent).toEqual([]);
    write(MCR, 0);
    expect(read(DATA)).toBe(0x99);
  });

  it('reports the interrupt of highest priority', () => {
    const { uart, read, write, open } = machine();
    open();
    write(FCR, 0x01);
    uart.receiveBreak();
    write(IER, 0x0f);
    write(MCR, LOOP | 0x09);
    expect(read(IIR)).toBe(0xc6);
    expect(read(LSR)).toBe(0xf1);
    expect(read(IIR)).toBe(0xc4);
    expect(read(DATA)).toBe(0);
    expect(read(IIR)).toBe(0xc2);
    expect(read(IIR)).toBe(0xc0);
    expect(read(MSR) & 0x0f).toBe(0x01);
    expect(read(IIR)).toBe(0xc1);
  });

  it('shows an error when its character comes to the top', () => {
    const { uart, read, open } = machine();
    open();
    uart.receive([1]);
    uart.receiveBreak();
    expect(read(LSR)).toBe(0xe1);
    read(DATA);
    expect(read(LSR)).toBe(0xf1);
    expect(read(LSR)).toBe(0x61);
  });

  it('keeps the interrupt from the bus without OUT2 and in loopback', () => {
    const { write, irq, open } = machine();
    open();
    write(MCR, 0);
    write(IER, 0x02);
    expect(irq.level).toBe(false);
    write(MCR, 0x08);
    expect(irq.level).toBe(true);
    write(MCR, 0x18);
    expect(irq.level).toBe(false);
  });

  it('forgets modes at reset and keeps divisor and scratch', () => {
    const { uart, read, write, irq, open } = machine();
    open();
    write(SCR, 0x77);
    write(IER, 0x02);
    uart.reset();
    expect(irq.level).toBe(false);
    expect([read(IER), read(IIR), read(LCR), read(MCR), read(LSR), read(SCR)]).toEqual([
      0, 1, 0, 0, 0x60, 0x77,
    ]);
    write(LCR, 0x80);
    expect(read(DATA)).toBe(1);
  });
});
