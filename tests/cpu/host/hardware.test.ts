import { describe, expect, it } from 'vitest';
import { type Gva, type Hpa, hpa } from '../../../src/arch/address.ts';
import { parseCpuModel } from '../../../src/arch/cpu-model-text.ts';
import { cpuid } from '../../../src/arch/cpuid.ts';
import { MSR } from '../../../src/arch/msrs.ts';
import { CR0, CR4, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { INTERCEPT1, V_INTR, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { Emulator } from '../../../src/cpu/emulator/emulator.ts';
import { CpuHardware, HostFault } from '../../../src/cpu/host/hardware.ts';
import { type Assembler, al, ecx } from '../../../src/guest/assembler.ts';
import type { Hardware } from '../../../src/l0/hardware.ts';
import { Clock } from '../../../src/machine/clock.ts';
import { PLACE, testEnvironment, World } from '../svm/world.ts';

const VMCB_ADDRESS = hpa(PLACE.VMCB);

/** A guest on hardware that TypeScript drives. Interrupts of the host are open and intercepted. */
function driven(guest: (a: Assembler) => void) {
  const environment = testEnvironment((port) => {
    if (port === 0) environment.interrupts.pending = true;
  });
  const world = new World(guest, { environment });
  const { cpu } = world;
  const clock = new Clock(() => cpu.instructionNow);
  const hardware: Hardware = new CpuHardware(cpu, clock, new Emulator(cpu));
  cpu.state.eflags = 2 | EFLAGS.IF;
  world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR | INTERCEPT1.HLT);
  world.write(VMCB.V_INTR, V_INTR.INTR_MASKING);
  return { world, cpu, clock, hardware, pin: environment.interrupts };
}
const spinning = (a: Assembler): void => {
  a.label('spin');
  a.inc(ecx);
  a.jmp('spin');
};
const calling = (a: Assembler): void => a.vmmcall();

describe('VMRUN from TypeScript', () => {
  it('returns after #VMEXIT with the host state back and GIF clear', () => {
    const { world, cpu, hardware } = driven((a) => {
      a.mov(ecx, 0x77);
      a.vmmcall();
    });
    cpu.state.eip = 0xdead_0000;
    hardware.gpr[0] = 0x5555;
    hardware.gpr[2 * 6] = 0x66;
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit.code).toBe(VMEXIT.VMMCALL);
    expect(hardware.gpr[2]).toBe(0x77);
    expect(hardware.gpr[2 * 6]).toBe(0x66);
    expect(hardware.gpr[0]).toBe(0x5555);
    expect(cpu.state.eip).toBe(0xdead_0000);
    expect(cpu.svm.gif).toBe(false);
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit.rip).toBe(PLACE.GUEST_CODE + 5);
  });

  it('returns at once from a VMCB that is illegal', () => {
    const { world, hardware } = driven(calling);
    world.write(VMCB.GUEST_ASID, 0);
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit.code).toBe(0xffff_ffff);
  });

  it('a deadline is #VMEXIT(INTR), on the tick', () => {
    const { world, cpu, clock, hardware } = driven(spinning);
    let fired = 0;
    clock.arm(
      clock.timer(() => fired++),
      cpu.now + 1000,
    );
    const start = cpu.now;
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit.code).toBe(VMEXIT.INTR);
    expect(cpu.now - start).toBe(1000);
    expect(hardware.gpr[2]).toBe(500);
    expect(fired).toBe(0);
    hardware.stgi();
    expect(fired).toBe(1);
    expect(cpu.svm.gif).toBe(true);
  });

  it('a deadline that is due ends the guest before its first instruction, but behind an injected event', () => {
    const { world, cpu, clock, hardware } = driven(spinning);
    clock.arm(
      clock.timer(() => {}),
      cpu.now,
    );
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit).toMatchObject({ code: VMEXIT.INTR, rip: PLACE.GUEST_CODE });
    world.write(VMCB.EVENTINJ, 0x8000_0033);
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit).toMatchObject({ code: VMEXIT.INTR, rip: world.handler(0x33), event: 0 });
  });

  it('a deadline ends a guest that halts without its intercept, when its time has come', () => {
    const { world, cpu, clock, hardware } = driven((a) => a.hlt());
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR);
    clock.arm(
      clock.timer(() => {}),
      cpu.now + 5000,
    );
    const start = cpu.now;
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit).toMatchObject({ code: VMEXIT.INTR, rip: PLACE.GUEST_CODE + 1 });
    expect(cpu.now - start).toBe(5000);
  });

  it('a halt that nothing can end is a fault of the host', () => {
    const { world, hardware } = driven((a) => a.hlt());
    world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR);
    expect(() => hardware.vmrun(VMCB_ADDRESS)).toThrow(HostFault);
  });

  it('without V_INTR_MASKING the deadline waits for the guest’s IF', () => {
    const { world, cpu, clock, hardware } = driven((a) => {
      for (let n = 0; n < 20; n++) a.inc(ecx);
      a.sti();
      a.label('open');
      a.nop();
      a.jmp('open');
    });
    world.write(VMCB.V_INTR, 0);
    hardware.gpr[2] = 0;
    clock.arm(
      clock.timer(() => {}),
      cpu.now + 5,
    );
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit).toMatchObject({ code: VMEXIT.INTR, rip: world.labels.get('open') });
    expect(hardware.gpr[2]).toBe(20);
  });

  it('an interrupt on the pin ends the guest, and STGI acknowledges it', () => {
    const { world, hardware, pin } = driven((a) => {
      a.out(0, al);
      spinning(a);
    });
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit).toMatchObject({ code: VMEXIT.INTR, rip: PLACE.GUEST_CODE + 2 });
    expect(pin.acknowledged).toBe(0);
    hardware.stgi();
    expect(pin.acknowledged).toBe(1);
  });

  it('refuses an address that is no page, and reports a shutdown', () => {
    const { world, hardware } = driven((a) => a.raw(0x0f, 0x0b));
    expect(() => hardware.vmrun(0x123 as Hpa)).toThrow('VMRUN with rAX = 0x123 raised #GP');
    expect(() => hardware.vmload((2 ** 48) as Hpa)).toThrow(HostFault);
    world.segment(VMCB_SAVE.IDTR, 0, PLACE.IDT, 0, 0);
    expect(() => hardware.vmrun(VMCB_ADDRESS)).toThrow('shut the processor down');
  });

  it('code of a guest runs under another guest’s host as well as before', () => {
    // The flag is down after the run: a VMRUN in code returns to code.
    const { world, cpu, hardware } = driven(calling);
    hardware.vmrun(VMCB_ADDRESS);
    expect(cpu.svm.hostReturns).toBe(false);
    world.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    expect(world.again().code).toBe(VMEXIT.VMMCALL);
  });
});

describe('registers and instructions of the host', () => {
  it('control and debug registers, with their checks', () => {
    const { cpu, hardware } = driven(calling);
    hardware.writeCr(4, CR4.PGE);
    expect(hardware.readCr(4)).toBe(CR4.PGE);
    hardware.writeCr(2, 0x1234);
    expect(hardware.readCr(2)).toBe(0x1234);
    hardware.writeCr(3, 0x5000);
    expect(cpu.state.cr3).toBe(0x5000);
    expect(hardware.readCr(0)).toBe(CR0.PE | CR0.ET);
    expect(() => hardware.writeCr(0, CR0.PG)).toThrow(HostFault);
    expect(() => hardware.writeCr(4, 0x8000_0000)).toThrow('MOV CR4, 0x80000000 raised exception 13');
    for (const n of [0, 1, 2, 3] as const) hardware.writeDr(n, 0x1000 + n);
    expect([0, 1, 2, 3].map((n) => hardware.readDr(n as 0))).toEqual([0x1000, 0x1001, 0x1002, 0x1003]);
    hardware.writeDr(7, 0);
    expect(hardware.readDr(7)).toBe(0x400);
    hardware.writeDr(6, 0);
    expect(hardware.readDr(6)).toBe(0xffff_0ff0);
  });

  it('MSRs', () => {
    const { hardware } = driven(calling);
    hardware.wrmsr(MSR.SYSENTER_EIP, 0x1111, 0x2222);
    expect(hardware.rdmsr(MSR.SYSENTER_EIP)).toEqual({ lo: 0x1111, hi: 0x2222 });
    expect(() => hardware.rdmsr(0x1234)).toThrow('RDMSR 0x1234 raised exception 13');
    expect(() => hardware.wrmsr(MSR.VM_HSAVE_PA, 1, 0)).toThrow(HostFault);
  });

  it('CPUID is that of the model', () => {
    const { cpu, hardware } = driven(calling);
    expect(hardware.cpuid(0x8000_000a, 0)).toEqual(cpuid(cpu.model, 0x8000_000a, 0));
    expect(hardware.cpuid(0x8000_000a, 0).ebx).toBe(parseCpuModel('current-amd').asidCount);
  });

  it('time: halts jump to the next deadline, RDTSC counts', () => {
    const { cpu, clock, hardware } = driven(calling);
    expect(hardware.hlt()).toBe(false);
    let fired = 0;
    clock.arm(
      clock.timer(() => fired++),
      cpu.now + 0x1_0000_0005,
    );
    const { lo } = hardware.rdtsc();
    expect(hardware.hlt()).toBe(true);
    expect(fired).toBe(1);
    expect(hardware.rdtsc()).toEqual({ lo: lo + 5, hi: 1 });
  });

  it('memory is the processor’s, and says when code changes', () => {
    const { world, hardware } = driven(calling);
    expect(hardware.memory.size).toBe(16 << 20);
    hardware.vmrun(VMCB_ADDRESS);
    hardware.memory.u8.set([0x0f, 0x0b], PLACE.GUEST_CODE);
    hardware.memory.written(hpa(PLACE.GUEST_CODE), 2);
    world.write(VMCB.INTERCEPT_EXCEPTION, 1 << 6);
    hardware.vmrun(VMCB_ADDRESS);
    expect(world.exit.code).toBe(VMEXIT.EXCP + 6);
    expect(hardware.memory.u32[PLACE.VMCB / 4 + VMCB.EXITCODE / 4]).toBe(VMEXIT.EXCP + 6);
  });

  it('INVLPGA, VMLOAD, VMSAVE and CLGI', () => {
    const { world, cpu, hardware } = driven(calling);
    world.segment(VMCB_SAVE.FS, 0x33, 0x12_3000, 0xffff, 0x493);
    hardware.vmload(VMCB_ADDRESS);
    expect(cpu.state.segmentBase(4)).toBe(0x12_3000);
    hardware.vmsave(hpa(0x6_0000));
    expect(hardware.memory.u32[(0x6_0000 + VMCB_SAVE.FS + 8) / 4]).toBe(0x12_3000);
    hardware.clgi();
    expect(cpu.svm.gif).toBe(false);
    hardware.invlpga(0x1000 as Gva, 99_999);
  });
});
