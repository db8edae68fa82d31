import { describe, expect, it } from 'vitest';
import { A20Gate } from '../../../src/machine/devices/a20-gate.ts';
import { KeyboardController } from '../../../src/machine/devices/keyboard-controller.ts';
import { ScanCodeTranslator } from '../../../src/machine/devices/scan-codes.ts';
import { IoBus } from '../../../src/machine/io-bus.ts';

function machine() {
  const io = new IoBus();
  const events: string[] = [];
  const irq1 = { level: false, rises: 0 };
  const irq12 = { level: false };
  const controller = new KeyboardController({
    keyboardIrq: {
      set: (level) => {
        if (level && !irq1.level) irq1.rises++;
        irq1.level = level;
      },
    },
    auxiliaryIrq: { set: (level) => (irq12.level = level) },
    a20: new A20Gate((enabled) => events.push(`a20 ${enabled ? 'on' : 'off'}`)),
    onInit: () => events.push('init'),
  });
  controller.attach(io);
  const status = () => io.read(0x64, 1);
  const data = () => io.read(0x60, 1);
  const command = (value: number, ...bytes: number[]) => {
    io.write(0x64, 1, value);
    for (const byte of bytes) io.write(0x60, 1, byte);
  };
  const send = (byte: number) => io.write(0x60, 1, byte);
  /** Everything the output buffer gives. */
  const drain = () => {
    const bytes: number[] = [];
    while (status() & 1) bytes.push(data());
    return bytes;
  };
  return { controller, events, irq1, irq12, status, data, command, send, drain };
}

describe('8042', () => {
  it('tests itself and both ports, and sets the system flag', () => {
    const { status, command, drain } = machine();
    expect(status()).toBe(0x10);
    command(0xaa);
    expect(status()).toBe(0x1d);
    expect(drain()).toEqual([0x55]);
    command(0xab);
    expect(drain()).toEqual([0]);
    command(0xa9);
    expect(drain()).toEqual([0]);
    command(0xa4);
    expect(drain()).toEqual([0xf1]);
  });

  it('keeps the command byte and its memory', () => {
    const { status, command, drain } = machine();
    command(0x20);
    expect(drain()).toEqual([0x30]);
    command(0x60, 0x47);
    expect(status()).toBe(0x14);
    command(0x20);
    expect(drain()).toEqual([0x47]);
    command(0xad);
    command(0xa7);
    command(0x20);
    expect(drain()).toEqual([0x77]);
    command(0xae);
    command(0xa8);
    command(0x20);
    expect(drain()).toEqual([0x47]);
    command(0x7f, 0x99);
    command(0x3f);
    expect(drain()).toEqual([0x99]);
  });

  it('pulses the reset line for FE and by the output port, and nothing for FF', () => {
    const { events, command } = machine();
    command(0xff);
    command(0xfe);
    expect(events).toEqual(['init']);
    command(0xf0);
    command(0xd1, 0x02);
    expect(events).toEqual(['init', 'init', 'init']);
  });

  it('gates A20', () => {
    const { events, command, drain } = machine();
    command(0xd0);
    expect(drain()).toEqual([0xc3]);
    command(0xd1, 0xdd);
    command(0xd0);
    expect(drain()).toEqual([0xc1]);
    command(0xd1, 0xdf);
    command(0xdd);
    command(0xdf);
    expect(events).toEqual(['a20 off', 'a20 on', 'a20 off', 'a20 on']);
  });

  it('interrupts once for each byte, only where enabled', () => {
    const { command, send, data, irq1 } = machine();
    command(0x60, 0x00);
    send(0xf2);
    expect(irq1.level).toBe(false);
    command(0x60, 0x01);
    expect(irq1).toEqual({ level: true, rises: 1 });
    expect([data(), data(), data()]).toEqual([0xfa, 0xab, 0x83]);
    expect(irq1).toEqual({ level: false, rises: 3 });
    expect(data()).toBe(0x83);
  });

  it('translates keys to set 1, release prefixes too', () => {
    const { controller, command, drain } = machine();
    command(0x60, 0x41);
    controller.keyboard.type([0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75, 0x83]);
    expect(drain()).toEqual([0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8, 0x41]);
    command(0x60, 0x01);
    controller.keyboard.type([0x1c, 0xf0, 0x1c]);
    expect(drain()).toEqual([0x1c, 0xf0, 0x1c]);
  });

  it('holds keys back while the keyboard is off; talking to it switches it on', () => {
    const { controller, command, status, send, drain } = machine();
    command(0x60, 0x10);
    controller.keyboard.type([0x1c]);
    expect(status() & 1).toBe(0);
    send(0xee);
    expect(drain()).toEqual([0xee, 0x1c]);
    command(0x20);
    expect(drain()).toEqual([0x00]);
  });

  it('answers a command before a key that was waiting', () => {
    const { controller, command, drain } = machine();
    command(0x60, 0x01);
    controller.keyboard.type([0x1c, 0x32]);
    command(0x20);
    expect(drain()).toEqual([0x01, 0x1c, 0x32]);
  });

  it('reports a timeout for the mouse that is not there, and loops back the auxiliary buffer', () => {
    const { command, status, drain, irq1, irq12 } = machine();
    command(0x60, 0x03);
    command(0xd4, 0xf2);
    expect(status()).toBe(0x71);
    expect([irq1.level, irq12.level]).toEqual([false, true]);
    expect(drain()).toEqual([0xfe]);
    expect(irq12.level).toBe(false);
    command(0xd3, 0x5a);
    expect(status() & 0x61).toBe(0x21);
    expect(drain()).toEqual([0x5a]);
    command(0xd2, 0xa5);
    expect(status() & 0x61).toBe(0x01);
    expect(irq1.level).toBe(true);
    expect(drain()).toEqual([0xa5]);
  });
});

describe('keyboard', () => {
  function keyboard() {
    const { controller, command, send, drain } = machine();
    command(0x60, 0x00);
    const ask = (...bytes: number[]) => {
      for (const byte of bytes) send(byte);
      return drain();
    };
    return { keyboard: controller.keyboard, ask, drain };
  }

  it('answers the commands of a driver that starts it', () => {
    const { keyboard: keys, ask } = keyboard();
    expect(ask(0xff)).toEqual([0xfa, 0xaa]);
    expect(ask(0xf2)).toEqual([0xfa, 0xab, 0x83]);
    expect(ask(0xf5)).toEqual([0xfa]);
    expect(ask(0xed, 0x05)).toEqual([0xfa, 0xfa]);
    expect(keys.leds).toBe(5);
    expect(ask(0xf3, 0x00)).toEqual([0xfa, 0xfa]);
    expect(ask(0xf0, 0x00)).toEqual([0xfa, 0xfa, 0x02]);
    expect(ask(0xf0, 0x03)).toEqual([0xfa, 0xfa]);
    expect(ask(0xf0, 0x00)).toEqual([0xfa, 0xfa, 0x03]);
    expect(ask(0xf6)).toEqual([0xfa]);
    expect(ask(0xf0, 0x00)).toEqual([0xfa, 0xfa, 0x02]);
    expect(ask(0xf4)).toEqual([0xfa]);
    expect(ask(0xfe)).toEqual([0xfa]);
    expect(ask(0xea)).toEqual([0xfe]);
  });

  it('takes a command in place of an argument', () => {
    const { keyboard: keys, ask } = keyboard();
    expect(ask(0xed, 0xee)).toEqual([0xfa, 0xee]);
    expect(ask(0x05)).toEqual([0xfe]);
    expect(keys.leds).toBe(0);
  });

  it('sends keys while it scans, sixteen at most, the last an overrun', () => {
    const { keyboard: keys, ask, drain } = keyboard();
    ask(0xf5);
    keys.type([0x1c]);
    expect(drain()).toEqual([]);
    ask(0xf4);
    keys.type([...Array(40).keys()].map((key) => key + 1));
    // One is in the controller's output buffer only after the whole burst.
    expect(drain()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0]);
  });
});

describe('scan code translation', () => {
  it('gives every code of set 2 a code of its own', () => {
    const translator = new ScanCodeTranslator();
    const codes = Array.from({ length: 0x7f }, (_, index) => translator.translate(index + 1));
    expect(new Set(codes).size).toBe(0x7f);
    expect(Math.max(...(codes as number[]))).toBe(0x7f);
  });

  it('knows the keys of the main block', () => {
    const translator = new ScanCodeTranslator();
    // Escape, 1, backspace, tab, enter, left control, A, left shift, Z, space, F1, F12, keypad 5.
    const set2 = [0x76, 0x16, 0x66, 0x0d, 0x5a, 0x14, 0x1c, 0x12, 0x1a, 0x29, 0x05, 0x07, 0x73];
    const set1 = [0x01, 0x02, 0x0e, 0x0f, 0x1c, 0x1d, 0x1e, 0x2a, 0x2c, 0x39, 0x3b, 0x58, 0x4c];
    expect(set2.map((code) => translator.translate(code))).toEqual(set1);
  });
});
