import { Decoder, DecoderOptions } from 'iced-x86';
import { describe, expect, it } from 'vitest';
import { disassemble } from './describe.ts';
import { baseByte, familyNames, loadFamily, type Vector, VectorFamily } from './format.ts';
import { SLOTS, STATE_BYTES, VectorState } from './state.ts';

const names = familyNames();

/** Exceptions after which the bytes of the instruction say nothing about its length. */
const UNDECODABLE = new Set([6, 13, 14]);
const CODE_16 = 0x4f;

function decodedLength(vector: Vector): number {
  const decoder = new Decoder(
    vector.before.get('cs') === CODE_16 ? 16 : 32,
    vector.code,
    DecoderOptions.None,
  );
  let length = 0;
  for (let step = 0; step < vector.steps; step++) {
    const instruction = decoder.decode();
    length += instruction.length;
    instruction.free();
  }
  decoder.free();
  return length;
}

/** A family file with this header text and these record bytes. */
function fileOf(header: string, records: readonly number[], version = 1): Uint8Array {
  const text = new TextEncoder().encode(header);
  const start = [
    ...new TextEncoder().encode('UMBV'),
    version,
    0,
    0,
    0,
    text.length & 0xff,
    text.length >> 8,
    0,
    0,
  ];
  return Uint8Array.from([...start, ...text, ...records]);
}

const slots = SLOTS.map(([name, width]) => ({ name, width, baseline: '00'.repeat(width) }));
const headerOf = (count: number, changes: object = {}): string =>
  JSON.stringify({ family: 'made', slots, forms: [{ name: 'NOP', count }], environment: {}, ...changes });

describe('VectorState', () => {
  it('holds 16 integer slots, x87, MXCSR and XMM without gaps', () => {
    expect(STATE_BYTES).toBe(10 * 4 + 6 * 2 + 2 + 2 + 1 + 2 + 4 + 4 + 4 + 8 * 10 + 8 * 16);
  });

  it('reads back what it was given, unsigned, and leaves the neighbours alone', () => {
    const state = new VectorState();
    state.setGpr(4, -1);
    state.setSegment(5, 0x12345);
    state.set('ftw', 0x1ff);
    expect([state.get('ebx'), state.get('esp'), state.get('ebp')]).toEqual([0, 0xffffffff, 0]);
    expect([state.segment(4), state.segment(5), state.get('fcw')]).toEqual([0, 0x2345, 0]);
    expect([state.get('ftw'), state.get('fop')]).toEqual([0xff, 0]);
    state.x87(7).fill(0xab);
    expect(state.x87(7)).toHaveLength(10);
    expect(state.xmm(0)).toEqual(new Uint8Array(16));
  });

  it('refuses to read a wide slot as a number', () => {
    expect(() => new VectorState().get('xmm3')).toThrow('xmm3 has 16 bytes: read it with raw().');
  });
});

describe('VectorFamily', () => {
  it('decodes every part of a record', () => {
    // biome-ignore format: table
    const record = [
      0xff, 2, 0x0f, 0x0b, 2,
      2, 0, 1, 0, 0, 0, 17, 0x34, 0x12, // before: eax = 1, fsw = 0x1234
      1, 1, 9, 8, 7, 6, // after: ecx = 0x06070809
      1, 0x00, 0x60, 0, 0, 2, 0, 0xaa, 0xbb, // memory before
      1, 0x10, 0x60, 0, 0, 1, 0, 0xcc, // memory after
      14, 7, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, // #PF
      0xd5, 0x08, 0, 0, // undefined flags
      0x00, 0x45, // undefined status
      1, 0x20, 0x60, 0, 0, 4, 0, // loose memory
    ];
    const [vector] = [...new VectorFamily(fileOf(headerOf(1), record)).vectors()];
    expect([...vector.code]).toEqual([0x0f, 0x0b]);
    expect(vector.steps).toBe(2);
    expect([vector.before.get('eax'), vector.before.get('fsw'), vector.before.get('ecx')]).toEqual([
      1, 0x1234, 0,
    ]);
    expect([vector.after.get('eax'), vector.after.get('fsw'), vector.after.get('ecx')]).toEqual([
      1, 0x1234, 0x06070809,
    ]);
    expect(vector.after.get('eip')).toBe(0); // the fault leaves EIP where it was
    expect(vector.memoryBefore).toEqual([{ address: 0x6000, bytes: Uint8Array.of(0xaa, 0xbb) }]);
    expect(vector.memoryAfter).toEqual([{ address: 0x6010, bytes: Uint8Array.of(0xcc) }]);
    expect(vector.fault).toEqual({ vector: 14, errorCode: 7, cr2: 0x12345678 });
    expect([vector.undefinedFlags, vector.undefinedStatus, vector.undefinedResult]).toEqual([
      0x8d5,
      0x4500,
      true,
    ]);
    expect(vector.looseMemory).toEqual([{ address: 0x6020, length: 4 }]);
  });

  it('adds the code length to EIP when nothing else is said', () => {
    const [vector] = [...new VectorFamily(fileOf(headerOf(1), [0, 3, 0x90, 0x90, 0x90, 0, 0])).vectors()];
    expect(vector.after.get('eip')).toBe(3);
    expect(vector.fault).toBeNull();
  });

  it('says what is wrong with a file', () => {
    const read = (bytes: Uint8Array): unknown => [...new VectorFamily(bytes).vectors()];
    expect(() => read(Uint8Array.from([1, 2, 3, 4, 5]))).toThrow('does not begin with "UMBV"');
    expect(() => read(Uint8Array.from([1, 2]))).toThrow('Vector file ends at byte 2');
    expect(() => read(fileOf(headerOf(0), [], 2))).toThrow('Vector file of version 2; this reader knows 1.');
    expect(() => read(fileOf(headerOf(1), [0, 3, 0x90]))).toThrow('inside a record');
    expect(() => read(fileOf(headerOf(1), [0, 0, 1, 99]))).toThrow('names slot 99; there are 39');
    expect(() => read(fileOf(headerOf(1), [0, 0, 0, 0, 7]))).toThrow('1 bytes follow the last vector');
    expect(() => read(fileOf(headerOf(0, { slots: slots.slice(1) }), []))).toThrow('this reader knows eax:4');
  });
});

describe('checked-in families', () => {
  it('are all there', () => {
    expect(names).toEqual([
      ...[
        'addressing',
        'bits',
        'conditionals',
        'control',
        'decimal',
        'decoding',
        'integer-alu',
        'integer-multiply',
      ],
      ...['integer-unary', 'mmx', 'moves', 'segments', 'shifts', 'sse-arithmetic', 'sse-convert', 'sse-move'],
      ...[
        'sse2-integer',
        'sse3',
        'stack',
        'strings',
        'x87-arithmetic',
        'x87-compare',
        'x87-control',
        'x87-decoding',
      ],
      ...['x87-functions', 'x87-move', 'x87-transcendental'],
    ]);
  });

  it.each(names)('%s reads to its end, with instructions of the length they say', (name) => {
    const family = loadFamily(name);
    const { header } = family;
    const mapped = (address: number): boolean =>
      header.environment.pages.some((page) => address >= page.address && address < page.address + page.size);
    let count = 0;
    let odd = '';
    for (const vector of family.vectors()) {
      count++;
      const inside = [...vector.memoryBefore, ...vector.memoryAfter].every(
        ({ address, bytes }) => mapped(address) && mapped(address + bytes.length - 1),
      );
      const reservedFlags = (vector.after.get('eflags') & 0xffc0802a) !== 2;
      const length = UNDECODABLE.has(vector.fault?.vector ?? -1) ? vector.code.length : decodedLength(vector);
      if (!inside || reservedFlags || length !== vector.code.length) {
        odd ||= `${vector.form.name} #${vector.index}: ${disassemble(vector)}`;
      }
    }
    expect(odd).toBe('');
    expect(count).toBe(header.count);
    expect(header.processor).toMatchObject({ vendor: 'AuthenticAMD', family: 26 });
  });

  it('write no byte that is already there', () => {
    for (const vector of loadFamily('moves').vectors()) {
      for (const { address, bytes } of vector.memoryAfter) {
        const patch = vector.memoryBefore.find(
          (p) => address >= p.address && address < p.address + p.bytes.length,
        );
        const before = patch ? patch.bytes[address - patch.address] : baseByte(address);
        expect(bytes[0]).not.toBe(before);
      }
    }
  });
});
