import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { type Assembler, cr0, cr3, cr4, eax, ebx, ecx, esi, mem32 } from '../../../src/guest/assembler.ts';
import { A, D, fault, NestedWorld, NX_HI, P, PS, PWU, type Shape, U, W } from './nested-world.ts';
import { PLACE } from './world.ts';

/** In a page table of its own. */
const PAGE = 0xc0_0000;
const OTHER = 0xd0_0000;
const OTHER_VALUE = 0xbbbb_cccc;

/** Reads PAGE + 678h into EBX. */
function reading(a: Assembler): void {
  a.mov(esi, PAGE + 0x678);
  a.label('access');
  a.mov(ebx, mem32(esi));
  a.label('behind');
  a.vmmcall();
}
/** Writes it. */
function writing(a: Assembler): void {
  a.mov(esi, PAGE + 0x678);
  a.mov(ecx, OTHER_VALUE | 0);
  a.label('access');
  a.mov(mem32(esi), ecx);
  a.vmmcall();
}
/** Jumps there; a VMMCALL is what it finds. */
function jumping(a: Assembler): void {
  a.mov(esi, PAGE + 0x678);
  a.label('access');
  a.jmp(esi);
}
const VMMCALL_BYTES = [0x0f, 0x01, 0xd9];

const SHAPES: readonly Shape[] = ['two-level', 'pae'];
const GUESTS: readonly (Shape | undefined)[] = [undefined, 'two-level', 'pae'];
const CASES = SHAPES.flatMap((hostShape) => GUESTS.map((guestShape) => ({ hostShape, guestShape })));

describe.each(CASES)('host $hostShape, guest $guestShape', ({ hostShape, guestShape }) => {
  const shapes = { hostShape, ...(guestShape && { guestShape }) };
  const world = (guest: (a: Assembler) => void): NestedWorld => new NestedWorld(guest, shapes);

  it('takes guest-physical addresses through the nested tables', () => {
    const w = world(reading);
    w.nested.set(PAGE, OTHER | PWU);
    w.cpu.physical.write32(OTHER + 0x678, OTHER_VALUE);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    expect(w.gpr(3)).toBe(OTHER_VALUE);
    // The host's own memory was never changed by it: its tables map PAGE to PAGE.
    expect(w.cpu.paging.translate(PAGE, 0)).toBe(PAGE);
  });

  it('reports the final address, by bit 32 (15.25.6)', () => {
    const absent = world(reading);
    absent.nested.set(PAGE, 0);
    expect(absent.run()).toMatchObject({
      ...fault('final', U, PAGE + 0x678),
      rip: absent.labels.get('access'),
    });
    const written = world(writing);
    written.nested.set(PAGE, 0);
    expect(written.run()).toMatchObject(fault('final', U | W, PAGE + 0x678));
    const readOnly = world(writing);
    readOnly.nested.set(PAGE, PAGE | P | U);
    expect(readOnly.run()).toMatchObject(fault('final', P | U | W, PAGE + 0x678));
    expect(readOnly.word(PAGE + 0x678)).toBe(0);
    const supervisor = world(reading);
    supervisor.nested.set(PAGE, PAGE | P | W);
    expect(supervisor.run()).toMatchObject(fault('final', P | U, PAGE + 0x678));
  });

  it('goes on when the host has mended its tables', () => {
    const w = world(writing);
    w.nested.set(PAGE, 0);
    w.run();
    w.nested.set(PAGE, OTHER | PWU);
    expect(w.again().code).toBe(VMEXIT.VMMCALL);
    expect(w.word(OTHER + 0x678)).toBe(OTHER_VALUE);
  });

  it('fetches code through them, and reports no instruction bytes for it', () => {
    const w = world(jumping);
    w.cpu.physical.u8.set(VMMCALL_BYTES, OTHER + 0x678);
    w.nested.set(PAGE, 0);
    // Neither NX nor SMEP is on in the host: no fetch bit.
    expect(w.run()).toMatchObject({ ...fault('final', U, PAGE + 0x678), rip: PAGE + 0x678 });
    expect(w.readByte(VMCB.INSTRUCTION_COUNT)).toBe(0);
    w.nested.set(PAGE, OTHER | PWU);
    expect(w.again()).toMatchObject({ code: VMEXIT.VMMCALL, rip: PAGE + 0x678 });
  });

  it('reports the fetch where the host has SMEP, which forbids nothing (15.25.5, 15.25.6)', () => {
    const w = new NestedWorld(jumping, { ...shapes, hostCr4: 0 });
    w.cpu.physical.u8.set(VMMCALL_BYTES, PAGE + 0x678);
    // The host's own pages are user pages: it must not run code under its SMEP, so the host here is this test.
    w.cpu.svm.hostReturns = true;
    const { state } = w.cpu;
    const enter = (): void => {
      w.cpu.svm.vmrun(PLACE.VMCB, state.eip);
      w.cpu.run(w.cpu.now + 1000);
    };
    w.setHost(state.cr3, state.cr4 | CR4.SMEP, 0);
    enter();
    expect(w.exit.code).toBe(VMEXIT.VMMCALL);
    w.nested.set(PAGE, 0);
    w.write(VMCB_SAVE.RIP, PLACE.GUEST_CODE);
    w.write(VMCB.TLB_CONTROL, 1);
    enter();
    expect(w.exit).toMatchObject(fault('final', U | 0x10, PAGE + 0x678));
  });

  it('sets accessed bits, and dirty for a write', () => {
    const read = world(reading);
    read.run();
    expect(read.nested.used(PAGE)).toBe(A);
    const written = world(writing);
    written.run();
    expect(written.nested.used(PAGE)).toBe(A | D);
    expect(written.nested.used(OTHER)).toBe(0);
  });

  it('ignores hCR0.WP: every nested access is a user access (15.25.5)', () => {
    const w = world(writing);
    w.nested.set(PAGE, PAGE | P | U);
    const { cr3, cr4 } = w.cpu.state;
    w.setHost(cr3, cr4, 0, CR0.PE | CR0.ET | CR0.PG);
    expect(w.run()).toMatchObject(fault('final', P | U | W, PAGE + 0x678));
  });

  it('reports instruction bytes of a data access (15.8.4)', () => {
    const w = world(reading);
    w.nested.set(PAGE, 0);
    w.run();
    expect(w.readByte(VMCB.INSTRUCTION_COUNT)).toBe(15);
    // MOV EBX, [ESI]; VMMCALL
    const bytes = Array.from({ length: 5 }, (_, n) => w.readByte(VMCB.INSTRUCTION_BYTES + n));
    expect(bytes).toEqual([0x8b, 0x1e, ...VMMCALL_BYTES]);
  });
});

describe.each(CASES.filter(({ guestShape }) => guestShape !== undefined))(
  'guest tables: host $hostShape, guest $guestShape',
  ({ hostShape, guestShape }) => {
    const world = (guest: (a: Assembler) => void): NestedWorld =>
      new NestedWorld(guest, { hostShape, ...(guestShape && { guestShape }) });

    it('reads them with user writes, whatever the access is (15.25.5)', () => {
      const w = world(reading);
      const table = w.guestTables.entry(PAGE);
      w.nested.set(table, 0);
      expect(w.run()).toMatchObject(fault('table', U | W, table));
      w.nested.set(table, (table & ~0xfff) | P | U);
      expect(w.again()).toMatchObject(fault('table', P | U | W, table));
      w.nested.set(table, (table & ~0xfff) | PWU);
      expect(w.again().code).toBe(VMEXIT.VMMCALL);
      // The table's page is dirty in the nested tables, though the guest only read.
      expect(w.nested.used(table)).toBe(A | D);
      expect(w.nested.used(PAGE)).toBe(A);
      expect(w.guestTables.used(PAGE)).toBe(A);
    });

    it('finds them where the nested tables say', () => {
      const w = world(reading);
      const table = w.guestTables.entry(PAGE) & ~0xfff;
      const copy = 0x50_0000;
      w.cpu.physical.u8.copyWithin(copy, table, table + 4096);
      w.nested.set(table, copy | PWU);
      // Only in the copy does PAGE lead elsewhere.
      w.cpu.physical.write32(copy + (w.guestTables.entry(PAGE) & 0xfff), OTHER | PWU);
      w.cpu.physical.write32(OTHER + 0x678, OTHER_VALUE);
      expect(w.run().code).toBe(VMEXIT.VMMCALL);
      expect(w.gpr(3)).toBe(OTHER_VALUE);
      // Its accessed bit is set there as well.
      expect(w.word(copy + (w.guestTables.entry(PAGE) & 0xfff))).toBe(OTHER | PWU | A);
    });

    it('reports faults as the walk meets them: the directory, the guest’s own, the final page', () => {
      const w = world(writing);
      w.set(VMCB.INTERCEPT_EXCEPTION, 1 << 14);
      const entry = w.guestTables.entry(PAGE);
      // The first access of all is the fetch of the code.
      const directoryEntry = w.guestTables.directoryEntry(PLACE.GUEST_CODE);
      const pageOf = (address: number): number => address & ~0xfff;
      // Everything is wrong at once; what is mended is no longer in the way.
      w.nested.set(PAGE, 0);
      w.guestTables.set(PAGE, PAGE | P);
      w.nested.set(entry, 0);
      w.nested.set(directoryEntry, 0);
      expect(w.run()).toMatchObject(fault('table', U | W, directoryEntry));
      w.nested.set(directoryEntry, pageOf(directoryEntry) | PWU);
      expect(w.again()).toMatchObject(fault('table', U | W, entry));
      w.nested.set(entry, pageOf(entry) | PWU);
      expect(w.again()).toMatchObject({ code: VMEXIT.EXCP + 14, info1: P | W, info2: PAGE + 0x678 });
      w.guestTables.set(PAGE, PAGE | PWU);
      expect(w.again()).toMatchObject(fault('final', U | W, PAGE + 0x678));
    });

    it('leaves CR2 and the guest’s handlers alone in a nested fault', () => {
      const w = world(reading);
      w.write(VMCB_SAVE.CR2, 0x1234);
      w.set(VMCB.INTERCEPT_EXCEPTION, 1 << 14);
      w.nested.set(PAGE, 0);
      expect(w.run().code).toBe(VMEXIT.NPF);
      expect(w.read(VMCB_SAVE.CR2)).toBe(0x1234);
      expect(w.read(VMCB_SAVE.RSP)).toBe(PLACE.GUEST_STACK);
    });
  },
);

describe('formats of nested tables (APM vol. 2 15.25.3)', () => {
  it('takes NX from the host’s EFER at VMRUN, not from the guest’s', () => {
    const w = new NestedWorld(jumping, { hostShape: 'pae', hostEfer: EFER.NXE, guestShape: 'pae' });
    w.nested.set(PAGE, PAGE | PWU, NX_HI);
    expect(w.run()).toMatchObject(fault('final', P | U | 0x10, PAGE + 0x678));
    const data = new NestedWorld(reading, { hostShape: 'pae', hostEfer: EFER.NXE, guestShape: 'pae' });
    data.nested.set(PAGE, PAGE | PWU, NX_HI);
    expect(data.run().code).toBe(VMEXIT.VMMCALL);
    // Without NXE in the host bit 63 is reserved, whatever the guest's EFER says.
    const reserved = new NestedWorld(reading, {
      hostShape: 'pae',
      guestShape: 'pae',
      guestEfer: EFER.NXE,
    });
    reserved.nested.set(PAGE, PAGE | PWU, NX_HI);
    expect(reserved.run()).toMatchObject(fault('final', P | U | 0x8, PAGE + 0x678));
  });

  it('keeps a page that was read from being executed, whatever the guest’s EFER.NXE', () => {
    const w = new NestedWorld(
      (a) => {
        reading(a);
        a.jmp(esi);
      },
      { hostShape: 'pae', hostEfer: EFER.NXE },
    );
    w.nested.set(PAGE, PAGE | PWU, NX_HI);
    w.cpu.physical.u8.set(VMMCALL_BYTES, PAGE + 0x678);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    w.write(VMCB_SAVE.RIP, w.exit.rip + 3);
    expect(w.again()).toMatchObject(fault('final', P | U | 0x10, PAGE + 0x678));
  });

  it('has 4-MByte pages with the host’s CR4.PSE alone, PSE-36 included', () => {
    const w = new NestedWorld(reading, { hostCr4: CR4.PSE });
    w.nested.setDirectory(0, PWU | PS);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    expect(w.word(w.nested.directoryEntry(0))).toBe(PWU | PS | A);
    // Address bits 39:32 of the page are bits 20:13 of the entry; up there is nothing, which reads as ones.
    const high = new NestedWorld(reading, { hostCr4: CR4.PSE });
    high.nested.setDirectory(PAGE, PWU | PS | (1 << 13));
    expect(high.run().code).toBe(VMEXIT.VMMCALL);
    expect(high.gpr(3)).toBe(0xffff_ffff);
    const reserved = new NestedWorld(reading, { hostCr4: CR4.PSE });
    reserved.nested.setDirectory(PAGE, PWU | PS | (1 << 21));
    expect(reserved.run()).toMatchObject(fault('final', P | U | 8, PAGE + 0x678));
    // Without CR4.PSE the bit is ignored: the entry names a table.
    const off = new NestedWorld(reading);
    off.nested.setDirectory(0, off.word(off.nested.directoryEntry(0)) | PS);
    expect(off.run().code).toBe(VMEXIT.VMMCALL);
  });

  it('has 2-MByte pages under PAE', () => {
    const w = new NestedWorld(reading, { hostShape: 'pae' });
    const directory = PAGE & ~0x1f_ffff;
    w.nested.setDirectory(PAGE, 0x40_0000 | PWU | PS);
    w.cpu.physical.write32(0x40_0000 + (PAGE - directory) + 0x678, OTHER_VALUE);
    expect(w.run().code).toBe(VMEXIT.VMMCALL);
    expect(w.gpr(3)).toBe(OTHER_VALUE);
    w.nested.setDirectory(PAGE, 0x40_2000 | PWU | PS);
    w.write(VMCB.TLB_CONTROL, 1);
    expect(w.fromStart()).toMatchObject(fault('final', P | U | 8, PAGE + 0x678));
  });

  it('reads the PDPTEs of a PAE host’s nested tables in each walk', () => {
    const w = new NestedWorld(reading, { hostShape: 'pae' });
    w.run();
    const pdpte = w.word(w.nested.root);
    // W is reserved in a PDPTE: even the fetch of the first instruction finds it.
    w.cpu.physical.write32(w.nested.root, pdpte | W);
    w.write(VMCB.TLB_CONTROL, 1);
    expect(w.fromStart()).toMatchObject(fault('final', P | U | 8, PLACE.GUEST_CODE));
    w.cpu.physical.write32(w.nested.root, pdpte);
    expect(w.fromStart().code).toBe(VMEXIT.VMMCALL);
  });

  it('has no translation for an address above 4 GBytes in a 32-bit format, and reports it whole', () => {
    for (const hostShape of SHAPES) {
      const w = new NestedWorld(reading, { hostShape, guestShape: 'pae' });
      w.guestTables.set(PAGE, 0x1000 | PWU, 0x3);
      expect(w.run()).toMatchObject(fault('final', U, 0x3_0000_1678));
      const table = new NestedWorld(reading, { hostShape, guestShape: 'pae' });
      table.guestTables.setDirectory(PAGE, 0x5000 | PWU, 0x1);
      expect(table.run()).toMatchObject(
        fault('table', U | W, 0x1_0000_5000 + (table.guestTables.entry(PAGE) & 0xfff)),
      );
    }
  });
});

describe('PDPTEs of a PAE guest under nested paging (APM vol. 2 15.25.10)', () => {
  const GUEST_ROOT = 0x88_0000;
  it('are not checked by VMRUN but by each walk: #PF with RSVD', () => {
    const w = new NestedWorld(reading, { guestShape: 'pae' });
    w.set(VMCB.INTERCEPT_EXCEPTION, 1 << 14);
    const pdpte = w.word(GUEST_ROOT);
    w.cpu.physical.write32(GUEST_ROOT, pdpte | U);
    expect(w.run()).toMatchObject({ code: VMEXIT.EXCP + 14, info1: P | 8, info2: PLACE.GUEST_CODE });
    w.cpu.physical.write32(GUEST_ROOT, 0);
    expect(w.again()).toMatchObject({ code: VMEXIT.EXCP + 14, info1: 0 });
    // Read on use: no MOV CR3 is needed.
    w.cpu.physical.write32(GUEST_ROOT, pdpte);
    expect(w.again().code).toBe(VMEXIT.VMMCALL);
  });

  it('are not looked at by MOV CR3, MOV CR0 and MOV CR4', () => {
    const BROKEN = 0x60_0000;
    const w = new NestedWorld(
      (a) => {
        a.mov(eax, BROKEN);
        a.mov(cr3, eax);
        a.vmmcall();
      },
      { guestShape: 'pae' },
    );
    w.set(VMCB.INTERCEPT_EXCEPTION, (1 << 13) | (1 << 14));
    w.cpu.physical.write32(BROKEN, P | W);
    // The next instruction is what finds the reserved bit, or the TLB's entry for it that MOV CR3 dropped.
    expect(w.run()).toMatchObject({ code: VMEXIT.EXCP + 14, info1: P | 8 });
    expect(w.read(VMCB_SAVE.CR3)).toBe(BROKEN);
    for (const [register, bits] of [
      [cr0, CR0.CD],
      [cr4, CR4.PGE],
    ] as const) {
      const other = new NestedWorld(
        (a) => {
          a.mov(eax, register);
          a.or(eax, bits);
          a.mov(register, eax);
          a.vmmcall();
        },
        { guestShape: 'pae' },
      );
      other.set(VMCB.INTERCEPT_EXCEPTION, 1 << 13);
      // PDPTE 3 maps nothing that anybody uses: a load of all four would find its reserved bit.
      other.cpu.physical.write32(GUEST_ROOT + 24, P | W);
      expect(other.run().code).toBe(VMEXIT.VMMCALL);
    }
  });

  it('have their table read as a user write through the nested tables', () => {
    const w = new NestedWorld(reading, { guestShape: 'pae' });
    w.nested.set(GUEST_ROOT, GUEST_ROOT | P | U);
    expect(w.run()).toMatchObject(fault('table', P | U | W, GUEST_ROOT));
  });
});
