/** An L1 with nested paging and its guest: what the VMCB says after a #VMEXIT must be the same on the bare processor and under L0. */
import { describe, expect, it } from 'vitest';
import { gpa, hpa } from '../../../src/arch/address.ts';
import { parseCpuModel } from '../../../src/arch/cpu-model-text.ts';
import type { CpuModel } from '../../../src/arch/cpu-models.ts';
import { VECTOR } from '../../../src/arch/exceptions.ts';
import { CR0, CR4, PFERR } from '../../../src/arch/registers.ts';
import { VMEXIT } from '../../../src/arch/svm-exits.ts';
import { EVENT_TYPE, eventInjection, NESTED_CTL, NPF, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import type { Assembler } from '../../../src/guest/assembler.ts';
import { cr0, cr3, cr4, eax, mem32 } from '../../../src/guest/operands.ts';
import { type L0Paging, offeredModel } from '../../../src/l0/guest-cpu.ts';
import { setInitialState } from '../../../src/l0/vcpu-registers.ts';
import { applyInitialState } from '../../../src/machine/initial-registers.ts';
import { protectedState } from '../../../src/machine/loaders/initial-state.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { HostedMachine } from '../../../src/vmm/hosted-machine.ts';
import { BLOCK, build, CODE, end, fillBlock, type Image, turnSvmOn } from './both.ts';

const MEMORY = 0x20_0000;
const PAGES = MEMORY / 0x1000;
const LIMIT = 30_000;
const START = protectedState(CODE, {}, 0x08, 0x10, hpa(0));
/** L1's own page directory; the nested one and its table; those of L2. */
const OWN = 0x4_0000;
const NESTED = 0x4_1000;
const NESTED_TABLE = 0x4_2000;
const GUEST = 0x4_3000;
const GUEST_TABLE = 0x4_4000;
const PAE_GUEST = 0x4_5000;
const PAE_DIRECTORY = 0x4_6000;
/** Pages that nested tables do not map, or without W; L2 has all of its memory mapped to itself. */
const ABSENT = 0x6_0000;
const READ_ONLY = 0x6_1000;
/** Linear addresses of L2 behind its memory. */
const BEYOND = 0x40_0000;

/** It reads as zero. */
const IO_APIC = 0xfec0_0000;

const P = 1;
const PWU = 7;
const LARGE = 0x80;
const PAT = 0x0007_0406;
const PAGE_FAULT = VMEXIT.EXCP + VECTOR.PF;

/** On both hosts L1 has what the lesser one offers. */
const offered = (text: string): CpuModel =>
  offeredModel(parseCpuModel(text), { paging: 'npt', nestedNx: false });
const MODEL = offered('current-amd');

interface Subject {
  readonly model?: CpuModel;
  /** CR4 of L1. */
  readonly cr4?: number;
  readonly l2: (a: Assembler) => void;
  /** Where L2's code lies, if not among L1's. */
  readonly place?: number;
  readonly fields?: readonly (readonly [field: number, value: number])[];
  readonly prepare?: (image: Image) => void;
}

function imageOf({ cr4: hostCr4 = CR4.PSE, l2, place, fields = [], prepare }: Subject) {
  return build(
    (a) => {
      a.mov(eax, hostCr4);
      a.mov(cr4, eax);
      a.mov(eax, OWN);
      a.mov(cr3, eax);
      a.mov(eax, cr0);
      a.emit('Or', eax, CR0.PG | 0);
      a.mov(cr0, eax);
      turnSvmOn(a);
      a.vmrun();
      end(a);
      a.label('l2');
      l2(a);
    },
    (image, labels) => {
      // No user page, so that L1 may have SMEP.
      image.put(OWN, LARGE | (PWU & ~4));
      image.put(NESTED, NESTED_TABLE | PWU);
      image.put(GUEST, GUEST_TABLE | PWU);
      for (let page = 0; page < PAGES; page++) {
        image.put(NESTED_TABLE + page * 4, (page * 0x1000) | PWU);
        image.put(GUEST_TABLE + page * 4, (page * 0x1000) | PWU);
      }
      image.put(NESTED_TABLE + (ABSENT / 0x1000) * 4, 0);
      image.put(NESTED_TABLE + (READ_ONLY / 0x1000) * 4, READ_ONLY | (PWU & ~2));
      const code = labels.get('l2') as number;
      if (place !== undefined) image.bytes.copyWithin(place, code, code + 32);
      fillBlock(image, labels, [
        [VMCB.NESTED_CTL, NESTED_CTL.NP_ENABLE],
        [VMCB.N_CR3, NESTED],
        [VMCB.INTERCEPT_EXCEPTION, 1 << VECTOR.PF],
        [VMCB_SAVE.G_PAT, PAT],
        [VMCB_SAVE.G_PAT + 4, PAT],
        [VMCB_SAVE.CR0, CR0.PE | CR0.ET | CR0.PG | CR0.WP],
        [VMCB_SAVE.CR3, GUEST],
        [VMCB_SAVE.CR4, CR4.PSE],
        [VMCB_SAVE.RIP, place ?? code],
        ...fields,
      ]);
      prepare?.(image);
    },
  ).image;
}

/** What L1 finds in its VMCB; 64-bit fields as [low, high]. */
interface Exit {
  readonly code: number;
  readonly info1: readonly [number, number];
  readonly info2: readonly [number, number];
  readonly event: number;
  readonly nextRip: number;
  /** Instruction bytes. */
  readonly bytes: readonly number[];
}

function exitIn(memory: Uint8Array): Exit {
  const view = new DataView(memory.buffer, memory.byteOffset + BLOCK);
  const half = (offset: number): number => view.getUint32(offset, true);
  const wide = (offset: number): [number, number] => [half(offset), half(offset + 4)];
  const count = view.getUint8(VMCB.INSTRUCTION_COUNT);
  return {
    code: half(VMCB.EXITCODE),
    info1: wide(VMCB.EXITINFO1),
    info2: wide(VMCB.EXITINFO2),
    event: half(VMCB.EXITINTINFO),
    nextRip: half(VMCB.NRIP),
    bytes: Array.from({ length: count }, (_, n) => view.getUint8(VMCB.INSTRUCTION_BYTES + n)),
  };
}

function onBareProcessor(image: Uint8Array<ArrayBuffer>, model: CpuModel): Exit {
  const machine = new Machine({ model, memoryBytes: MEMORY });
  machine.cpu.physical.load(hpa(0), image);
  applyInitialState(machine.cpu, START);
  expect(machine.run(LIMIT)).toEqual({ kind: 'debug-exit', value: 0 });
  return exitIn(machine.cpu.physical.u8.slice(0, MEMORY));
}

function underL0(
  image: Uint8Array<ArrayBuffer>,
  guestModel: CpuModel,
  l0: L0Paging,
  host: 'pae' | 'nopae',
  // A host without decode assists for a guest that has none: L0 is to do without them, too.
  processor = guestModel.features.has('decodeassists') ? 'current-amd' : 'opteron,+smep',
): Exit {
  const model = parseCpuModel(processor);
  const machine = new HostedMachine({ model, guestModel, l0, host, memoryBytes: MEMORY, check: true });
  machine.write(gpa(0), image);
  setInitialState(machine.vcpu, START);
  expect(machine.run(LIMIT)).toEqual({ kind: 'debug-exit', value: 0 });
  return exitIn(machine.read(gpa(0), MEMORY));
}

/** The #VMEXIT of L2, which must be the same everywhere. */
function exitOf(subject: Subject): Exit {
  const image = imageOf(subject);
  const { model = MODEL } = subject;
  const bare = onBareProcessor(image, model);
  for (const host of ['pae', 'nopae'] as const)
    expect(underL0(image, model, 'npt', host), host).toEqual(bare);
  return bare;
}

const readsBeyond = (a: Assembler): void => {
  a.mov(eax, mem32(BEYOND));
  a.vmmcall();
};

describe('bits of an entry of L2 that are reserved on the CPU of L1 and address bits on the processor', () => {
  /** L2 with PAE paging, whose entry for BEYOND has this high half. */
  const pae = (entry: number, high: number): Pick<Subject, 'fields' | 'prepare'> => ({
    fields: [
      [VMCB_SAVE.CR4, CR4.PAE],
      [VMCB_SAVE.CR3, PAE_GUEST],
    ],
    prepare: (image) => {
      image.put(PAE_GUEST, PAE_DIRECTORY | P);
      image.put(PAE_DIRECTORY, LARGE | PWU);
      image.put(PAE_DIRECTORY + 16, entry);
      image.put(PAE_DIRECTORY + 20, high);
    },
  });
  const isPageFault = { code: PAGE_FAULT, info1: [PFERR.P | PFERR.RSVD, 0], info2: [BEYOND, 0] };

  it.each([
    ['of a large page', LARGE | PWU],
    ['of a table', PWU],
  ])('end in a page fault above MAXPHYADDR (SDM vol. 3A table 4-10): %s', (_name, entry) => {
    const model = offered('athlon64,+npt');
    expect(exitOf({ model, l2: readsBeyond, ...pae(entry, 1 << 9) })).toMatchObject(isPageFault);
  });

  it('end in a nested page fault below MAXPHYADDR', () => {
    const model = offered('athlon64,+npt');
    expect(exitOf({ model, l2: readsBeyond, ...pae(LARGE | PWU, 1 << 4) })).toMatchObject({
      code: VMEXIT.NPF,
      info1: [PFERR.U, NPF.FINAL_HI],
      info2: [0, 1 << 4],
    });
  });

  it.each([
    ['page fault', 'current-amd,-pse36', isPageFault],
    ['nested page fault', 'current-amd', { code: VMEXIT.NPF, info1: [PFERR.U, NPF.FINAL_HI], info2: [0, 1] }],
  ])('end in a %s in a 4 MiB page on %s (SDM vol. 3A table 4-4)', (_name, cpu, expected) => {
    const prepare = (image: Image): void => image.put(GUEST + 4, (1 << 13) | LARGE | PWU);
    expect(exitOf({ model: offered(cpu), l2: readsBeyond, prepare })).toMatchObject(expected);
  });
});

describe('EXITINFO1 bit 4 for an L1 with SMEP, whatever the host has (APM vol. 2 15.25.6)', () => {
  const l2 = (a: Assembler): void => {
    a.mov(eax, mem32(ABSENT));
    a.vmmcall();
  };
  // MOV has six bytes.
  it.each([
    ['a read', 'current-amd', ABSENT - 6, PFERR.U],
    ['a read', 'opteron,+smep', ABSENT - 8, PFERR.U],
    ['a fetch', 'current-amd', ABSENT - 4, PFERR.U | PFERR.F],
    ['a fetch', 'opteron,+smep', ABSENT, PFERR.U | PFERR.F],
  ])('tells of %s on %s', (_name, cpu, place, code) => {
    expect(exitOf({ model: offered(cpu), cr4: CR4.PSE | CR4.SMEP, place, l2 })).toMatchObject({
      code: VMEXIT.NPF,
      info1: [code, NPF.FINAL_HI],
      info2: [ABSENT, 0],
    });
  });
});

describe('instruction bytes of a fault (APM vol. 2 15.8.4)', () => {
  const READS_BEYOND = [0x8b, 0x05, 0x00, 0x00, 0x40, 0x00, 0x0f, 0x01, 0xd9];
  const ACROSS = 0x5_1000 - 8;

  it('go on in a page that L0 has not mapped yet: a nested fault', () => {
    const l2 = (a: Assembler): void => {
      a.mov(mem32(READ_ONLY), eax);
      a.vmmcall();
    };
    const { bytes } = exitOf({ place: ACROSS, l2 });
    expect(bytes.slice(0, 6)).toEqual([0x89, 0x05, 0x00, 0x10, 0x06, 0x00]);
    expect(bytes.slice(6, 9)).toEqual([0x0f, 0x01, 0xd9]);
    expect(bytes).toHaveLength(15);
  });

  it('go on there: a page fault', () => {
    const { code, bytes } = exitOf({ place: ACROSS, l2: readsBeyond });
    expect([code, bytes.slice(0, 9)]).toEqual([PAGE_FAULT, READS_BEYOND]);
  });

  it('are there for a page fault that L0 met: an entry in a device', () => {
    const prepare = (image: Image): void => {
      image.put(GUEST + 4, ABSENT | PWU);
      image.put(NESTED_TABLE + (ABSENT / 0x1000) * 4, IO_APIC | PWU);
    };
    const { code, bytes } = exitOf({ l2: readsBeyond, prepare });
    expect([code, bytes.slice(0, 9)]).toEqual([PAGE_FAULT, READS_BEYOND]);
  });

  it('are those at RIP for the delivery of an event that L1 injects', () => {
    const fields = [
      [VMCB_SAVE.IDTR + 8, ABSENT],
      [VMCB.EVENTINJ, eventInjection(EVENT_TYPE.NMI, VECTOR.NMI, false)],
    ] as const;
    const { code, event, bytes } = exitOf({ place: 0x5_0000, l2: readsBeyond, fields });
    expect([code, event, bytes.slice(0, 9)]).toEqual([
      VMEXIT.NPF,
      eventInjection(EVENT_TYPE.NMI, VECTOR.NMI, false),
      READS_BEYOND,
    ]);
  });

  it('are none for a fetch', () => {
    const { code, bytes } = exitOf({ place: ABSENT - 2, l2: readsBeyond });
    expect([code, bytes]).toEqual([VMEXIT.NPF, []]);
  });

  it.each([
    ['a read', ACROSS, READS_BEYOND],
    ['a fetch', MEMORY - 2, []],
  ])('are those of %s where L0 shadows L2', (_name, place, expected) => {
    const model = offeredModel(MODEL, { paging: 'shadow', nestedNx: true });
    const image = imageOf({ place, l2: readsBeyond, fields: [[VMCB.NESTED_CTL, 0]] });
    const bare = onBareProcessor(image, model);
    expect([bare.code, bare.bytes.slice(0, 9)]).toEqual([PAGE_FAULT, expected]);
    for (const host of ['pae', 'nopae'] as const)
      expect(underL0(image, model, 'shadow', host), host).toEqual(bare);
  });
});

describe('the next rIP of an exception that an instruction raises by itself (APM vol. 2 15.7.1)', () => {
  it('is there for a BOUND whose limits are a device', () => {
    const l2 = (a: Assembler): void => {
      a.mov(eax, 5);
      a.emit('Bound', eax, mem32(ABSENT));
    };
    const prepare = (image: Image): void => image.put(NESTED_TABLE + (ABSENT / 0x1000) * 4, IO_APIC | PWU);
    const fields = [[VMCB.INTERCEPT_EXCEPTION, 1 << VECTOR.BR]] as const;
    // MOV has five bytes, BOUND six.
    expect(exitOf({ place: 0x5_0000, l2, prepare, fields })).toMatchObject({
      code: VMEXIT.EXCP + VECTOR.BR,
      nextRip: 0x5_000b,
      bytes: [],
    });
  });
});

// CPUID shows nested paging in a bit of its own; a host without PAE paging gives 2-level tables (APM vol. 2 15.25.1, 15.25.3).
describe('nested paging without PAE', () => {
  const WITHOUT_PAE = 'current-amd,-pae';
  const model = offered(WITHOUT_PAE);

  /** Below L0 may be a processor with PAE, or just such a one. */
  const sameEverywhere = (subject: Subject): Exit => {
    const image = imageOf({ ...subject, model });
    const exit = exitOf({ ...subject, model });
    expect(underL0(image, model, 'npt', 'nopae', WITHOUT_PAE)).toEqual(exit);
    return exit;
  };

  it('is there', () => {
    expect([...model.features]).toEqual(expect.arrayContaining(['npt', 'pse']));
    expect([...model.features]).not.toEqual(expect.arrayContaining(['pae']));
  });

  it('runs L2, whose addresses go through nested tables', () => {
    const l2 = (a: Assembler): void => {
      a.mov(eax, mem32(ABSENT));
      a.vmmcall();
    };
    expect(sameEverywhere({ l2 })).toMatchObject({
      code: VMEXIT.NPF,
      info1: [PFERR.U, NPF.FINAL_HI],
      info2: [ABSENT, 0],
    });
  });

  it('has CR4.PAE reserved for L1 as it enters L2, and for L2 (APM vol. 2 15.5.1)', () => {
    const fields = [[VMCB_SAVE.CR4, CR4.PAE]] as const;
    expect(sameEverywhere({ l2: readsBeyond, fields })).toMatchObject({ code: VMEXIT.INVALID >>> 0 });
    const l2 = (a: Assembler): void => {
      a.mov(eax, CR4.PAE);
      a.mov(cr4, eax);
      a.vmmcall();
    };
    const heard = [[VMCB.INTERCEPT_EXCEPTION, 1 << VECTOR.GP]] as const;
    expect(sameEverywhere({ l2, fields: heard })).toMatchObject({
      code: VMEXIT.EXCP + VECTOR.GP,
      info1: [0, 0],
    });
  });
});
