import { describe, expect, it } from 'vitest';
import { LocalApic, type LocalApicOptions } from '../../../src/machine/devices/local-apic.ts';
import { MmioBus } from '../../../src/machine/mmio-bus.ts';
import { ManualClock } from './manual-clock.ts';

const BASE = 0xfee0_0000;
// Offsets from SDM vol. 3A table 10-1.
const [ID, VERSION, TPR, PPR, EOI, LDR, DFR, SVR] = [0x20, 0x30, 0x80, 0xa0, 0xb0, 0xd0, 0xe0, 0xf0];
const [ISR, TMR, IRR, ESR, ICR, ICR_HIGH] = [0x100, 0x180, 0x200, 0x280, 0x300, 0x310];
const [LVT_TIMER, LVT_LINT0, LVT_LINT1, LVT_ERROR] = [0x320, 0x350, 0x360, 0x370];
const [INITIAL, CURRENT, DIVIDE] = [0x380, 0x390, 0x3e0];
const SELF = 0x4_0000;
const BUS_CLOCK = 10;

function machine(options: Partial<LocalApicOptions> = {}) {
  const time = new ManualClock();
  const mmio = new MmioBus();
  const events: string[] = [];
  const pic = {
    pending: false,
    acknowledge: () => {
      apic.lint0.set(false);
      return 0x77;
    },
  };
  const apic: LocalApic = new LocalApic({
    clock: time.clock,
    pic,
    onEoi: (vector) => events.push(`eoi ${vector.toString(16)}`),
    onNmi: () => events.push('nmi'),
    onInit: () => events.push('init'),
    onSmi: () => events.push('smi'),
    onPending: () => events.push('pending'),
    ...options,
  });
  apic.attach(mmio);
  const read = (offset: number) => mmio.read(BASE + offset, 4);
  const write = (offset: number, value: number) => mmio.write(BASE + offset, 4, value);
  const enable = () => write(SVR, 0x1ff);
  /** Sends a fixed interrupt to itself. */
  const raise = (vector: number) => write(ICR, SELF | vector);
  const message = (vector: number, levelTriggered = false) =>
    apic.receive({ vector, mode: 0, levelTriggered, destination: 0, logical: false });
  return { time, mmio, apic, events, read, write, enable, raise, message };
}

/** Which bit of which of the eight registers stands for a vector. */
const bitOf = (base: number, vector: number) =>
  [base + (vector >> 5) * 0x10, (1 << (vector & 31)) >>> 0] as const;

describe('local APIC registers', () => {
  it('come up as after reset (10.4.7.1)', () => {
    const { read } = machine({ id: 3 });
    expect(read(ID)).toBe(0x0300_0000);
    expect(read(VERSION)).toBe(0x0005_0014);
    expect([read(TPR), read(PPR), read(LDR), read(ESR)]).toEqual([0, 0, 0, 0]);
    expect(read(DFR)).toBe(0xffff_ffff);
    expect(read(SVR)).toBe(0xff);
    for (let lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt += 0x10) expect(read(lvt)).toBe(0x1_0000);
    expect([read(INITIAL), read(CURRENT), read(DIVIDE)]).toEqual([0, 0, 0]);
  });

  it('keep only what is writable', () => {
    const { read, write, enable } = machine();
    enable();
    const expected: readonly [number, number][] = [
      [ID, 0xff00_0000],
      [VERSION, 0x0005_0014],
      [TPR, 0xff],
      [LDR, 0xff00_0000],
      [DFR, 0xffff_ffff],
      [SVR, 0x3ff],
      [LVT_TIMER, 0x3_00ff],
      [0x330, 0x1_07ff],
      [0x340, 0x1_07ff],
      [LVT_LINT0, 0x1_a7ff],
      [LVT_LINT1, 0x1_a7ff],
      [LVT_ERROR, 0x1_00ff],
      [ICR_HIGH, 0xff00_0000],
      [DIVIDE, 0x0b],
    ];
    for (const [offset, value] of expected) {
      write(offset, 0xffff_ffff);
      expect(read(offset), offset.toString(16)).toBe(value);
    }
    write(DFR, 0);
    expect(read(DFR)).toBe(0x0fff_ffff);
  });

  it('take 32-bit writes only, and parts of reads', () => {
    const { mmio, write } = machine();
    write(TPR, 0x35);
    mmio.write(BASE + TPR, 1, 0x99);
    mmio.write(BASE + TPR + 4, 4, 0x99);
    expect(mmio.read(BASE + TPR, 1)).toBe(0x35);
    expect(mmio.read(BASE + VERSION + 2, 2)).toBe(0x0005);
    expect(mmio.read(BASE + VERSION + 4, 4)).toBe(0);
  });

  it('move with APIC_BASE, and forget their state at a global disable', () => {
    const { mmio, apic, write, enable } = machine();
    expect([apic.baseLo, apic.baseHi]).toEqual([0xfee0_0900, 0]);
    enable();
    apic.baseLo = 0xd000_0800;
    apic.baseHi = 1;
    expect([apic.baseLo, apic.baseHi]).toEqual([0xd000_0900, 1]);
    expect(mmio.read(BASE + SVR, 4)).toBe(0xffff_ffff);
    expect(mmio.read(0x1_d000_0000 + SVR, 4)).toBe(0x1ff);
    apic.baseHi = 0;
    apic.baseLo = 0xfee0_0000;
    expect(apic.enabled).toBe(false);
    expect(mmio.find(BASE)).toBeUndefined();
    apic.baseLo = 0xfee0_0800;
    expect(mmio.read(BASE + SVR, 4)).toBe(0xff);
    write(LVT_TIMER, 0x20);
    expect(mmio.read(BASE + LVT_TIMER, 4)).toBe(0x1_0020);
  });
});

describe('local APIC priorities', () => {
  it('move a vector from IRR to ISR to nothing', () => {
    const { apic, read, write, enable, raise, events } = machine();
    enable();
    raise(0x61);
    expect(events).toEqual(['pending']);
    const [irr, bit] = bitOf(IRR, 0x61);
    const [isr] = bitOf(ISR, 0x61);
    expect([read(irr), read(isr)]).toEqual([bit, 0]);
    expect([apic.pending, apic.acknowledge(), apic.pending]).toEqual([true, 0x61, false]);
    expect([read(irr), read(isr), read(PPR)]).toEqual([0, bit, 0x60]);
    write(EOI, 0);
    expect([read(isr), read(PPR)]).toEqual([0, 0]);
  });

  it('deliver only classes above the one in service and above TPR', () => {
    const { apic, write, enable, raise, read } = machine();
    enable();
    raise(0x51);
    apic.acknowledge();
    raise(0x5f);
    expect(apic.pending).toBe(false);
    raise(0x60);
    expect(apic.acknowledge()).toBe(0x60);
    write(EOI, 0);
    write(TPR, 0x5a);
    expect(read(PPR)).toBe(0x5a);
    write(EOI, 0);
    expect(apic.pending).toBe(false);
    write(TPR, 0x4f);
    expect(apic.acknowledge()).toBe(0x5f);
    expect(read(PPR)).toBe(0x50);
  });

  it('give the spurious vector, without ISR bit, if TPR rises between INTR and INTA', () => {
    const { apic, read, write, enable, raise } = machine();
    enable();
    raise(0x80);
    apic.taskPriority = 8;
    expect([read(TPR), apic.taskPriority]).toEqual([0x80, 8]);
    expect(apic.pending).toBe(false);
    expect(apic.acknowledge()).toBe(0xff);
    for (let word = 0; word < 8; word++) expect(read(ISR + word * 0x10)).toBe(0);
    write(TPR, 0);
    expect(apic.acknowledge()).toBe(0x80);
  });

  it('merge equal vectors and serve the highest first', () => {
    const { apic, write, enable, raise } = machine();
    enable();
    for (const vector of [0x30, 0xfe, 0x30, 0x41]) raise(vector);
    const order: number[] = [];
    while (apic.pending) {
      order.push(apic.acknowledge());
      write(EOI, 0);
    }
    expect(order).toEqual([0xfe, 0x41, 0x30]);
  });

  it('broadcast EOI for level-triggered vectors alone', () => {
    const { apic, read, write, enable, message, events } = machine();
    enable();
    message(0x44, true);
    const [tmr, bit] = bitOf(TMR, 0x44);
    expect(read(tmr)).toBe(bit);
    apic.acknowledge();
    write(EOI, 0);
    message(0x44, false);
    expect(read(tmr)).toBe(0);
    apic.acknowledge();
    write(EOI, 0);
    write(EOI, 0);
    expect(events.filter((event) => event.startsWith('eoi'))).toEqual(['eoi 44']);
  });

  it('accept no fixed interrupts under a software disable, but keep those that wait', () => {
    const { apic, write, enable, raise, message } = machine();
    message(0x40);
    expect(apic.pending).toBe(false);
    enable();
    raise(0x41);
    write(SVR, 0xff);
    message(0x50);
    expect(apic.acknowledge()).toBe(0x41);
    expect(apic.pending).toBe(false);
  });
});

describe('local APIC messages', () => {
  it('go to itself by ID, by broadcast and by shorthand, not to others', () => {
    const { apic, write, enable } = machine({ id: 2 });
    enable();
    const arrives = (high: number, low: number) => {
      write(ICR_HIGH, high << 24);
      write(ICR, low | 0x40);
      const arrived = apic.pending;
      if (arrived) {
        apic.acknowledge();
        write(EOI, 0);
      }
      return arrived;
    };
    expect(arrives(2, 0)).toBe(true);
    expect(arrives(3, 0)).toBe(false);
    expect(arrives(0xff, 0)).toBe(true);
    expect(arrives(0, 0x4_0000)).toBe(true);
    expect(arrives(0, 0x8_0000)).toBe(true);
    expect(arrives(0xff, 0xc_0000)).toBe(false);
    // Logical, flat model: any common bit.
    write(LDR, 0x0400_0000);
    expect(arrives(0x06, 0x800)).toBe(true);
    expect(arrives(0x03, 0x800)).toBe(false);
    // Logical, cluster model: same cluster, and a common bit.
    write(DFR, 0x0fff_ffff);
    write(LDR, 0x3200_0000);
    expect(arrives(0x33, 0x800)).toBe(true);
    expect(arrives(0x23, 0x800)).toBe(false);
    expect(arrives(0x31, 0x800)).toBe(false);
  });

  it('carry NMI, SMI and INIT; a de-asserted INIT does nothing', () => {
    const { apic, write, read, enable, events } = machine();
    enable();
    write(ICR, 0x4400);
    write(ICR, 0x4200);
    write(ICR, 0x8500);
    expect(events).toEqual(['nmi', 'smi']);
    expect(read(SVR)).toBe(0x1ff);
    write(ICR, 0x4500);
    expect(events).toEqual(['nmi', 'smi', 'init']);
    // The processor may refuse it, or take it with its APIC.
    expect(read(SVR)).toBe(0x1ff);
    apic.init();
    expect(read(SVR)).toBe(0xff);
  });

  it('with an illegal vector set ESR and raise the error interrupt', () => {
    const { apic, read, write, enable, message } = machine();
    enable();
    write(LVT_ERROR, 0xfe);
    write(ICR, SELF | 0x0f);
    expect(apic.acknowledge()).toBe(0xfe);
    expect(read(ESR)).toBe(0);
    write(ESR, 0);
    expect(read(ESR)).toBe(0x20);
    message(0x03);
    read(0x3f0);
    write(ESR, 0);
    expect(read(ESR)).toBe(0xc0);
    write(ESR, 0);
    expect(read(ESR)).toBe(0);
  });

  it('survive an error interrupt that is itself an error', () => {
    const { read, write, enable } = machine();
    enable();
    write(LVT_ERROR, 0x01);
    write(0x040, 1);
    write(ESR, 0);
    expect(read(ESR)).toBe(0xc0);
  });
});

describe('LINT0 and LINT1', () => {
  it('pass the 8259 through in virtual wire mode, at any priority', () => {
    const { apic, write, enable, raise } = machine();
    enable();
    apic.lint0.set(true);
    expect(apic.pending).toBe(false);
    write(LVT_LINT0, 0x700);
    raise(0xf0);
    write(TPR, 0xff);
    expect(apic.acknowledge()).toBe(0x77);
    expect(apic.pending).toBe(false);
    apic.lint0.set(true);
    expect(apic.pending).toBe(true);
    apic.lint0.set(false);
    expect(apic.pending).toBe(false);
    apic.lint0.set(true);
    write(LVT_LINT0, 0x1_0700);
    expect(apic.pending).toBe(false);
  });

  it('are INTR and NMI without APIC', () => {
    const { apic, events } = machine();
    apic.baseLo = 0xfee0_0000;
    apic.lint0.set(true);
    expect(apic.acknowledge()).toBe(0x77);
    apic.lint1.set(true);
    apic.lint1.set(true);
    expect(events).toEqual(['pending', 'nmi']);
  });

  it('take the 8259 as a message of the I/O APIC', () => {
    const { apic, write, enable } = machine();
    enable();
    write(TPR, 0xff);
    apic.receive({ vector: 0, mode: 7, levelTriggered: false, destination: 0, logical: false });
    expect([apic.pending, apic.acknowledge(), apic.pending]).toEqual([true, 0x77, false]);
  });

  it('deliver NMI on an edge', () => {
    const { apic, write, enable, events } = machine();
    enable();
    write(LVT_LINT1, 0x400);
    apic.lint1.set(true);
    apic.lint1.set(true);
    apic.lint1.set(false);
    apic.lint1.set(true);
    expect(events).toEqual(['nmi', 'nmi']);
  });

  it('deliver fixed edges once, fixed levels again after EOI while asserted', () => {
    const { apic, read, write, enable } = machine();
    enable();
    write(LVT_LINT1, 0x50);
    apic.lint1.set(true);
    expect(apic.acknowledge()).toBe(0x50);
    write(EOI, 0);
    expect(apic.pending).toBe(false);
    write(LVT_LINT0, 0x8060);
    apic.lint0.set(true);
    expect(read(LVT_LINT0)).toBe(0xc060);
    expect(apic.acknowledge()).toBe(0x60);
    write(EOI, 0);
    expect(apic.acknowledge()).toBe(0x60);
    apic.lint0.set(false);
    write(EOI, 0);
    expect([apic.pending, read(LVT_LINT0)]).toEqual([false, 0x8060]);
  });
});

describe('local APIC timer', () => {
  it('counts down at the divided bus clock and stops at 0', () => {
    const divisors = [
      [0x0, 2],
      [0x1, 4],
      [0x2, 8],
      [0x3, 16],
      [0x8, 32],
      [0x9, 64],
      [0xa, 128],
      [0xb, 1],
    ];
    for (const [configuration, divisor] of divisors) {
      const { time, apic, read, write, enable } = machine();
      enable();
      write(LVT_TIMER, 0xec);
      write(DIVIDE, configuration);
      write(INITIAL, 100);
      expect(read(CURRENT)).toBe(100);
      time.moveTo(40 * divisor * BUS_CLOCK);
      expect(read(CURRENT)).toBe(60);
      time.moveTo(100 * divisor * BUS_CLOCK - 1);
      expect([read(CURRENT), apic.pending]).toEqual([1, false]);
      time.move(1);
      expect([read(CURRENT), apic.acknowledge()]).toEqual([0, 0xec]);
      write(EOI, 0);
      time.move(1e9);
      expect([apic.pending, time.clock.nextDeadline]).toEqual([false, Number.POSITIVE_INFINITY]);
    }
  });

  it('repeats in periodic mode without drift', () => {
    const { time, apic, read, write, enable } = machine();
    enable();
    write(DIVIDE, 0x3);
    write(LVT_TIMER, 0x2_00ec);
    write(INITIAL, 25_000);
    const ticks: number[] = [];
    while (time.now < 1e9) {
      time.moveTo(time.clock.nextDeadline);
      ticks.push(time.now);
      apic.acknowledge();
      write(EOI, 0);
    }
    expect(ticks).toEqual(Array.from({ length: 250 }, (_, index) => (index + 1) * 4_000_000));
    expect(read(CURRENT)).toBe(25_000);
  });

  it('counts on under the mask, silently', () => {
    const { time, apic, read, write, enable } = machine();
    enable();
    write(DIVIDE, 0xb);
    write(LVT_TIMER, 0x3_00ec);
    write(INITIAL, 100);
    time.moveTo(250 * BUS_CLOCK);
    expect([read(CURRENT), apic.pending]).toEqual([50, false]);
    expect(time.clock.nextDeadline).toBe(Number.POSITIVE_INFINITY);
    write(LVT_TIMER, 0x2_00ec);
    time.moveTo(300 * BUS_CLOCK);
    expect(apic.acknowledge()).toBe(0xec);
  });

  it('stops with an initial count of 0, and goes on from its count at a new rate', () => {
    const { time, apic, read, write, enable } = machine();
    enable();
    write(LVT_TIMER, 0xec);
    write(DIVIDE, 0xb);
    write(INITIAL, 100);
    time.moveTo(50 * BUS_CLOCK);
    write(DIVIDE, 0x0);
    expect(read(CURRENT)).toBe(50);
    time.move(20 * BUS_CLOCK);
    expect(read(CURRENT)).toBe(40);
    write(INITIAL, 0);
    time.move(1e9);
    expect([read(CURRENT), apic.pending]).toEqual([0, false]);
  });

  it('holds the largest count', () => {
    const { time, read, write, enable } = machine();
    enable();
    write(DIVIDE, 0xa);
    write(LVT_TIMER, 0xec);
    write(INITIAL, 0xffff_ffff);
    expect(read(INITIAL)).toBe(0xffff_ffff);
    time.moveTo(1e12);
    expect(read(CURRENT)).toBe(0xffff_ffff - Math.floor(1e12 / (128 * BUS_CLOCK)));
  });
});
