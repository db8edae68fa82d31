import { describe, expect, it } from 'vitest';
import type { Hpa } from '../../src/arch/address.ts';
import { CpuMemory } from '../../src/cpu/cpu-memory.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from './bare.ts';

const RAM = 16 << 20;
const EAX = 0;
const ECX = 1;
const EDI = 7;

/** Programs that write to 0x200000 and following pages, each by another way through the processor. */
const WRITERS: Readonly<Record<string, readonly number[]>> = {
  'a store': [0xc7, 0x05, 0, 0, 0x20, 0, 1, 2, 3, 4, 0xf4],
  // The second store is the first that the fast TLB lets through.
  'two stores': [0xa3, 0, 0, 0x20, 0, 0xa3, 0xfc, 0x0f, 0x20, 0, 0xf4],
  'a store across pages': [0xa3, 0xfe, 0x0f, 0x20, 0, 0xf4],
  'a read, then a store': [0x8b, 0x1d, 0, 0, 0x20, 0, 0xa3, 0x10, 0, 0x20, 0, 0xf4],
  PUSH: [0xbc, 4, 0, 0x20, 0, 0x50, 0xf4],
  'REP STOSD over three pages': [0xf3, 0xab, 0xf4],
  FXSAVE: [0x0f, 0xae, 0x05, 0, 0x02, 0x20, 0, 0xf4],
  SGDT: [0x0f, 0x01, 0x05, 0, 0, 0x20, 0, 0xf4],
};

/** Words of RAM that are not zero. */
function leftovers(memory: CpuMemory): number {
  const words = new Uint32Array(memory.wasm.buffer, memory.ramBase);
  let count = 0;
  for (let at = 0; at < words.length; at++) if (words[at] !== 0) count++;
  return count;
}

describe.each(Object.entries(WRITERS))('what %s wrote', (_, program) => {
  it.each([
    ['without paging', false],
    ['with paging', true],
  ])('is gone when the memory serves another processor, %s', (_name, paging) => {
    const memory = new CpuMemory(RAM);
    const cpu = bareCpu((a) => a.hlt(), { memory });
    cpu.physical.load(CODE as Hpa, Uint8Array.from(program));
    if (paging) identityPaging(cpu);
    cpu.state.setGpr(EAX, 0x1234_5678);
    cpu.state.setGpr(ECX, 3 * 1024);
    cpu.state.setGpr(EDI, 0x20_0000);
    runToHalt(cpu);
    const written = cpu.physical.u8.subarray(0x20_0000, 0x20_3000);
    expect(written.some((byte) => byte !== 0)).toBe(true);
    memory.clear();
    expect(leftovers(memory)).toBe(0);
  });
});

describe('memory that served another processor', () => {
  it('holds none of its registers', () => {
    const memory = new CpuMemory(RAM);
    const first = bareCpu((a) => a.hlt(), { memory });
    for (let register = 0; register < 8; register++) first.state.setGpr(register, 0xffff_ffff);
    runToHalt(first);
    const fresh = bareCpu((a) => a.hlt());
    const second = bareCpu((a) => a.hlt(), { memory });
    expect(second.state.u8.slice(0, 0x1000)).toEqual(fresh.state.u8.slice(0, 0x1000));
  });
});
