import type { Hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { Cpu } from '../../src/cpu/cpu.ts';
import type { CpuMemory } from '../../src/cpu/cpu-memory.ts';
import type { Environment } from '../../src/cpu/environment.ts';
import { SYSTEM } from '../../src/cpu/layout.ts';
import { Assembler } from '../../src/guest/assembler.ts';

export const CODE = 0x1000;
const FLAT_CODE = 0xc9b;
const FLAT_DATA = 0xc93;

export interface BareOptions {
  readonly model?: string;
  readonly environment?: Environment;
  /** 16 MiB of RAM; fresh unless given. */
  readonly memory?: CpuMemory;
}

/** A processor in flat 32-bit protected mode at CPL 0, paging off, with a program at `CODE` and ESP = 0x8000. */
export function bareCpu(program: (a: Assembler) => void, options: BareOptions = {}): Cpu {
  const cpu = new Cpu({
    model: parseCpuModel(options.model ?? 'current-amd'),
    ramBytes: 16 << 20,
    ...(options.memory && { memory: options.memory }),
    ...(options.environment && { environment: options.environment }),
  });
  for (let segment = 0; segment < 6; segment++) {
    const code = segment === 1;
    cpu.state.setSegment(segment, code ? 8 : 16, 0, 0xffff_ffff, code ? FLAT_CODE : FLAT_DATA);
  }
  cpu.state.setSystem(SYSTEM.CR0, 0x11);
  cpu.paging.modeChanged();
  cpu.updateContext();
  const assembler = new Assembler(CODE);
  program(assembler);
  cpu.physical.load(CODE as Hpa, assembler.finish().bytes);
  cpu.state.eip = CODE;
  cpu.state.setGpr(4, 0x8000);
  return cpu;
}

/** Runs until HLT, at most a million instructions. */
export function runToHalt(cpu: Cpu): void {
  const reason = cpu.run(cpu.now + 1_000_000);
  if (reason !== 'halted')
    throw new Error(`the program ended with ${reason} at ${cpu.state.eip.toString(16)}`);
}

/** Turns 2-level paging on: an identity map of the first 4 MiB with one page table at 0x11000, directory at 0x10000. */
export function identityPaging(cpu: Cpu, flags = 7): void {
  cpu.physical.write32(0x10000, 0x11000 | 7);
  for (let page = 0; page < 1024; page++) cpu.physical.write32(0x11000 + page * 4, (page * 4096) | flags);
  cpu.state.setSystem(SYSTEM.CR3, 0x10000);
  cpu.state.setSystem(SYSTEM.CR0, 0x8001_0011);
  cpu.paging.modeChanged();
  cpu.updateContext();
}
