import type { PcDevices } from '../../src/machine/devices/pc.ts';
import type { Random } from './random.ts';

/** Two to seven microseconds, in clocks of the 8254: code that has come to rest is woken. Sometimes none. */
export const anyPeriod = (random: Random): number => (random.oneIn(4) ? 0 : 2 + random.below(6));

/**
 * Counter 0 of the 8254 interrupts every `period` of its clocks, of 838 ticks, through the master 8259, whose vectors begin
 * at 20h and which needs no EOI. 0 for no timer.
 */
export function startTimer({ io }: Pick<PcDevices, 'io'>, period: number): void {
  if (period === 0) return;
  for (const [port, value] of [
    [0x20, 0x11],
    [0x21, 0x20],
    [0x21, 0x04],
    [0x21, 0x03],
    [0x21, 0xfe],
    [0x43, 0x34],
    [0x40, period & 0xff],
    [0x40, period >>> 8],
  ] as const)
    io.write(port, 1, value);
}
