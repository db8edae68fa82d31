import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { CR0, CR4 } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { FPU, MXCSR, SYSTEM, XMM } from '../../../src/cpu/layout.ts';
import { X87_LAYOUT } from '../../../src/isa/x87/layout.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from '../bare.ts';
import { catchExceptions, caught } from './traps.ts';

interface Setting {
  readonly cr0?: number;
  readonly cr4?: number;
  readonly mxcsr?: number;
  readonly model?: string;
  readonly prepare?: (cpu: Cpu) => void;
}

const SSE_ON = CR4.OSFXSR | CR4.OSXMMEXCPT;
const ALL_MASKED = 0x1f80;

/** Runs one instruction, written in hexadecimal; what it raised is found by `caught`. */
function execute(code: string, setting: Setting = {}): Cpu {
  const bytes = code.split(' ').map((byte) => Number.parseInt(byte, 16));
  const cpu = bareCpu((a) => a.raw(...bytes, 0xf4), setting.model ? { model: setting.model } : {});
  catchExceptions(cpu);
  cpu.state.setSystem(SYSTEM.CR0, 0x11 | (setting.cr0 ?? 0));
  cpu.state.setSystem(SYSTEM.CR4, setting.cr4 ?? SSE_ON);
  cpu.state.u32[MXCSR >> 2] = setting.mxcsr ?? ALL_MASKED;
  setting.prepare?.(cpu);
  runToHalt(cpu);
  return cpu;
}

const vectorOf = (code: string, setting: Setting = {}): number | undefined =>
  caught(execute(code, setting))?.vector;

const word = (cpu: Cpu, address: number): number => cpu.state.u32[address >> 2] as number;
const setWord = (cpu: Cpu, address: number, value: number): void => {
  cpu.state.u32[address >> 2] = value;
};
const STATUS = FPU + X87_LAYOUT.STATUS;
const VALID = FPU + X87_LAYOUT.VALID;
const MM0 = FPU + X87_LAYOUT.REGISTERS;

const PADDB_MM = '0f fc c1';
const PADDB_XMM = '66 0f fc c1';
const MOVAPS = '0f 28 c1';
const MOVNTI = '0f c3 06';
const CVTPI2PS = '0f 2a c1';
const PAVGB_MM = '0f e0 c1';

describe('availability (SDM vol. 3A 2.5, 12.1, 13.1)', () => {
  it('CR0.EM makes MMX and SSE instructions undefined', () => {
    for (const code of [PADDB_MM, PADDB_XMM, MOVAPS, CVTPI2PS, '0f 77', '0f ae 16']) {
      expect(vectorOf(code, { cr0: CR0.EM }), code).toBe(VECTOR.UD);
      expect(vectorOf(code, { cr0: CR0.EM | CR0.TS }), code).toBe(VECTOR.UD);
    }
  });

  it('CR0.TS makes them raise #NM', () => {
    for (const code of [PADDB_MM, PADDB_XMM, MOVAPS, CVTPI2PS, '0f 77', '0f ae 16']) {
      expect(vectorOf(code, { cr0: CR0.TS }), code).toBe(VECTOR.NM);
    }
  });

  it('a clear CR4.OSFXSR makes SSE undefined, and leaves what only uses MMX registers', () => {
    for (const code of [PADDB_XMM, MOVAPS, CVTPI2PS, '0f ae 16']) {
      expect(vectorOf(code, { cr4: 0 }), code).toBe(VECTOR.UD);
      expect(vectorOf(code, { cr4: 0, cr0: CR0.TS }), code).toBe(VECTOR.UD);
    }
    for (const code of [PADDB_MM, PAVGB_MM]) expect(vectorOf(code, { cr4: 0 }), code).toBeUndefined();
  });

  it('does not concern MOVNTI, fences and prefetches', () => {
    for (const code of [MOVNTI, '0f ae f0', '0f 18 06', 'f3 90']) {
      const prepare = (cpu: Cpu) => cpu.state.setGpr(6, 0x4000);
      expect(vectorOf(code, { cr0: CR0.EM | CR0.TS, cr4: 0, prepare }), code).toBeUndefined();
    }
  });

  it('follows MOV to CR0 and CLTS', () => {
    // mov eax,cr0; or al,8; mov cr0,eax; clts; paddb xmm0,xmm1; mov cr0,eax; paddb xmm0,xmm1
    const code = `0f 20 c0 0c 08 0f 22 c0 0f 06 ${PADDB_XMM} 0f 22 c0 ${PADDB_XMM}`;
    expect(caught(execute(code))).toMatchObject({ vector: VECTOR.NM, eip: CODE + 17 });
  });

  it('a pending x87 exception is #MF for what uses MMX registers only', () => {
    const prepare = (cpu: Cpu) => setWord(cpu, STATUS, 0x8081);
    for (const code of [PADDB_MM, CVTPI2PS, '0f 77']) {
      expect(vectorOf(code, { prepare }), code).toBe(VECTOR.MF);
    }
    expect(vectorOf(PADDB_XMM, { prepare })).toBeUndefined();
    // cvtpi2ps xmm0,[esi]: the source is memory.
    expect(vectorOf('0f 2a 06', { prepare })).toBeUndefined();
  });

  it('forms need their feature', () => {
    expect(vectorOf(PADDB_MM, { model: 'current-amd,-sse,-sse2' })).toBeUndefined();
    expect(vectorOf(MOVAPS, { model: 'current-amd,-sse,-sse2' })).toBe(VECTOR.UD);
    expect(vectorOf(MOVAPS, { model: 'current-amd,-sse2' })).toBeUndefined();
    expect(vectorOf(PADDB_XMM, { model: 'current-amd,-sse2' })).toBe(VECTOR.UD);
    expect(vectorOf(PADDB_MM, { model: 'current-amd,-mmx,-sse,-sse2' })).toBe(VECTOR.UD);
  });

  it('takes no other prefix, and no LOCK', () => {
    for (const code of ['f3 0f fc c1', 'f2 0f 28 c1', '66 0f c3 06', 'f0 0f 11 06']) {
      expect(vectorOf(code), code).toBe(VECTOR.UD);
    }
  });
});

describe('MMX registers (SDM vol. 1 9.2.2, 9.5.1)', () => {
  it('are valid x87 registers after use, with TOP 0 and ones above what was written', () => {
    const cpu = execute(PADDB_MM, {
      prepare: (fresh) => {
        setWord(fresh, STATUS, 0x7a3f & ~0x3f);
        setWord(fresh, MM0, 0x0102_03ff);
        setWord(fresh, MM0 + 16, 0x0101_0101);
      },
    });
    expect(word(cpu, MM0)).toBe(0x0203_0400);
    expect(cpu.state.u16[(MM0 + 8) >> 1]).toBe(0xffff);
    expect(word(cpu, VALID)).toBe(0xff);
    expect(word(cpu, STATUS)).toBe(0x4200);
  });

  it('are empty after EMMS', () => {
    expect(word(execute(`${PADDB_MM} 0f 77`), VALID)).toBe(0);
  });
});

describe('alignment (SDM vol. 1 10.4.1.1)', () => {
  const at =
    (address: number) =>
    (cpu: Cpu): void =>
      cpu.state.setGpr(6, address);

  it('of 16-byte operands is a condition, else #GP(0)', () => {
    for (const code of ['0f 28 06', '0f 29 06', '66 0f fc 06', '0f 58 06', '66 0f 7f 06', '0f 2b 06']) {
      expect(caught(execute(code, { prepare: at(0x4008) })), code).toMatchObject({
        vector: VECTOR.GP,
        errorCode: 0,
        eip: CODE,
      });
      expect(vectorOf(code, { prepare: at(0x4010) }), code).toBeUndefined();
    }
  });

  it('holds on a page that was accessed before, whatever the low bits', () => {
    // movaps xmm0,[esi]; inc esi; movaps xmm0,[esi]
    for (let low = 1; low < 16; low++) {
      const code = `0f 28 06 83 c6 ${low.toString(16)} 0f 28 06`;
      const result = caught(execute(code, { prepare: at(0x4000) }));
      expect(result).toMatchObject({ vector: VECTOR.GP, eip: CODE + 6 });
    }
  });

  it('does not matter to MOVUPS and MOVDQU', () => {
    for (const code of ['0f 10 06', '0f 11 06', 'f3 0f 6f 06', 'f3 0f 7f 06', '66 0f 10 06']) {
      expect(vectorOf(code, { prepare: at(0x4003) }), code).toBeUndefined();
    }
  });
});

describe('16-byte accesses across pages', () => {
  const EDGE = 0x4ffa;
  const fill = (cpu: Cpu): void => {
    for (let n = 0; n < 16; n++) {
      cpu.physical.write8(EDGE + n, 0x30 + n);
      cpu.state.u8[XMM + 16 + n] = 0xa0 + n;
    }
    cpu.state.setGpr(6, EDGE);
    identityPaging(cpu);
    cpu.state.setSystem(SYSTEM.CR4, SSE_ON);
  };

  it('read and write both pages', () => {
    // movups xmm0,[esi]; movups [esi],xmm1
    const cpu = execute('0f 10 06 0f 11 0e', { prepare: fill });
    for (let n = 0; n < 16; n++) {
      expect(cpu.state.u8[XMM + n]).toBe(0x30 + n);
      expect(cpu.physical.read8(EDGE + n)).toBe(0xa0 + n);
    }
  });

  it('write nothing if the second page faults', () => {
    const cpu = execute('0f 11 0e', {
      prepare: (fresh) => {
        fill(fresh);
        fresh.physical.write32(0x11000 + 5 * 4, 0);
      },
    });
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, errorCode: 2, eip: CODE });
    expect(cpu.state.system(SYSTEM.CR2)).toBe(0x5000);
    expect(cpu.physical.read8(EDGE)).toBe(0x30);
  });

  it('leave the block when they change the code behind them', () => {
    // movups [esi],xmm1 over the two instructions that follow: they become inc ebx; hlt.
    const cpu = execute('0f 11 0e 43 43 43 43', {
      prepare: (fresh) => {
        fill(fresh);
        fresh.state.setGpr(6, CODE + 3);
        fresh.state.u8.fill(0xf4, XMM + 16, XMM + 32);
        fresh.state.u8[XMM + 16] = 0x43;
      },
    });
    expect(cpu.state.gpr(3)).toBe(1);
  });
});

describe('MASKMOVDQU', () => {
  it('writes the chosen bytes only, to the last page if the others lie beyond it', () => {
    const cpu = execute('66 0f f7 c1', {
      prepare: (fresh) => {
        identityPaging(fresh);
        fresh.state.setGpr(7, 0x4ff8);
        for (let n = 0; n < 16; n++) {
          fresh.state.u8[XMM + n] = n + 1;
          fresh.state.u8[XMM + 16 + n] = n % 3 === 0 ? 0x80 : 0x7f;
        }
      },
    });
    const seen = Array.from({ length: 16 }, (_, n) => cpu.physical.read8(0x4ff8 + n));
    expect(seen).toEqual(seen.map((_, n) => (n % 3 === 0 ? n + 1 : 0)));
  });
});

describe('MXCSR', () => {
  const memory =
    (value: number) =>
    (cpu: Cpu): void => {
      cpu.state.setGpr(6, 0x4000);
      cpu.physical.write32(0x4000, value);
    };

  it('takes no reserved bits', () => {
    for (let bit = 16; bit < 32; bit++) {
      const cpu = execute('0f ae 16', { prepare: memory((1 << bit) | ALL_MASKED) });
      expect(caught(cpu)).toMatchObject({ vector: VECTOR.GP, errorCode: 0 });
      expect(word(cpu, MXCSR)).toBe(ALL_MASKED);
    }
  });

  it('is loaded and stored, and a flag that comes unmasked raises nothing by itself', () => {
    const cpu = execute('0f ae 16 0f ae 5e 04', { prepare: memory(0xe07f) });
    expect(caught(cpu)).toBeUndefined();
    expect(cpu.physical.read32(0x4004)).toBe(0xe07f);
  });
});

describe('unmasked floating-point exceptions (SDM vol. 1 11.5)', () => {
  const ONE = 0x3f80_0000;
  const lanes =
    (x: readonly number[], y: readonly number[]) =>
    (cpu: Cpu): void => {
      for (const [n, value] of x.entries()) setWord(cpu, XMM + n * 4, value);
      for (const [n, value] of y.entries()) setWord(cpu, XMM + 16 + n * 4, value);
    };
  const DIVPS = '0f 5e c1';
  const THREE = 0x4040_0000;
  const HUGE = 0x7f00_0000;
  const TINY = 0x0080_0000;

  it('are #XM, or #UD without CR4.OSXMMEXCPT, and leave the destination', () => {
    const prepare = lanes([ONE, ONE, ONE, ONE], [ONE, ONE, 0, ONE]);
    const unmasked = ALL_MASKED & ~0x200;
    const cpu = execute(DIVPS, { mxcsr: unmasked, prepare });
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.XM, eip: CODE });
    expect(word(cpu, MXCSR)).toBe(unmasked | 4);
    expect(word(cpu, XMM + 8)).toBe(ONE);
    expect(vectorOf(DIVPS, { mxcsr: unmasked, prepare, cr4: CR4.OSFXSR })).toBe(VECTOR.UD);
  });

  it('before the computation, hide those of the computation in other lanes', () => {
    const prepare = lanes([ONE, ONE, HUGE, 0], [0, THREE, TINY, 0]);
    // Division by zero unmasked: of overflow and precision nothing is seen, of the masked 0/0 the flag.
    const cpu = execute(DIVPS, { mxcsr: ALL_MASKED & ~0x200, prepare });
    expect(caught(cpu)?.vector).toBe(VECTOR.XM);
    expect(word(cpu, MXCSR) & 0x3f).toBe(0x05);
    expect(word(execute(DIVPS, { prepare }), MXCSR) & 0x3f).toBe(0x2d);
  });

  it('of the computation come with all flags of all lanes', () => {
    const prepare = lanes([ONE, ONE, HUGE, ONE], [ONE, THREE, TINY, ONE]);
    const cpu = execute(DIVPS, { mxcsr: ALL_MASKED & ~0x400, prepare });
    expect(caught(cpu)?.vector).toBe(VECTOR.XM);
    expect(word(cpu, MXCSR) & 0x3f).toBe(0x28);
  });
});
