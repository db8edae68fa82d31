import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/arch/input-error.ts';
import { loadMultiboot } from '../../../src/machine/loaders/multiboot.ts';
import type { LoadRequest } from '../../../src/machine/loaders/request.ts';
import { MIB, makeElf, makeFlatMultiboot, multibootHeader, pattern, request, TestMemory } from './images.ts';

const SIZE = 16 * MIB;

const load = (image: Uint8Array, more: Partial<LoadRequest> = {}) => {
  const memory = new TestMemory(SIZE);
  const loaded = loadMultiboot(request(image, SIZE, more), memory);
  return { memory, loaded, information: loaded.state.gprs[3] as number };
};

describe('a multiboot kernel', () => {
  it('flat: goes where its header says, with zeros behind', () => {
    const image = makeFlatMultiboot();
    const { memory, loaded } = load(image);
    expect(memory.bytes.slice(0x20_0000, 0x20_1000)).toEqual(image);
    expect(memory.bytes.slice(0x20_1000, 0x20_3000).every((byte) => byte === 0)).toBe(true);
    expect(memory.bytes[0x20_3000]).toBe(0xcc);
    expect(loaded.state).toMatchObject({ mode: 'protected', eip: 0x20_0080, cr0: 0x11, eflags: 2 });
    expect(loaded.state.gprs[0]).toBe(0x2bad_b002);
  });

  it('flat: zero as load_end_addr and bss_end_addr means the end of the file and no bss', () => {
    const { memory, loaded } = load(makeFlatMultiboot({ loadEnd: 0, bssEnd: 0 }));
    expect(loaded.regions.find(({ name }) => name === 'the kernel')).toMatchObject({
      start: 0x20_0000,
      end: 0x20_1000,
    });
    expect(memory.bytes[0x20_1000]).toBe(0xcc);
  });

  it('flat: loads only what follows load_addr', () => {
    // header_addr = load_addr: the image begins with the header, at file offset 0x40.
    const image = makeFlatMultiboot({ header: 0x20_0000, loadEnd: 0x20_0100, bssEnd: 0 });
    const { memory } = load(image);
    expect(memory.bytes.slice(0x20_0000, 0x20_0100)).toEqual(image.slice(0x40, 0x140));
  });

  it('ELF: goes by its program headers', () => {
    const code = pattern(0x500, 2);
    const { memory, loaded } = load(
      makeElf([{ physical: 0x10_0000, bytes: code }], 0x10_0010, multibootHeader(3)),
    );
    expect(memory.bytes.slice(0x10_0000, 0x10_0500)).toEqual(code);
    expect(loaded.state.eip).toBe(0x10_0010);
  });

  it('ELF with addresses in the header goes by the header', () => {
    const header = multibootHeader(0x1_0000, [0x30_0400, 0x30_0000, 0, 0, 0x30_0000]);
    const image = makeElf([{ physical: 0x10_0000, bytes: pattern(16) }], 0x10_0000, header);
    const { memory, loaded } = load(image);
    expect(loaded.state.eip).toBe(0x30_0000);
    expect(memory.bytes.slice(0x30_0000, 0x30_0000 + image.length)).toEqual(image);
  });

  it('is told of memory, command line and loader', () => {
    const { memory, information } = load(makeFlatMultiboot(), { name: 'kernel.bin', commandLine: 'a=1 b' });
    // Valid: memory, command line, modules, memory map, loader name.
    expect(memory.u32(information)).toBe(0b10_0100_1101);
    expect(memory.u32(information + 4)).toBe(639);
    expect(memory.u32(information + 8)).toBe(15 * 1024);
    expect(memory.string(memory.u32(information + 16))).toBe('kernel.bin a=1 b');
    expect(memory.string(memory.u32(information + 64))).toBe('Umbra');
    expect(memory.u32(information + 44)).toBe(4 * 24);
    const map = memory.u32(information + 48);
    expect(memory.u32(map)).toBe(20);
    expect(memory.view.getBigUint64(map + 3 * 24 + 4, true)).toBe(0x10_0000n);
    expect(memory.view.getBigUint64(map + 3 * 24 + 12, true)).toBe(BigInt(15 * MIB));
    expect(memory.u32(map + 3 * 24 + 20)).toBe(1);
  });

  it('gets its modules behind itself, on pages, with their strings', () => {
    const modules = [
      { data: pattern(5000, 4), commandLine: 'first --x' },
      { data: pattern(10, 5), commandLine: 'second' },
    ];
    const { memory, information } = load(makeFlatMultiboot(), { modules });
    expect(memory.u32(information + 20)).toBe(2);
    const list = memory.u32(information + 24);
    expect([0, 4].map((at) => memory.u32(list + at))).toEqual([0x20_3000, 0x20_3000 + 5000]);
    expect([16, 20].map((at) => memory.u32(list + at))).toEqual([0x20_5000, 0x20_500a]);
    expect(memory.string(memory.u32(list + 8))).toBe('first --x');
    expect(memory.string(memory.u32(list + 24))).toBe('second');
    expect(memory.bytes.slice(0x20_3000, 0x20_3000 + 5000)).toEqual(modules[0]?.data);
  });
});

describe('a bad multiboot image is refused', () => {
  const header = (flags: number) => {
    const image = new Uint8Array(64);
    image.set(multibootHeader(flags, [0, 0, 0, 0, 0]));
    return image;
  };
  const wrongChecksum = makeFlatMultiboot();
  wrongChecksum[0x48] = 0;
  const late = new Uint8Array(0x3000);
  late.set(makeFlatMultiboot(), 8192 - 0x40);
  const cases: [string, Uint8Array, RegExp][] = [
    ['a video mode', header(4), /demands a video mode \(flag 2/],
    ['an unknown demand', header(0x108), /flags 0x108 in its header at offset 0x0/],
    ['wrong checksum', wrongChecksum, /hold no multiboot header/],
    ['header behind 8192', late, /hold no multiboot header/],
    ['header below the load address', makeFlatMultiboot({ load: 0x20_0044 }), /must be 0 to 0x40 above/],
    ['header far above it', makeFlatMultiboot({ load: 0x10_0000 }), /must be 0 to 0x40 above/],
    ['ends that descend', makeFlatMultiboot({ bssEnd: 0x20_0800 }), /they must ascend/],
    ['an empty image', makeFlatMultiboot({ loadEnd: 0x20_0000 }), /they must ascend/],
    ['entry outside', makeFlatMultiboot({ entry: 0x20_3000 }), /has the entry 0x203000, outside/],
    ['truncated', makeFlatMultiboot().subarray(0, 0x800), /truncated: .*4096 bytes at offset 0x0, .*0x800/],
    ['bss beyond RAM', makeFlatMultiboot({ bssEnd: 0xff00_0000 }), /does not fit into 16M/],
    ['neither ELF nor addresses', header(0), /must begin with 7f 45 4c 46/],
  ];
  it.each(cases)('%s', (_, image, message) => {
    const memory = new TestMemory(SIZE);
    const attempt = () => loadMultiboot(request(image, SIZE), memory);
    expect(attempt).toThrow(InputError);
    expect(attempt).toThrow(message);
    expect(memory.writes).toBe(0);
  });

  it('an initrd', () => {
    expect(() => load(makeFlatMultiboot(), { initrd: pattern(5) })).toThrow(/as a module/);
  });

  it('a module larger than what is left', () => {
    const modules = [{ data: new Uint8Array(15 * MIB), commandLine: '' }];
    expect(() => load(makeFlatMultiboot(), { modules })).toThrow(/Module 0 .* finds no free memory/);
  });

  it('strings with a zero in them', () => {
    expect(() => load(makeFlatMultiboot(), { commandLine: 'x\0' })).toThrow(/zero character at position 1/);
  });
});
