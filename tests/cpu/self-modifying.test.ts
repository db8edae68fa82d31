import { describe, expect, it } from 'vitest';
import { type Assembler, al, eax, ebx, ecx, edi, esi, mem8, mem32 } from '../../src/guest/assembler.ts';
import { bareCpu, identityPaging, runToHalt } from './bare.ts';

/** MOV EAX,imm32; RET. The instruction begins two bytes before a page ends, so that its immediate lies in both. */
const CROSSING = 0x2ffe;
/** The same within a page. */
const WITHIN = 0x5000;
const ROUNDS = 100;

/** ECX rounds: changes a byte of the immediate at `place`, calls it, and adds what it gives to EBX. */
function changing(target: number, place: number, after: (a: Assembler) => void) {
  return (a: Assembler): void => {
    a.mov(ecx, ROUNDS);
    a.xor(ebx, ebx);
    a.mov(edi, target);
    a.label('round');
    a.mov(eax, ecx);
    a.mov(mem8(place), al);
    a.emit('Call', edi);
    a.add(ebx, eax);
    after(a);
    a.dec(ecx);
    a.jnz('round');
    a.hlt();
  };
}

/** So many stores of data into the page of the instruction, far from it. */
function dataStores(count: number) {
  return (a: Assembler): void => {
    a.mov(esi, count);
    a.label('store');
    a.mov(mem32(WITHIN + 0xf00), esi);
    a.dec(esi);
    a.jnz('store');
  };
}

const sumOfBytes = (shift: number): number => {
  let sum = 0;
  for (let round = ROUNDS; round > 0; round--) sum += round * 2 ** shift;
  return sum >>> 0;
};

describe.each([false, true])('code that changes itself, paging %s', (paging) => {
  it.each([
    ['the first page of an instruction in two', CROSSING, CROSSING + 1, 0, 0],
    ['the second page of an instruction in two', CROSSING, CROSSING + 3, 16, 0],
    ['an instruction', WITHIN, WITHIN + 1, 0, 0],
    ['an instruction with data beside it', WITHIN, WITHIN + 1, 0, 3],
    ['an instruction with much data beside it', WITHIN, WITHIN + 1, 0, 50],
  ])('runs what it wrote: %s', (_, target, place, shift, stores) => {
    const after = stores === 0 ? () => {} : dataStores(stores);
    const cpu = bareCpu(changing(target, place, after));
    if (paging) identityPaging(cpu);
    for (const [offset, byte] of [0xb8, 0, 0, 0, 0, 0xc3].entries())
      cpu.physical.write8(target + offset, byte);
    runToHalt(cpu);
    expect(cpu.state.gpr(3)).toBe(sumOfBytes(shift));
  });
});
