/** A machine of L0 that was stopped with its guest in the processor: it can be looked at, changed and spoken to. */
import { describe, expect, it } from 'vitest';
import { type Gfn, gpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { CR0, GPR } from '../../src/arch/registers.ts';
import { VMEXIT } from '../../src/arch/svm-exits.ts';
import { VMCB_SAVE } from '../../src/arch/vmcb.ts';
import { Assembler, cr0, cr3, eax, ecx, mem32 } from '../../src/guest/assembler.ts';
import { setInitialState } from '../../src/l0/vcpu-registers.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';

const MODEL = parseCpuModel('current-amd');
const MEMORY = 0x10_0000;
const CODE = 0x1000;
const HANDLER = 0x2000;
const IDT = 0x3000;
const DIRECTORY = 0x4000;
const TABLE = 0x5000;
const DATA = 0x8000;
/** Mapped by the last entry of the table. */
const LINEAR = 0x3f_f000;

function machineWith(program: (a: Assembler) => void): HostedMachine {
  const machine = new HostedMachine({ model: MODEL, memoryBytes: MEMORY, check: true });
  const a = new Assembler(CODE);
  program(a);
  machine.write(gpa(CODE), a.finish().bytes);
  setInitialState(machine.vcpu, protectedState(CODE, { ESP: 0x7000 }, 8, 16, hpa(0)));
  return machine;
}

const exits = (machine: HostedMachine, code: number): number => machine.statistics.exitCounts[code];

function writeWords(machine: HostedMachine, address: number, ...words: readonly number[]): void {
  machine.write(gpa(address), new Uint8Array(Uint32Array.from(words).buffer));
}

describe('a stopped machine', () => {
  const counting = (a: Assembler): void => {
    a.mov(ecx, 0);
    a.label('again');
    a.inc(ecx);
    a.jmp('again');
  };

  it('shows the registers of the instruction it stands at, and costs the guest no exit', () => {
    const machine = machineWith(counting);
    // Time enough for L0 to map the guest's first pages.
    machine.run(100);
    const first = machine.vcpu.state.register(GPR.ECX);
    const before = { ticks: machine.clock.now, entries: machine.statistics.entries };
    for (let n = 0; n < 50; n++) machine.run(2);
    expect(machine.vcpu.state.register(GPR.ECX)).toBe(first + 50);
    expect(machine.clock.now).toBe(before.ticks + 100);
    expect(machine.statistics.entries).toBe(before.entries);
    expect(exits(machine, VMEXIT.INTR)).toBe(0);
    const rip = machine.vcpu.state.rip;
    machine.run(1);
    expect([rip, machine.vcpu.state.rip].sort()).toEqual([CODE + 5, CODE + 6]);
  });

  it('shows what VMRUN does not switch as well', () => {
    const machine = machineWith((a) => {
      a.lgdt(mem32(0x100));
      a.mov(eax, 8);
      a.raw(0x8e, 0xe0); // MOV FS, AX
      a.label('end');
      a.jmp('end');
    });
    writeWords(machine, 0x100, 0x0110_000f, 0);
    writeWords(machine, 0x118, 0x5678_ffff, 0x12cf_9334);
    machine.run(200);
    expect(machine.vcpu.state.vmcb.base(VMCB_SAVE.FS)).toBe(0x1234_5678);
  });

  it('starts anew from another state', () => {
    const machine = machineWith(counting);
    machine.run(100);
    setInitialState(machine.vcpu, protectedState(CODE + 5, { ECX: 7000 }, 8, 16, hpa(0)));
    machine.run(20);
    expect(machine.vcpu.state.register(GPR.ECX)).toBeGreaterThan(7000);
    expect(machine.vcpu.state.register(GPR.ECX)).toBeLessThan(7020);
  });

  it('lets an interrupt that comes meanwhile in before the next instruction', () => {
    const machine = machineWith((a) => {
      a.lidt(mem32(IDT + 0x800));
      a.lgdt(mem32(IDT + 0x808));
      a.sti();
      counting(a);
    });
    const handler = new Assembler(HANDLER);
    handler.mov(mem32(DATA), ecx);
    handler.label('end');
    handler.jmp('end');
    machine.write(gpa(HANDLER), handler.finish().bytes);
    // IRQ 4 is vector 24h.
    writeWords(machine, IDT + 0x24 * 8, 0x0008_0000 | HANDLER, 0x8e00);
    writeWords(machine, IDT + 0x800, (IDT << 16) | 0x7ff, 0, (0x3900 << 16) | 23, 0);
    writeWords(machine, IDT + 0x908, 0x0000_ffff, 0x00cf_9b00, 0x0000_ffff, 0x00cf_9300);
    const { io, uart } = machine.devices;
    // The master 8259 with vectors from 20h, IRQ 4 alone; COM1 interrupts when it receives.
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 0x20],
      [0x21, 4],
      [0x21, 3],
      [0x21, 0xef],
      [0x3f9, 1],
      [0x3fc, 0x0b],
    ] as const)
      io.write(port, 1, value);
    machine.run(1000);
    const count = machine.vcpu.state.register(GPR.ECX);
    expect(machine.read(gpa(DATA), 4)).toEqual(new Uint8Array(4));
    uart.receive(Uint8Array.of(0x41));
    machine.run(100);
    const seen = new DataView(machine.read(gpa(DATA), 4).buffer).getUint32(0, true);
    expect(seen - count).toBeLessThanOrEqual(1);
    expect(seen).toBeGreaterThanOrEqual(count);
  });

  it('goes by the tables that its owner writes meanwhile', () => {
    const machine = machineWith((a) => {
      a.mov(eax, DIRECTORY);
      a.mov(cr3, eax);
      a.mov(eax, CR0.PE | CR0.PG);
      a.mov(cr0, eax);
      a.label('again');
      a.mov(ecx, mem32(LINEAR));
      a.jmp('again');
    });
    writeWords(machine, DIRECTORY, TABLE | 3);
    writeWords(machine, TABLE, ...Array.from({ length: 10 }, (_, page) => (page << 12) | 3));
    writeWords(machine, TABLE + 4 * (LINEAR >> 12), DATA | 3);
    writeWords(machine, DATA, 0x1111, ...Array.from({ length: 1023 }, () => 0), 0x2222);
    machine.run(400);
    expect(machine.vcpu.state.register(GPR.ECX)).toBe(0x1111);
    writeWords(machine, TABLE + 4 * (LINEAR >> 12), (DATA + 0x1000) | 3);
    machine.run(20);
    expect(machine.vcpu.state.register(GPR.ECX)).toBe(0x2222);
  });

  it('is taken out of the guest by a change of its memory slots', () => {
    const machine = machineWith(counting);
    machine.run(100);
    machine.vm.removeMemory(machine.vm.slots.find(0 as Gfn)!);
    const count = machine.vcpu.state.register(GPR.ECX);
    // INC and JMP would count 50: what is fetched behind no memory is neither.
    machine.run(100);
    expect(machine.vcpu.state.register(GPR.ECX)).toBe(count);
  });
});

describe('a halted guest', () => {
  const halting = (open: boolean) => (a: Assembler) => {
    if (open) a.sti();
    a.hlt();
  };

  it('is dead with interrupts off, whatever timers run', () => {
    const machine = machineWith(halting(false));
    machine.clock.arm(
      machine.clock.timer(() => {}),
      machine.clock.now + 100,
    );
    expect(machine.run(1000)).toEqual({ kind: 'dead' });
  });

  it('is not cut short by the end of a run', () => {
    const machine = machineWith(halting(true));
    const timer = machine.clock.timer(() => {});
    const due = machine.clock.now + 50_000;
    machine.clock.arm(timer, due);
    expect(machine.run(1000)).toEqual({ kind: 'limit' });
    expect(machine.clock.now).toBe(due);
  });
});
