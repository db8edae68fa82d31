import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from '../bare.ts';
import { catchExceptions, caught, enterUser } from '../system/traps.ts';

/** mov trN,eax; mov ecx,trN */
const load = (n: number): number[] => [0x0f, 0x26, 0xc0 | (n << 3)];
const store = (n: number): number[] => [0x0f, 0x24, 0xc1 | (n << 3)];
const moveToEax = (value: number): number[] => [
  0xb8,
  ...[0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff),
];
const HIT = 0x10;
const VALID = 0x800;
const LOOKUP = 1;
/** D, U and W, each with its complement. */
const ANYTHING = 0x7e0;
const USER = 0x100;
const NOT_USER = 0x80;

function run(model: string, code: readonly number[], set: (cpu: Cpu) => void = () => {}): Cpu {
  const cpu = bareCpu((a) => a.raw(...code, 0xf4), { model });
  catchExceptions(cpu);
  set(cpu);
  runToHalt(cpu);
  return cpu;
}

describe("test registers (Intel486 programmer's reference manual, 10.5)", () => {
  it('are five, and for CPL 0', () => {
    const cpu = run('486', [...moveToEax(0x1234_5678), ...load(3), ...store(3)]);
    expect([caught(cpu), cpu.state.gpr(1)]).toEqual([undefined, 0x1234_5678]);
    expect(caught(run('486', load(2)))).toMatchObject({ vector: VECTOR.UD, eip: CODE });
    expect(caught(run('486', store(7), enterUser))).toMatchObject({ vector: VECTOR.GP, errorCode: 0 });
  });

  it('are none from the Pentium on (SDM vol. 3B 22.18.4)', () => {
    expect(caught(run('pentium', load(6)))).toMatchObject({ vector: VECTOR.UD, eip: CODE });
    expect(caught(run('current-amd', store(6)))).toMatchObject({ vector: VECTOR.UD, eip: CODE });
  });

  it('find what the TLB holds', () => {
    const looked = (command: number): number => {
      // mov al,[3000h] brings the entry.
      const code = [0xa0, 0, 0x30, 0, 0, ...moveToEax(command), ...load(6), ...store(7)];
      return run('486', code, identityPaging).state.gpr(1);
    };
    expect(looked(0x3000 | VALID | ANYTHING | LOOKUP) & ~0xc).toBe(0x3000 | HIT);
    expect(looked(0x5000 | VALID | ANYTHING | LOOKUP)).toBe(0);
    const others = ANYTHING & ~(USER | NOT_USER);
    expect(looked(0x3000 | VALID | others | USER | LOOKUP) & HIT).toBe(HIT);
    expect(looked(0x3000 | VALID | others | NOT_USER | LOOKUP) & HIT).toBe(0);
  });

  it('put entries into the TLB that no table has', () => {
    const code = [
      ...moveToEax(0x7000),
      ...load(7),
      ...moveToEax(0x80_0000 | VALID | 0x540),
      ...load(6),
      // mov eax,[800000h]
      ...[0xa1, 0, 0, 0x80, 0],
    ];
    const cpu = run('486', code, (made) => {
      identityPaging(made);
      made.physical.write32(0x7000, 0xcafe);
    });
    expect([caught(cpu), cpu.state.gpr(0)]).toEqual([undefined, 0xcafe]);
  });
});
