/** What the manuals demand of the bare processor and of L0 alike. */
import { describe, expect, it } from 'vitest';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { MSR, VM_CR } from '../../../src/arch/msrs.ts';
import { CR4, DR6, DR7, DR7_FIXED_ONE, EFLAGS } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import {
  INTERCEPT1,
  INTERCEPT2,
  V_INTR,
  V_INTR_PRIORITY_SHIFT,
  VMCB,
  VMCB_SAVE,
} from '../../../src/arch/vmcb.ts';
import type { Assembler } from '../../../src/guest/assembler.ts';
import { address, cr4, dr7, eax, ecx, edi, edx, esi, esp, mem32 } from '../../../src/guest/operands.ts';
import {
  BLOCK,
  build,
  CAUGHT,
  end,
  fillBlock,
  GUEST_MODEL,
  IDT,
  type Image,
  LOG,
  log,
  STACK,
  seenByBoth,
  turnSvmOn,
} from './both.ts';

type Fields = readonly (readonly [field: number, value: number])[];

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
    const seen = seenByBoth(built).log;
    expect([seen[CAUGHT.VECTOR], seen[CAUGHT.TOP], seen[CAUGHT.SECOND]]).toEqual([
      VECTOR.SX,
      1,
      built.labels.get('behind'),
    ]);
  });
});

/** L1 from `behind` on, with the VMCB in EAX, and its guest from `l2`. */
function nested(l1: (a: Assembler) => void, l2: (a: Assembler) => void, fields: Fields = []) {
  return build(
    (a) => {
      turnSvmOn(a);
      l1(a);
      a.label('l2');
      l2(a);
    },
    (image, labels) => fillBlock(image, labels, fields),
  );
}

describe('L1', () => {
  it('single-steps over VMRUN: its trap follows #VMEXIT (APM vol. 2 15.5.1)', () => {
    const built = nested(
      (a) => {
        a.pushfd();
        a.emit('Or', mem32(esp), EFLAGS.TF);
        a.popfd();
        a.vmrun();
        a.label('behind');
        end(a);
      },
      (a) => a.vmmcall(),
    );
    const seen = seenByBoth(built).log;
    const behind = built.labels.get('behind');
    expect([seen[CAUGHT.VECTOR], seen[CAUGHT.TOP], seen[CAUGHT.DR6] & DR6.BS]).toEqual([
      VECTOR.DB,
      behind,
      DR6.BS,
    ]);
  });

  it('addresses a VMCB with AX where the address size is 16 bits (APM vol. 3 VMSAVE)', () => {
    const built = nested(
      (a) => {
        a.mov(eax, 0x1_0000 + BLOCK);
        a.raw(0x67);
        a.vmsave();
        for (const [n, block] of [BLOCK, BLOCK + 0x1_0000].entries()) {
          a.mov(eax, mem32(block + VMCB_SAVE.TR));
          log(a, n, eax);
        }
        end(a);
      },
      () => {},
    );
    const [own, above] = seenByBoth(built).log;
    expect([own !== 0, above]).toEqual([true, 0]);
  });

  it('finds a failed VMRUN to be a #VMEXIT: no breakpoints, nothing to inject (APM vol. 2 15.6)', () => {
    const fields = [VMCB.EXITCODE, VMCB.EXITINTINFO, VMCB.EVENTINJ, VMCB.NRIP];
    const built = nested((a) => {
      a.mov(ecx, DR7_FIXED_ONE | DR7.G0);
      a.mov(dr7, ecx);
      a.vmrun();
      a.mov(ecx, dr7);
      log(a, 0, ecx);
      for (const [n, field] of fields.entries()) {
        a.mov(ecx, mem32(BLOCK + field));
        log(a, 1 + n, ecx);
      }
      end(a);
    }, () => {}, [...fields.map((field) => [field, 0x8000_0030] as const), [VMCB.GUEST_ASID, 0]]);
    const { log: words } = seenByBoth(built);
    expect(words.slice(0, 5)).toEqual([DR7_FIXED_ONE, VMEXIT.INVALID >>> 0, 0, 0, 0]);
  });
});

/** The handler of #DB logs what the frame has for EIP and EFLAGS, and ends. */
function debugHandler(a: Assembler): void {
  a.label('debug');
  a.mov(ecx, mem32(esp));
  log(a, 0, ecx);
  a.mov(ecx, mem32(esp, 8));
  log(a, 1, ecx);
  end(a, 3);
}
const useDebugHandler = (image: Image, labels: ReadonlyMap<string, number>): void =>
  setGate(image, VECTOR.DB, labels.get('debug') as number);

describe('#DB of DR7.GD', () => {
  const detect = (a: Assembler): void => {
    a.mov(ecx, DR7_FIXED_ONE | DR7.GD);
    a.mov(dr7, ecx);
    a.label('access');
    a.mov(ecx, dr7);
  };

  it('is a fault that pushes RF = 1 (SDM vol. 3B 17.3.1.1)', () => {
    const built = build((a) => {
      detect(a);
      debugHandler(a);
    }, useDebugHandler);
    const [eip, flags] = seenByBoth(built).log;
    expect([eip, flags & EFLAGS.RF]).toEqual([built.labels.get('access'), EFLAGS.RF]);
  });

  it('does so in L2', () => {
    const built = build(
      (a) => {
        turnSvmOn(a);
        a.vmrun();
        end(a, 1);
        a.label('l2');
        detect(a);
        debugHandler(a);
      },
      (image, labels) => {
        fillBlock(image, labels);
        useDebugHandler(image, labels);
      },
    );
    const [eip, flags] = seenByBoth(built).log;
    expect([eip, flags & EFLAGS.RF]).toEqual([built.labels.get('access'), EFLAGS.RF]);
  });
});

describe('A single step through REP STOSD pushes RF = 1 but behind the last iteration (SDM vol. 3B 17.3.1.1)', () => {
  const APIC_TPR = 0xfee0_0080;
  // L0 must carry out what reaches the APIC, and leaves RAM to the processor.
  it.each([
    ['RAM', BLOCK],
    ['a device', APIC_TPR],
  ])('to %s', (_name, destination) => {
    const built = build(
      (a) => {
        a.xor(edx, edx);
        a.mov(ecx, 3);
        a.mov(edi, destination);
        a.pushfd();
        a.emit('Or', mem32(esp), EFLAGS.TF);
        a.popfd();
        a.raw(0xf3);
        a.stosd();
        a.label('trapped');
        a.mov(esi, mem32(esp, 8));
        a.emit('And', esi, EFLAGS.RF);
        a.mov(mem32(edx, LOG), esi);
        a.add(edx, 4);
        a.cmp(edx, 12);
        a.jnz('on');
        end(a);
        a.label('on');
        a.iretd();
      },
      (image, labels) => setGate(image, VECTOR.DB, labels.get('trapped') as number),
    );
    const seen = seenByBoth(built);
    expect([seen.end, ...seen.log.slice(0, 3)]).toEqual(['exit 0', EFLAGS.RF, EFLAGS.RF, 0]);
  });
});

/** An NMI from the local APIC to itself, the processor with APIC ID 0. */
const ICR = 0xfee0_0300;
const sendNmi = (a: Assembler): void => a.mov(mem32(ICR), 0x4400);
const setGate = (image: Image, vector: number, handler: number): void =>
  image.put(IDT + 8 * vector, (0x08 << 16) | handler);

describe('NMIs', () => {
  it('reach the processor', () => {
    const built = build((a) => {
      sendNmi(a);
      a.label('behind');
      a.nop();
      end(a);
    });
    const seen = seenByBoth(built).log;
    expect([seen[CAUGHT.VECTOR], seen[CAUGHT.TOP]]).toEqual([VECTOR.NMI, built.labels.get('behind')]);
  });

  it('stay blocked if the delivery of one faults (SDM vol. 3A 6.7.1)', () => {
    const PRESENT = 0x8e00;
    const APIC_ISR = 0xfee0_0140;
    const built = build(
      (a) => {
        // #NP is pushed where L0 must carry that out.
        a.mov(esp, APIC_ISR);
        sendNmi(a);
        end(a, 1);
        a.label('absent');
        a.mov(esp, STACK);
        a.mov(mem32(IDT + 8 * VECTOR.NMI + 4), PRESENT);
        sendNmi(a);
        a.nop();
        a.mov(mem32(LOG), 1);
        a.pushfd();
        a.push(0x08);
        a.push(address('behind'));
        a.iretd();
        a.label('behind');
        a.nop();
        end(a, 2);
        a.label('nmi');
        a.mov(eax, mem32(LOG));
        log(a, 1, eax);
        end(a);
      },
      (image, labels) => {
        setGate(image, VECTOR.NP, labels.get('absent') as number);
        setGate(image, VECTOR.NMI, labels.get('nmi') as number);
        image.put(IDT + 8 * VECTOR.NMI + 4, PRESENT & ~0x8000);
      },
    );
    const seen = seenByBoth(built);
    expect([seen.end, seen.log[1]]).toEqual(['exit 0', 1]);
  });
});

describe('L2', () => {
  it('leaves HLT for a virtual interrupt that was pending before (APM vol. 2 15.21.4)', () => {
    const built = nested(
      (a) => {
        a.vmrun();
        end(a, 1);
      },
      (a) => {
        a.sti();
        a.hlt();
        a.label('behind');
        end(a, 2);
      },
      [
        [VMCB.V_INTR, V_INTR.IRQ | V_INTR.INTR_MASKING | (8 << V_INTR_PRIORITY_SHIFT) | 7],
        [VMCB.V_INTR_VECTOR, 0x33],
      ],
    );
    const seen = seenByBoth(built).log;
    expect([seen[CAUGHT.VECTOR], seen[CAUGHT.TOP]]).toEqual([0x33, built.labels.get('behind')]);
  });

  it("writes L1's TSC, and reads it with TSC_OFFSET (APM vol. 2 appendix B)", () => {
    const built = nested(
      (a) => {
        a.vmrun();
        a.rdtsc();
        log(a, 1, edx);
        end(a);
      },
      (a) => {
        a.mov(ecx, MSR.TSC);
        a.mov(edx, 0x500);
        a.xor(eax, eax);
        a.wrmsr();
        a.rdtsc();
        log(a, 0, edx);
        a.vmmcall();
      },
      [[VMCB.TSC_OFFSET + 4, 0x1_0000]],
    );
    expect(seenByBoth(built).log.slice(0, 2)).toEqual([0x1_0500, 0x500]);
  });

  it('enters the handler of what L1 injects before an interrupt ends it (APM vol. 2 15.20)', () => {
    const fields = [VMCB.EXITCODE, VMCB.EXITINTINFO, VMCB_SAVE.RIP, VMCB_SAVE.RSP];
    const built = nested(
      (a) => {
        a.mov(mem32(0xfee0_00f0), 0x1ff);
        // IF is clear: the interrupt to itself waits for L2, where L1's IF counts.
        a.mov(mem32(ICR), 0x4_0033);
        a.sti();
        a.vmrun();
        a.cli();
        for (const [n, field] of fields.entries()) {
          a.mov(ecx, mem32(BLOCK + field));
          log(a, n, ecx);
        }
        end(a);
      },
      (a) => a.vmmcall(),
      [
        [VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR],
        [VMCB.V_INTR, V_INTR.INTR_MASKING],
        [VMCB.EVENTINJ, 0x8000_0035],
      ],
    );
    const { log: words } = seenByBoth(built);
    expect(words.slice(0, 4)).toEqual([VMEXIT.INTR, 0, built.labels.get('stub53'), STACK - 0x1000 - 12]);
  });

  it.each([
    ['in an interrupt shadow', 1, 0, 'second'],
    ['behind an event that L1 injects', 0, 0x8000_0035, 'stub53'],
  ])('takes an NMI %s with IF = 0 (SDM vol. 3A 6.7.1)', (_name, shadow, event, interrupted) => {
    const built = nested(
      (a) => {
        a.clgi();
        sendNmi(a);
        a.vmrun();
        end(a, 1);
      },
      (a) => {
        a.nop();
        a.label('second');
        a.nop();
        end(a, 2);
      },
      [
        [VMCB.INTERRUPT_STATE, shadow],
        [VMCB.EVENTINJ, event],
      ],
    );
    const seen = seenByBoth(built).log;
    expect([seen[CAUGHT.VECTOR], seen[CAUGHT.TOP]]).toEqual([VECTOR.NMI, built.labels.get(interrupted)]);
  });

  it("raises #GP for bits that its CPU lacks and the host's has, before L1's intercept (APM vol. 2 15.9)", () => {
    const features = new Set(GUEST_MODEL.features);
    features.delete('smep');
    const built = nested(
      (a) => {
        a.vmrun();
        end(a, 1);
      },
      (a) => {
        a.mov(ecx, CR4.SMEP);
        a.label('write');
        a.mov(cr4, ecx);
        end(a, 2);
      },
      [[VMCB.INTERCEPT_CR, 1 << (16 + 4)]],
    );
    const seen = seenByBoth(built, { ...GUEST_MODEL, features }).log;
    expect([seen[CAUGHT.VECTOR], seen[CAUGHT.SECOND]]).toEqual([VECTOR.GP, built.labels.get('write')]);
  });

  it('tells of no event in EXITINTINFO that has reached its handler (APM vol. 2 15.7.2)', () => {
    // INT n pushes EIP to the local APIC's ICR: an interrupt to itself, which L1 intercepts.
    const VECTOR_OF_INT = 0x31;
    const RETURN = 0x4_0033;
    const { image, labels } = nested((a) => {
      a.mov(mem32(0xfee0_00f0), 0x1ff);
      a.sti();
      a.vmrun();
      a.cli();
      for (const [n, field] of [VMCB.EXITCODE, VMCB.EXITINTINFO, VMCB_SAVE.RIP].entries()) {
        a.mov(ecx, mem32(BLOCK + field));
        log(a, n, ecx);
      }
      end(a);
    }, () => {}, [
      [VMCB.INTERCEPT_MISC1, INTERCEPT1.INTR],
      [VMCB.V_INTR, V_INTR.INTR_MASKING],
      [VMCB_SAVE.RIP, RETURN - 2],
      [VMCB_SAVE.RSP, ICR + 12],
    ]);
    image.set([0xcd, VECTOR_OF_INT], RETURN - 2);
    const { log: words } = seenByBoth({ image });
    expect(words.slice(0, 3)).toEqual([VMEXIT.INTR, 0, labels.get(`stub${VECTOR_OF_INT}`)]);
  });
});

describe('MWAIT (SDM vol. 2B)', () => {
  const MONITOR = [0x0f, 0x01, 0xc8];
  const MWAIT = [0x0f, 0x01, 0xc9];
  const clear = (a: Assembler): void => {
    for (const register of [eax, ecx, edx]) a.xor(register, register);
  };

  it('does not wait where nothing is watched, or the line was stored to', () => {
    const built = build((a) => {
      clear(a);
      a.raw(...MWAIT);
      a.mov(eax, LOG + 8);
      a.raw(...MONITOR);
      a.mov(mem32(LOG), 5);
      a.raw(...MWAIT);
      end(a);
    });
    expect(seenByBoth(built).end).toBe('exit 0');
  });

  it.each([
    ['waits', LOG + 0x80, VMEXIT.MWAIT_CONDITIONAL],
    ['would not wait', LOG, VMEXIT.VMMCALL],
  ])('of L2 meets the conditional intercept where it %s (APM vol. 2 15.9)', (_name, watched, code) => {
    const built = nested(
      (a) => {
        a.vmrun();
        a.mov(eax, mem32(BLOCK + VMCB.EXITCODE));
        log(a, 0, eax);
        end(a);
      },
      (a) => {
        clear(a);
        a.mov(eax, watched);
        a.raw(...MONITOR);
        a.mov(mem32(LOG), 5);
        a.raw(...MWAIT);
        a.vmmcall();
      },
      [[VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL | INTERCEPT2.MWAIT_ARMED]],
    );
    expect(seenByBoth(built).log[0]).toBe(code);
  });
});

describe('a repeated string instruction of L2 that ends in an intercepted #GP', () => {
  const LIMIT = 0xfff;
  const REP_OUTSB = [0xf3, 0x6e];
  const REP_LODSB = [0xf3, 0xac];
  const REPE_SCASB = [0xf3, 0xae];

  it.each([
    ['OUTS', REP_OUTSB],
    ['LODS', REP_LODSB],
    ['SCAS', REPE_SCASB],
  ] as const)(
    'at an element of REP %s is saved with RF if elements before it are done (APM vol. 2 3.1.6)',
    (_name, code) => {
      for (const elements of [0, 1, 5]) {
        const first = LIMIT + 1 - elements;
        const built = nested(
          (a) => {
            a.vmrun();
            for (const [n, field] of [VMCB.EXITCODE, VMCB_SAVE.RFLAGS].entries()) {
              a.mov(eax, mem32(BLOCK + field));
              log(a, n, eax);
            }
            log(a, 2, ecx);
            end(a);
          },
          (a) => {
            a.mov(edx, 0x1234);
            a.mov(ecx, 1000);
            a.mov(esi, first);
            a.mov(edi, first);
            a.xor(eax, eax);
            a.raw(...code);
          },
          [
            [VMCB.INTERCEPT_EXCEPTION, 1 << VECTOR.GP],
            [VMCB_SAVE.DS + 4, LIMIT],
            [VMCB_SAVE.ES + 4, LIMIT],
          ],
        );
        const [exit, flags, left] = seenByBoth(built).log as readonly number[];
        expect([elements, exit, left, flags & EFLAGS.RF]).toEqual([
          elements,
          VMEXIT.EXCP + VECTOR.GP,
          1000 - elements,
          elements === 0 ? 0 : EFLAGS.RF,
        ]);
      }
    },
  );
});
