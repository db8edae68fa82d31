import { describe, expect, it } from 'vitest';
import { PicPair } from '../../../src/machine/devices/pic-pair.ts';
import { IoBus } from '../../../src/machine/io-bus.ts';

/** A PC's two 8259A on a bus, initialised to vectors 20h and 28h unless `icw4` says otherwise. */
function pair(icw4 = 0x01, slaveIcw4 = 0x01) {
  const io = new IoBus();
  const edges: boolean[] = [];
  const pic = new PicPair({ set: (level) => edges.push(level) });
  pic.attach(io);
  pic.reset();
  for (const [port, icw3, last] of [
    [0x20, 0x04, icw4],
    [0xa0, 0x02, slaveIcw4],
  ] as const) {
    io.write(port, 1, 0x11);
    io.write(port + 1, 1, port === 0x20 ? 0x20 : 0x28);
    io.write(port + 1, 1, icw3);
    io.write(port + 1, 1, last);
  }
  const raise = (irq: number) => pic.line(irq).set(true);
  const lower = (irq: number) => pic.line(irq).set(false);
  const pulse = (irq: number) => {
    raise(irq);
    lower(irq);
  };
  const isr = (port: number) => {
    io.write(port, 1, 0x0b);
    return io.read(port, 1);
  };
  const irr = (port: number) => {
    io.write(port, 1, 0x0a);
    return io.read(port, 1);
  };
  return { io, pic, raise, lower, pulse, isr, irr, edges };
}

const NON_SPECIFIC_EOI = 0x20;

describe('8259A', () => {
  it('delivers an edge once and holds lower priorities until EOI', () => {
    const { io, pic, raise, isr, irr } = pair();
    raise(4);
    expect(pic.pending).toBe(true);
    expect(irr(0x20)).toBe(0x10);
    expect(pic.acknowledge()).toBe(0x24);
    expect([irr(0x20), isr(0x20)]).toEqual([0, 0x10]);
    raise(6);
    expect(pic.pending).toBe(false);
    raise(1);
    expect(pic.pending).toBe(true);
    expect(pic.acknowledge()).toBe(0x21);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(isr(0x20)).toBe(0x10);
    expect(pic.pending).toBe(false);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(pic.acknowledge()).toBe(0x26);
  });

  it('needs a new edge after an acknowledged one, and none on a level input', () => {
    const { io, pic, raise, lower, irr } = pair();
    io.write(0x4d0, 1, 0xff);
    expect(io.read(0x4d0, 1)).toBe(0xf8);
    io.write(0x4d1, 1, 0xff);
    expect(io.read(0x4d1, 1)).toBe(0xde);
    io.write(0x4d0, 1, 0x20);
    raise(5);
    expect(pic.acknowledge()).toBe(0x25);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(pic.pending).toBe(true);
    lower(5);
    expect(pic.pending).toBe(false);
    expect(irr(0x20)).toBe(0);
    raise(3);
    expect(pic.acknowledge()).toBe(0x23);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(pic.pending).toBe(false);
    lower(3);
    raise(3);
    expect(pic.pending).toBe(true);
  });

  it('latches masked requests and shows the mask', () => {
    const { io, pic, raise, irr } = pair();
    io.write(0x21, 1, 0xfb);
    expect(io.read(0x21, 1)).toBe(0xfb);
    raise(0);
    expect(pic.pending).toBe(false);
    expect(irr(0x20)).toBe(0x01);
    io.write(0x21, 1, 0xfa);
    expect(pic.acknowledge()).toBe(0x20);
  });

  it('passes the slave through input 2, with two EOIs', () => {
    const { io, pic, raise, isr } = pair();
    raise(8);
    expect(pic.acknowledge()).toBe(0x28);
    expect([isr(0x20), isr(0xa0)]).toEqual([0x04, 0x01]);
    raise(12);
    io.write(0xa0, 1, NON_SPECIFIC_EOI);
    expect(pic.pending).toBe(false);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(pic.acknowledge()).toBe(0x2c);
  });

  it('answers a request that went away with a spurious IRQ 7, nothing in service', () => {
    const { pic, pulse, isr } = pair();
    pulse(4);
    expect(pic.pending).toBe(false);
    expect(pic.acknowledge()).toBe(0x27);
    expect(isr(0x20)).toBe(0);
  });

  it('drops the request at the master when the slave is polled', () => {
    const { io, pic, raise, isr } = pair();
    raise(9);
    expect(pic.pending).toBe(true);
    io.write(0xa0, 1, 0x0c);
    expect(io.read(0xa0, 1)).toBe(0x81);
    expect(pic.pending).toBe(false);
    expect(pic.acknowledge()).toBe(0x27);
    raise(8);
    expect(pic.acknowledge()).toBe(0x28);
    expect(isr(0x20)).toBe(0x04);
  });

  it('ends a specific level, and rotates on both kinds of EOI', () => {
    const { io, pic, raise, isr } = pair();
    raise(3);
    pic.acknowledge();
    raise(1);
    pic.acknowledge();
    io.write(0x20, 1, 0x63);
    expect(isr(0x20)).toBe(0x02);
    // Rotate on non-specific EOI: input 1 becomes the lowest, 2 the highest.
    io.write(0x20, 1, 0xa0);
    raise(0);
    raise(7);
    expect(pic.acknowledge()).toBe(0x27);
    // Rotate on specific EOI of 7: back to the usual order.
    io.write(0x20, 1, 0xe7);
    expect(pic.acknowledge()).toBe(0x20);
  });

  it('sets priorities, and blocks by the rotated order', () => {
    const { io, pic, raise } = pair();
    io.write(0x20, 1, 0xc4);
    raise(0);
    raise(5);
    expect(pic.acknowledge()).toBe(0x25);
    expect(pic.pending).toBe(false);
    raise(4);
    expect(pic.pending).toBe(false);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(pic.acknowledge()).toBe(0x20);
  });

  it('leaves nothing in service under AEOI, and rotates if told to', () => {
    const { io, pic, raise, lower, isr } = pair(0x03);
    raise(0);
    expect(pic.acknowledge()).toBe(0x20);
    expect(isr(0x20)).toBe(0);
    io.write(0x20, 1, 0x80);
    lower(0);
    raise(0);
    raise(1);
    expect(pic.acknowledge()).toBe(0x20);
    lower(0);
    raise(0);
    expect(pic.acknowledge()).toBe(0x21);
    expect(pic.acknowledge()).toBe(0x20);
  });

  it('lets a second slave request through while INT is re-raised under AEOI of the slave', () => {
    const { io, pic, raise } = pair(0x01, 0x03);
    raise(9);
    raise(10);
    expect(pic.acknowledge()).toBe(0x29);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(pic.pending).toBe(true);
    expect(pic.acknowledge()).toBe(0x2a);
  });

  it('serves lower inputs in special mask mode and spares masked ones from EOI', () => {
    const { io, pic, raise, isr } = pair();
    raise(1);
    expect(pic.acknowledge()).toBe(0x21);
    io.write(0x21, 1, 0x02);
    raise(6);
    expect(pic.pending).toBe(false);
    io.write(0x20, 1, 0x68);
    expect(pic.pending).toBe(true);
    expect(pic.acknowledge()).toBe(0x26);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(isr(0x20)).toBe(0x02);
    io.write(0x20, 1, 0x48);
    io.write(0x20, 1, NON_SPECIFIC_EOI);
    expect(isr(0x20)).toBe(0);
  });

  it('lets a higher slave input interrupt its own slave in special fully nested mode only', () => {
    for (const [icw4, expected] of [
      [0x11, true],
      [0x01, false],
    ] as const) {
      const { pic, raise } = pair(icw4);
      raise(14);
      expect(pic.acknowledge()).toBe(0x2e);
      raise(9);
      expect(pic.pending).toBe(expected);
      if (expected) expect(pic.acknowledge()).toBe(0x29);
    }
  });

  it('polls: acknowledges on the next read of either port', () => {
    const { io, pic, raise, isr } = pair();
    io.write(0x20, 1, 0x0c);
    expect(io.read(0x20, 1)).toBe(0);
    raise(5);
    io.write(0x20, 1, 0x0c);
    expect(io.read(0x21, 1)).toBe(0x85);
    expect(pic.pending).toBe(false);
    expect(isr(0x20)).toBe(0x20);
    expect(io.read(0x21, 1)).toBe(0);
  });

  it('forgets mask, service, modes and latched edges at ICW1, and stays quiet until initialised', () => {
    const { io, pic, raise, irr, isr } = pair();
    raise(3);
    pic.acknowledge();
    raise(4);
    io.write(0x21, 1, 0xff);
    io.write(0x20, 1, 0x11);
    expect(io.read(0x20, 1)).toBe(0);
    raise(6);
    expect(pic.pending).toBe(false);
    io.write(0x21, 1, 0x47);
    io.write(0x21, 1, 0x04);
    expect(pic.pending).toBe(false);
    io.write(0x21, 1, 0x01);
    expect(io.read(0x21, 1)).toBe(0);
    expect([irr(0x20), isr(0x20)]).toEqual([0x40, 0]);
    expect(pic.acknowledge()).toBe(0x46);
  });

  it('skips ICW3 and ICW4 where ICW1 says so', () => {
    const { io, pic, raise } = pair();
    io.write(0x20, 1, 0x12);
    io.write(0x21, 1, 0x50);
    io.write(0x21, 1, 0xef);
    expect(io.read(0x21, 1)).toBe(0xef);
    raise(4);
    expect(pic.acknowledge()).toBe(0x54);
  });

  it('drives INT low during INTA and high again for what waits', () => {
    const { pic, raise, edges } = pair(0x03);
    raise(1);
    raise(2 + 1);
    expect(edges).toEqual([true]);
    pic.acknowledge();
    expect(edges).toEqual([true, false, true]);
  });
});
