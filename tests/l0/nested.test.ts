import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../src/arch/exceptions.ts';
import { MSR, VM_CR } from '../../src/arch/msrs.ts';
import { CR0, CR4, EFER, PFERR } from '../../src/arch/registers.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import {
  CR_ACCESS,
  EVENT_TYPE,
  eventInjection,
  INTERCEPT1,
  INTERCEPT2,
  IOIO_PORT_SHIFT,
  msrpmBit,
  V_INTR,
  VMCB,
  VMCB_SAVE,
} from '../../src/arch/vmcb.ts';
import type { Environment } from '../../src/cpu/environment.ts';
import { oracleFeatures } from '../../src/oracle/cpu.ts';
import { checkVmrun } from '../../src/oracle/svm/vmrun-checks.ts';
import { Bench, type GuestRegisters } from './bench.ts';

const VMCB12 = 0x30000;
const IOPM12 = 0x34000;
const MSRPM12 = 0x38000;
const PAGING = (CR0.PE | CR0.PG | CR0.WP) >>> 0;
const FLAT: GuestRegisters = { cr0: CR0.PE, cr3: 0, cr4: 0, efer: 0, cpl: 0, asid: 1, tlbControl: 0 };
const REQUIRED: readonly [number, number] = [VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL];

/** Interrupt controller and ports of a VM under test. */
class TestEnvironment implements Environment {
  pending = false;
  initialized?: () => void;
  readonly written: [port: number, value: number][] = [];
  readonly interrupts = {
    owner: this as TestEnvironment,
    get pending(): boolean {
      return this.owner.pending;
    },
    acknowledge(): number {
      this.owner.pending = false;
      return 0x31;
    },
  };
  readonly ports = {
    read: (): number => 0xff,
    write: (port: number, _size: number, value: number): void => {
      this.written.push([port, value]);
    },
  };
}

/** A bench whose guest has turned SVM on, and L1's VMCB filled with `fields` besides what VMRUN demands. */
function l1(fields: readonly (readonly [number, number])[], guest: Partial<GuestRegisters> = {}) {
  const environment = new TestEnvironment();
  const bench = new Bench({ environment });
  bench.do({ kind: 'efer', value: EFER.SVME });
  bench.fillVmcb(VMCB12, { ...FLAT, ...guest }, [REQUIRED, ...fields]);
  const field = (offset: number): number => Number(bench.peek(VMCB12 + offset, 4));
  const enter = (): void => {
    bench.do({ kind: 'vmrun', vmcb: VMCB12 });
  };
  return { bench, environment, field, enter, exitCode: () => field(VMCB.EXITCODE) | 0 };
}

describe('VMRUN of L1', () => {
  it('raises #UD without EFER.SVME and #GP for a VMCB that is no page', () => {
    const bench = new Bench();
    const vmrun = { kind: 'exit', code: VMEXIT.VMRUN, registers: { EAX: 0x123 } } as const;
    expect(bench.do(vmrun)).toMatchObject({ vector: VECTOR.UD });
    bench.do({ kind: 'efer', value: EFER.SVME });
    expect(bench.do(vmrun)).toMatchObject({ vector: VECTOR.GP, errorCode: 0 });
  });

  it('fails with VMEXIT_INVALID where no memory is, and harms nothing', () => {
    const { bench } = l1([]);
    bench.do({ kind: 'vmrun', vmcb: 0x48_0000 });
    expect(bench.vcpu.state.guestMode).toBe(false);
    expect(bench.vcpu.gif).toBe(false);
  });

  it('takes the ASIDs that CPUID announces and no other, as the bare processor does', () => {
    for (const beyond of [0, 1, 0x7fff_0000]) {
      const { bench, enter, exitCode } = l1([]);
      const { asidCount } = bench.vcpu.vm.model;
      expect(asidCount).toBeGreaterThan(1);
      bench.poke(VMCB12 + VMCB.GUEST_ASID, BigInt(asidCount + beyond), 4);
      enter();
      expect(exitCode()).toBe(VMEXIT.INVALID);
      bench.poke(VMCB12 + VMCB.GUEST_ASID, BigInt(asidCount - 1), 4);
      enter();
      expect(bench.vcpu.state.guestMode).toBe(true);
    }
  });

  it('refuses nested paging, which L0 does not offer', () => {
    const { bench, enter, exitCode } = l1([[VMCB.NESTED_CTL, 1]]);
    enter();
    expect(exitCode()).toBe(VMEXIT.INVALID);
    expect(bench.peek(VMCB12 + VMCB.EXITCODE + 4, 4)).toBe(0xffff_ffffn);
  });

  it('accepts and refuses what the manual says', () => {
    const features = oracleFeatures({ syscall: false, ffxsr: false, umip: false });
    const bits = (...list: number[]): fc.Arbitrary<number> =>
      fc.subarray(list, { maxLength: 3 }).map((chosen) => chosen.reduce((all, bit) => (all | bit) >>> 0, 0));
    const state = fc.record({
      cr0: fc
        .constantFrom(CR0.PE, PAGING, 0, CR0.PG)
        .chain((value) => bits(CR0.NW, CR0.CD, CR0.WP, CR0.TS, 0x40).map((more) => (value | more) >>> 0)),
      cr0Hi: fc.constantFrom(0, 0, 0, 0, 1),
      cr4: bits(CR4.PSE, CR4.PAE, CR4.SMEP, CR4.PGE, CR4.VMXE, CR4.LA57, 0x8000_0000),
      efer: bits(EFER.NXE, EFER.LME, EFER.LMA, 0x2).map((more) => more),
      svme: fc.constantFrom(EFER.SVME, EFER.SVME, EFER.SVME, 0),
      cr3: fc.constantFrom(0x1000, 0x1020, 0x48_0000, 0x2fff_f000),
      asid: fc.constantFrom(0, 1, 1, 1, 63),
      intercept: fc.constantFrom(INTERCEPT2.VMRUN, INTERCEPT2.VMRUN, INTERCEPT2.VMRUN, 0),
      iopmHi: fc.constantFrom(0, 0, 0, 0xffff, 0x1_0000),
      event: fc.oneof(
        fc.constant(0),
        fc.tuple(fc.nat(7), fc.nat(31)).map(([type, vector]) => (0x8000_0000 | (type << 8) | vector) >>> 0),
      ),
      dr7Hi: fc.constantFrom(0, 0, 0, 0, 8),
    });
    fc.assert(
      fc.property(state, (s) => {
        const { bench, exitCode } = l1([
          [VMCB.INTERCEPT_MISC2, s.intercept],
          [VMCB.GUEST_ASID, s.asid],
          [VMCB.IOPM_BASE_PA + 4, s.iopmHi],
          [VMCB.EVENTINJ, s.event],
          [VMCB_SAVE.CR0, s.cr0],
          [VMCB_SAVE.CR0 + 4, s.cr0Hi],
          [VMCB_SAVE.CR3, s.cr3],
          [VMCB_SAVE.CR4, s.cr4],
          [VMCB_SAVE.EFER, s.efer | s.svme],
          [VMCB_SAVE.DR7 + 4, s.dr7Hi],
        ]);
        for (let i = 0; i < 4; i += 1) bench.poke(0x1020 + 8 * i, i === 2 ? 0x2000n | 5n : 0n, 8);
        const { verdict, reasons } = checkVmrun(
          { features, maxPhyAddr: 48, cr0: 0n, cr4: 0n, efer: 0n, memory: bench.modelMemory },
          {
            interceptVmrun: s.intercept !== 0,
            iopmBasePa: BigInt(s.iopmHi) << 32n,
            msrpmBasePa: 0n,
            guestAsid: s.asid,
            tlbControl: 0,
            npEnable: false,
            nCr3: 0n,
            gPat: 0n,
            eventInj: BigInt(s.event),
            csLong: false,
            csDefaultBig: false,
            efer: BigInt(s.efer | s.svme),
            cr0: BigInt(s.cr0) | (BigInt(s.cr0Hi) << 32n),
            cr3: BigInt(s.cr3),
            cr4: BigInt(s.cr4),
            dr6: 0n,
            dr7: BigInt(s.dr7Hi) << 32n,
          },
        );
        bench.hardware.program.push({ kind: 'vmrun', vmcb: VMCB12 });
        bench.vcpu.run();
        const entered = exitCode() !== VMEXIT.INVALID;
        if (verdict !== 'either') expect([entered, reasons]).toEqual([verdict === 'valid', reasons]);
      }),
      { numRuns: 400, seed: 1 },
    );
  });
});

describe('exits of L2', () => {
  it('go to L1 for the control registers that it intercepts, and to L0 for the others', () => {
    const { bench, enter, exitCode, field } = l1([[VMCB.INTERCEPT_CR, 1 << (16 + 4)]]);
    enter();
    bench.do({ kind: 'cr', register: 3, value: 0x5000 });
    expect(bench.vcpu.state).toMatchObject({ guestMode: true, cr3: 0x5000 });
    const operation = {
      kind: 'exit',
      code: VMEXIT.CR4_WRITE,
      info1: 0,
      info1Hi: CR_ACCESS.HI_MOV,
      last: true,
    } as const;
    bench.do({ ...operation, registers: { EAX: CR4.PSE } });
    expect(bench.vcpu.state.guestMode).toBe(false);
    expect(exitCode()).toBe(VMEXIT.CR4_WRITE);
    expect(field(VMCB.EXITINFO1 + 4)).toBe(CR_ACCESS.HI_MOV);
    // The instruction was not executed.
    expect(field(VMCB_SAVE.CR4)).toBe(0);
    expect(field(VMCB_SAVE.CR3)).toBe(0x5000);
    expect(field(VMCB_SAVE.RAX)).toBe(CR4.PSE);
    expect(bench.vcpu.gif).toBe(false);
  });

  it('honour the selective CR0 intercept though L0 sees every write', () => {
    const { bench, enter, exitCode } = l1([[VMCB.INTERCEPT_MISC1, INTERCEPT1.CR0_SEL_WRITE]]);
    enter();
    bench.do({ kind: 'cr', register: 0, value: CR0.PE | CR0.TS });
    expect(bench.vcpu.state.guestMode).toBe(true);
    expect(bench.vcpu.state.cr0).toBe(CR0.PE | CR0.TS | CR0.ET);
    bench.do({
      kind: 'exit',
      code: VMEXIT.CR0_WRITE,
      info1Hi: CR_ACCESS.HI_MOV,
      registers: { EAX: CR0.PE | CR0.WP },
      last: true,
    });
    expect(exitCode()).toBe(VMEXIT.CR0_SEL_WRITE);
  });

  it("follow L1's I/O and MSR maps", () => {
    const maps = [
      [VMCB.INTERCEPT_MISC1, INTERCEPT1.IOIO | INTERCEPT1.MSR],
      [VMCB.IOPM_BASE_PA, IOPM12],
      [VMCB.MSRPM_BASE_PA, MSRPM12],
    ] as const;
    const { bench, environment, enter, exitCode, field } = l1(maps);
    // Port 3FDh: bit 5 of byte 7Fh.
    bench.poke(IOPM12 + 0x7c, 0x20n << 24n, 4);
    const bit = msrpmBit(MSR.PAT);
    bench.poke(MSRPM12 + ((bit >>> 5) << 2), 1n << BigInt((bit & 31) + 1), 4);
    enter();
    bench.do({ kind: 'io', port: 0x3f8, value: 0x41 });
    expect(environment.written).toEqual([[0x3f8, 0x41]]);
    bench.do({ kind: 'exit', code: VMEXIT.MSR, info1: 0, registers: { ECX: MSR.PAT } });
    expect(bench.vcpu.state.guestMode).toBe(true);
    bench.do({ kind: 'exit', code: VMEXIT.MSR, info1: 1, registers: { ECX: MSR.PAT }, last: true });
    expect(exitCode()).toBe(VMEXIT.MSR);
    enter();
    // Two bytes from 3FCh reach 3FDh, whose bit is set.
    const info1 = 0x20 | (0x3fc << IOIO_PORT_SHIFT);
    bench.do({ kind: 'exit', code: VMEXIT.IOIO, info1, info2: 0x2002, last: true });
    expect(exitCode()).toBe(VMEXIT.IOIO);
    expect(field(VMCB.EXITINFO1)).toBe(info1);
  });

  it("carry page faults of L2's own to L1, and no others", () => {
    const guest = { cr0: PAGING, cr3: 0x1000 };
    const { bench, enter, exitCode, field } = l1([[VMCB.INTERCEPT_EXCEPTION, 1 << VECTOR.PF]], guest);
    bench.poke(0x1000, 0x2000n | 3n, 4);
    bench.poke(0x2000, 0x5000n | 1n, 4);
    bench.poke(0x5000, 0x1234n, 4);
    enter();
    expect(bench.do({ kind: 'access', access: 'read', linear: 0, size: 4 })).toMatchObject({ lo: 0x1234 });
    bench.hardware.program.push({ kind: 'access', access: 'write', linear: 0, size: 4 });
    bench.vcpu.run();
    expect(exitCode()).toBe(VMEXIT.EXCP + VECTOR.PF);
    expect(field(VMCB.EXITINFO1)).toBe(PFERR.P | PFERR.W);
    expect(field(VMCB.EXITINFO2)).toBe(0);
    expect(field(VMCB_SAVE.RIP)).toBe(0x2000);
  });

  it('are shutdowns of L2 only where L1 intercepts them', () => {
    const { bench, enter, exitCode } = l1([[VMCB.INTERCEPT_MISC1, INTERCEPT1.SHUTDOWN]]);
    enter();
    bench.do({ kind: 'exit', code: VMEXIT.SHUTDOWN, last: true });
    expect(exitCode()).toBe(VMEXIT.SHUTDOWN);
    const other = l1([]);
    other.enter();
    other.bench.hardware.program.push({ kind: 'exit', code: VMEXIT.SHUTDOWN, last: true });
    expect(other.bench.vcpu.run()).toEqual({ reason: 'shutdown' });
  });
});

describe('events and L2', () => {
  it('take interrupts to L1 unacknowledged, which has them after STGI', () => {
    const { bench, environment, enter, exitCode } = l1([
      [VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR],
      [VMCB.V_INTR, V_INTR.INTR_MASKING],
    ]);
    bench.do({ kind: 'interrupts', enabled: true });
    enter();
    bench.do({ kind: 'cpuid' });
    environment.pending = true;
    // L2's IF is clear: with V_INTR_MASKING L1's counts.
    bench.hardware.program.push({ kind: 'cpuid' });
    bench.vcpu.run();
    expect(exitCode()).toBe(VMEXIT.INTR);
    expect(environment.pending).toBe(true);
    bench.hardware.program.length = 0;
    bench.do({ kind: 'exit', code: VMEXIT.STGI });
    bench.do({ kind: 'cpuid' });
    expect(bench.hardware.delivered).toEqual([eventInjection(EVENT_TYPE.INTR, 0x31, false)]);
  });

  it('take INIT to L1, which has it as #SX after STGI under VM_CR.R_INIT (APM vol. 2 15.13, 15.30.1)', () => {
    const { bench, enter, exitCode } = l1([[VMCB.INTERCEPT_MISC1, INTERCEPT1.INIT]]);
    bench.vcpu.msrs.write(MSR.VM_CR, VM_CR.R_INIT, 0);
    enter();
    bench.do({ kind: 'cpuid' });
    bench.vcpu.signalInit();
    bench.do({ kind: 'cpuid' });
    expect(exitCode()).toBe(VMEXIT.INIT);
    expect([bench.vcpu.gif, bench.vcpu.events.initPending]).toEqual([false, true]);
    // What is injected behind an operation counts as its result.
    const stgi = bench.do({ kind: 'exit', code: VMEXIT.STGI });
    expect(stgi).toMatchObject({ vector: VECTOR.SX, errorCode: 1 });
    expect(bench.vcpu.events.initPending).toBe(false);
  });

  it('end with L1 where nobody has INIT', () => {
    const { bench, environment, enter } = l1([]);
    let initialized = 0;
    environment.initialized = () => initialized++;
    enter();
    bench.do({ kind: 'cpuid' });
    bench.vcpu.signalInit();
    bench.do({ kind: 'cpuid' });
    const { state, gif } = bench.vcpu;
    expect([initialized, state.guestMode, gif, state.cr0, state.efer]).toEqual([1, false, true, CR0.ET, 0]);
    expect(state.vmcb).toBe(bench.vcpu.vmcb01);
  });

  it('deliver to L2 what L1 does not intercept, when L2 can take it', () => {
    const { bench, environment, enter } = l1([]);
    enter();
    environment.pending = true;
    bench.do({ kind: 'cpuid' });
    expect(bench.hardware.delivered).toEqual([]);
    bench.do({ kind: 'interrupts', enabled: true });
    bench.do({ kind: 'cpuid' });
    expect(bench.hardware.delivered).toEqual([eventInjection(EVENT_TYPE.INTR, 0x31, false)]);
    expect(bench.vcpu.state.guestMode).toBe(true);
  });

  it('inject what L1 injects', () => {
    const event = eventInjection(EVENT_TYPE.INTR, 0x77, false);
    const { bench, enter, field } = l1([[VMCB.EVENTINJ, event]]);
    enter();
    bench.do({ kind: 'cpuid' });
    expect(bench.hardware.delivered).toEqual([event]);
    bench.do({ kind: 'vmmcall' });
    expect(field(VMCB.EVENTINJ)).toBe(0);
    expect(field(VMCB.EXITINTINFO)).toBe(0);
  });

  it("let L1's virtual interrupt reach L2 and tell L1 that it is gone", () => {
    const { bench, enter, field } = l1([
      [VMCB.V_INTR, V_INTR.IRQ | V_INTR.IGNORE_TPR | V_INTR.INTR_MASKING],
      [VMCB.V_INTR_VECTOR, 0x55],
    ]);
    enter();
    bench.do({ kind: 'cpuid' });
    expect(bench.hardware.delivered).toEqual([]);
    bench.do({ kind: 'interrupts', enabled: true });
    expect(bench.hardware.delivered).toEqual([0x55]);
    bench.do({ kind: 'vmmcall' });
    expect(field(VMCB.V_INTR) & V_INTR.IRQ).toBe(0);
  });

  it('end L2 for an exception that L1 intercepts and L0 raises', () => {
    const { bench, enter, exitCode, field } = l1([[VMCB.INTERCEPT_EXCEPTION, 1 << VECTOR.GP]]);
    enter();
    // A reserved bit of CR4: #GP, raised by L0.
    const registers = { EAX: CR4.VMXE };
    bench.do({ kind: 'exit', code: VMEXIT.CR4_WRITE, info1Hi: CR_ACCESS.HI_MOV, registers, last: true });
    expect(exitCode()).toBe(VMEXIT.EXCP + VECTOR.GP);
    expect(field(VMCB.EXITINFO1)).toBe(0);
  });
});
