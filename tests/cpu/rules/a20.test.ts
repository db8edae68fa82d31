import { describe, expect, it } from 'vitest';
import { MSR, VM_CR } from '../../../src/arch/msrs.ts';
import { CR0, CR4 } from '../../../src/arch/registers.ts';
import { VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import type { Cpu } from '../../../src/cpu/cpu.ts';
import { SYSTEM } from '../../../src/cpu/layout.ts';
import { bareCpu, runToHalt } from '../bare.ts';
import { PLACE, World } from '../svm/world.ts';
import { catchExceptions, caught } from '../system/traps.ts';

/** What a closed gate makes of 11_0000h; at that place itself nothing is present. */
const [TABLE, ABOVE] = [0x1_0000, 0x11_0000];
const PRESENT = 1;

/** Identity map of the first 2 MiB by one large page, whose directory is at 11_1000h and found at 1_1000h. */
function fillTables(cpu: Cpu): void {
  cpu.physical.write32(TABLE, (ABOVE + 0x1000) | PRESENT);
  cpu.physical.write32(TABLE + 0x1000, 0x83);
}

/** mov eax,cr4; or al,20h; mov cr4,eax; mov eax,11_0000h; mov cr3,eax; mov eax,cr0; or eax,80000000h; mov cr0,eax */
// biome-ignore format: instructions
const ENABLE_PAE = [
  0x0f, 0x20, 0xe0, 0x0c, 0x20, 0x0f, 0x22, 0xe0, 0xb8, 0, 0, 0x11, 0, 0x0f, 0x22, 0xd8,
  0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0, 0xf4,
];

describe('a closed A20 gate', () => {
  function enabled(set: (cpu: Cpu) => void): Cpu {
    const cpu = bareCpu((a) => a.raw(...ENABLE_PAE));
    catchExceptions(cpu);
    fillTables(cpu);
    cpu.paging.a20 = false;
    set(cpu);
    runToHalt(cpu);
    return cpu;
  }

  it('is between the processor and its PDPTEs, and the other tables', () => {
    const cpu = enabled(() => {});
    expect(caught(cpu)).toBeUndefined();
    expect(cpu.state.u32[SYSTEM.PDPTES >> 2]).toBe((ABOVE + 0x1000) | PRESENT);
    // The accessed bit went where the entry came from.
    expect(cpu.physical.read32(TABLE + 0x1000)).toBe(0xa3);
    expect(cpu.physical.read32(ABOVE + 0x1000)).toBe(0);
  });

  it('means nothing under VM_CR.DIS_A20M (APM vol. 2 15.30.1)', () => {
    const cpu = bareCpu((a) => a.raw(...ENABLE_PAE));
    catchExceptions(cpu);
    fillTables(cpu);
    cpu.paging.a20 = false;
    cpu.msrs.write(MSR.VM_CR, VM_CR.DIS_A20M, 0);
    cpu.run(cpu.now + 1000);
    // No PDPTE is present at 11_0000h itself, so that even the handler of #PF is out of reach.
    expect([cpu.shutdown, cpu.state.u32[SYSTEM.PDPTES >> 2]]).toEqual([true, 0]);
  });

  it('is there for the PDPTEs that VMRUN loads', () => {
    const world = new World((a) => a.vmmcall());
    fillTables(world.cpu);
    world.cpu.paging.a20 = false;
    world.write(VMCB_SAVE.CR3, ABOVE);
    world.write(VMCB_SAVE.CR4, CR4.PAE);
    world.write(VMCB_SAVE.CR0, CR0.PE | CR0.ET | CR0.PG);
    expect(world.run()).toMatchObject({ code: 0x81, rip: PLACE.GUEST_CODE });
  });
});
