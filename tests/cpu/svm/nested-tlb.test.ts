import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { TLB_CONTROL, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { type Assembler, cr3, eax, ebx, ecx, edi, esi, mem, mem32 } from '../../../src/guest/assembler.ts';
import { A, D, fault, G, NestedWorld, P, PWU, U, W } from './nested-world.ts';

const PAGE = 0xc0_0000;
const OLD = 0xc0_0000;
const NEW = 0xd0_0000;
const OLD_VALUE = 0xaaaa;
const NEW_VALUE = 0xbbbb;

/** Reads PAGE into EBX. */
function reading(a: Assembler): void {
  a.mov(esi, PAGE);
  a.mov(ebx, mem32(esi));
  a.vmmcall();
}

/** A guest in 2-level paging under 2-level nested tables whose PAGE the host moves. */
class Moving extends NestedWorld {
  constructor(guest: (a: Assembler) => void = reading, host?: (a: Assembler) => void, paged = true) {
    super(guest, { ...(host && { host }), ...(paged && { guestShape: 'two-level' as const }) });
    this.cpu.physical.write32(OLD, OLD_VALUE);
    this.cpu.physical.write32(NEW, NEW_VALUE);
  }

  /** PAGE means NEW in the nested tables, which no TLB sees. */
  move(flags = PWU): void {
    this.nested.set(PAGE, NEW | flags);
  }

  value(): number {
    expect(this.fromStart().code).toBe(VMEXIT.VMMCALL);
    return this.gpr(3);
  }
}

describe('nested translations in the TLB (APM vol. 2 15.16, 15.25.5)', () => {
  it('stay from one VMRUN to the next, with the guest’s paging on or off', () => {
    for (const paged of [true, false]) {
      const w = new Moving(reading, undefined, paged);
      expect(w.value()).toBe(OLD_VALUE);
      w.move();
      expect(w.value()).toBe(OLD_VALUE);
    }
  });

  it('stay when nCR3 changes alone: the ASID names them', () => {
    const w = new Moving();
    expect(w.value()).toBe(OLD_VALUE);
    const other = 0x8c_0000;
    w.cpu.physical.u8.copyWithin(other, w.nested.root, w.nested.root + 0x1000);
    const table = 0x8d_0000;
    w.cpu.physical.u8.copyWithin(
      table,
      w.nested.entry(PAGE) & ~0xfff,
      (w.nested.entry(PAGE) & ~0xfff) + 0x1000,
    );
    w.cpu.physical.write32(other + (PAGE >>> 22) * 4, table | PWU);
    w.cpu.physical.write32(table, NEW | PWU);
    w.write(VMCB.N_CR3, other);
    expect(w.value()).toBe(OLD_VALUE);
    w.write(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ASID);
    expect(w.value()).toBe(NEW_VALUE);
  });

  it('go with TLB_CONTROL 1 and 3; 7 keeps what the guest made global', () => {
    for (const control of [
      TLB_CONTROL.FLUSH_ALL,
      TLB_CONTROL.FLUSH_ASID,
      TLB_CONTROL.FLUSH_ASID_NON_GLOBAL,
    ]) {
      const w = new Moving();
      expect(w.value()).toBe(OLD_VALUE);
      w.move();
      w.write(VMCB.TLB_CONTROL, control);
      expect(w.value()).toBe(NEW_VALUE);
    }
    const global = new Moving();
    global.write(VMCB_SAVE.CR4, CR4.PGE);
    global.guestTables.set(PAGE, PAGE | PWU | G);
    expect(global.value()).toBe(OLD_VALUE);
    global.move();
    global.write(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ASID_NON_GLOBAL);
    expect(global.value()).toBe(OLD_VALUE);
    global.write(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ASID);
    expect(global.value()).toBe(NEW_VALUE);
    // The nested entry's G bit makes nothing global.
    const nestedGlobal = new Moving();
    nestedGlobal.write(VMCB_SAVE.CR4, CR4.PGE);
    nestedGlobal.nested.set(PAGE, OLD | PWU | G);
    expect(nestedGlobal.value()).toBe(OLD_VALUE);
    nestedGlobal.move();
    nestedGlobal.write(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ASID_NON_GLOBAL);
    expect(nestedGlobal.value()).toBe(NEW_VALUE);
  });

  it('are other ones under another ASID', () => {
    const w = new Moving();
    expect(w.value()).toBe(OLD_VALUE);
    w.move();
    w.write(VMCB.GUEST_ASID, 2);
    expect(w.value()).toBe(NEW_VALUE);
    w.write(VMCB.GUEST_ASID, 1);
    expect(w.value()).toBe(OLD_VALUE);
  });

  it('go by linear address: the host’s INVLPGA, and not for another ASID', () => {
    const w = new Moving(reading, (a) => {
      a.mov(edi, eax);
      a.mov(eax, PAGE);
      a.mov(ecx, 1);
      a.invlpga();
      a.mov(eax, edi);
      a.vmrun();
      a.hlt();
    });
    expect(w.value()).toBe(OLD_VALUE);
    w.move();
    expect(w.value()).toBe(NEW_VALUE);
    const other = new Moving(reading, (a) => {
      a.mov(edi, eax);
      a.mov(eax, PAGE);
      a.mov(ecx, 2);
      a.invlpga();
      a.mov(eax, edi);
      a.vmrun();
      a.hlt();
    });
    expect(other.value()).toBe(OLD_VALUE);
    other.move();
    expect(other.value()).toBe(OLD_VALUE);
  });

  it('go with the guest’s INVLPG and MOV CR3', () => {
    const invalidating: readonly ((a: Assembler) => void)[] = [
      (a) => a.invlpg(mem(esi)),
      (a) => {
        a.mov(eax, cr3);
        a.mov(cr3, eax);
      },
    ];
    for (const invalidate of invalidating) {
      const w = new Moving((a) => {
        a.mov(esi, PAGE);
        a.mov(ebx, mem32(esi));
        a.vmmcall();
        a.mov(ecx, mem32(esi));
        invalidate(a);
        a.mov(ebx, mem32(esi));
        a.vmmcall();
      });
      expect(w.run().code).toBe(VMEXIT.VMMCALL);
      w.move();
      w.write(VMCB_SAVE.RIP, w.exit.rip + 3);
      expect(w.again().code).toBe(VMEXIT.VMMCALL);
      expect([w.gpr(1), w.gpr(3)]).toEqual([OLD_VALUE, NEW_VALUE]);
    }
  });

  it('a large guest page goes whole with one INVLPG, whatever pages the nested tables have', () => {
    const w = new Moving((a) => {
      a.mov(esi, PAGE);
      a.mov(ebx, mem32(esi));
      a.vmmcall();
      // Another part of the same 4-MByte page.
      a.invlpg(mem(esi, 0x5000));
      a.mov(ebx, mem32(esi));
      a.vmmcall();
    });
    w.write(VMCB_SAVE.CR4, CR4.PSE);
    w.guestTables.setDirectory(PAGE, PAGE | PWU | 0x80);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    w.move();
    w.write(VMCB_SAVE.RIP, w.exit.rip + 3);
    w.again();
    expect(w.gpr(3)).toBe(NEW_VALUE);
  });
});

describe('what an entry may not answer', () => {
  /** Reads PAGE, then writes it, then reads it in a loop often enough for the interpreter's own copies. */
  function readingThenWriting(a: Assembler): void {
    a.mov(esi, PAGE);
    a.mov(ecx, 50);
    a.label('again');
    a.mov(ebx, mem32(esi));
    a.dec(ecx);
    a.jnz('again');
    a.vmmcall();
    a.mov(mem32(esi), ecx);
    a.vmmcall();
  }

  it('a write to a page read before sets the nested dirty bit, though the guest’s is set', () => {
    const w = new Moving(readingThenWriting);
    w.guestTables.set(PAGE, PAGE | PWU | A | D);
    w.run();
    expect(w.nested.used(PAGE)).toBe(A);
    w.write(VMCB_SAVE.RIP, w.exit.rip + 3);
    w.again();
    expect(w.nested.used(PAGE)).toBe(A | D);
  });

  it('a write to a page that the nested tables map read-only faults after any number of reads', () => {
    for (const paged of [true, false]) {
      const w = new Moving(readingThenWriting, undefined, paged);
      w.guestTables.set(PAGE, PAGE | PWU | A | D);
      // The nested dirty bit is set as well, as a page has it whose write access was taken away.
      w.nested.set(PAGE, OLD | P | U | A | D);
      expect(w.run().code).toBe(VMEXIT.VMMCALL);
      w.write(VMCB_SAVE.RIP, w.exit.rip + 3);
      expect(w.again()).toMatchObject(fault('final', P | U | W, PAGE));
      // A right that was given needs no flush.
      w.nested.set(PAGE, OLD | PWU);
      expect(w.again().code).toBe(VMEXIT.VMMCALL);
      expect(w.word(OLD)).toBe(0);
    }
  });

  it('the interpreter’s copies do not outlive a change between nested paging and none', () => {
    // Paging off both times: linear 0xc00000 is OLD without nested paging, NEW with it.
    const w = new Moving(reading, undefined, false);
    w.move();
    expect(w.value()).toBe(NEW_VALUE);
    w.write(VMCB.NESTED_CTL, 0);
    expect(w.value()).toBe(OLD_VALUE);
    w.write(VMCB.NESTED_CTL, 1);
    expect(w.value()).toBe(NEW_VALUE);
  });

  it('the host’s own translations are never a guest’s', () => {
    const w = new Moving(
      reading,
      (a) => {
        a.mov(esi, PAGE);
        a.mov(edi, mem32(esi));
        a.vmrun();
        a.mov(ecx, mem32(esi));
        a.hlt();
      },
      false,
    );
    w.move();
    expect(w.value()).toBe(NEW_VALUE);
    expect([w.gpr(7), w.word(OLD)]).toEqual([OLD_VALUE, OLD_VALUE]);
    expect(w.gpr(1)).toBe(OLD_VALUE);
  });

  it('code is found again by its physical page when the nested tables move it', () => {
    const w = new Moving(
      (a) => {
        a.mov(esi, PAGE);
        a.jmp(esi);
      },
      undefined,
      false,
    );
    for (const [page, value] of [
      [OLD, 1],
      [NEW, 2],
    ] as const)
      w.load(page, (a) => {
        a.mov(ebx, value);
        a.vmmcall();
      });
    expect(w.value()).toBe(1);
    w.move();
    expect(w.value()).toBe(1);
    w.write(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ASID);
    expect(w.value()).toBe(2);
  });

  it('each VMRUN takes the format of the host’s registers anew', () => {
    const w = new NestedWorld(reading, { hostShape: 'pae', hostEfer: EFER.NXE });
    const value = (): number => {
      w.write(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ALL);
      w.fromStart();
      return w.exit.code;
    };
    w.nested.set(PAGE, PAGE | PWU, 0x8000_0000);
    expect(value()).toBe(VMEXIT.VMMCALL);
    const { cr3: root, cr4 } = w.cpu.state;
    w.setHost(root, cr4, 0);
    expect(value()).toBe(VMEXIT.NPF);
    expect(w.exit.info1).toBe(P | U | 8);
    w.setHost(root, cr4, EFER.NXE, CR0.PE | CR0.ET | CR0.PG);
    expect(value()).toBe(VMEXIT.VMMCALL);
  });
});
