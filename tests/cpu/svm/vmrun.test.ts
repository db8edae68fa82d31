import { describe, expect, it } from 'vitest';
import { MSR } from '../../../src/arch/msrs.ts';
import { CR0, EFER, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE, VMCB_SEGMENT } from '../../../src/arch/vmcb.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { type Assembler, cr2, eax, ebx, ecx, esp, mem32 } from '../../../src/guest/assembler.ts';
import { ATTRIBUTES, PLACE, SELECTOR, World } from './world.ts';

const VMMCALL_LENGTH = 3;
const callHost = (a: Assembler): void => a.vmmcall();

describe('VMRUN and #VMEXIT (APM vol. 2 15.5, 15.6)', () => {
  it('runs the guest until VMMCALL, then the host behind VMRUN', () => {
    const world = new World((a) => {
      a.mov(ebx, 0x1234);
      a.label('call');
      a.vmmcall();
    });
    const exit = world.run();
    expect(exit).toEqual({
      code: VMEXIT.VMMCALL,
      info1: 0,
      info1Hi: 0,
      info2: 0,
      info2Hi: 0,
      rip: world.labels.get('call'),
      nextRip: (world.labels.get('call') as number) + VMMCALL_LENGTH,
      event: 0,
      eventError: 0,
    });
    expect(world.gpr(3)).toBe(0x1234);
    expect(world.read(VMCB.EXITCODE + 4)).toBe(0);
    expect(world.cpu.svm.inGuest).toBe(false);
    expect(world.cpu.svm.gif).toBe(false);
    // VMRUN is three bytes long, HLT one.
    expect(world.cpu.state.eip).toBe(PLACE.HOST_CODE + 4);
  });

  it('switches RAX, RSP, RFLAGS and leaves all other registers to software', () => {
    const world = new World((a) => {
      a.add(eax, 1);
      a.add(ecx, 1);
      a.push(0x55);
      a.stc();
      a.vmmcall();
    });
    world.write(VMCB_SAVE.RAX, 0x1000);
    world.write(VMCB_SAVE.RAX + 4, 0xdead);
    world.cpu.state.setGpr(1, 0x2000);
    world.cpu.state.eflags = 2 | EFLAGS.DF;
    world.run();
    expect(world.read(VMCB_SAVE.RAX)).toBe(0x1001);
    expect(world.read(VMCB_SAVE.RAX + 4)).toBe(0);
    expect(world.gpr(1)).toBe(0x2001);
    expect(world.read(VMCB_SAVE.RSP)).toBe(PLACE.GUEST_STACK - 4);
    expect(world.read(VMCB_SAVE.RFLAGS)).toBe(EFLAGS.ONE | EFLAGS.CF);
    expect(world.gpr(0)).toBe(PLACE.VMCB);
    expect(world.gpr(4)).toBe(PLACE.HOST_STACK);
    expect(world.cpu.state.eflags).toBe(EFLAGS.ONE | EFLAGS.DF);
  });

  it('switches control registers, tables and segments, but not CR2 back', () => {
    const world = new World((a) => {
      a.mov(eax, 0x7777);
      a.mov(cr2, eax);
      a.vmmcall();
    });
    const { state } = world.cpu;
    state.setSystem(SYSTEM.CR2, 0x1111);
    state.setSystem(SYSTEM.CR3, 0x5000);
    world.write(VMCB_SAVE.CR2, 0x2222);
    world.write(VMCB_SAVE.CR3, 0x6000);
    world.write(VMCB_SAVE.CR0, CR0.PE | CR0.NE);
    world.segment(VMCB_SAVE.DS, 0x33, 0x1_0000, 0xffff, 0x093);
    world.run();
    expect(world.read(VMCB_SAVE.CR2)).toBe(0x7777);
    expect(state.system(SYSTEM.CR2)).toBe(0x7777);
    expect(state.cr3).toBe(0x5000);
    expect(world.read(VMCB_SAVE.CR3)).toBe(0x6000);
    expect(world.read(VMCB_SAVE.CR0)).toBe(CR0.PE | CR0.NE | CR0.ET);
    expect(state.cr0).toBe(CR0.PE | CR0.ET);
    expect(world.read(VMCB_SAVE.DS)).toBe((0x093 << 16) | 0x33);
    expect(world.read(VMCB_SAVE.DS + VMCB_SEGMENT.BASE)).toBe(0x1_0000);
    expect(state.selector(3)).toBe(16);
    expect(state.segmentBase(3)).toBe(0);
    expect(state.segmentLimit(3)).toBe(0xffff_ffff);
    expect(state.system(SYSTEM.GDT_BASE)).toBe(PLACE.GDT);
    expect(state.system(SYSTEM.IDT_BASE)).toBe(PLACE.HOST_IDT);
  });

  it('keeps the host in the page that VM_HSAVE_PA names', () => {
    const world = new World((a) => {
      // The guest has no business there, but nobody keeps it out: without paging all memory is its own.
      a.mov(mem32(PLACE.HSAVE + VMCB_SAVE.RSP), 0x4444);
      a.vmmcall();
    });
    world.run();
    expect(world.word(PLACE.HSAVE + VMCB_SAVE.RIP)).toBe(PLACE.HOST_CODE + 3);
    expect(world.gpr(4)).toBe(0x4444);
  });

  it('shuts down where the host comes back illegal: NW without CD, reserved bits of CR4, PDPTEs', () => {
    for (const [place, value] of [
      [VMCB_SAVE.CR0, CR0.PE | CR0.NW],
      [VMCB_SAVE.CR4, 0x8000_0000],
      [VMCB_SAVE.EFER, 2],
    ] as const) {
      const world = new World((a) => {
        a.mov(mem32(PLACE.HSAVE + place), value);
        a.vmmcall();
      });
      expect(world.cpu.run(world.cpu.now + 1000)).toBe('shutdown');
    }
  });

  it('disables breakpoints in DR7 and leaves the guest DR6 behind', () => {
    const world = new World(callHost);
    world.cpu.state.setSystem(SYSTEM.DR7, 0x402);
    world.write(VMCB_SAVE.DR6, 0xffff_0ff1);
    world.write(VMCB_SAVE.DR7, 0x500);
    world.run();
    expect(world.cpu.state.system(SYSTEM.DR7)).toBe(0x400);
    expect(world.cpu.state.system(SYSTEM.DR6)).toBe(0xffff_0ff1);
    expect(world.read(VMCB_SAVE.DR7)).toBe(0x500);
  });

  it('takes CPL from the VMCB, not from the selectors', () => {
    const world = new World((a) => {
      a.label('here');
      a.hlt();
    }).atUserLevel();
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 13);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + 13, rip: PLACE.GUEST_CODE });
    expect(world.readByte(VMCB_SAVE.CPL)).toBe(3);
    expect(world.cpu.cpl).toBe(0);
    world.writeByte(VMCB_SAVE.CPL, 0);
    world.write(VMCB.INTERCEPT_MISC1, 1 << 24);
    expect(world.again().code).toBe(VMEXIT.HLT);
  });

  it('forces CPL 0 in real mode and 3 in virtual-8086 mode', () => {
    const real = new World(() => {});
    real.load(0x500, (a) => a.vmmcall(), 16);
    real.write(VMCB_SAVE.CR0, CR0.ET);
    real.write(VMCB_SAVE.RIP, 0x100);
    real.writeByte(VMCB_SAVE.CPL, 3);
    for (const place of [VMCB_SAVE.CS, VMCB_SAVE.DS, VMCB_SAVE.ES, VMCB_SAVE.SS])
      real.segment(place, 0x40, 0x400, 0xffff, 0x093);
    expect(real.run()).toMatchObject({ code: VMEXIT.VMMCALL, rip: 0x100 });
    expect(real.readByte(VMCB_SAVE.CPL)).toBe(0);
    expect(real.read(VMCB_SAVE.CS)).toBe((0x093 << 16) | 0x40);
    real.write(VMCB_SAVE.CR0, CR0.ET | CR0.PE);
    real.write(VMCB_SAVE.RFLAGS, 2 | EFLAGS.VM);
    expect(real.again()).toMatchObject({ code: VMEXIT.VMMCALL, rip: 0x100 });
    expect(real.readByte(VMCB_SAVE.CPL)).toBe(3);
    expect(real.read(VMCB_SAVE.RFLAGS)).toBe(2 | EFLAGS.VM);
  });

  it('takes P alone for whether a segment is null, and never for CS', () => {
    const world = new World((a) => {
      a.mov(eax, mem32(PLACE.DATA));
      a.vmmcall();
    });
    world.segment(VMCB_SAVE.CS, SELECTOR.CODE, 0, 0xffff_ffff, ATTRIBUTES.CODE & ~0x90);
    world.segment(VMCB_SAVE.DS, SELECTOR.DATA, 0, 0xffff_ffff, ATTRIBUTES.DATA & ~0x10);
    expect(world.run().code).toBe(VMEXIT.VMMCALL);
    world.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 13);
    world.segment(VMCB_SAVE.DS, SELECTOR.DATA, 0, 0xffff_ffff, ATTRIBUTES.DATA & ~0x80);
    expect(world.again()).toMatchObject({ code: VMEXIT.EXCP + 13, rip: PLACE.GUEST_CODE });
  });

  it('delivers #GP in the guest for a RIP beyond the code segment', () => {
    const world = new World(callHost);
    world.segment(VMCB_SAVE.CS, SELECTOR.CODE, 0, 0xf_ffff, 0x49b);
    world.write(VMCB_SAVE.RIP, 0x10_0000);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, rip: world.handler(13) + 5 });
    expect(world.gpr(3)).toBe(13);
  });

  it('runs in paged real mode: CR0.PG without PE (15.19)', () => {
    const world = new World(() => {});
    // Real-mode code at linear 0x7c00, which the tables map to physical 0x50000.
    world.load(0x5_0c00, (a) => a.vmmcall(), 16);
    world.cpu.physical.write32(0x10_0000, 0x10_1007);
    world.cpu.physical.write32(0x10_1000 + 7 * 4, 0x5_0007);
    world.write(VMCB_SAVE.CR0, CR0.ET | CR0.PG);
    world.write(VMCB_SAVE.CR3, 0x10_0000);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 14);
    world.segment(VMCB_SAVE.CS, 0, 0, 0xffff, 0x093);
    world.write(VMCB_SAVE.RIP, 0x7c00);
    expect(world.run()).toMatchObject({ code: VMEXIT.VMMCALL, rip: 0x7c00 });
    world.write(VMCB_SAVE.RIP, 0x9000);
    // The protected-mode error code, even here (15.12.15).
    expect(world.again()).toMatchObject({ code: VMEXIT.EXCP + 14, info1: 0, info2: 0x9000 });
    world.cpu.physical.write32(0x10_1000 + 9 * 4, 0x5_0003);
    expect(world.read(VMCB_SAVE.CR0) >>> 0).toBe((CR0.ET | CR0.PG) >>> 0);
  });

  it('takes the shorter rAX with an address-size prefix', () => {
    const world = new World(callHost, {
      host: (a) => {
        a.raw(0x67);
        a.vmrun();
        a.hlt();
      },
    });
    world.cpu.physical.u8.copyWithin(0xc000, PLACE.VMCB, PLACE.VMCB + 4096);
    world.cpu.state.setGpr(0, 0x5555_c000);
    world.run();
    expect(world.word(0xc000 + VMCB.EXITCODE)).toBe(VMEXIT.VMMCALL);
  });

  it('reads a VMCB outside RAM as what floats there', () => {
    const world = new World(callHost);
    world.cpu.state.setGpr(0, 0x4000_0000);
    world.run();
    expect(world.cpu.state.eip).toBe(PLACE.HOST_CODE + 4);
    expect(world.cpu.svm.gif).toBe(false);
  });
});

describe('exceptions of SVM instructions', () => {
  const instructions: readonly [string, (a: Assembler) => void][] = [
    ['vmrun', (a) => a.vmrun()],
    ['vmload', (a) => a.vmload()],
    ['vmsave', (a) => a.vmsave()],
    ['stgi', (a) => a.stgi()],
    ['clgi', (a) => a.clgi()],
    ['skinit', (a) => a.raw(0x0f, 0x01, 0xde)],
    ['invlpga', (a) => a.invlpga()],
  ];
  const hostFault = (program: (a: Assembler) => void, prepare: (world: World) => void): number => {
    const world = new World(callHost, { host: program });
    prepare(world);
    world.run();
    return world.gpr(3) - 0x100;
  };

  it.each(instructions)('%s is undefined without EFER.SVME', (_name, emit) => {
    expect(hostFault(emit, (world) => world.cpu.state.setSystem(SYSTEM.EFER, 0))).toBe(6);
  });

  it.each(instructions)('%s needs CPL 0', (_name, emit) => {
    const prepare = (world: World): void => {
      world.cpu.cpl = 3;
      world.cpu.state.setSegment(1, SELECTOR.USER_CODE, 0, 0xffff_ffff, ATTRIBUTES.USER_CODE);
      world.cpu.state.setSegment(2, SELECTOR.USER_DATA, 0, 0xffff_ffff, ATTRIBUTES.USER_DATA);
      world.cpu.updateContext();
    };
    expect(hostFault(emit, prepare)).toBe(13);
  });

  it.each(instructions)('%s is undefined in real mode', (_name, emit) => {
    // The vector table of real mode: every entry leads to the same HLT.
    const prepare = (world: World): void => {
      world.cpu.state.setSystem(SYSTEM.CR0, CR0.ET);
      world.cpu.state.setSystem(SYSTEM.IDT_BASE, 0x7000);
      for (let vector = 0; vector < 32; vector++)
        world.cpu.physical.write32(0x7000 + vector * 4, 0x600 + vector);
      world.cpu.physical.u8.fill(0xf4, 0x600, 0x620);
      world.cpu.updateContext();
    };
    const world = new World(callHost, { host: emit });
    prepare(world);
    world.run();
    expect(world.cpu.state.eip - 1 - 0x600).toBe(6);
  });

  it.each(instructions.slice(0, 3))('%s raises #GP for an address that is no page', (_name, emit) => {
    expect(hostFault(emit, (world) => world.cpu.state.setGpr(0, PLACE.VMCB + 8))).toBe(13);
  });

  it('VMMCALL is undefined in a host, and in a guest whose host did not ask for it', () => {
    expect(
      hostFault(
        (a) => a.vmmcall(),
        () => {},
      ),
    ).toBe(6);
    const world = new World(callHost);
    world.write(VMCB.INTERCEPT_MISC2, 1);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 6);
    expect(world.run()).toMatchObject({ code: VMEXIT.EXCP + 6, rip: PLACE.GUEST_CODE });
  });

  it('SKINIT is undefined', () => {
    expect(
      hostFault(
        (a) => a.raw(0x0f, 0x01, 0xde),
        () => {},
      ),
    ).toBe(6);
  });
});

describe('the MSRs of SVM (APM vol. 2 15.30)', () => {
  const written = (index: number, lo: number, hi = 0): boolean => {
    const { cpu } = new World(callHost);
    try {
      cpu.msrs.write(index, lo, hi);
      return cpu.msrs.read(index) === lo && cpu.msrs.high === hi;
    } catch (error) {
      if (error !== cpu.exception) throw error;
      return false;
    }
  };

  it('VM_HSAVE_PA takes page addresses that the processor has', () => {
    expect(written(MSR.VM_HSAVE_PA, 0x1234_5000)).toBe(true);
    expect(written(MSR.VM_HSAVE_PA, 0x1234_5000, 0xffff)).toBe(true);
    expect(written(MSR.VM_HSAVE_PA, 0x1234_5008)).toBe(false);
    expect(written(MSR.VM_HSAVE_PA, 0, 0x1_0000)).toBe(false);
  });

  it('VM_CR.SVMDIS cannot be set under EFER.SVME, and keeps it from being set', () => {
    const { cpu } = new World(callHost);
    expect(() => cpu.msrs.write(MSR.VM_CR, 0x10, 0)).toThrow(expect.anything());
    cpu.msrs.write(MSR.EFER, 0, 0);
    cpu.msrs.write(MSR.VM_CR, 0x18, 0);
    expect(() => cpu.msrs.write(MSR.EFER, EFER.SVME, 0)).toThrow(expect.anything());
    // LOCK holds.
    cpu.msrs.write(MSR.VM_CR, 1, 0);
    expect(cpu.msrs.read(MSR.VM_CR)).toBe(0x19);
  });
});

it('keeps ESP of a guest that uses it as data', () => {
  const world = new World((a) => {
    a.mov(esp, 0x9999);
    a.vmmcall();
  });
  world.run();
  expect(world.read(VMCB_SAVE.RSP)).toBe(0x9999);
});
