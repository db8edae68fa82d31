import { describe, expect, it } from 'vitest';
import { hpa } from '../../../src/arch/address.ts';
import { InputError } from '../../../src/arch/input-error.ts';
import { loadLinux } from '../../../src/machine/loaders/linux.ts';
import type { LoadRequest } from '../../../src/machine/loaders/request.ts';
import {
  BZIMAGE_KERNEL_SIZE,
  type BzImageFields,
  MIB,
  makeBzImage,
  pattern,
  request,
  TestMemory,
} from './images.ts';

const load = (fields: Partial<BzImageFields> = {}, more: Partial<LoadRequest> = {}, size = 64 * MIB) => {
  const memory = new TestMemory(size);
  return { memory, loaded: loadLinux(request(makeBzImage(fields), size, more), memory) };
};

const bootParamsOf = (state: { gprs: readonly number[] }): number => state.gprs[6] as number;

describe('a Linux bzImage', () => {
  it('enters in flat 32-bit protected mode with the selectors of the protocol', () => {
    const { memory, loaded } = load();
    const { state } = loaded;
    expect(state).toMatchObject({ mode: 'protected', eip: 0x100_0000, eflags: 0x2, cr0: 0x11 });
    // Present, code, readable, accessed, 32-bit, 4 KiB granularity; and the same as data.
    expect(state.segments.cs).toEqual({ selector: 0x10, base: 0, limit: 0xffff_ffff, attributes: 0xc9b });
    for (const name of ['ds', 'es', 'ss'] as const) {
      expect(state.segments[name]).toEqual({
        selector: 0x18,
        base: 0,
        limit: 0xffff_ffff,
        attributes: 0xc93,
      });
    }
    const { base, limit } = state.gdtr;
    expect(limit).toBe(0x1f);
    expect(memory.u32(base + 0x10)).toBe(0x0000_ffff);
    expect(memory.u32(base + 0x14)).toBe(0x00cf_9b00);
    expect(memory.u32(base + 0x18)).toBe(0x0000_ffff);
    expect(memory.u32(base + 0x1c)).toBe(0x00cf_9300);
    // EBP, EDI and EBX must be zero.
    expect([3, 5, 7].map((index) => state.gprs[index])).toEqual([0, 0, 0]);
  });

  it('lies at pref_address when relocatable', () => {
    const { memory } = load();
    expect(memory.bytes.slice(0x100_0000, 0x100_0000 + BZIMAGE_KERNEL_SIZE)).toEqual(
      pattern(BZIMAGE_KERNEL_SIZE),
    );
    expect(load({ prefAddress: 0x120_0000n }).loaded.state.eip).toBe(0x120_0000);
  });

  it('lies at pref_address rounded up to its alignment', () => {
    expect(load({ prefAddress: 0x110_0000n, alignment: 0x40_0000 }).loaded.state.eip).toBe(0x140_0000);
  });

  it('lies at code32_start when not relocatable, with room kept where it moves itself', () => {
    const { loaded } = load({ relocatable: 0 });
    expect(loaded.state.eip).toBe(0x10_0000);
    expect(loaded.regions).toContainEqual({
      name: "the kernel's workspace (init_size)",
      start: 0x100_0000,
      end: 0x110_0000,
    });
  });

  it('may overlap its own workspace when not relocatable', () => {
    const { loaded } = load({ relocatable: 0, code32Start: 0x10_0000, prefAddress: 0x10_1000n });
    expect(loaded.state.eip).toBe(0x10_0000);
    expect(loaded.regions.at(-1)).toMatchObject({ start: 0x10_3000, end: 0x20_1000 });
  });

  it('gets boot_params with its header, the memory map and the ACPI root pointer', () => {
    const { memory, loaded } = load({}, { acpiRsdp: hpa(0xe_0000) });
    const params = bootParamsOf(loaded.state);
    expect(params % 4096).toBe(0);
    expect(params).toBeLessThan(0x9_fc00);
    expect(memory.u32(params + 0x202)).toBe(0x5372_6448);
    expect(memory.bytes[params + 0x210]).toBe(0xff);
    expect(memory.u32(params + 0x214)).toBe(0x100_0000);
    expect(memory.view.getBigUint64(params + 0x70, true)).toBe(0xe_0000n);
    expect(memory.bytes[params + 0x1e8]).toBe(4);
    expect(memory.view.getBigUint64(params + 0x2d0 + 60, true)).toBe(0x10_0000n);
    expect(memory.view.getBigUint64(params + 0x2d0 + 68, true)).toBe(BigInt(63 * MIB));
    expect(memory.u32(params + 0x2d0 + 76)).toBe(1);
    // The sentinel says that whoever made boot_params cleared them.
    expect(memory.bytes[params + 0x1ef]).toBe(0);
    expect(memory.u32(params + 0x1e0)).toBe(63 * 1024);
  });

  it('copies no more of the file than the header', () => {
    const { memory, loaded } = load({ headerEnd: 0x264 });
    const params = bootParamsOf(loaded.state);
    expect([...memory.bytes.subarray(params + 0x264, params + 0x2d0)].every((byte) => byte === 0)).toBe(true);
  });

  it('is not told of ACPI before protocol 2.14', () => {
    const { memory, loaded } = load({ version: 0x020d }, { acpiRsdp: hpa(0xe_0000) });
    expect(memory.u32(bootParamsOf(loaded.state) + 0x70)).toBe(0);
  });

  it('gets its command line, up to the length it takes', () => {
    const line = `console=ttyS0 ${'x'.repeat(255 - 14)}`;
    const { memory, loaded } = load({}, { commandLine: line });
    const pointer = memory.u32(bootParamsOf(loaded.state) + 0x228);
    expect(memory.string(pointer)).toBe(line);
    expect(() => load({}, { commandLine: `${line}x` })).toThrow(/256 bytes; this kernel takes at most 255/);
    expect(() => load({}, { commandLine: 'a\0b' })).toThrow(/zero character at position 1/);
  });

  it('gets the initrd as high as RAM allows, on a page', () => {
    const initrd = pattern(5000, 3);
    const { memory, loaded } = load({}, { initrd });
    const params = bootParamsOf(loaded.state);
    expect(memory.u32(params + 0x218)).toBe(64 * MIB - 8192);
    expect(memory.u32(params + 0x21c)).toBe(5000);
    expect(memory.bytes.slice(64 * MIB - 8192, 64 * MIB - 8192 + 5000)).toEqual(initrd);
  });

  it('gets the initrd below initrd_addr_max, which is the last address it may take', () => {
    const { memory, loaded } = load({ initrdAddrMax: 0x1ff_ffff }, { initrd: pattern(4096) });
    expect(memory.u32(bootParamsOf(loaded.state) + 0x218)).toBe(0x1ff_f000);
    const tight = load({ initrdAddrMax: 0x1ff_fffe }, { initrd: pattern(4096) });
    expect(tight.memory.u32(bootParamsOf(tight.loaded.state) + 0x218)).toBe(0x1ff_e000);
  });

  it('keeps the initrd out of the memory that the kernel will use', () => {
    // The workspace ends at 17 MiB, RAM at 17 MiB and 1 page: below 16 MiB is where 2 pages fit.
    const { memory, loaded } = load({}, { initrd: pattern(8192) }, 17 * MIB + 4096);
    expect(memory.u32(bootParamsOf(loaded.state) + 0x218)).toBe(16 * MIB - 8192);
  });

  it('says whether it is a 64-bit kernel', () => {
    expect(load().loaded.needsLongMode).toBe(false);
    expect(load({ xloadflags: 1 }).loaded.needsLongMode).toBe(true);
  });
});

describe('a bad Linux image is refused', () => {
  const cases: [string, Partial<BzImageFields>, RegExp][] = [
    ['protocol 2.09', { version: 0x0209 }, /boot protocol 2\.09 .*2\.10 or newer/],
    ['zImage', { loadflags: 0 }, /zImage/],
    ['short header', { headerEnd: 0x240 }, /setup header ends at offset 0x240/],
    ['long header', { headerEnd: 0x294 }, /between 0x264 and 0x290/],
    ['alignment 0', { alignment: 0 }, /kernel_alignment .* power of two/],
    ['alignment 3', { alignment: 3 }, /kernel_alignment .* power of two/],
    ['payload beyond the kernel', { payloadLength: 0x3000 }, /payload_offset .*reach to 0x3100/],
    ['pref_address beyond RAM', { prefAddress: 1n << 40n }, /does not fit into 64M/],
    ['init_size beyond RAM', { initSize: 0x4000_0000 }, /workspace .* does not fit into 64M/],
    [
      'code32_start in the ROM',
      { relocatable: 0, code32Start: 0xf_0000 },
      /overlaps memory that is reserved/,
    ],
  ];
  it.each(cases)('%s', (_, fields, message) => {
    const memory = new TestMemory(64 * MIB);
    const attempt = () => loadLinux(request(makeBzImage(fields), 64 * MIB), memory);
    expect(attempt).toThrow(InputError);
    expect(attempt).toThrow(message);
    expect(memory.writes).toBe(0);
  });

  it('truncated, with the place where the file ends', () => {
    const image = makeBzImage().subarray(0, 0x1000);
    expect(() => loadLinux(request(image, 64 * MIB), new TestMemory(64 * MIB))).toThrow(
      'The Linux kernel image is truncated: the protected-mode kernel takes 12288 bytes at offset 0x600, ' +
        'but the file ends at 0x1000.',
    );
  });

  it('an initrd that fits nowhere', () => {
    const memory = new TestMemory(20 * MIB);
    const initrd = new Uint8Array(16 * MIB);
    expect(() => loadLinux(request(makeBzImage(), 20 * MIB, { initrd }), memory)).toThrow(
      /The initrd \(16777216 bytes\) finds no free memory/,
    );
    expect(memory.writes).toBe(0);
  });

  it('multiboot modules', () => {
    const modules = [{ data: new Uint8Array(1), commandLine: '' }];
    expect(() => load({}, { modules })).toThrow(/no multiboot modules/);
  });

  it('more memory ranges than boot_params hold', () => {
    const e820 = Array.from({ length: 129 }, (_, index) => ({
      base: hpa(index * MIB),
      size: MIB,
      type: 1 as const,
    }));
    expect(() => load({}, { e820 })).toThrow(/129 entries; .* at most 128/);
  });
});
