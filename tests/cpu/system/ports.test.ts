import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { EFLAGS } from '../../../src/arch/registers.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import type { Environment } from '../../../src/cpu/environment.ts';
import { bareCpu, CODE, identityPaging, runToHalt } from '../bare.ts';
import { catchExceptions, caught, enterUser, enterV86, setTaskLimit, TSS } from './traps.ts';

/** Ports that write down what happens; reading gives the count of reads in every byte. */
class Ports {
  readonly log: string[] = [];
  interrupt = false;
  #reads = 0;

  readonly environment: Environment;

  constructor() {
    const isPending = (): boolean => this.interrupt;
    this.environment = {
      interrupts: {
        get pending(): boolean {
          return isPending();
        },
        acknowledge: () => 0x20,
      },
      ports: {
        read: (port, size) => {
          this.log.push(`in ${port.toString(16)}/${size}`);
          return (++this.#reads * 0x0101_0101) % 2 ** (size * 8);
        },
        write: (port, size, value) => {
          this.log.push(`out ${port.toString(16)}/${size} ${value.toString(16)}`);
        },
      },
    };
  }
}

function machine(...code: number[]): { cpu: Cpu; ports: Ports } {
  const ports = new Ports();
  const cpu = bareCpu((a) => a.raw(...code, 0xf4), { environment: ports.environment, model: 'opteron' });
  catchExceptions(cpu);
  cpu.state.setGpr(2, 0);
  return { cpu, ports };
}

describe('IN and OUT', () => {
  it('move bytes, words and doublewords, by DX or an immediate', () => {
    // in al,60h; in ax,dx; in eax,dx; out 61h,al; out dx,ax; out 62h,eax
    const { cpu, ports } = machine(0xe4, 0x60, 0x66, 0xed, 0xed, 0xe6, 0x61, 0x66, 0xef, 0xe7, 0x62);
    cpu.state.setGpr(0, 0xaabb_ccdd);
    cpu.state.setGpr(2, 0xffff_03f8);
    runToHalt(cpu);
    expect(ports.log).toEqual([
      'in 60/1',
      'in 3f8/2',
      'in 3f8/4',
      'out 61/1 3',
      'out 3f8/2 303',
      'out 62/4 3030303',
    ]);
  });

  it('leave the rest of EAX alone', () => {
    const { cpu } = machine(0xec);
    cpu.state.setGpr(0, 0xaabb_ccdd);
    runToHalt(cpu);
    expect(cpu.state.gpr(0)).toBe(0xaabb_cc01);
  });
});

/** Marks a port as allowed in an I/O bitmap that forbids all else. */
function allow(cpu: Cpu, ...allowed: number[]): void {
  for (let byte = 0; byte < 0x80; byte++) cpu.physical.write8(TSS + 0x68 + byte, 0xff);
  for (const port of allowed) {
    const place = TSS + 0x68 + (port >> 3);
    cpu.physical.write8(place, cpu.physical.read8(place) & ~(1 << (port & 7)));
  }
}

const OUT_AL = 0xee;
const OUT_EAX = 0xef;

describe('the I/O permission bitmap (SDM vol. 1 18.5.2)', () => {
  const attempt = (opcode: number, port: number, allowed: number[], limit = 0x68 + 0x7f): string => {
    const { cpu, ports } = machine(opcode);
    allow(cpu, ...allowed);
    setTaskLimit(cpu, limit);
    cpu.state.setGpr(2, port);
    enterUser(cpu);
    runToHalt(cpu);
    const fault = caught(cpu);
    return fault?.vector === VECTOR.GP &&
      fault.eip === CODE &&
      fault.errorCode === 0 &&
      ports.log.length === 0
      ? '#GP(0)'
      : ports.log.join();
  };

  it('decides for each byte of the access', () => {
    expect(attempt(OUT_AL, 0x45, [0x45])).toBe('out 45/1 0');
    expect(attempt(OUT_AL, 0x46, [0x45])).toBe('#GP(0)');
    expect(attempt(OUT_EAX, 0x46, [0x46, 0x47, 0x48, 0x49])).toBe('out 46/4 0');
    expect(attempt(OUT_EAX, 0x46, [0x46, 0x47, 0x48])).toBe('#GP(0)');
  });

  it('ends with the TSS, and two of its bytes are always read', () => {
    expect(attempt(OUT_AL, 0x45, [0x45], 0x68 + 8 + 1)).toBe('out 45/1 0');
    expect(attempt(OUT_AL, 0x45, [0x45], 0x68 + 8)).toBe('#GP(0)');
    expect(attempt(OUT_AL, 0x45, [0x45], 0x65)).toBe('#GP(0)');
  });

  it('is not asked at CPL <= IOPL, but always in virtual-8086 mode', () => {
    const open = machine(OUT_AL);
    open.cpu.state.systemFlags |= EFLAGS.IOPL;
    enterUser(open.cpu);
    open.cpu.run(1);
    expect(open.ports.log).toEqual(['out 0/1 0']);

    const { cpu, ports } = machine(OUT_AL);
    enterV86(cpu, 3);
    runToHalt(cpu);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.GP, eip: CODE });
    expect(ports.log).toEqual([]);
  });
});

describe('INS and OUTS', () => {
  it('move strings in the direction of DF', () => {
    const { cpu, ports } = machine(0xf3, 0x6c, 0xfd, 0x66, 0xf3, 0x6f); // rep insb; std; rep outsw with ecx = 0
    cpu.state.setGpr(1, 3);
    cpu.state.setGpr(2, 0x1f0);
    cpu.state.setGpr(7, 0x5000);
    runToHalt(cpu);
    expect(ports.log).toEqual(['in 1f0/1', 'in 1f0/1', 'in 1f0/1']);
    expect(cpu.physical.read32(0x5000)).toBe(0x0003_0201);
    expect([cpu.state.gpr(1), cpu.state.gpr(7)]).toEqual([0, 0x5003]);
  });

  it('write from the last element down with DF', () => {
    const { cpu, ports } = machine(0xfd, 0x66, 0xf3, 0x6f); // std; rep outsw
    cpu.physical.write32(0x5000, 0x4433_2211);
    cpu.state.setGpr(1, 2);
    cpu.state.setGpr(6, 0x5002);
    runToHalt(cpu);
    expect(ports.log).toEqual(['out 0/2 4433', 'out 0/2 2211']);
    expect([cpu.state.gpr(1), cpu.state.gpr(6)]).toEqual([0, 0x4ffe]);
  });

  it('do not touch the port when the destination faults', () => {
    const { cpu, ports } = machine(0xf3, 0x6d); // rep insd
    identityPaging(cpu);
    cpu.physical.write32(0x11000 + 6 * 4, 0);
    cpu.state.setGpr(1, 5);
    cpu.state.setGpr(7, 0x5ffa);
    runToHalt(cpu);
    expect(caught(cpu)).toMatchObject({ vector: VECTOR.PF, errorCode: 2, eip: CODE });
    expect(ports.log).toEqual(['in 0/4']);
    expect([cpu.state.gpr(1), cpu.state.gpr(7)]).toEqual([4, 0x5ffe]);
  });

  it('let an interrupt in between two elements', () => {
    const { cpu, ports } = machine(0xf3, 0x6e); // rep outsb
    cpu.state.setGpr(1, 4);
    cpu.state.setGpr(6, 0x5000);
    cpu.state.systemFlags |= EFLAGS.IF;
    const { write } = ports.environment.ports;
    ports.environment.ports.write = (port, size, value) => {
      write(port, size, value);
      ports.interrupt = ports.log.length === 2;
    };
    cpu.run(2);
    // The handler's vector has no gate, so that delivery faults: EIP in the frame is that of OUTS.
    expect(ports.log.length).toBe(2);
    runToHalt(cpu);
    expect([cpu.state.gpr(1), cpu.state.gpr(6)]).toEqual([2, 0x5002]);
    expect(caught(cpu)?.eip).toBe(CODE);
  });
});
