import { describe, expect, it } from 'vitest';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { InputError } from '../../src/arch/input-error.ts';
import { Cpu } from '../../src/cpu/cpu.ts';
import {
  Assembler,
  al,
  cr0,
  cr3,
  cr4,
  eax,
  ebx,
  ecx,
  edi,
  esp,
  mem16,
  mem32,
} from '../../src/guest/assembler.ts';
import { Machine } from '../../src/machine/machine.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const model = parseCpuModel('current-amd');
const START = 0x7c00;
const DIRECTORY = 0x1_0000;
const PASSED = 0x2a;
const FAILED = 0x13;

/** Uses the last pages of RAM in every way: string stores, stores, loads, code; the byte behind floats high. */
function useTop(a: Assembler, size: number, value: number): void {
  const bytes = 3 * 4096;
  a.mov(edi, size - bytes);
  a.mov(ecx, bytes / 4);
  a.mov(eax, value);
  a.cld();
  a.rep();
  a.stosd();
  a.cmp(mem32(size - 4), value);
  a.jnz('failed');
  // mov eax, value + 1; ret: its last byte is the last of RAM.
  a.mov(mem32(size - 6), (((value + 1) << 8) | 0xb8) >>> 0);
  a.mov(mem16(size - 2), 0xc300 | ((value + 1) >>> 24));
  a.mov(ebx, size - 6);
  a.call(ebx);
  a.cmp(eax, value + 1);
  a.jnz('failed');
  a.cmp(mem32(size), -1);
  a.jnz('failed');
}

/** Maps all 4 GiB onto themselves with 4 MiB pages. */
function turnPagingOn(a: Assembler): void {
  a.mov(edi, DIRECTORY);
  a.mov(eax, 0x83);
  a.mov(ecx, 1024);
  a.label('entry');
  a.stosd();
  a.add(eax, 0x40_0000);
  a.sub(ecx, 1);
  a.jnz('entry');
  a.mov(eax, 0x10);
  a.mov(cr4, eax);
  a.mov(eax, DIRECTORY);
  a.mov(cr3, eax);
  a.mov(eax, 0x8000_0011);
  a.mov(cr0, eax);
}

function program(size: number): Uint8Array {
  const a = new Assembler(START);
  a.mov(esp, START);
  useTop(a, size, 0x1234_5678);
  turnPagingOn(a);
  useTop(a, size, 0x5432_1076);
  a.mov(al, PASSED);
  a.out(0xf4, al);
  a.label('failed');
  a.mov(al, FAILED);
  a.out(0xf4, al);
  return a.finish().bytes;
}

function runProgram(machine: Machine | HostedMachine, size: number) {
  machine.load({ image: program(size), raw: { address: START, mode: 'protected' } });
  return machine.run(10_000_000);
}

describe('RAM of', () => {
  // Multiples of 64 KiB and not, down to the least and up to the most.
  it.each([
    ['1028 KiB', 1028 * KIB],
    ['1092 KiB', 1092 * KIB],
    ['2 GiB less a page', 2048 * MIB - 4 * KIB],
    ['2 GiB', 2048 * MIB],
  ])('%s works on the bare machine', (_, size) => {
    const machine = new Machine({ model, memoryBytes: size });
    expect(runProgram(machine, size)).toEqual({ kind: 'debug-exit', value: PASSED });
  });

  it.each([
    ['1028 KiB', 1028 * KIB],
    ['1984 MiB less a page', 1984 * MIB - 4 * KIB],
    ['1984 MiB', 1984 * MIB],
  ])('%s works under L0', (_, size) => {
    const machine = new HostedMachine({ model, memoryBytes: size });
    expect(runProgram(machine, size)).toEqual({ kind: 'debug-exit', value: PASSED });
  });

  it.each([0, 1020 * KIB, MIB + 1, 1.5, Number.NaN, 2048 * MIB + 4 * KIB])(
    '%d bytes is refused by the machine',
    (memoryBytes) => {
      const make = () => new Machine({ model, memoryBytes });
      expect(make).toThrow(InputError);
      expect(make).toThrow(/must be 1M to 2G, a multiple of 4K\.$/);
    },
  );

  it.each([0, 1020 * KIB, MIB + 1, 1984 * MIB + 4 * KIB, 2048 * MIB])(
    '%d bytes is refused by a machine under L0',
    (memoryBytes) => {
      const make = () => new HostedMachine({ model, memoryBytes });
      expect(make).toThrow(InputError);
      expect(make).toThrow(/must be 1M to 1984M, a multiple of 4K\.$/);
    },
  );

  it.each([0, 100, 2048 * MIB + 4 * KIB])('%d bytes is refused by a processor', (ramBytes) => {
    expect(() => new Cpu({ model, ramBytes })).toThrow(InputError);
  });
});
