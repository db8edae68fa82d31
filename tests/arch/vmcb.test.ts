import { describe, expect, it } from 'vitest';
import {
  ATTRIBUTE,
  attributesOfDescriptor,
  baseOfDescriptor,
  descriptorHi,
  descriptorLo,
  limitOfDescriptor,
} from '../../src/arch/descriptors.ts';
import { MSR } from '../../src/arch/registers.ts';
import { isExceptionExit, kvmExitName, VMEXIT, vmexitCode, vmexitName } from '../../src/arch/svm-exits.ts';
import {
  EVENT_TYPE,
  eventInjection,
  INTERCEPT1,
  INTERCEPT2,
  INTERCEPT3,
  msrpmBit,
  VMCB,
  VMCB_SAVE,
  VMCB_SEGMENT_ORDER,
} from '../../src/arch/vmcb.ts';

describe('descriptors', () => {
  // Well-known descriptors as 8 bytes, with what SDM vol. 3A figure 3-8 makes of them.
  it.each([
    ['flat 32-bit code', 0x00cf_9a00, 0x0000_ffff, 0, 0xffff_ffff, 0xc9a],
    ['flat data, DPL 3', 0x00cf_f200, 0x0000_ffff, 0, 0xffff_ffff, 0xcf2],
    ['16-bit code at F0000h', 0x0000_9a0f, 0x0000_ffff, 0xf_0000, 0xffff, 0x09a],
    ['busy 32-bit TSS', 0x1200_8b34, 0x5678_0067, 0x1234_5678, 0x67, 0x08b],
    ['64-bit code with AVL', 0x003f_9aff, 0xffff_ffff, 0x00ff_ffff, 0xf_ffff, 0x39a],
  ] as const)('%s', (_, hi, lo, base, limit, attributes) => {
    expect(baseOfDescriptor(lo, hi)).toBe(base);
    expect(limitOfDescriptor(lo, hi)).toBe(limit);
    expect(attributesOfDescriptor(hi)).toBe(attributes);
    expect(descriptorLo(base, limit, attributes)).toBe(lo);
    expect(descriptorHi(base, limit, attributes)).toBe(hi);
  });

  it('keeps a base above 2 GiB unsigned', () => {
    expect(baseOfDescriptor(0x5678_ffff, 0xf2cf_9a34)).toBe(0xf234_5678);
    expect(descriptorHi(0xf234_5678, 0xffff_ffff, ATTRIBUTE.G)).toBe(0xf28f_0034);
  });
});

describe('VMCB layout (APM vol. 2 appendix B)', () => {
  it('has 64-bit fields on 8-byte boundaries, none of them twice', () => {
    const save = Object.entries(VMCB_SAVE).filter(([name]) => name !== 'CPL');
    expect(save.filter(([, offset]) => offset % 8 !== 0)).toEqual([]);
    const all = [...Object.values(VMCB), ...Object.values(VMCB_SAVE)];
    expect(new Set(all).size).toBe(all.length);
    expect(Math.max(...Object.values(VMCB))).toBeLessThan(Math.min(...Object.values(VMCB_SAVE)));
  });

  it('lists segments in encoding order', () => {
    const { ES, CS, SS, DS, FS, GS } = VMCB_SAVE;
    expect(VMCB_SEGMENT_ORDER).toEqual([ES, CS, SS, DS, FS, GS]);
  });
});

describe('intercepts and exit codes (APM vol. 2 appendices B and C)', () => {
  // Each bit of an intercept word and the exit that it causes have codes that rise together.
  it.each([
    ['word 3', INTERCEPT1, VMEXIT.INTR],
    ['word 4', INTERCEPT2, VMEXIT.VMRUN],
    ['word 5', INTERCEPT3, VMEXIT.INVLPGB],
  ] as const)('%s: bit n exits with the first code + n', (_, bits, first) => {
    const renamed: Record<string, string> = { MWAIT_ARMED: 'MWAIT_CONDITIONAL' };
    for (const [name, bit] of Object.entries(bits)) {
      const code = first + Math.log2(bit);
      expect(vmexitName(code)).toBe(`VMEXIT_${renamed[name] ?? name}`);
    }
  });

  it('names codes both ways', () => {
    for (const code of [0, 0x1f, 0x20, 0x3f, 0x40, 0x5f, 0x60, 0x7f, 0x80, 0xa6, 0x400, 0x403, -1, -2, -3]) {
      expect(vmexitCode(vmexitName(code))).toBe(code);
      expect(vmexitCode(kvmExitName(code))).toBe(code);
    }
    expect(vmexitCode('VMEXIT_NOTHING')).toBeUndefined();
  });

  it.each([
    [0x000, 'VMEXIT_CR0_READ', 'read_cr0'],
    [0x013, 'VMEXIT_CR3_WRITE', 'write_cr3'],
    [0x027, 'VMEXIT_DR7_READ', 'read_dr7'],
    [0x04e, 'VMEXIT_EXCP14', 'PF excp'],
    [0x060, 'VMEXIT_INTR', 'interrupt'],
    [0x065, 'VMEXIT_CR0_SEL_WRITE', 'cr0_sel_write'],
    [0x066, 'VMEXIT_IDTR_READ', 'read_idtr'],
    [0x078, 'VMEXIT_HLT', 'hlt'],
    [0x07b, 'VMEXIT_IOIO', 'io'],
    [0x07f, 'VMEXIT_SHUTDOWN', 'shutdown'],
    [0x081, 'VMEXIT_VMMCALL', 'hypercall'],
    [0x08f, 'VMEXIT_EFER_WRITE_TRAP', 'write_efer_trap'],
    [0x400, 'VMEXIT_NPF', 'npf'],
    [-1, 'VMEXIT_INVALID', 'invalid_guest_state'],
    [0xffff_ffff, 'VMEXIT_INVALID', 'invalid_guest_state'],
    [0x123, 'VMEXIT_123h', 'VMEXIT_123h'],
  ])('%i is %s, which KVM prints as %s', (code, manual, kvm) => {
    expect([vmexitName(code), kvmExitName(code)]).toEqual([manual, kvm]);
  });

  it('knows exception exits', () => {
    expect([0x3f, 0x40, 0x5f, 0x60].map(isExceptionExit)).toEqual([false, true, true, false]);
  });
});

describe('event injection (APM vol. 2 15.20)', () => {
  it.each([
    ['#PF', EVENT_TYPE.EXCEPTION, 14, true, 0x8000_0b0e],
    ['external interrupt', EVENT_TYPE.INTR, 0x31, false, 0x8000_0031],
    ['NMI', EVENT_TYPE.NMI, 2, false, 0x8000_0202],
    ['INT 80h', EVENT_TYPE.SOFTWARE, 0x80, false, 0x8000_0480],
  ] as const)('%s', (_, type, vector, hasErrorCode, expected) => {
    expect(eventInjection(type, vector, hasErrorCode)).toBe(expected);
  });
});

describe('MSR permission map (APM vol. 2 15.11)', () => {
  // Four MSRs to a byte: the ranges start at bytes 000h, 800h and 1000h of the map.
  it.each([
    [MSR.TSC, 8 * 0x004],
    [0x1fff, 8 * 0x7ff + 6],
    [MSR.EFER, 8 * (0x800 + 0x20)],
    [MSR.KERNEL_GS_BASE, 8 * (0x800 + 0x40) + 4],
    [MSR.HWCR, 8 * (0x1000 + 0x5) + 2],
    [0xc001_1fff, 8 * 0x17ff + 6],
    [0x2000, -1],
    [0xc000_2000, -1],
    [0xc001_2000, -1],
    [0xffff_ffff, -1],
  ])('%i is at bit %i', (msr, bit) => {
    expect(msrpmBit(msr)).toBe(bit);
  });

  it('takes a signed number for the same MSR', () => {
    expect(msrpmBit(MSR.EFER | 0)).toBe(0x4100);
  });
});
