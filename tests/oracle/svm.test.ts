import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER } from '../../src/oracle/bits.ts';
import { oracleFeatures } from '../../src/oracle/cpu.ts';
import {
  combine,
  EVENT_TYPE,
  encodeEvent,
  exceptionExitInfo,
  type GuestEvent,
  guestException,
} from '../../src/oracle/svm/exceptions.ts';
import { checkVmrun, type VmcbFields, type VmrunHost } from '../../src/oracle/svm/vmrun-checks.ts';
import { entries64, P, ram } from './helpers.ts';

const PE_PG = CR0.PE | CR0.PG;
const host: VmrunHost = {
  features: oracleFeatures(),
  maxPhyAddr: 40,
  cr0: PE_PG,
  cr4: CR4.PAE,
  efer: EFER.SVME | EFER.NXE,
};
const good: VmcbFields = {
  interceptVmrun: true,
  iopmBasePa: 0x10_0000n,
  msrpmBasePa: 0x11_0000n,
  guestAsid: 1,
  tlbControl: 0,
  npEnable: false,
  nCr3: 0n,
  gPat: 0x0007_0406_0007_0406n,
  eventInj: 0n,
  csLong: false,
  csDefaultBig: true,
  efer: EFER.SVME,
  cr0: PE_PG,
  cr3: 0x1000n,
  cr4: 0n,
  dr6: 0xffff_0ff0n,
  dr7: 0x400n,
};
const check = (changes: Partial<VmcbFields>, on: Partial<VmrunHost> = {}): string =>
  checkVmrun({ ...host, ...on }, { ...good, ...changes }).verdict;
const long = { features: oracleFeatures({ longMode: true }) };

describe('VMRUN consistency checks (APM vol. 2 15.5.1)', () => {
  it('accepts a plain 32-bit guest, and every paging mode of one', () => {
    expect(checkVmrun(host, good)).toEqual({ verdict: 'valid', reasons: [] });
    expect(check({ cr0: CR0.PE })).toBe('valid');
    expect(check({ cr0: 0n })).toBe('valid');
    expect(check({ cr4: CR4.PSE })).toBe('valid');
    expect(check({ cr4: CR4.PAE, efer: EFER.SVME | EFER.NXE })).toBe('valid');
  });

  it('accepts paged real mode (15.19)', () => {
    expect(check({ cr0: CR0.PG })).toBe('valid');
  });

  // biome-ignore format: table
  it.each<[string, Partial<VmcbFields>, Partial<VmrunHost>?]>([
    ['EFER.SVME is zero',            { efer: 0n }],
    ['CR0.CD is zero and NW set',    { cr0: PE_PG | CR0.NW }],
    ['CR0[63:32] not zero',          { cr0: PE_PG | (1n << 32n) }],
    ['MBZ bit of CR3 in long mode',  { efer: EFER.SVME | EFER.LME | EFER.LMA, cr4: CR4.PAE, cr3: 1n << 40n }, long],
    ['MBZ bit of CR4',               { cr4: 1n << 15n }],
    ['CR4[63:32]',                   { cr4: 1n << 40n }],
    ['CR4 bit without its feature',  { cr4: CR4.SMEP }, { features: oracleFeatures({ smep: false }) }],
    ['DR6[63:32]',                   { dr6: 1n << 32n }],
    ['DR7[63:32]',                   { dr7: 1n << 63n }],
    ['MBZ bit of EFER',              { efer: EFER.SVME | 2n }],
    ['NXE without NX',               { efer: EFER.SVME | EFER.NXE }, { features: oracleFeatures({ nx: false }) }],
    ['LME without long mode',        { efer: EFER.SVME | EFER.LME, cr0: CR0.PE }],
    ['LMA without long mode',        { efer: EFER.SVME | EFER.LMA }],
    ['LME and PG without PAE',       { efer: EFER.SVME | EFER.LME | EFER.LMA }, long],
    ['LME and PG without PE',        { efer: EFER.SVME | EFER.LME | EFER.LMA, cr0: CR0.PG, cr4: CR4.PAE }, long],
    ['CS.L and CS.D in long mode',   { efer: EFER.SVME | EFER.LME | EFER.LMA, cr4: CR4.PAE, csLong: true }, long],
    ['VMRUN intercept clear',        { interceptVmrun: false }],
    ['ASID zero',                    { guestAsid: 0 }],
    ['I/O map too high (12 KBytes)', { iopmBasePa: (1n << 40n) - 0x2000n }],
    ['MSR map too high (8 KBytes)',  { msrpmBasePa: (1n << 40n) - 0x1000n }],
    ['CR4.CET without CR0.WP',       { cr4: CR4.CET }, { features: oracleFeatures({ cet: true }) }],
  ])('refuses: %s', (_, changes, on) => {
    expect(check(changes, on)).toBe('invalid');
  });

  it('accepts what is just inside', () => {
    expect(check({ iopmBasePa: (1n << 40n) - 0x3000n, msrpmBasePa: (1n << 40n) - 0x2000n })).toBe('valid');
    expect(check({ iopmBasePa: (1n << 40n) - 0x2001n })).toBe('valid'); // bits 11:0 do not count (15.10.1)
    expect(check({ cr0: PE_PG | CR0.NW | CR0.CD })).toBe('valid');
    const longGuest = {
      efer: EFER.SVME | EFER.LME | EFER.LMA,
      cr4: CR4.PAE,
      csLong: true,
      csDefaultBig: false,
    };
    expect(check(longGuest, long)).toBe('valid');
    expect(check({ ...longGuest, cr3: 1n << 39n }, long)).toBe('valid');
    // CS.L means nothing outside long mode.
    expect(check({ csLong: true })).toBe('valid');
  });

  it('names each broken rule', () => {
    const { reasons } = checkVmrun(host, { ...good, guestAsid: 0, efer: 0n });
    expect(reasons).toEqual([
      'EFER.SVME is zero (APM vol. 2 15.5.1)',
      'the ASID is zero (APM vol. 2 15.5.1)',
    ]);
  });

  it('PDPTEs of a PAE guest count only where the processor loads them (5.5.3)', () => {
    const memory = ram();
    entries64(memory, 0x1010n, P | (1n << 5n));
    expect(check({ cr4: CR4.PAE })).toBe('valid');
    expect(check({ cr4: CR4.PAE }, { memory })).toBe('invalid');
    expect(check({ cr4: CR4.PAE, npEnable: true }, { memory })).toBe('valid');
    expect(check({ cr4: CR4.PAE, cr0: CR0.PE }, { memory })).toBe('valid');
    expect(check({}, { memory })).toBe('valid');
    entries64(memory, 0x1010n, 1n << 5n); // absent: its other bits do not count
    expect(check({ cr4: CR4.PAE }, { memory })).toBe('valid');
  });

  it('nested paging needs host paging, a legal nCR3 and a legal G_PAT (15.25.3, 15.25.4)', () => {
    expect(check({ npEnable: true })).toBe('valid');
    expect(check({ npEnable: true }, { cr0: CR0.PE })).toBe('invalid');
    for (const type of [2n, 3n, 8n, 0x80n]) {
      expect(check({ npEnable: true, gPat: type << 56n }), `type ${type}`).toBe('invalid');
      expect(check({ gPat: type << 56n })).toBe('valid');
    }
    const longHost = { ...long, efer: EFER.SVME | EFER.LME | EFER.LMA };
    for (const by of [longHost, {}]) {
      expect(check({ npEnable: true, nCr3: 1n << 40n }, by)).toBe('invalid');
      expect(check({ npEnable: true, nCr3: 1n << 63n }, by)).toBe('invalid');
      expect(check({ nCr3: 1n << 40n }, by)).toBe('valid');
      expect(check({ npEnable: true, nCr3: 0xffff_ffffn }, by)).toBe('valid');
    }
    expect(check({ npEnable: true, nCr3: 1n << 39n }, longHost)).toBe('valid');
    expect(check({ npEnable: true, nCr3: 1n << 39n })).toBe('either');
    const { features } = host;
    expect(check({ npEnable: true }, { features: { ...features, npt: false } })).toBe('invalid');
    expect(check({}, { features: { ...features, npt: false } })).toBe('valid');
  });

  it('leaves open what the manual leaves open', () => {
    expect(check({ tlbControl: 2 })).toBe('either');
    expect(check({ cr3: 1n << 32n })).toBe('either');
    for (const tlbControl of [0, 1, 3, 7]) expect(check({ tlbControl })).toBe('valid');
  });
});

describe('event injection (APM vol. 2 15.20)', () => {
  const inject = (type: number, vector: number, changes: Partial<VmcbFields> = {}) =>
    check({ eventInj: (1n << 31n) | (BigInt(type) << 8n) | BigInt(vector), ...changes }, long);

  it('refuses reserved types and vectors that are no exceptions', () => {
    for (const type of [1, 5, 6, 7]) expect(inject(type, 14)).toBe('invalid');
    for (const vector of [2, 15, 22, 31, 32, 255])
      expect(inject(3, vector), `vector ${vector}`).toBe('invalid');
    for (const vector of [0, 1, 3, 4, 6, 8, 13, 14, 16, 19]) expect(inject(3, vector)).toBe('valid');
    for (const type of [0, 2, 4]) expect(inject(type, 2)).toBe('valid');
  });

  it('does not look at a field whose V is clear', () => {
    expect(check({ eventInj: 0x5ffn })).toBe('valid');
  });

  it('refuses #BR in 64-bit mode only', () => {
    const in64 = { efer: EFER.SVME | EFER.LME | EFER.LMA, cr4: CR4.PAE, csLong: true, csDefaultBig: false };
    expect(inject(3, 5, in64)).toBe('invalid');
    expect(inject(3, 5)).toBe('valid');
    expect(inject(3, 5, { ...in64, csLong: false })).toBe('valid');
    expect(inject(3, 5, { csLong: true })).toBe('valid');
    expect(inject(3, 5, { ...in64, cr0: CR0.PE, efer: EFER.SVME | EFER.LME })).toBe('valid');
    expect(inject(3, 13, in64)).toBe('valid');
    expect(inject(3, 4, in64)).toBe('either');
  });
});

describe('exceptions in a guest (APM vol. 2 15.7.3, 15.12)', () => {
  const bit = (...vectors: number[]) => vectors.reduce((mask, vector) => mask | (1 << vector), 0);
  const on = (exceptions: number, shutdown = false) => ({ exceptions, shutdown });
  const exception = (vector: number, errorCode?: number): GuestEvent => ({
    type: EVENT_TYPE.EXCEPTION,
    vector,
    ...(errorCode === undefined ? {} : { errorCode }),
  });
  const pf = { vector: 14, errorCode: 6, address: 0x1234n };

  it('an intercepted #PF gives its error code and address, and leaves CR2 (15.12.15)', () => {
    expect(guestException(pf, on(bit(14)))).toEqual({
      kind: 'vmexit',
      exitCode: 0x4e,
      exitInfo1: 6n,
      exitInfo2: 0x1234n,
      exitIntInfo: 0n,
      cr2: undefined,
    });
  });

  it('one that is not intercepted is delivered and writes CR2', () => {
    expect(guestException(pf, on(~bit(14)))).toEqual({
      kind: 'deliver',
      event: exception(14, 6),
      cr2: 0x1234n,
    });
  });

  it('the example of 15.12: #GP and #DF intercepted, #GP during #NP is #GP, with #NP in EXITINTINFO', () => {
    const gp = { vector: 13, errorCode: 0x10 };
    expect(guestException(gp, on(bit(13, 8)), exception(11, 0x20))).toMatchObject({
      exitCode: 0x4d,
      exitInfo1: 0x10n,
      exitIntInfo: 0x20_8000_0b0bn,
    });
    expect(guestException(gp, on(bit(8)), exception(11, 0x20))).toMatchObject({
      exitCode: 0x48,
      exitInfo1: undefined,
      exitIntInfo: 0x20_8000_0b0bn,
    });
    expect(guestException(gp, on(0), exception(11, 0x20))).toEqual({
      kind: 'deliver',
      event: exception(8, 0),
      cr2: undefined,
    });
  });

  it('a fault during #DF shuts down, or is an intercepted shutdown; its own intercept comes first', () => {
    expect(guestException(pf, on(0), exception(8, 0))).toEqual({ kind: 'shutdown' });
    expect(guestException(pf, on(0, true), exception(8, 0))).toMatchObject({ exitCode: 0x7f });
    expect(guestException(pf, on(bit(14), true), exception(8, 0))).toMatchObject({
      exitCode: 0x4e,
      exitIntInfo: 0x8000_0b08n,
    });
  });

  it('#PF during #PF is #DF, and CR2 has the second address (15.12.9)', () => {
    expect(guestException(pf, on(bit(8)), exception(14, 0))).toMatchObject({ exitCode: 0x48, cr2: 0x1234n });
  });

  it('interrupts do not combine, and NMI has no exception intercept (15.12, 15.12.3)', () => {
    const interrupt: GuestEvent = { type: EVENT_TYPE.INTERRUPT, vector: 13 };
    expect(guestException(pf, on(0), interrupt)).toMatchObject({ kind: 'deliver', event: { vector: 14 } });
    expect(guestException(pf, on(bit(14)), interrupt)).toMatchObject({ exitIntInfo: 0x8000_000dn });
    expect(guestException({ vector: 2 }, on(~0))).toMatchObject({ kind: 'deliver' });
  });

  it('combines by SDM vol. 3A table 6-5', () => {
    const benign = [1, 3, 4, 5, 6, 7, 16, 17, 18, 19];
    const contributory = [0, 10, 11, 12, 13];
    for (const first of [...benign, ...contributory, 14, 8]) {
      for (const second of benign) expect(combine(exception(first), second)).toBe('serial');
    }
    for (const second of [...contributory, 14]) {
      for (const first of benign) expect(combine(exception(first), second)).toBe('serial');
      expect(combine(exception(14), second)).toBe('double fault');
      expect(combine(exception(8), second)).toBe('shutdown');
      expect(combine({ type: EVENT_TYPE.SOFTWARE, vector: 13 }, second)).toBe('serial');
    }
    for (const first of contributory) {
      for (const second of contributory) expect(combine(exception(first), second)).toBe('double fault');
      expect(combine(exception(first), 14)).toBe('serial');
    }
  });

  it('gives EXITINFO where the manual defines it', () => {
    for (const vector of [11, 12, 13, 17, 21, 30]) {
      expect(exceptionExitInfo({ vector, errorCode: 0x18 })).toEqual({
        exitInfo1: 0x18n,
        exitInfo2: undefined,
      });
    }
    for (const vector of [0, 1, 3, 6, 8, 10, 16, 18, 19]) {
      expect(exceptionExitInfo({ vector })).toEqual({ exitInfo1: undefined, exitInfo2: undefined });
    }
  });

  it('encodes EXITINTINFO as figure 15-1', () => {
    expect(encodeEvent({ type: EVENT_TYPE.SOFTWARE, vector: 0x80 })).toBe(0x8000_0480n);
    expect(encodeEvent(exception(14, 0xffff_ffff))).toBe(0xffff_ffff_8000_0b0en);
  });
});
