import { expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { INTERCEPT1, VMCB } from '../../../src/arch/vmcb.ts';
import { bareCpu, CODE } from '../bare.ts';
import { World } from '../svm/world.ts';
import { catchExceptions, caught } from '../system/traps.ts';

/** push 0 (EFLAGS); push 100h (beyond the GDT: #GP); push 0 (EIP); iretd */
const FAULTING_IRET = [0x6a, 0, 0x68, 0, 1, 0, 0, 0x6a, 0, 0xcf];
const IRETD = CODE + FAULTING_IRET.length - 1;

it('IRET opens NMIs even if it faults (SDM vol. 3A 6.7.1)', () => {
  const cpu = bareCpu((a) => a.raw(...FAULTING_IRET));
  catchExceptions(cpu);
  cpu.nmiBlocked = true;
  cpu.nmiPending = true;
  cpu.run(cpu.now + 100);
  // The NMI came before the first instruction of the handler of #GP: its frame lies on that one's.
  const top = cpu.state.gpr(4);
  expect(caught(cpu)).toMatchObject({ vector: VECTOR.NMI });
  expect([cpu.physical.read32(top + 12), cpu.physical.read32(top + 16)]).toEqual([0x100, IRETD]);
});

it('an intercepted IRET was not executed and opens nothing (APM vol. 2 15.9)', () => {
  const world = new World((a) => a.iretd());
  world.write(VMCB.INTERCEPT_MISC1, INTERCEPT1.IRET);
  world.cpu.nmiBlocked = true;
  world.run();
  expect(world.cpu.nmiBlocked).toBe(true);
});
