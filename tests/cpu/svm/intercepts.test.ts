import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { INTERCEPT1, INTERCEPT2, IOIO, msrpmBit, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import type { Assembler } from '../../../src/guest/assembler.ts';
import { PLACE, SELECTOR, World, type WorldOptions } from './world.ts';

type Emit = (a: Assembler) => void;
const bytes =
  (...values: number[]): Emit =>
  (a) =>
    a.raw(...values);

/** A guest of one instruction, then VMMCALL. */
function worldOf(instruction: Emit, options: WorldOptions = {}): World {
  const world = new World((a) => {
    instruction(a);
    a.label('next');
    a.vmmcall();
  }, options);
  // EAX, ECX, EDX and EBX have values that make most instructions harmless.
  world.write(VMCB_SAVE.RAX, PLACE.DATA);
  world.cpu.state.setGpr(1, 0);
  world.cpu.state.setGpr(2, 0);
  world.cpu.state.setGpr(3, PLACE.DATA);
  world.cpu.state.setGpr(6, PLACE.DATA);
  world.cpu.state.setGpr(7, PLACE.DATA);
  return world;
}
const nextOf = (world: World): number => world.labels.get('next') as number;

const DATA_LO = PLACE.DATA & 0xff;
const MODRM_DATA = [0x05, DATA_LO, (PLACE.DATA >> 8) & 0xff, PLACE.DATA >> 16, 0] as const;
const withData = (digit: number): number[] => [MODRM_DATA[0] | (digit << 3), ...MODRM_DATA.slice(1)];

type Row = readonly [name: keyof typeof VMEXIT, emit: Emit, word: 1 | 2, bit: number];
// biome-ignore format: table
const SIMPLE: readonly Row[] = [
  ['IDTR_READ',  bytes(0x0f, 0x01, ...withData(1)), 1, INTERCEPT1.IDTR_READ],
  ['GDTR_READ',  bytes(0x0f, 0x01, ...withData(0)), 1, INTERCEPT1.GDTR_READ],
  ['LDTR_READ',  bytes(0x0f, 0x00, 0xc2),           1, INTERCEPT1.LDTR_READ],
  ['TR_READ',    bytes(0x0f, 0x00, 0xca),           1, INTERCEPT1.TR_READ],
  ['IDTR_WRITE', bytes(0x0f, 0x01, ...withData(3)), 1, INTERCEPT1.IDTR_WRITE],
  ['GDTR_WRITE', bytes(0x0f, 0x01, ...withData(2)), 1, INTERCEPT1.GDTR_WRITE],
  ['LDTR_WRITE', bytes(0x0f, 0x00, 0xd1),           1, INTERCEPT1.LDTR_WRITE],
  ['TR_WRITE',   bytes(0x0f, 0x00, ...withData(3)), 1, INTERCEPT1.TR_WRITE],
  ['RDTSC',      bytes(0x0f, 0x31),                 1, INTERCEPT1.RDTSC],
  ['RDPMC',      bytes(0x0f, 0x33),                 1, INTERCEPT1.RDPMC],
  ['PUSHF',      bytes(0x9c),                       1, INTERCEPT1.PUSHF],
  ['POPF',       bytes(0x9d),                       1, INTERCEPT1.POPF],
  ['CPUID',      bytes(0x0f, 0xa2),                 1, INTERCEPT1.CPUID],
  ['INVD',       bytes(0x0f, 0x08),                 1, INTERCEPT1.INVD],
  ['INVLPGA',    (a) => a.invlpga(),                1, INTERCEPT1.INVLPGA],
  ['VMLOAD',     (a) => a.vmload(),                 2, INTERCEPT2.VMLOAD],
  ['VMSAVE',     (a) => a.vmsave(),                 2, INTERCEPT2.VMSAVE],
  ['STGI',       (a) => a.stgi(),                   2, INTERCEPT2.STGI],
  ['CLGI',       (a) => a.clgi(),                   2, INTERCEPT2.CLGI],
  ['RDTSCP',     bytes(0x0f, 0x01, 0xf9),           2, INTERCEPT2.RDTSCP],
  ['WBINVD',     bytes(0x0f, 0x09),                 2, INTERCEPT2.WBINVD],
  ['MONITOR',    bytes(0x0f, 0x01, 0xc8),           2, INTERCEPT2.MONITOR],
  ['MWAIT',      bytes(0x0f, 0x01, 0xc9),           2, INTERCEPT2.MWAIT],
];

const wordOf = (word: 1 | 2): number => (word === 1 ? VMCB.INTERCEPT_MISC1 : VMCB.INTERCEPT_MISC2);

describe('instruction intercepts (APM vol. 2 15.9)', () => {
  it.each(SIMPLE)('%s exits in front of the instruction when its bit is set', (name, emit, word, bit) => {
    const world = worldOf(emit);
    world.set(wordOf(word), bit);
    const before = world.read(VMCB_SAVE.RSP);
    expect(world.run()).toMatchObject({
      code: VMEXIT[name],
      info1: 0,
      info2: 0,
      rip: PLACE.GUEST_CODE,
      nextRip: nextOf(world),
      event: 0,
    });
    expect(world.read(VMCB_SAVE.RSP)).toBe(before);
    expect(world.read(VMCB_SAVE.RAX)).toBe(PLACE.DATA);
  });

  it.each(SIMPLE)('%s does not exit when every other bit is set', (name, emit, word, bit) => {
    const world = worldOf(emit);
    // What these need to run in peace.
    world.write(PLACE.DATA - PLACE.VMCB, 0x0028_0000 | SELECTOR.SECOND_TSS);
    world.write(VMCB.INTERCEPT_MISC1, ~INTERCEPT1.INTR);
    world.write(VMCB.INTERCEPT_MISC2, ~0);
    world.write(wordOf(word), world.read(wordOf(word)) & ~bit);
    if (name === 'MWAIT')
      world.write(VMCB.INTERCEPT_MISC2, world.read(VMCB.INTERCEPT_MISC2) & ~INTERCEPT2.MWAIT_ARMED);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, rip: nextOf(world) });
  });

  it('VMRUN and SKINIT, whose intercepts nothing can do without', () => {
    const run = worldOf((a) => a.vmrun());
    expect(run.run()).toMatchObject({ code: VMEXIT.VMRUN, rip: PLACE.GUEST_CODE, nextRip: nextOf(run) });
    const skinit = worldOf(bytes(0x0f, 0x01, 0xde));
    skinit.set(VMCB.INTERCEPT_MISC2, INTERCEPT2.SKINIT);
    expect(skinit.run().code).toBe(VMEXIT.SKINIT);
  });

  it('HLT, IRET, INT n and ICEBP', () => {
    const table: readonly [Emit, number, number, number][] = [
      [bytes(0xf4), VMCB.INTERCEPT_MISC1, INTERCEPT1.HLT, VMEXIT.HLT],
      [bytes(0xcf), VMCB.INTERCEPT_MISC1, INTERCEPT1.IRET, VMEXIT.IRET],
      [bytes(0xcd, 0x80), VMCB.INTERCEPT_MISC1, INTERCEPT1.SWINT, VMEXIT.SWINT],
      [bytes(0xf1), VMCB.INTERCEPT_MISC2, INTERCEPT2.ICEBP, VMEXIT.ICEBP],
    ];
    for (const [emit, word, bit, code] of table) {
      const world = worldOf(emit);
      world.set(word, bit);
      expect(world.run()).toMatchObject({ code, rip: PLACE.GUEST_CODE, nextRip: nextOf(world) });
    }
  });

  it('RSM, in front of #UD, and PAUSE', () => {
    for (const [name, code] of [
      ['RSM', [0x0f, 0xaa]],
      ['PAUSE', [0xf3, 0x90]],
    ] as const) {
      const world = worldOf(bytes(...code));
      world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 6);
      world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1[name]);
      expect(world.run()).toMatchObject({
        code: VMEXIT[name],
        rip: PLACE.GUEST_CODE,
        nextRip: nextOf(world),
      });
      world.write(VMCB.INTERCEPT_MISC1, 0);
      expect(world.again().code).toBe(name === 'RSM' ? VMEXIT.EXCP + 6 : VMEXIT.VMMCALL);
    }
  });

  it('comes behind #GP for CPL, and PUSHF, POPF, IRET and INT n in front of it', () => {
    const gp = 1 << 13;
    const table: readonly [Emit, number][] = [
      [bytes(0xf4), VMEXIT.EXCP + 13],
      [bytes(0x0f, 0x08), VMEXIT.EXCP + 13],
      [bytes(0x0f, 0x20, 0xc0), VMEXIT.EXCP + 13],
      [bytes(0x0f, 0x21, 0xc0), VMEXIT.EXCP + 13],
      [bytes(0x0f, 0x32), VMEXIT.EXCP + 13],
      [bytes(0x0f, 0x01, ...withData(2)), VMEXIT.EXCP + 13],
      [bytes(0xe4, 0x10), VMEXIT.EXCP + 13],
      [bytes(0xcf), VMEXIT.IRET],
      [bytes(0xcd, 0x08), VMEXIT.SWINT],
    ];
    for (const [emit, code] of table) {
      const world = worldOf(emit).atUserLevel();
      world.write(VMCB.INTERCEPT_CR, ~0);
      world.write(VMCB.INTERCEPT_DR, ~0);
      world.write(VMCB.INTERCEPT_EXCEPTION, gp);
      world.write(VMCB.INTERCEPT_MISC1, ~INTERCEPT1.INTR);
      world.cpu.physical.u8.fill(0xff, PLACE.IOPM, PLACE.IOPM + 0x3000);
      world.cpu.physical.u8.fill(0xff, PLACE.MSRPM, PLACE.MSRPM + 0x2000);
      expect(world.run()).toMatchObject({ code, rip: PLACE.GUEST_CODE });
    }
  });

  it('comes in front of a page fault of the operand', () => {
    // LGDT and LMSW from a page that is not there.
    for (const [emit, word, bit, code] of [
      [bytes(0x0f, 0x01, ...withData(2)), VMCB.INTERCEPT_MISC1, INTERCEPT1.GDTR_WRITE, VMEXIT.GDTR_WRITE],
      [bytes(0x0f, 0x01, ...withData(6)), VMCB.INTERCEPT_CR, 1 << 16, VMEXIT.CR0_WRITE],
      [
        bytes(0x0f, 0x01, ...withData(6)),
        VMCB.INTERCEPT_MISC1,
        INTERCEPT1.CR0_SEL_WRITE,
        VMEXIT.CR0_SEL_WRITE,
      ],
      [bytes(0x0f, 0x01, ...withData(4)), VMCB.INTERCEPT_CR, 1, VMEXIT.CR0_READ],
    ] as const) {
      const world = worldOf(emit);
      for (let page = 0; page < 1024; page++) {
        const present = page * 4096 === PLACE.DATA ? 0 : 7;
        world.cpu.physical.write32(0x10_1000 + page * 4, (page * 4096) | present);
      }
      world.cpu.physical.write32(0x10_0000, 0x10_1007);
      world.write(VMCB_SAVE.CR3, 0x10_0000);
      world.write(VMCB_SAVE.CR0, CR0.PE | CR0.PG);
      world.set(word, bit);
      world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 14);
      expect(world.run()).toMatchObject({ code, info1: 0, info1Hi: 0, rip: PLACE.GUEST_CODE });
    }
  });
});

describe('control and debug registers (APM vol. 2 15.8.1, 15.9)', () => {
  const MOV_TO = 0x22;
  const MOV_FROM = 0x20;
  const crs = [0, 2, 3, 4];
  const movCr = (opcode: number, number: number, gpr: number): Emit =>
    bytes(0x0f, opcode, 0xc0 | (number << 3) | gpr);

  it.each(crs)('MOV to and from CR%i, each by its bit, with the register named', (number) => {
    for (const [opcode, shift, code] of [
      [MOV_FROM, 0, VMEXIT.CR0_READ],
      [MOV_TO, 16, VMEXIT.CR0_WRITE],
    ] as const) {
      const world = worldOf(movCr(opcode, number, 7));
      world.cpu.state.setGpr(7, number === 0 ? CR0.PE : 0);
      world.write(VMCB.INTERCEPT_CR, 1 << (number + shift));
      expect(world.run()).toMatchObject({
        code: code + number,
        info1: 7,
        info1Hi: 0x8000_0000,
        rip: PLACE.GUEST_CODE,
        nextRip: PLACE.GUEST_CODE + 3,
      });
      world.write(VMCB.INTERCEPT_CR, ~(1 << (number + shift)));
      expect(world.again().code).toBe(VMEXIT.VMMCALL);
    }
  });

  it('names no register without decode assists', () => {
    const world = worldOf(movCr(MOV_FROM, 3, 7), { model: 'opteron' });
    world.write(VMCB.INTERCEPT_CR, 1 << 3);
    expect(world.run()).toMatchObject({
      code: VMEXIT.CR3_READ,
      info1: 0,
      info1Hi: 0,
      nextRip: PLACE.GUEST_CODE + 3,
    });
  });

  it('reports no nRIP without the feature', () => {
    const world = worldOf(movCr(MOV_FROM, 3, 7), { model: 'athlon64' });
    world.write(VMCB.INTERCEPT_CR, 1 << 3);
    world.write(VMCB.NRIP, 0x1234);
    expect(world.run()).toMatchObject({ code: VMEXIT.CR3_READ, nextRip: 0x1234 });
  });

  it('SMSW, LMSW and CLTS are accesses to CR0 that name no register', () => {
    for (const [emit, bit, code] of [
      [bytes(0x0f, 0x01, 0xe3), 1, VMEXIT.CR0_READ],
      [bytes(0x0f, 0x01, 0xf3), 1 << 16, VMEXIT.CR0_WRITE],
      [bytes(0x0f, 0x06), 1 << 16, VMEXIT.CR0_WRITE],
    ] as const) {
      const world = worldOf(emit);
      world.write(VMCB.INTERCEPT_CR, bit);
      expect(world.run()).toMatchObject({ code, info1: 0, info1Hi: 0 });
    }
  });

  it('the selective CR0 intercept lets TS and MP through, never LMSW, and yields to the other', () => {
    const moveCr0 = (value: number): World => {
      const world = worldOf(movCr(MOV_TO, 0, 7));
      world.cpu.state.setGpr(7, value);
      world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.CR0_SEL_WRITE);
      return world;
    };
    expect(moveCr0(CR0.PE | CR0.ET | CR0.TS | CR0.MP).run().code).toBe(VMEXIT.VMMCALL);
    expect(moveCr0(CR0.PE | CR0.ET | CR0.NE).run()).toMatchObject({
      code: VMEXIT.CR0_SEL_WRITE,
      info1: 7,
      info1Hi: 0x8000_0000,
      nextRip: PLACE.GUEST_CODE + 3,
    });
    const both = moveCr0(CR0.PE | CR0.NE);
    both.write(VMCB.INTERCEPT_CR, 1 << 16);
    expect(both.run().code).toBe(VMEXIT.CR0_WRITE);
    const lmsw = worldOf(bytes(0x0f, 0x01, 0xf7));
    lmsw.cpu.state.setGpr(7, CR0.PE);
    lmsw.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.CR0_SEL_WRITE);
    expect(lmsw.run()).toMatchObject({ code: VMEXIT.CR0_SEL_WRITE, info1Hi: 0 });
    const clts = worldOf(bytes(0x0f, 0x06));
    clts.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.CR0_SEL_WRITE);
    expect(clts.run().code).toBe(VMEXIT.VMMCALL);
  });

  it('illegal values of CR0 and CR4 raise #GP in front of the intercept', () => {
    for (const [number, value] of [
      [0, CR0.PG],
      [0, CR0.PE | CR0.NW],
      [4, 0x8000_0000],
    ] as const) {
      const world = worldOf(movCr(MOV_TO, number, 7));
      world.cpu.state.setGpr(7, value);
      world.write(VMCB.INTERCEPT_CR, ~0);
      world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 13);
      expect(world.run().code).toBe(VMEXIT.EXCP + 13);
    }
  });

  it.each([0, 1, 2, 3, 6, 7])('MOV to and from DR%i', (number) => {
    for (const [opcode, shift, code] of [
      [0x21, 0, VMEXIT.DR0_READ],
      [0x23, 16, VMEXIT.DR0_WRITE],
    ] as const) {
      const world = worldOf(bytes(0x0f, opcode, 0xc0 | (number << 3) | 6));
      world.write(VMCB.INTERCEPT_DR, 1 << (number + shift));
      expect(world.run()).toMatchObject({
        code: code + number,
        info1: 6,
        info1Hi: 0,
        nextRip: PLACE.GUEST_CODE + 3,
      });
      world.cpu.state.setGpr(6, 0);
      world.write(VMCB.INTERCEPT_DR, ~(1 << (number + shift)));
      expect(world.again().code).toBe(VMEXIT.VMMCALL);
    }
  });

  it('DR7.GD and CR4.DE come in front of the intercept', () => {
    const detect = worldOf(bytes(0x0f, 0x21, 0xc0));
    detect.write(VMCB_SAVE.DR7, 0x2400);
    detect.write(VMCB.INTERCEPT_DR, ~0);
    detect.write(VMCB.INTERCEPT_EXCEPTION, 1 << 1);
    expect(detect.run().code).toBe(VMEXIT.EXCP + 1);
    const extension = worldOf(bytes(0x0f, 0x21, 0xe0));
    extension.write(VMCB_SAVE.CR4, CR4.DE);
    extension.write(VMCB.INTERCEPT_DR, ~0);
    extension.write(VMCB.INTERCEPT_EXCEPTION, 1 << 6);
    expect(extension.run().code).toBe(VMEXIT.EXCP + 6);
  });
});

describe('decode assists of INT n, INVLPG (APM vol. 2 15.8.2, 15.8.3)', () => {
  it('the vector', () => {
    const world = worldOf(bytes(0xcd, 0x85));
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.SWINT);
    expect(world.run()).toMatchObject({ code: VMEXIT.SWINT, info1: 0x85 });
    const old = worldOf(bytes(0xcd, 0x85), { model: 'opteron' });
    old.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.SWINT);
    expect(old.run()).toMatchObject({ code: VMEXIT.SWINT, info1: 0 });
  });

  it('the linear address, with the segment base', () => {
    const world = worldOf(bytes(0x0f, 0x01, 0x3f));
    world.segment(VMCB_SAVE.DS, SELECTOR.DATA, 0x123_0000, 0xffff_ffff, 0xc93);
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INVLPG);
    world.cpu.state.setGpr(7, 0x1004);
    expect(world.run()).toMatchObject({
      code: VMEXIT.INVLPG,
      info1: 0x123_1004,
      nextRip: PLACE.GUEST_CODE + 3,
    });
    world.write(VMCB.INTERCEPT_MISC1, 0);
    expect(world.again().code).toBe(VMEXIT.VMMCALL);
  });
});

describe('I/O (APM vol. 2 15.10)', () => {
  const intercept = (world: World, port: number): void => {
    world.set(VMCB.INTERCEPT_MISC1, INTERCEPT1.IOIO);
    world.cpu.physical.u8[PLACE.IOPM + (port >> 3)] |= 1 << (port & 7);
  };
  // biome-ignore format: table
  const FORMS: readonly [string, Emit, number, number][] = [
    ['in al,imm',    bytes(0xe4, 0x60),       0x60,   IOIO.IN | IOIO.SZ8 | IOIO.A32],
    ['in eax,imm',   bytes(0xe5, 0x60),       0x60,   IOIO.IN | IOIO.SZ32 | IOIO.A32],
    ['in ax,dx',     bytes(0x66, 0xed),       0x3f8,  IOIO.IN | IOIO.SZ16 | IOIO.A32],
    ['out imm,al',   bytes(0xe6, 0x60),       0x60,   IOIO.SZ8 | IOIO.A32],
    ['out dx,eax',   bytes(0xef),             0x3f8,  IOIO.SZ32 | IOIO.A32],
    ['insb',         bytes(0x6c),             0x3f8,  IOIO.IN | IOIO.STRING | IOIO.SZ8 | IOIO.A32],
    ['rep insd',     bytes(0xf3, 0x6d),       0x3f8,  IOIO.IN | IOIO.STRING | IOIO.REP | IOIO.SZ32 | IOIO.A32],
    ['outsw',        bytes(0x66, 0x6f),       0x3f8,  IOIO.STRING | IOIO.SZ16 | IOIO.A32 | (3 << 10)],
    ['rep fs:outsb', bytes(0x64, 0xf3, 0x6e), 0x3f8,  IOIO.STRING | IOIO.REP | IOIO.SZ8 | IOIO.A32 | (4 << 10)],
    ['a16 insb',     bytes(0x67, 0x6c),       0x3f8,  IOIO.IN | IOIO.STRING | IOIO.SZ8 | IOIO.A16],
  ];

  it.each(FORMS)('%s says what it is, and where it goes on', (_name, emit, port, information) => {
    const world = worldOf(emit);
    world.cpu.state.setGpr(2, 0x3f8);
    world.cpu.state.setGpr(1, 5);
    intercept(world, port);
    expect(world.run()).toMatchObject({
      code: VMEXIT.IOIO,
      info1: ((port << 16) | information) >>> 0,
      info2: nextOf(world),
      rip: PLACE.GUEST_CODE,
      nextRip: nextOf(world),
    });
    expect(world.gpr(1)).toBe(5);
  });

  it('looks at the bit of every byte, and no other', () => {
    for (const [size, prefix] of [
      [1, []],
      [2, [0x66]],
      [4, []],
    ] as const) {
      const opcode = size === 1 ? 0xec : 0xed;
      for (let offset = -1; offset <= size; offset++) {
        const world = worldOf(bytes(...prefix, opcode));
        const port = 0x3fe;
        world.cpu.state.setGpr(2, port);
        intercept(world, port + offset);
        const expected = offset >= 0 && offset < size ? VMEXIT.IOIO : VMEXIT.VMMCALL;
        expect([size, offset, world.run().code]).toEqual([size, offset, expected]);
      }
    }
  });

  it('has three bits behind port FFFFh', () => {
    const world = worldOf(bytes(0xed));
    world.cpu.state.setGpr(2, 0xffff);
    intercept(world, 0x1_0002);
    expect(world.run()).toMatchObject({
      code: VMEXIT.IOIO,
      info1: (0xffff_0000 | IOIO.IN | IOIO.SZ32 | IOIO.A32) >>> 0,
    });
  });

  it('does nothing without IOIO_PROT, and comes behind the TSS bitmap', () => {
    const off = worldOf(bytes(0xec));
    intercept(off, 0);
    off.write(VMCB.INTERCEPT_MISC1, 0);
    expect(off.run().code).toBe(VMEXIT.VMMCALL);
    const user = worldOf(bytes(0xec)).atUserLevel();
    intercept(user, 0);
    user.write(VMCB.INTERCEPT_EXCEPTION, 1 << 13);
    expect(user.run().code).toBe(VMEXIT.EXCP + 13);
  });
});

describe('MSRs (APM vol. 2 15.11)', () => {
  const RDMSR = bytes(0x0f, 0x32);
  const WRMSR = bytes(0x0f, 0x30);
  const access = (emit: Emit, index: number, bitOffset: number | undefined): World => {
    const world = worldOf(emit);
    world.cpu.state.setGpr(1, index);
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.MSR);
    if (bitOffset !== undefined)
      world.cpu.physical.u8[PLACE.MSRPM + (bitOffset >> 3)] |= 1 << (bitOffset & 7);
    return world;
  };

  it.each([0x10, 0x174, 0x1fff, 0xc000_0080, 0xc000_1fff, 0xc001_0015, 0xc001_1fff])(
    'reads and writes of %i have a bit each',
    (index) => {
      const bit = msrpmBit(index);
      expect(access(RDMSR, index, bit).run()).toMatchObject({
        code: VMEXIT.MSR,
        info1: 0,
        nextRip: PLACE.GUEST_CODE + 2,
      });
      expect(access(WRMSR, index, bit + 1).run()).toMatchObject({ code: VMEXIT.MSR, info1: 1 });
      const other = access(RDMSR, index, bit + 1);
      other.write(VMCB.INTERCEPT_EXCEPTION, 1 << 13);
      expect([VMEXIT.VMMCALL, VMEXIT.EXCP + 13]).toContain(other.run().code);
    },
  );

  it('outside the map they always exit, before anybody asks whether there is such an MSR', () => {
    expect(access(RDMSR, 0x2000, undefined).run().code).toBe(VMEXIT.MSR);
    expect(access(WRMSR, 0xffff_ffff, undefined).run().code).toBe(VMEXIT.MSR);
    const off = access(RDMSR, 0x2000, undefined);
    off.write(VMCB.INTERCEPT_MISC1, 0);
    off.write(VMCB.INTERCEPT_EXCEPTION, 1 << 13);
    expect(off.run().code).toBe(VMEXIT.EXCP + 13);
  });

  it('uses no map but the one of the VMCB, low address bits ignored', () => {
    const world = access(RDMSR, 0x10, undefined);
    world.write(VMCB.MSRPM_BASE_PA, 0x20_0fff);
    world.cpu.physical.u8[0x20_0000 + 4] = 1;
    expect(world.run().code).toBe(VMEXIT.MSR);
  });
});

describe('MWAIT', () => {
  const waiting = (store: boolean): World =>
    worldOf((a) => {
      a.raw(0x0f, 0x01, 0xc8);
      if (store) a.raw(0xff, 0x03); // inc dword [ebx]
      a.label('wait');
      a.raw(0x0f, 0x01, 0xc9);
    });

  it('exits conditionally only if it would wait, and then first', () => {
    const armed = waiting(false);
    armed.set(VMCB.INTERCEPT_MISC2, INTERCEPT2.MWAIT | INTERCEPT2.MWAIT_ARMED);
    expect(armed.run()).toMatchObject({ code: VMEXIT.MWAIT_CONDITIONAL, rip: armed.labels.get('wait') });
    const stored = waiting(true);
    stored.set(VMCB.INTERCEPT_MISC2, INTERCEPT2.MWAIT | INTERCEPT2.MWAIT_ARMED);
    expect(stored.run().code).toBe(VMEXIT.MWAIT);
    const through = waiting(true);
    through.set(VMCB.INTERCEPT_MISC2, INTERCEPT2.MWAIT_ARMED);
    expect(through.run().code).toBe(VMEXIT.VMMCALL);
  });
});

describe('the time stamp', () => {
  it('has the guest TSC_OFFSET added, modulo 2^64, and the host has not', () => {
    const world = worldOf(bytes(0x0f, 0x31), {
      host: (a) => {
        a.vmrun();
        a.raw(0x0f, 0x31);
        a.hlt();
      },
    });
    world.write(VMCB.TSC_OFFSET, 0xffff_ffff);
    world.write(VMCB.TSC_OFFSET + 4, 0x8000_0001);
    world.run();
    // VMRUN is instruction 0: the guest's RDTSC is at tick 1, the host's behind VMMCALL at 3.
    expect(world.read(VMCB_SAVE.RAX)).toBe(0);
    expect(world.gpr(2)).toBe(0);
    expect(world.gpr(0)).toBe(3);
  });

  it('applies to RDTSCP and RDMSR as well', () => {
    for (const emit of [bytes(0x0f, 0x01, 0xf9), bytes(0xb9, 0x10, 0, 0, 0, 0x0f, 0x32)]) {
      const world = worldOf(emit);
      world.write(VMCB.TSC_OFFSET, 0x1000);
      world.write(VMCB.TSC_OFFSET + 4, 0x7654_3210);
      world.run();
      expect(world.read(VMCB_SAVE.RAX)).toBeGreaterThan(0x1000);
      expect(world.read(VMCB_SAVE.RAX)).toBeLessThan(0x1010);
      expect(world.gpr(2)).toBe(0x7654_3210);
    }
  });
});

it('keeps EFLAGS of an intercepted POPF', () => {
  const world = worldOf(bytes(0x9d));
  world.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.CF);
  world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.POPF);
  world.run();
  expect(world.read(VMCB_SAVE.RFLAGS)).toBe(2 | EFLAGS.CF);
});
