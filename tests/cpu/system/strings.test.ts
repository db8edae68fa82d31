import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Hpa } from '../../../src/arch/address.ts';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { EFLAGS } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from '../bare.ts';
import { ModelMemory, runModel, type StringCase, type StringOutcome } from './string-model.ts';
import { catchExceptions, caught } from './traps.ts';

const OPCODES = { movs: 0xa4, cmps: 0xa6, stos: 0xaa, lods: 0xac, scas: 0xae } as const;
const HLT = 0xf4;

function encode({ name, size, repeat, address16 }: StringCase): number[] {
  return [
    ...(size === 2 ? [0x66] : []),
    ...(address16 ? [0x67] : []),
    ...(repeat === 'rep' ? [0xf3] : repeat === 'repne' ? [0xf2] : []),
    OPCODES[name] + (size === 1 ? 0 : 1),
    HLT,
  ];
}

/** Six linear pages, which 16-bit addresses reach, too, over four frames; absent pages keep runs among them. */
const FIRST_PAGE = 4;
const PAGES = 6;
const FIRST_FRAME = 0x40;
const FRAMES = 4;

interface World {
  /** For each page: frame 0..3, or none; and whether it may be written. */
  readonly pages: readonly { frame: number; writable: boolean }[];
  readonly fill: readonly number[];
}

const world = fc.record({
  pages: fc.array(
    fc.record({
      frame: fc.integer({ min: 0, max: FRAMES }),
      writable: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
    }),
    { minLength: PAGES, maxLength: PAGES },
  ),
  // Few different bytes, so that comparisons find equal elements.
  fill: fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 }),
});

const address = fc.oneof(
  fc.integer({ min: FIRST_PAGE * 4096, max: (FIRST_PAGE + PAGES) * 4096 - 1 }),
  // Near page boundaries, where runs end.
  fc
    .tuple(fc.integer({ min: FIRST_PAGE, max: FIRST_PAGE + PAGES }), fc.integer({ min: -12, max: 12 }))
    .map(([page, way]) => page * 4096 + way),
);

const stringCase: fc.Arbitrary<StringCase> = fc
  .record({
    name: fc.constantFrom('movs', 'stos', 'lods', 'scas', 'cmps'),
    size: fc.constantFrom(1, 2, 4),
    repeat: fc.constantFrom('rep', 'rep', 'repne', 'none'),
    backward: fc.boolean(),
    address16: fc.boolean(),
    eax: fc.constantFrom(0, 1, 0x0101_0101, 0xffff_ffff, 0x1234_5678),
    count: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 9000 })),
    esi: address,
    edi: address,
    // Often close together, so that source and destination overlap.
    near: fc.option(fc.integer({ min: -40, max: 40 })),
    upper: fc.constantFrom(0, 0xabcd_0000),
  })
  .map(({ count, near, upper, edi, ...rest }) => {
    const high = rest.address16 ? upper : 0;
    return {
      ...rest,
      ecx: high + count,
      esi: high + rest.esi,
      edi: high + (near === null ? edi : rest.esi + near),
    };
  }) as fc.Arbitrary<StringCase>;

/** Pages and data; what was translated before is forgotten unless `warm`. */
function load(cpu: Cpu, { pages, fill }: World, input: StringCase, warm: boolean): void {
  const { physical, state } = cpu;
  for (let place = 0; place < FRAMES * 4096; place++) {
    physical.u8[FIRST_FRAME * 4096 + place] = fill[(place * 7 + (place >> 5)) % fill.length];
  }
  pages.forEach(({ frame, writable }, n) => {
    const entry = frame === FRAMES ? 0 : ((FIRST_FRAME + frame) * 4096) | (writable ? 3 : 1);
    physical.write32(0x11000 + (FIRST_PAGE + n) * 4, entry);
  });
  for (const page of [FIRST_PAGE - 1, FIRST_PAGE + PAGES]) physical.write32(0x11000 + page * 4, 0);
  if (!warm) {
    cpu.paging.tlb.flushEverything();
    cpu.paging.dropAllCopies();
  }
  cpu.updateContext();
  physical.load(CODE as Hpa, Uint8Array.from(encode(input)));
  state.eip = CODE;
  state.setGpr(0, input.eax);
  state.setGpr(1, input.ecx);
  state.setGpr(4, 0x2f00);
  state.setGpr(6, input.esi);
  state.setGpr(7, input.edi);
  state.eflags = 2 | (input.backward ? EFLAGS.DF : 0);
  cpu.halted = false;
}

function modelOf(cpu: Cpu, { pages }: World): ModelMemory {
  const frames = new Map<number, number>();
  const readOnly = new Set<number>();
  pages.forEach(({ frame, writable }, n) => {
    if (frame === FRAMES) frames.delete(FIRST_PAGE + n);
    else frames.set(FIRST_PAGE + n, FIRST_FRAME + frame);
    if (!writable) readOnly.add(FIRST_PAGE + n);
  });
  return new ModelMemory(cpu.physical.u8.slice(0, (FIRST_FRAME + FRAMES) * 4096), frames, readOnly);
}

/** ZF, CF and the rest as SUB defines them, in plain numbers. */
function flagsOf(left: number, right: number, bits: number): number {
  const mask = 2 ** bits;
  const result = (((left - right) % mask) + mask) % mask;
  const signed = (value: number): number => (value >= mask / 2 ? value - mask : value);
  const exact = signed(left) - signed(right);
  const ones = [...(result % 256).toString(2)].filter((digit) => digit === '1').length;
  return (
    (left < right ? EFLAGS.CF : 0) |
    (ones % 2 === 0 ? EFLAGS.PF : 0) |
    (left % 16 < right % 16 ? EFLAGS.AF : 0) |
    (result === 0 ? EFLAGS.ZF : 0) |
    (result >= mask / 2 ? EFLAGS.SF : 0) |
    (exact !== signed(result) ? EFLAGS.OF : 0)
  );
}

const STATUS = 0x8d5;
const firstDifference = (a: Uint8Array, b: Uint8Array): number =>
  a.findIndex((byte, place) => byte !== b[place]);

function compare(cpu: Cpu, model: ModelMemory, input: StringCase, expected: StringOutcome): void {
  const { state } = cpu;
  const fault = caught(cpu);
  const flags = fault?.flags ?? state.eflags;
  expect(fault?.vector).toBe(expected.fault === undefined ? undefined : VECTOR.PF);
  if (fault) {
    expect(fault.eip).toBe(CODE);
    expect(state.system(SYSTEM.CR2)).toBe(expected.fault);
  }
  const { eax, ecx, esi, edi } = expected;
  expect([0, 1, 6, 7].map((n) => state.gpr(n))).toEqual([eax, ecx, esi, edi]);
  expect(flags & STATUS).toBe(expected.compared ? flagsOf(...expected.compared, input.size * 8) : 0);
  const data = (ram: Uint8Array): Uint8Array =>
    ram.subarray(FIRST_FRAME * 4096, (FIRST_FRAME + FRAMES) * 4096);
  expect(firstDifference(data(cpu.physical.u8), data(model.ram))).toBe(-1);
}

describe('string instructions', () => {
  it('do what one element after another does, over pages that alias, end and refuse', () => {
    const cpu = bareCpu((a) => a.hlt(), { model: 'opteron' });
    catchExceptions(cpu);
    identityPaging(cpu);
    fc.assert(
      fc.property(world, stringCase, (given, input) => {
        // The second time, interpreted code knows the pages and needs no help.
        for (const warm of [false, true]) {
          load(cpu, given, input, warm);
          const model = modelOf(cpu, given);
          const expected = runModel(model, input);
          runToHalt(cpu);
          compare(cpu, model, input, expected);
        }
      }),
      { numRuns: 1500, seed: 1 },
    );
  });

  it('let interrupts in after 64 KiB, and go on with the registers they had', () => {
    const cpu = bareCpu((a) => {
      a.raw(0xf3, 0xaa); // rep stosb
      a.hlt();
    });
    cpu.state.setGpr(0, 0x5a);
    cpu.state.setGpr(1, 200_000);
    cpu.state.setGpr(7, 0x10_0003);
    cpu.run(1);
    expect([cpu.state.eip, cpu.state.gpr(1), cpu.state.gpr(7)]).toEqual([
      CODE,
      200_000 - 0x1_0000,
      0x11_0003,
    ]);
    runToHalt(cpu);
    expect(cpu.retired).toBe(4 + 1);
    expect(cpu.physical.u8.subarray(0x10_0000, 0x10_0006)).toEqual(Uint8Array.of(0, 0, 0, 0x5a, 0x5a, 0x5a));
    expect(cpu.physical.u8.lastIndexOf(0x5a)).toBe(0x10_0003 + 200_000 - 1);
  });

  it('trap after each element under TF', () => {
    const cpu = bareCpu((a) => {
      a.raw(0xf3, 0xa4); // rep movsb
      a.hlt();
    });
    catchExceptions(cpu);
    cpu.state.setGpr(1, 3);
    cpu.state.setGpr(6, 0x4000);
    cpu.state.setGpr(7, 0x5000);
    cpu.state.eflags = 2 | EFLAGS.TF;
    runToHalt(cpu);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.DB, eip: CODE });
    expect([cpu.state.gpr(1), cpu.state.gpr(6), cpu.state.gpr(7)]).toEqual([2, 0x4001, 0x5001]);
  });

  it('are seen when they overwrite code that ran before', () => {
    const cpu = bareCpu((a) => {
      a.label('again');
      a.raw(0x40); // inc eax, later dec eax
      a.raw(0xb9, 1, 0, 0, 0, 0xbe, 0, 0x40, 0, 0, 0xbf, 0, 0x10, 0, 0); // ecx = 1, esi = 0x4000, edi = CODE
      a.raw(0xf3, 0xa4);
      a.raw(0xfe, 0xc9 + 2); // dec bl
      a.jnz('again');
      a.hlt();
    });
    cpu.physical.write8(0x4000, 0x48);
    cpu.state.setGpr(3, 3);
    runToHalt(cpu);
    expect(cpu.state.gpr(0)).toBe(0xffff_ffff);
  });

  it('restore the flags on Intel when a comparison faults on the way', () => {
    const flags = ['pentium4', 'opteron'].map((model) => {
      const cpu = bareCpu((a) => a.raw(0xf3, 0xae), { model }); // repe scasb
      catchExceptions(cpu);
      identityPaging(cpu);
      cpu.physical.write32(0x11000 + 5 * 4, 0);
      cpu.state.setGpr(1, 10);
      cpu.state.setGpr(7, 0x4ffe);
      cpu.state.eflags = 2 | EFLAGS.CF | EFLAGS.SF;
      runToHalt(cpu);
      expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, eip: CODE });
      return (caught(cpu)?.flags ?? 0) & STATUS;
    });
    expect(flags).toEqual([EFLAGS.CF | EFLAGS.SF, EFLAGS.ZF | EFLAGS.PF]);
  });
});
