/** A hostile guest on the bare processor, and what can be observed of it. */
import { type Hpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { Cpu } from '../../src/cpu/cpu.ts';
import type { Environment } from '../../src/cpu/environment.ts';
import { BUDGET, CODE_CONTEXT, EIP_BASE, FAULT, TLB_TAG } from '../../src/cpu/layout.ts';
import { applyInitialState } from '../../src/machine/initial-registers.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { STACK, START } from './guest.ts';

export function bareWith(model: string, memory: Uint8Array, environment?: Environment, start = START): Cpu {
  const cpu = new Cpu({
    model: parseCpuModel(model),
    ramBytes: memory.length,
    ...(environment && { environment }),
  });
  cpu.physical.load(0 as Hpa, memory);
  applyInitialState(cpu, protectedState(start, { ESP: STACK }, 8, 16, hpa(0)));
  return cpu;
}

/** FNV over words. */
export function hashWords(words: Uint32Array, hash = 0x811c_9dc5): number {
  let value = hash;
  for (let i = 0; i < words.length; i++) value = Math.imul(value ^ (words[i] as number), 0x0100_0193);
  return value >>> 0;
}

const REGISTERS_END = 0x904;
/** Working values of the interpreter: they say how far it got ahead, nothing that a guest could see. */
const WORKING: readonly number[] = [EIP_BASE, BUDGET, FAULT, TLB_TAG, CODE_CONTEXT];

/** Everything of the processor and its memory that a guest could tell. */
export function fingerprint(cpu: Cpu): string {
  const registers = cpu.state.u32.slice(0x40 >> 2, REGISTERS_END >> 2);
  for (const place of WORKING) registers[(place - 0x40) >> 2] = 0;
  // The flags are kept as what they derive from, which has many forms.
  registers.fill(0, (0xc0 - 0x40) >> 2, (0xd8 - 0x40) >> 2);
  const parts = [
    cpu.retired,
    cpu.state.eflags,
    cpu.cpl,
    cpu.halted,
    cpu.shutdown,
    cpu.svm.inGuest,
    cpu.svm.gif,
    hashWords(registers),
    hashWords(cpu.physical.u32),
  ];
  return parts.join(' ');
}
