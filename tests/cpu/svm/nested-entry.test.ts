import { describe, expect, it } from 'vitest';
import { MSR } from '../../../src/arch/msrs.ts';
import { CR0 } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { type Assembler, eax, ebx, ecx, edi, edx } from '../../../src/guest/assembler.ts';
import { NestedWorld } from './nested-world.ts';
import { PLACE } from './world.ts';

const nothing = (a: Assembler): void => a.vmmcall();
const INVALID = 0xffff_ffff;

describe('VMRUN with NP_ENABLE (APM vol. 2 15.25.3, 15.25.4)', () => {
  it('is refused where the CPU has no nested paging', () => {
    expect(new NestedWorld(nothing, { model: 'current-amd,-npt' }).run().code).toBe(INVALID);
    expect(new NestedWorld(nothing).run().code).toBe(VMEXIT.VMMCALL);
  });

  it('is refused in a host without paging', () => {
    const w = new NestedWorld(nothing);
    w.setHost(0, 0, 0, CR0.PE | CR0.ET);
    expect(w.run().code).toBe(INVALID);
    // It is NP_ENABLE that asks for it.
    w.write(VMCB.NESTED_CTL, 0);
    expect(w.again().code).toBe(VMEXIT.VMMCALL);
  });

  it('is refused with bits of nCR3 at or above MAXPHYADDR, of 48 bits here', () => {
    const w = new NestedWorld(nothing);
    w.write(VMCB.N_CR3 + 4, 1 << 16);
    expect(w.run().code).toBe(INVALID);
    w.write(VMCB.N_CR3 + 4, 0);
    expect(w.again().code).toBe(VMEXIT.VMMCALL);
  });

  it('is refused with a reserved type in any field of G_PAT', () => {
    for (const [half, value] of [
      [0, 0x0007_0402],
      [0, 0x0307_0406],
      [4, 0x0007_0408],
      [4, 0x8607_0406],
    ] as const) {
      const w = new NestedWorld(nothing);
      w.write(VMCB_SAVE.G_PAT + half, value);
      expect(w.run().code).toBe(INVALID);
      // Without nested paging nobody looks at it.
      w.write(VMCB.NESTED_CTL, 0);
      expect(w.again().code).toBe(VMEXIT.VMMCALL);
    }
  });

  it('does not look at the PDPTEs of a PAE guest', () => {
    const w = new NestedWorld(nothing, { guestShape: 'pae' });
    w.cpu.physical.write32(0x88_0000 + 8, 0x3);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    w.write(VMCB.NESTED_CTL, 0);
    expect(w.again().code).toBe(INVALID);
  });
});

describe('G_PAT (APM vol. 2 15.25.2)', () => {
  const PAT_OF_GUEST = 0x0605_0401;

  function patWorld(): NestedWorld {
    const w = new NestedWorld((a) => {
      a.mov(ecx, MSR.PAT);
      a.rdmsr();
      a.mov(ebx, eax);
      a.mov(edi, edx);
      a.mov(eax, 0x0606_0606);
      a.mov(edx, 0x0707_0707);
      a.wrmsr();
      a.vmmcall();
    });
    w.write(VMCB_SAVE.G_PAT, PAT_OF_GUEST);
    w.write(VMCB_SAVE.G_PAT + 4, 0x0000_0007);
    return w;
  }

  it('is the PAT that the guest reads and writes; #VMEXIT writes it back and gives the host its own', () => {
    const w = patWorld();
    w.cpu.msrs.write(MSR.PAT, 0x0006_0106, 0x0406_0506);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    expect([w.gpr(3), w.gpr(7)]).toEqual([PAT_OF_GUEST, 7]);
    expect([w.read(VMCB_SAVE.G_PAT), w.read(VMCB_SAVE.G_PAT + 4)]).toEqual([0x0606_0606, 0x0707_0707]);
    expect([w.cpu.msrs.read(MSR.PAT), w.cpu.msrs.high]).toEqual([0x0006_0106, 0x0406_0506]);
  });

  it('means nothing without nested paging: the guest has the host’s', () => {
    const w = patWorld();
    w.write(VMCB.NESTED_CTL, 0);
    w.cpu.msrs.write(MSR.PAT, 0x0006_0106, 0x0406_0506);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    expect([w.gpr(3), w.gpr(7)]).toEqual([0x0006_0106, 0x0406_0506]);
    expect(w.read(VMCB_SAVE.G_PAT)).toBe(PAT_OF_GUEST);
    expect(w.cpu.msrs.read(MSR.PAT)).toBe(0x0606_0606);
  });

  it('is gone after an INIT that nobody intercepts: the PAT is the host’s, which INIT keeps (SDM vol. 3A table 9-1)', () => {
    const w = patWorld();
    w.cpu.msrs.write(MSR.PAT, 0x0006_0106, 0x0406_0506);
    w.load(PLACE.GUEST_CODE, (a) => {
      a.label('here');
      a.jmp('here');
    });
    w.cpu.run(w.cpu.now + 100);
    expect(w.cpu.msrs.read(MSR.PAT)).toBe(PAT_OF_GUEST);
    w.cpu.initPending = true;
    w.cpu.run(w.cpu.now + 1);
    // No #VMEXIT: the processor began anew.
    expect([w.cpu.svm.inGuest, w.exit.code]).toEqual([false, 0]);
    expect(w.cpu.paging.isNested).toBe(false);
    expect(w.cpu.msrs.read(MSR.PAT)).toBe(0x0006_0106);
  });
});
