/** What hostile guests found; each test is named after its bug. */
import { describe, expect, it } from 'vitest';
import { gpa, type Hpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { Cpu } from '../../src/cpu/cpu.ts';
import { HOST_MEMORY } from '../../src/guest/agent-layout.ts';
import { Assembler, dx, eax, ebx, ecx, edi, edx, esp, mem8, mem32 } from '../../src/guest/assembler.ts';
import { setInitialState } from '../../src/l0/vcpu-registers.ts';
import { applyInitialState } from '../../src/machine/initial-registers.ts';
import { protectedState, realState } from '../../src/machine/loaders/initial-state.ts';
import { Machine } from '../../src/machine/machine.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';
import { bareCpu } from '../cpu/bare.ts';
import { hostedWith } from './hosted.ts';

describe('decoded code', () => {
  it('is not taken for code at the same IP of another real-mode segment', () => {
    const cpu = new Cpu({ model: parseCpuModel('486'), ramBytes: 1 << 20 });
    // 1000:0000 INC AX; JMP 2000:0000. 2000:0000 INC BX; JMP 1000:0000.
    cpu.physical.load(0x1_0000 as Hpa, Uint8Array.of(0x40, 0xea, 0, 0, 0, 0x20));
    cpu.physical.load(0x2_0000 as Hpa, Uint8Array.of(0x43, 0xea, 0, 0, 0, 0x10));
    applyInitialState(cpu, realState(0x1000, 0, {}));
    cpu.run(cpu.now + 40);
    expect([cpu.state.gpr(0), cpu.state.gpr(3)]).toEqual([10, 10]);
  });
});

describe('a repeated string instruction', () => {
  it('outside RAM ends after a few elements, so that it cannot keep the processor for minutes', () => {
    const cpu = bareCpu((a) => {
      a.mov(ecx, 0xffff_ffff);
      a.mov(edi, 0x8000_0000);
      a.rep();
      a.stosd();
    });
    cpu.run(cpu.now + 102);
    const stored = 0xffff_ffff - cpu.state.gpr(1);
    expect(stored).toBeGreaterThanOrEqual(100);
    expect(stored).toBeLessThanOrEqual(1600);
    expect(cpu.state.gpr(7)).toBe((0x8000_0000 + stored * 4) >>> 0);
  });
});

describe('a single-step trap', () => {
  /** Steps over `count` NOPs at 2000h; the #DB handler sets byte 4000h + n for each that it sees n bytes behind 2000h. */
  function stepping(count: number): Uint8Array {
    const code = new Assembler(0x1000);
    code.lidt(mem32(0x800));
    code.lgdt(mem32(0x808));
    code.push(0x102);
    code.popfd();
    code.push(0x2000);
    code.ret();
    const handler = new Assembler(0x3000);
    handler.mov(ebx, mem32(esp));
    handler.mov(mem8(ebx, 0x2000), 1);
    handler.iretd();
    const memory = new Uint8Array(0x10_0000);
    const view = new DataView(memory.buffer);
    // IDT at 900h, limit of two gates: vector 1 is an interrupt gate to 8:3000h. GDT at A00h: flat code and data.
    view.setUint16(0x800, 15, true);
    view.setUint32(0x802, 0x900, true);
    view.setUint32(0x908, 0x0008_3000, true);
    view.setUint32(0x90c, 0x0000_8e00, true);
    view.setUint16(0x808, 23, true);
    view.setUint32(0x80a, 0xa00, true);
    view.setUint32(0xa08, 0x0000_ffff, true);
    view.setUint32(0xa0c, 0x00cf_9b00, true);
    memory.set(code.finish().bytes, 0x1000);
    memory.fill(0x90, 0x2000, 0x2000 + count);
    // JMP to itself.
    memory.set([0xeb, 0xfe], 0x2000 + count);
    memory.set(handler.finish().bytes, 0x3000);
    return memory;
  }

  it('is not lost when an interrupt of the host ends the guest behind the instruction', () => {
    const memory = stepping(60);
    const machine = hostedWith(memory, { start: 0x1000 });
    const { clock } = machine;
    const timer = clock.timer(() => clock.arm(timer, clock.now + 3));
    clock.arm(timer, clock.now + 3);
    machine.run(2000);
    expect([...machine.read(gpa(0x4001), 60)]).toEqual(Array.from({ length: 60 }, () => 1));
  });
});

describe('REP INS', () => {
  it('from an ISA port counts the same instructions wherever a run is cut', () => {
    const LENGTH = 9000;
    const run = (piece: number): readonly number[] => {
      const machine = new Machine({ model: parseCpuModel('pentium'), memoryBytes: 1 << 20 });
      // MOV DX, 80h; MOV CX, 6; REP INSB; then INC BX and JMP to it, for ever.
      const code = [0xba, 0x80, 0, 0xb9, 6, 0, 0xf3, 0x6c, 0x43, 0xeb, 0xfd];
      machine.cpu.physical.load(0x1000 as Hpa, Uint8Array.from(code));
      applyInitialState(machine.cpu, realState(0, 0x1000, {}));
      for (let left = LENGTH; left > 0; left -= piece) machine.run(Math.min(piece, left));
      return [machine.cpu.retired, machine.cpu.now, machine.cpu.state.gpr(1), machine.cpu.state.gpr(3)];
    };
    // Two instructions and six elements, of a microsecond each; half of the others are INC.
    const expected = [LENGTH, LENGTH + 6000, 0, (LENGTH - 8) / 2];
    for (const piece of [1, 7, 2500, LENGTH]) expect([piece, run(piece)]).toEqual([piece, expected]);
  });
});

describe('the port that takes memory away', () => {
  it('does not let a guest break its memory into so many slots that every access takes long', () => {
    const code = new Assembler(0x1000);
    // Every second page goes, and some of them come back.
    code.mov(edx, HOST_MEMORY.PORT);
    code.mov(ebx, 0x8000);
    code.label('next');
    for (const action of [HOST_MEMORY.REMOVE, HOST_MEMORY.RETURN, HOST_MEMORY.REMOVE]) {
      code.lea(eax, mem32(ebx, action));
      code.out(dx, eax);
    }
    code.add(ebx, 0x2000);
    code.jmp('next');
    const machine = new HostedMachine({ model: parseCpuModel('current-amd'), memoryBytes: 16 << 20 });
    machine.write(gpa(0x1000), code.finish().bytes);
    setInitialState(machine.vcpu, protectedState(0x1000, {}, 8, 16, hpa(0)));
    expect(machine.run(40_000).kind).toBe('limit');
    const slots = [...machine.vm.slots].length;
    expect(slots).toBeGreaterThan(100);
    expect(slots).toBeLessThanOrEqual(512);
    expect(machine.vcpu.state.gpr[3 * 2]).toBeGreaterThan(0x8000 + 1024 * 0x2000);
  });
});
