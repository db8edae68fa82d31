/** Random port and device-register accesses by guest code: IN, OUT, MOV, of any size, anywhere. */
import { describe, expect, it } from 'vitest';
import { type Hpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { Assembler, al, ax, dx, eax, edx, mem8, mem16, mem32 } from '../../src/guest/assembler.ts';
import { applyInitialState } from '../../src/machine/initial-registers.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { Machine } from '../../src/machine/machine.ts';
import { hostedWith, hostMemory, runHosted, trespass } from './hosted.ts';
import { Random } from './random.ts';

const CODE = 0x1_0000;
const MEMORY = 0x10_0000;
// biome-ignore format: table
const PORTS = [
  0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92, 0xe9, 0xf4,
  0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0xcf8, 0xcfc, 0xcfd, 0xcff, 0x4d0, 0x4d1, 0x600, 0x604,
] as const;
const DEVICES = [
  0xfee0_0000, 0xfee0_0000, 0xfec0_0000, 0xffff_f000, 0xa_0000, 0xf_f000, 0x8000_0000,
] as const;

/** Straight code of `count` accesses, then the same again. */
function accesses(random: Random, count: number): Uint8Array {
  const a = new Assembler(CODE);
  a.label('again');
  for (let n = 0; n < count; n++) {
    const data = random.pick([al, ax, eax]);
    a.mov(eax, random.boundary());
    if (random.oneIn(2)) {
      a.mov(edx, random.oneIn(4) ? random.below(0x1_0000) : random.pick(PORTS) + random.pick([0, 0, 0, 1]));
      if (random.oneIn(2)) a.in(data, dx);
      else a.out(dx, data);
      continue;
    }
    const register = random.oneIn(2) ? random.below(0x40) * 0x10 : random.below(0x1000);
    const place = (random.pick(DEVICES) + register) >>> 0;
    a.mov(edx, place);
    const memory = data === al ? mem8(edx) : data === ax ? mem16(edx) : mem32(edx);
    if (random.oneIn(2)) a.mov(data, memory);
    else if (random.oneIn(4)) a.add(memory, data);
    else a.mov(memory, data);
  }
  a.jmp('again');
  return a.finish().bytes;
}

const start = protectedState(CODE, { ESP: 0x8000 }, 8, 16, hpa(0));
const ENDS = ['limit', 'halted', 'dead', 'power-off', 'reset', 'debug-exit', 'triple-fault'];

describe('random device accesses', () => {
  it('of the bare machine end as a machine can, twice the same', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const once = (): string[] => {
        const random = new Random(seed);
        const model = parseCpuModel(random.pick(['486', 'pentium', 'current-amd']));
        const machine = new Machine({ model, memoryBytes: MEMORY });
        machine.cpu.physical.load(CODE as Hpa, accesses(random, 150));
        applyInitialState(machine.cpu, start);
        const ends: string[] = [];
        for (let run = 0; run < 20; run++) {
          const { kind } = machine.run(300);
          expect(ENDS).toContain(kind);
          ends.push(`${kind} ${machine.cpu.retired} ${machine.cpu.state.gpr(0)}`);
        }
        return ends;
      };
      expect([seed, once()]).toEqual([seed, once()]);
    }
  });

  it('of a guest end the same way and change nothing outside', () => {
    for (let seed = 31; seed <= 38; seed++) {
      const random = new Random(seed);
      const memory = new Uint8Array(MEMORY);
      memory.set(accesses(random, 150), CODE);
      const options = { start: CODE, check: seed % 4 === 0 };
      const machine = hostedWith(memory, options);
      const host = hostMemory(machine);
      for (let run = 0; run < 20; run++) expect(ENDS).toContain(runHosted(machine, 300));
      expect([seed, trespass(machine, host)]).toEqual([seed, -1]);
    }
  });
});
