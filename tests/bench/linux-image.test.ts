import { describe, expect, it } from 'vitest';
import { linuxAsMultiboot } from '../../bench/linux-image.ts';
import { hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { Machine } from '../../src/machine/machine.ts';
import { MIB, makeBzImage } from '../machine/loaders/images.ts';

const KERNEL = 0x100_0000;
/** Behind two setup sectors and the boot sector. */
const KERNEL_IN_FILE = 3 * 512;

describe('a bzImage wrapped for multiboot', () => {
  it('starts the kernel as the 32-bit boot protocol wants it', () => {
    const kernel = makeBzImage();
    // MOV EBX, CS; MOV EDX, DS; CLI; HLT
    kernel.set([0x8c, 0xcb, 0x8c, 0xda, 0xfa, 0xf4], KERNEL_IN_FILE);
    const image = linuxAsMultiboot({
      kernel,
      initrd: Uint8Array.of(1, 2, 3),
      commandLine: 'console=ttyS0',
      memoryBytes: 64 * MIB,
    });
    const machine = new Machine({ model: parseCpuModel('pentium4'), memoryBytes: 64 * MIB });
    machine.load({ image });
    expect(machine.run(1000)).toEqual({ kind: 'dead' });
    const { state, physical } = machine.cpu;
    expect(state.eip).toBe(KERNEL + 6);
    // __BOOT_CS and __BOOT_DS (boot.rst, "32-bit Boot Protocol").
    expect([state.gpr(3), state.gpr(2)]).toEqual([0x10, 0x18]);
    const bootParams = state.gpr(6);
    const field = (offset: number): number => physical.read32(hpa(bootParams + offset));
    expect(field(0x202)).toBe(0x5372_6448);
    expect(field(0x21c)).toBe(3);
    expect(physical.read32(hpa(field(0x218))) & 0xff_ffff).toBe(0x03_0201);
    expect(String.fromCharCode(physical.read8(hpa(field(0x228))))).toBe('c');
  });
});
