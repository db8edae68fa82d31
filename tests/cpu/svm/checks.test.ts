import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { oracleFeatures } from '../../../src/oracle/cpu.ts';
import { checkVmrun, type VmcbFields } from '../../../src/oracle/svm/vmrun-checks.ts';
import { PLACE, World } from './world.ts';

/** A guest that calls the host at once; `change` has the VMCB before VMRUN. */
function exitOf(change: (world: World) => void, model?: string): World {
  const world = new World((a) => a.vmmcall(), model === undefined ? {} : { model });
  change(world);
  world.run();
  return world;
}
const valid = (world: World): boolean => world.exit.code === VMEXIT.VMMCALL;
const MAXPHYADDR_HI = 1 << (48 - 32);

describe('consistency checks (APM vol. 2 15.5.1)', () => {
  // biome-ignore format: table
  it.each<[string, (w: World) => void]>([
    ['EFER.SVME is zero',              (w) => w.write(VMCB_SAVE.EFER, 0)],
    ['CR0.NW without CD',              (w) => w.set(VMCB_SAVE.CR0, CR0.NW)],
    ['CR0[63:32]',                     (w) => w.write(VMCB_SAVE.CR0 + 4, 1)],
    ['reserved bit of CR4',            (w) => w.write(VMCB_SAVE.CR4, 1 << 15)],
    ['CR4.VMXE, which AMD lacks',      (w) => w.write(VMCB_SAVE.CR4, CR4.VMXE)],
    ['CR4[63:32]',                     (w) => w.write(VMCB_SAVE.CR4 + 4, 1)],
    ['DR6[63:32]',                     (w) => w.write(VMCB_SAVE.DR6 + 4, 1)],
    ['DR7[63:32]',                     (w) => w.write(VMCB_SAVE.DR7 + 4, 0x8000_0000)],
    ['reserved bit of EFER',           (w) => w.set(VMCB_SAVE.EFER, 2)],
    ['EFER[63:32]',                    (w) => w.write(VMCB_SAVE.EFER + 4, 1)],
    ['EFER.LME without long mode',     (w) => w.set(VMCB_SAVE.EFER, EFER.LME)],
    ['EFER.LMA without long mode',     (w) => w.set(VMCB_SAVE.EFER, EFER.LMA)],
    ['VMRUN intercept clear',          (w) => w.write(VMCB.INTERCEPT_MISC2, 2)],
    ['ASID zero',                      (w) => w.write(VMCB.GUEST_ASID, 0)],
    ['ASID beyond the last',           (w) => w.write(VMCB.GUEST_ASID, 0x8000)],
    ['I/O map ends beyond MAXPHYADDR', (w) => { w.write(VMCB.IOPM_BASE_PA, 0xffff_e000); w.write(VMCB.IOPM_BASE_PA + 4, MAXPHYADDR_HI - 1); }],
    ['MSR map ends beyond MAXPHYADDR', (w) => { w.write(VMCB.MSRPM_BASE_PA, 0xffff_f000); w.write(VMCB.MSRPM_BASE_PA + 4, MAXPHYADDR_HI - 1); }],
    ['I/O map beyond 2^52',            (w) => w.write(VMCB.IOPM_BASE_PA + 4, 0xffff_ffff)],
    ['reserved TLB_CONTROL',           (w) => w.writeByte(VMCB.TLB_CONTROL, 2)],
    ['nested paging without it',       (w) => w.write(VMCB.NESTED_CTL, 1)],
    ['reserved event type 1',          (w) => w.write(VMCB.EVENTINJ, 0x8000_0120)],
    ['reserved event type 5',          (w) => w.write(VMCB.EVENTINJ, 0x8000_0520)],
    ['exception 2',                    (w) => w.write(VMCB.EVENTINJ, 0x8000_0302)],
    ['exception 15',                   (w) => w.write(VMCB.EVENTINJ, 0x8000_030f)],
    ['exception 32',                   (w) => w.write(VMCB.EVENTINJ, 0x8000_0320)],
  ])('%s: VMEXIT_INVALID', (_name, change) => {
    const world = exitOf(change);
    expect(world.exit.code).toBe(0xffff_ffff);
    expect(world.read(VMCB.EXITCODE + 4)).toBe(0xffff_ffff);
    // No guest ran, and the host goes on behind VMRUN with GIF clear.
    expect(world.read(VMCB_SAVE.RIP)).toBe(PLACE.GUEST_CODE);
    expect(world.read(VMCB.EVENTINJ)).toBe(0);
    expect(world.cpu.state.eip).toBe(PLACE.HOST_CODE + 4);
    expect(world.cpu.state.cr0).toBe(CR0.PE | CR0.ET);
    expect(world.cpu.svm.gif).toBe(false);
    expect(world.cpu.svm.inGuest).toBe(false);
  });

  // biome-ignore format: table
  it.each<[string, (w: World) => void]>([
    ['CD without NW, and both',        (w) => w.set(VMCB_SAVE.CR0, CR0.CD | CR0.NW)],
    ['reserved low bits of CR0',       (w) => w.set(VMCB_SAVE.CR0, 0x40)],
    ['CR3 above 4 GiB in legacy mode', (w) => w.write(VMCB_SAVE.CR3 + 4, 0xffff_ffff)],
    ['the last ASID',                  (w) => w.write(VMCB.GUEST_ASID, 0x7fff)],
    ['I/O map up to MAXPHYADDR',       (w) => { w.write(VMCB.IOPM_BASE_PA, 0xffff_dfff); w.write(VMCB.IOPM_BASE_PA + 4, MAXPHYADDR_HI - 1); }],
    ['TLB_CONTROL 3 and 7',            (w) => w.writeByte(VMCB.TLB_CONTROL, 7)],
    ['an event without its V bit',     (w) => w.write(VMCB.EVENTINJ, 0x0000_0702)],
    ['clean bits, all of them',        (w) => w.write(VMCB.CLEAN_BITS, 0xffff_ffff)],
  ])('%s: fine', (_name, change) => {
    expect(valid(exitOf(change))).toBe(true);
  });

  it('an exception to inject must be one', () => {
    const exceptions = [0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 30];
    for (let vector = 0; vector < 40; vector++) {
      const world = exitOf((w) => {
        w.write(VMCB.EVENTINJ, 0x8000_0300 | vector);
        w.write(VMCB.NRIP, PLACE.GUEST_CODE);
        // Without DPL 3 gates a software exception faults, which is delivery all the same.
      });
      expect([vector, valid(world)]).toEqual([vector, exceptions.includes(vector)]);
    }
  });

  it('bits of features that the processor lacks', () => {
    expect(valid(exitOf((w) => w.write(VMCB_SAVE.CR4, CR4.SMEP | CR4.SMAP)))).toBe(true);
    expect(valid(exitOf((w) => w.write(VMCB_SAVE.CR4, CR4.SMEP), 'opteron'))).toBe(false);
    expect(valid(exitOf((w) => w.set(VMCB_SAVE.EFER, EFER.NXE)))).toBe(true);
    expect(valid(exitOf((w) => w.set(VMCB_SAVE.EFER, EFER.NXE), 'opteron,-nx'))).toBe(false);
    expect(valid(exitOf((w) => w.writeByte(VMCB.TLB_CONTROL, 3), 'opteron'))).toBe(false);
    expect(valid(exitOf((w) => w.write(VMCB.GUEST_ASID, 64), 'opteron'))).toBe(false);
  });

  describe('PDPTEs of a PAE guest', () => {
    const withPdptes = (
      entries: readonly (readonly [number, number])[],
      cr0 = CR0.PE | CR0.PG,
      cr4: number = CR4.PAE,
    ): World =>
      exitOf((world) => {
        const { physical } = world.cpu;
        entries.forEach(([lo, hi], n) => {
          physical.write32(0x10_0020 + n * 8, lo);
          physical.write32(0x10_0024 + n * 8, hi);
        });
        physical.write32(0x10_1000, 0xe7);
        world.write(VMCB_SAVE.CR3, 0x10_0020);
        world.write(VMCB_SAVE.CR0, cr0);
        world.write(VMCB_SAVE.CR4, cr4);
      });
    const GOOD = [0x10_1001, 0] as const;
    const ABSENT = [0, 0] as const;

    it('are loaded, from any 32-byte boundary', () => {
      expect(valid(withPdptes([GOOD, ABSENT, ABSENT, ABSENT]))).toBe(true);
    });
    it('are illegal with a reserved bit in a present one', () => {
      expect(valid(withPdptes([GOOD, ABSENT, ABSENT, [0x3, 0]]))).toBe(false);
      expect(valid(withPdptes([GOOD, [1, 0x8000_0000], ABSENT, ABSENT]))).toBe(false);
      expect(valid(withPdptes([GOOD, [2, 0x8000_0000], ABSENT, ABSENT]))).toBe(true);
    });
    it('do not matter without paging', () => {
      expect(valid(withPdptes([[3, 0], ABSENT, ABSENT, ABSENT], CR0.PE))).toBe(true);
    });
  });
});

/** What the processor of these tests has, as the oracle puts it. */
const features = oracleFeatures({ syscall: false });
const HOST = { features, maxPhyAddr: 48, cr0: BigInt(CR0.PE), cr4: 0n, efer: BigInt(EFER.SVME) };

const field64 = (world: World, place: number, value: bigint): void => {
  world.write(place, Number(value & 0xffff_ffffn));
  world.write(place + 4, Number(value >> 32n));
};

/** Mostly sane values with single bits flipped. */
const near = (value: bigint): fc.Arbitrary<bigint> =>
  fc.oneof(
    { arbitrary: fc.constant(value), weight: 6 },
    { arbitrary: fc.integer({ min: 0, max: 63 }).map((n) => value ^ (1n << BigInt(n))), weight: 1 },
  );

it('agrees with the oracle about random VMCBs', () => {
  const base = new World((a) => a.vmmcall());
  const vmcb = fc.record({
    cr0: near(BigInt(CR0.PE | CR0.ET)),
    cr3: near(0x10_0000n),
    cr4: near(0n),
    efer: near(BigInt(EFER.SVME)),
    dr6: near(0xffff_0ff0n),
    dr7: near(0x400n),
    iopmBasePa: near(BigInt(PLACE.IOPM)),
    msrpmBasePa: near(BigInt(PLACE.MSRPM)),
    guestAsid: fc.integer({ min: 0, max: 3 }),
    tlbControl: fc.constantFrom(0, 1, 3, 7, 2, 0xff),
    interceptVmrun: fc.integer({ min: 0, max: 9 }).map((n) => n !== 0),
    eventInj: fc.oneof(
      fc.constant(0n),
      fc.integer({ min: 0, max: 0x7ff }).map((n) => BigInt(n) | 0x8000_0000n),
    ),
  });
  let invalid = 0;
  fc.assert(
    fc.property(vmcb, (wanted) => {
      const fields: VmcbFields = {
        ...wanted,
        npEnable: false,
        nCr3: 0n,
        gPat: 0n,
        csLong: false,
        csDefaultBig: true,
      };
      const { verdict, reasons } = checkVmrun(HOST, fields);
      const { cpu } = base;
      field64(base, VMCB_SAVE.CR0, wanted.cr0);
      field64(base, VMCB_SAVE.CR3, wanted.cr3);
      field64(base, VMCB_SAVE.CR4, wanted.cr4);
      field64(base, VMCB_SAVE.EFER, wanted.efer);
      field64(base, VMCB_SAVE.DR6, wanted.dr6);
      field64(base, VMCB_SAVE.DR7, wanted.dr7);
      field64(base, VMCB.IOPM_BASE_PA, wanted.iopmBasePa);
      field64(base, VMCB.MSRPM_BASE_PA, wanted.msrpmBasePa);
      field64(base, VMCB.EVENTINJ, wanted.eventInj);
      base.write(VMCB.GUEST_ASID, wanted.guestAsid);
      base.write(VMCB.TLB_CONTROL, wanted.tlbControl);
      base.write(VMCB.INTERCEPT_MISC2, wanted.interceptVmrun ? 3 : 2);
      // Whatever the guest does, it ends at once.
      base.write(VMCB.INTERCEPT_EXCEPTION, ~0);
      base.write(VMCB.INTERCEPT_MISC1, ~0);
      base.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
      cpu.shutdown = false;
      const { code } = base.again();
      if (verdict === 'invalid') invalid++;
      if (verdict !== 'either')
        expect([code === 0xffff_ffff, reasons]).toEqual([verdict === 'invalid', reasons]);
    }),
    { numRuns: 3000, seed: 20_261 },
  );
  expect(invalid).toBeGreaterThan(500);
});
