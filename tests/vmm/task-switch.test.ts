/** Task switches by instructions in a VM: the processor exits at the instruction, and L0 must save EIP behind it. */
import { expect, it } from 'vitest';
import { gpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { Assembler, ax, eax, ebx, mem32 } from '../../src/guest/assembler.ts';
import { setInitialState } from '../../src/l0/vcpu-registers.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const MEMORY = 0x10_0000;
const CODE = 0x1000;
const NEXT_TASK = 0x2000;
const GDT = 0x3000;
const TSS = 0x4000;
const NEXT_TSS = 0x5000;
const POINTER = 0x6000;
const OLD_EIP = 0x20;
const SELECTOR = 0x20;

const HLT = 0xf4;
// biome-ignore format: table
const FORMS: readonly (readonly [name: string, bytes: readonly number[]])[] = [
  ['JMP ptr16:32',                    [0xea, 0, 0, 0, 0, SELECTOR, 0]],
  ['JMP ptr16:16',                    [0x66, 0xea, 0, 0, SELECTOR, 0]],
  ['CALL ptr16:32',                   [0x9a, 0, 0, 0, 0, SELECTOR, 0]],
  ['CALL ptr16:16',                   [0x66, 0x9a, 0, 0, SELECTOR, 0]],
  ['JMP m16:32, disp32',              [0xff, 0x2d, 0x00, 0x60, 0, 0]],
  ['CALL m16:32, base and disp8',     [0xff, 0x5b, 0x10]],
  ['CALL m16:32, SIB and disp32',     [0x2e, 0xff, 0x9c, 0x23, 0x10, 0, 0, 0]],
  ['JMP m16:32, 16-bit address',      [0x67, 0xff, 0x2e, 0x00, 0x60]],
];

it.each(FORMS)('%s saves the EIP behind it', (_, bytes) => {
  const machine = new HostedMachine({ model: parseCpuModel('current-amd'), memoryBytes: MEMORY });
  const words = (address: number, ...values: readonly number[]): void =>
    machine.write(gpa(address), new Uint8Array(Uint32Array.from(values).buffer));
  const a = new Assembler(CODE);
  a.lgdt(mem32(GDT + 0x100));
  a.mov(eax, 0x18);
  a.ltr(ax);
  a.mov(ebx, POINTER - 0x10);
  const instruction = a.here;
  a.raw(...bytes, HLT);
  machine.write(gpa(CODE), a.finish().bytes);
  machine.write(gpa(NEXT_TASK), Uint8Array.of(HLT));
  // Flat code and data, two 32-bit TSSs (SDM vol. 3A 7.2.2), the far pointer.
  words(GDT + 8, 0x0000_ffff, 0x00cf_9b00, 0x0000_ffff, 0x00cf_9300);
  words(GDT + 0x18, (TSS << 16) | 0x67, 0x8900, (NEXT_TSS << 16) | 0x67, 0x8900);
  words(GDT + 0x100, (GDT << 16) | 0x27, 0);
  words(NEXT_TSS + OLD_EIP, NEXT_TASK, 2);
  words(NEXT_TSS + 0x48, 0x10, 8, 0x10, 0x10, 0x10, 0x10);
  words(POINTER, 0, SELECTOR);
  setInitialState(machine.vcpu, protectedState(CODE, { ESP: 0x7000 }, 8, 16, hpa(0)));
  expect(machine.run(1000).kind).toBe('dead');
  expect(machine.vcpu.state.rip).toBe(NEXT_TASK + 1);
  const saved = new DataView(machine.read(gpa(TSS + OLD_EIP), 4).buffer).getUint32(0, true);
  expect(saved).toBe(instruction + bytes.length);
});
