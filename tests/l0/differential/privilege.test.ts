/** What the manuals demand of the bare processor and of L0 alike. */
import { describe, expect, it } from 'vitest';
import { MSR, VM_CR } from '../../../src/arch/msrs.ts';
import { eax, ecx, edx } from '../../../src/guest/operands.ts';
import { build, CAUGHT, end, seenByBoth } from './both.ts';

describe('INIT under VM_CR.R_INIT', () => {
  it('is #SX with error code 1 (APM vol. 2 8.2.22, 15.30.1)', () => {
    const built = build((a) => {
      a.mov(ecx, MSR.VM_CR);
      a.mov(eax, VM_CR.R_INIT);
      a.xor(edx, edx);
      a.wrmsr();
      a.mov(eax, 1);
      a.emit('Out', 0x92, eax);
      a.label('behind');
      a.nop();
      end(a);
    });
    const { log } = seenByBoth(built);
    expect([log[CAUGHT.VECTOR], log[CAUGHT.TOP], log[CAUGHT.SECOND]]).toEqual([
      30,
      1,
      built.labels.get('behind'),
    ]);
  });
});
