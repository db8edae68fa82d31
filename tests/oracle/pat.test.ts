import { describe, expect, it } from 'vitest';
import { isReservedPat, PatRegisters } from '../../src/oracle/svm/pat.ts';

const FIRST = 0x0007_0406_0007_0406n;
const SECOND = 0x0001_0406_0007_0506n;

describe('the PAT (APM vol. 2 7.8.1)', () => {
  it.each([0n, 1n, 4n, 5n, 6n, 7n])('has type %s', (type) => {
    expect([0n, 24n, 56n].map((shift) => isReservedPat(type << shift))).toEqual([false, false, false]);
  });

  it.each([2n, 3n, 8n, 0x86n, 0xffn])('reserves %s', (type) => {
    expect([0n, 24n, 56n].map((shift) => isReservedPat(type << shift))).toEqual([true, true, true]);
  });
});

describe('the PAT MSR (APM vol. 2 15.25.4)', () => {
  it('may be anything before it is written', () => {
    expect(new PatRegisters().read()).toBeUndefined();
  });

  it('refuses reserved types and stays as it was', () => {
    const pats = new PatRegisters();
    expect([pats.write(FIRST), pats.write(2n), pats.read()]).toEqual([true, false, FIRST]);
  });

  it('is one for a host and its guest without nested paging', () => {
    const pats = new PatRegisters();
    pats.write(FIRST);
    pats.vmrun(undefined);
    expect(pats.read()).toBe(FIRST);
    pats.write(SECOND);
    pats.vmexit();
    expect(pats.read()).toBe(SECOND);
  });

  it('is G_PAT for a guest with nested paging, which keeps what is written', () => {
    const pats = new PatRegisters();
    const guest = { gPat: SECOND };
    pats.write(FIRST);
    pats.vmrun(guest);
    expect(pats.read()).toBe(SECOND);
    pats.write(0n);
    pats.vmexit();
    expect([pats.read(), guest.gPat]).toEqual([FIRST, 0n]);
    pats.vmrun(guest);
    expect(pats.read()).toBe(0n);
  });
});
