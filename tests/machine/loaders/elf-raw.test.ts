import { describe, expect, it } from 'vitest';
import { InputError } from '../../../src/arch/input-error.ts';
import { loadElf } from '../../../src/machine/loaders/elf.ts';
import { loadImage } from '../../../src/machine/loaders/load.ts';
import { loadRaw } from '../../../src/machine/loaders/raw.ts';
import { recognise } from '../../../src/machine/loaders/recognise.ts';
import {
  MIB,
  makeBzImage,
  makeElf,
  makeFlatMultiboot,
  multibootHeader,
  pattern,
  request,
  TestMemory,
} from './images.ts';

const SIZE = 4 * MIB;
const sound = () => makeElf([{ physical: 0x10_0000, bytes: pattern(256) }], 0x10_0004);
const patched = (offset: number, ...bytes: number[]) => {
  const image = sound();
  image.set(bytes, offset);
  return image;
};

describe('an ELF image', () => {
  it('goes to physical addresses, cleared behind the file part, and is entered there', () => {
    const memory = new TestMemory(SIZE);
    const code = pattern(256);
    const image = makeElf(
      [
        { physical: 0x10_0000, virtual: 0xc010_0000, bytes: code, memorySize: 0x2_0000 },
        { physical: 0x30_0000, virtual: 0xc030_0000, bytes: pattern(16, 9) },
        { physical: 0, bytes: pattern(8), type: 4 },
      ],
      0xc010_0020,
    );
    const { state, kind } = loadElf(request(image, SIZE), memory);
    expect(kind).toBe('elf');
    expect(state).toMatchObject({ mode: 'protected', eip: 0x10_0020 });
    expect(state.segments.cs.selector).toBe(8);
    expect(memory.bytes.slice(0x10_0000, 0x10_0100)).toEqual(code);
    expect(memory.bytes.slice(0x10_0100, 0x12_0000).every((byte) => byte === 0)).toBe(true);
    expect(memory.bytes[0x12_0000]).toBe(0xcc);
    expect(memory.bytes.slice(0x30_0000, 0x30_0010)).toEqual(pattern(16, 9));
    expect(memory.bytes[0]).toBe(0xcc);
  });

  const overlapping = makeElf(
    [
      { physical: 0x10_0000, bytes: pattern(64) },
      { physical: 0x10_003f, bytes: pattern(64) },
    ],
    0x10_0000,
  );
  const cases: [string, Uint8Array, RegExp][] = [
    ['64-bit', patched(4, 2), /is 64-bit \(offset 0x4\)/],
    ['class 3', patched(4, 3), /class at offset 0x4 is 3/],
    ['big-endian', patched(5, 2), /little-endian/],
    ['another processor', patched(18, 40), /e_machine at offset 0x12 is 40/],
    ['a shared object', patched(16, 3), /e_type at offset 0x10 is 3/],
    ['no program headers', patched(44, 0), /e_phnum/],
    ['odd program header size', patched(42, 56), /e_phentsize at offset 0x2a is 56/],
    [
      'table beyond the file',
      patched(28, 0xff, 0xff, 0xff),
      /table of 1 program headers takes 32 bytes at offset 0xffffff/,
    ],
    [
      'segment beyond the file',
      patched(56, 0, 0, 1),
      /truncated: segment 0 takes 256 bytes at offset 0x10000/,
    ],
    ['more in the file than in memory', patched(72, 1, 0), /p_filesz must not exceed p_memsz/],
    ['entry nowhere', patched(24, 0, 2, 0x10), /entry 0x100200 .* none of its segments/],
    [
      'segment beyond RAM',
      patched(64, 0, 0, 0x40),
      /Segment 0 \(0x400000 to 0x4000ff\) does not fit into 4M of memory/,
    ],
    ['segment in the hole', patched(64, 0, 0, 0x0a), /overlaps memory that is reserved/],
    ['segments that overlap', overlapping, /Segment 1 .* overlaps segment 0/],
    ['a header only', sound().subarray(0, 40), /truncated: the ELF header takes 52 bytes/],
  ];
  it.each(cases)('is refused: %s', (_, image, message) => {
    const memory = new TestMemory(SIZE);
    const attempt = () => loadElf(request(image, SIZE), memory);
    expect(attempt).toThrow(InputError);
    expect(attempt).toThrow(message);
    expect(memory.writes).toBe(0);
  });

  it('takes no command line, initrd or modules', () => {
    for (const more of [
      { commandLine: 'x' },
      { initrd: pattern(1) },
      { modules: [{ data: pattern(1), commandLine: '' }] },
    ]) {
      expect(() => loadElf(request(sound(), SIZE, more), new TestMemory(SIZE))).toThrow(InputError);
    }
  });
});

describe('a raw image', () => {
  it('is entered in real mode like a boot sector', () => {
    const memory = new TestMemory(SIZE);
    const { state } = loadRaw(request(pattern(512), SIZE), memory);
    expect(memory.bytes.slice(0x7c00, 0x7e00)).toEqual(pattern(512));
    expect(state).toMatchObject({ mode: 'real', eip: 0x7c00, cr0: 0x10, idtr: { base: 0, limit: 0x3ff } });
    expect(state.segments.cs).toEqual({ selector: 0, base: 0, limit: 0xffff, attributes: 0x93 });
    expect(state.gprs).toEqual([0, 0, 0x80, 0, 0x7c00, 0, 0, 0]);
  });

  it('above 64 KiB gets a code segment that reaches it', () => {
    const { state } = loadRaw(request(pattern(16), SIZE), new TestMemory(SIZE), {
      address: 0x2_3456,
      mode: 'real',
    });
    expect(state.segments.cs.selector).toBe(0x2345);
    expect(state.segments.cs.base + state.eip).toBe(0x2_3456);
  });

  it('in protected mode is entered at its address', () => {
    const { state } = loadRaw(request(pattern(16), SIZE), new TestMemory(SIZE), {
      address: 0x20_0000,
      mode: 'protected',
    });
    expect(state).toMatchObject({ mode: 'protected', eip: 0x20_0000 });
  });

  it.each([
    ['empty', new Uint8Array(0), { address: 0x7c00, mode: 'real' }, /empty/],
    ['real mode above 1 MiB', pattern(4), { address: 0x10_0000, mode: 'real' }, /below 0x100000/],
    ['negative', pattern(4), { address: -1, mode: 'protected' }, /cannot go to the address -1/],
    ['not a number', pattern(4), { address: Number.NaN, mode: 'protected' }, /cannot go to the address NaN/],
    [
      'too long',
      new Uint8Array(0xa_0000),
      { address: 0x7c00, mode: 'real' },
      /overlaps memory that is reserved/,
    ],
    ['beyond RAM', pattern(4), { address: SIZE - 2, mode: 'protected' }, /does not fit into 4M of memory/],
  ] as const)('is refused: %s', (_, image, options, message) => {
    const memory = new TestMemory(SIZE);
    expect(() => loadRaw(request(image, SIZE), memory, options)).toThrow(message);
    expect(memory.writes).toBe(0);
  });
});

/** Sectors, the first of which ends in 55 AA. */
function bootSector(bytes: number): Uint8Array {
  const image = pattern(bytes);
  image.set([0x55, 0xaa], 510);
  return image;
}

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

function damagedBzImage(): Uint8Array {
  const image = makeBzImage();
  image.set(text('MZ'), 0);
  image.set(text('Hdrs'), 0x202);
  return image;
}

describe('an image of no known kind', () => {
  it.each([
    [
      'PNG',
      Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10),
      /image \(it looks like a PNG picture\); use --raw/,
    ],
    ['text', text('# Umbra\n'), /\(it looks like text\)/],
    ['empty', new Uint8Array(0), /\(it looks like an empty file\)/],
    ['initrd', text('070701'), /a cpio archive, as an initrd is/],
    ['gzip', Uint8Array.of(0x1f, 0x8b, 8), /gzip-compressed/],
    ['disk', bootSector(2 * MIB), /a disk image; Umbra has no drives/],
    ['ragged boot sector', bootSector(513), /a disk image/],
    [
      'damaged bzImage',
      damagedBzImage(),
      /a Linux kernel whose setup header is damaged: there is no "HdrS" at 0x202/,
    ],
    [
      'anything',
      pattern(512),
      /^The image is not a bzImage, multiboot or ELF image; use --raw ADDRESS to run its bytes\.$/,
    ],
  ])('is refused: %s', (_, image, message) => {
    const memory = new TestMemory(SIZE);
    expect(() => loadImage(request(image, SIZE), memory)).toThrow(InputError);
    expect(() => loadImage(request(image, SIZE), memory)).toThrow(message);
    expect(memory.writes).toBe(0);
  });

  it('runs where its place is given', () => {
    const raw = { address: 0x8000, mode: 'real' } as const;
    expect(loadImage(request(pattern(64), SIZE), new TestMemory(SIZE), raw).kind).toBe('raw');
  });
});

describe('recognise', () => {
  it('knows each kind by its signature', () => {
    expect(recognise(makeBzImage())).toBe('bzimage');
    expect(recognise(makeFlatMultiboot())).toBe('multiboot');
    expect(recognise(makeElf([], 0, multibootHeader(3)))).toBe('multiboot');
    expect(recognise(sound())).toBe('elf');
    expect(recognise(bootSector(512))).toBe('boot-sector');
    expect(recognise(bootSector(3 * 512))).toBe('boot-sector');
    expect(recognise(pattern(512))).toBeUndefined();
    expect(recognise(new Uint8Array(0))).toBeUndefined();
  });

  it('reads a view into a larger buffer at the right place', () => {
    const buffer = new Uint8Array(0x1800);
    buffer.set(sound(), 0x123);
    expect(recognise(buffer.subarray(0x123))).toBe('elf');
  });

  it('leads to the right loader', () => {
    for (const [image, kind] of [
      [makeBzImage(), 'bzimage'],
      [makeFlatMultiboot(), 'multiboot'],
      [sound(), 'elf'],
      [bootSector(1024), 'boot-sector'],
    ] as const) {
      expect(loadImage(request(image, 64 * MIB), new TestMemory(64 * MIB)).kind).toBe(kind);
    }
    expect(
      loadImage(request(sound(), SIZE), new TestMemory(SIZE), { address: 0x8000, mode: 'real' }).kind,
    ).toBe('raw');
  });
});
