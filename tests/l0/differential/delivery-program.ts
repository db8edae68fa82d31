/**
 * Guests whose events are delivered where L0 must lend a hand: stacks, descriptor tables and task states in page tables, in
 * no memory, in a device. Each does one thing, logs what its handler finds, and ends.
 */
import { PAT_RESET } from '../../../src/arch/msrs.ts';
import { CR0, CR4 } from '../../../src/arch/registers.ts';
import { INTERCEPT2, NESTED_CTL, TLB_CONTROL, VMCB, VMCB_SAVE } from '../../../src/arch/vmcb.ts';
import { Assembler } from '../../../src/guest/assembler.ts';
import {
  address,
  ax,
  cr0,
  cr2,
  cr3,
  cr4,
  cs,
  dr6,
  ds,
  eax,
  ebx,
  ecx,
  edi,
  edx,
  es,
  esi,
  esp,
  mem,
  mem32,
  ss,
} from '../../../src/guest/operands.ts';

export type Paging = 'off' | '2-level' | 'pae';
/** Plain memory; the page directory in force, or the nested one, which L0 protects; no memory; the local APIC's registers. */
export type Place = 'ram' | 'table' | 'absent' | 'apic';
export type Gate = 'interrupt' | 'trap' | 'interrupt16' | 'task';
export type Event = 'int' | 'int3' | 'into' | 'icebp' | 'ud' | 'gp' | 'pf' | 'irq' | 'inject';
export type From = 'kernel' | 'user' | 'v86' | 'real';

export interface Delivery {
  readonly paging: Paging;
  readonly event: Event;
  readonly from?: From;
  readonly gate?: Gate;
  /** Of the handler: the stack, at CPL 0 the present one, else that in the TSS; or the new task's. */
  readonly stack?: Place;
  readonly idt?: Place;
  readonly gdt?: Place;
  readonly tss?: Place;
  readonly newTss?: Place;
  /** The handler returns, and the guest goes on. */
  readonly returns?: boolean;
  /** What goes wrong in the handler: its code segment is absent, the new task's DS, or #DF has no gate. */
  readonly broken?: readonly ('code' | 'task-data' | 'double-fault' | 'task-trap')[];
  /** CR4.VME with a bitmap that sends INT 30h to the 8086 program itself. */
  readonly redirects?: boolean;
  /** The event is met behind a page of instructions that L0 must carry out, all of them: their page table is a device. */
  readonly elsewhere?: boolean;
  /** It runs in an L2 whose L1 has these intercepts. */
  readonly nested?: {
    readonly exceptions?: number;
    readonly misc1?: number;
    /** EVENTINJ for the event `inject`. */
    readonly event?: number;
    readonly errorCode?: number;
    /** L1 uses nested paging; the entries of these frames have these flags, and all others allow everything. */
    readonly pages?: readonly (readonly [frame: number, flags: number])[];
  };
}

export const MEMORY = 0x20_0000;
export const CODE = 0x1000;
const IDT = 0x6000;
const GDT = 0x6800;
const TSS = 0x6c00;
const TSS2 = 0x6d00;
const LOG = 0x8000;
export const VMCB12 = 0x9000;
const DIRECTORY = 0xa000;
const TABLE = 0xb000;
const PDPT = 0xc000;
export const HSAVE = 0xd000;
const PAE_DIRECTORY = 0xe000;
const PAE_DIRECTORY3 = 0xf000;
const PAE_TABLES = 0x1_0000;
const HANDLER_STACK = 0x2_8000;
const ABSENT = 0x30_0000;
const APIC = 0xfee0_0000;
const NOT_MAPPED = 0x28_0000;
/** Linear address of entry E0h of the page table at the APIC's page, which is its register 380h, and what it maps. */
const REMOTE = 0x800e_0000;
const REMOTE_FRAME = 0x30;
const DATA = 0x3_2000;
/** L1's own page directory where it has nested tables, and those. */
const L1_DIRECTORY = 0x4_0000;
const NESTED_DIRECTORY = 0x4_1000;
const NESTED_TABLE = 0x4_2000;
/** Frames that tests take rights away from. */
export const FRAME = {
  DESCRIPTORS: IDT >>> 12,
  CODE: CODE >>> 12,
  STACK: 0x27,
  DIRECTORY: DIRECTORY >>> 12,
  TABLE: TABLE >>> 12,
  PAE_TABLES: PAE_TABLES >>> 12,
} as const;

const SELECTOR = {
  code: 0x08,
  data: 0x10,
  userCode: 0x1b,
  userData: 0x23,
  tss: 0x28,
  tss2: 0x30,
  absent: 0x38,
} as const;
const VECTORS = 0x32;
const INT = 0x30;
const END = 0x31;
const WITH_CODE = new Set([8, 10, 11, 12, 13, 14, 17]);
export const VECTOR_OF: Readonly<Record<Event, number>> = {
  int: INT,
  int3: 3,
  into: 4,
  icebp: 1,
  ud: 6,
  gp: 13,
  pf: 14,
  irq: INT,
  inject: INT,
};

/** Where a structure lies; each has its own part of the directory, for linear addresses that nobody uses. */
function place(delivery: Delivery, where: Place | undefined, inRam: number, inTable: number): number {
  switch (where ?? 'ram') {
    case 'ram':
      return inRam;
    case 'table':
      if (delivery.nested?.pages) return NESTED_DIRECTORY + inTable;
      return (delivery.paging === 'pae' ? PAE_DIRECTORY : DIRECTORY) + inTable;
    case 'absent':
      return ABSENT + inTable;
    default:
      // Registers that ignore writes.
      return APIC + 0x100 + (inTable & 0x80);
  }
}

class Image {
  readonly bytes = new Uint8Array(MEMORY);
  readonly #view = new DataView(this.bytes.buffer);
  put32(at: number, value: number): void {
    if (at < MEMORY) this.#view.setUint32(at, value >>> 0, true);
  }
  put64(at: number, lo: number, hi: number): void {
    this.put32(at, lo);
    this.put32(at + 4, hi);
  }
}

function writeTables(image: Image): void {
  image.put32(DIRECTORY, TABLE | 7);
  image.put32(DIRECTORY + 4 * 0x3fb, 0xfec0_0087);
  image.put32(DIRECTORY + 4 * (REMOTE >>> 22), APIC | 7);
  image.put64(PDPT, PAE_DIRECTORY | 1, 0);
  image.put64(PDPT + 24, PAE_DIRECTORY3 | 1, 0);
  image.put64(PAE_DIRECTORY, PAE_TABLES | 7, 0);
  image.put64(PAE_DIRECTORY + 8, (PAE_TABLES + 0x1000) | 7, 0);
  image.put64(PAE_DIRECTORY3 + 8 * 0x1f7, 0xfee0_0087, 0);
  for (let page = 0; page < 1024; page += 1) {
    const flags = page === NOT_MAPPED / 0x1000 ? 0 : 7;
    image.put32(TABLE + 4 * page, (page << 12) | flags);
    image.put64(PAE_TABLES + 8 * page, (page << 12) | flags, 0);
  }
}

/** Low and high half of a descriptor: base, limit, access byte, flags. */
function descriptor(base: number, limit: number, access: number, flags: number): [number, number] {
  const lo = ((base & 0xffff) << 16) | (limit & 0xffff);
  const hi =
    (base & 0xff00_0000) | (flags << 20) | (limit & 0xf_0000) | (access << 8) | ((base >>> 16) & 0xff);
  return [lo, hi];
}

function writeDescriptors(image: Image, d: Delivery): void {
  const gdt = place(d, d.gdt, GDT, 0xc00);
  const broken = new Set(d.broken);
  const all: [number, number][] = [
    [0, 0],
    // Not accessed: using it writes to the table.
    descriptor(0, 0xfffff, broken.has('code') ? 0x1a : 0x9a, 0xc),
    descriptor(0, 0xfffff, 0x92, 0xc),
    descriptor(0, 0xfffff, 0xfa, 0xc),
    descriptor(0, 0xfffff, 0xf2, 0xc),
    descriptor(place(d, d.tss, TSS, 0x400), 0x90, 0x89, 0),
    descriptor(place(d, d.newTss, TSS2, 0x500), 0x67, 0x89, 0),
    descriptor(0, 0xfffff, 0x12, 0xc),
  ];
  for (const [i, [lo, hi]] of all.entries()) image.put64(gdt + 8 * i, lo, hi);
}

const GATE_TYPE: Readonly<Record<Gate, number>> = { interrupt: 0xe, trap: 0xf, interrupt16: 0x6, task: 0x5 };

function writeGates(image: Image, d: Delivery, labels: ReadonlyMap<string, number>): void {
  const idt = place(d, d.idt, IDT, 0x800);
  for (let vector = 0; vector < VECTORS; vector += 1) {
    if (vector === 8 && d.broken?.includes('double-fault')) continue;
    const gate = vector === VECTOR_OF[d.event] ? (d.gate ?? 'interrupt') : 'interrupt';
    const target = labels.get(`stub${vector}`) as number;
    const selector = gate === 'task' ? SELECTOR.tss2 : SELECTOR.code;
    if (d.from === 'real') image.put32(idt + 4 * vector, target);
    else image.put64(idt + 8 * vector, (selector << 16) | target, (0xe0 | GATE_TYPE[gate]) << 8);
  }
}

function writeTasks(image: Image, d: Delivery, labels: ReadonlyMap<string, number>): void {
  const tss = place(d, d.tss, TSS, 0x400);
  const stack = place(d, d.stack, HANDLER_STACK - 0x1000, 0xe00);
  image.put32(tss + 4, stack);
  image.put32(tss + 8, SELECTOR.data);
  // I/O map beyond the limit but for the redirection bitmap in front of it: INT 30h goes to the program.
  image.put32(tss + 0x64, 0x88 << 16);
  for (let i = 0; i < 32; i += 4) image.put32(tss + 0x68 + i, 0xffff_ffff);
  if (d.redirects) image.put32(tss + 0x68 + 4 * (INT >>> 5), ~(1 << (INT & 31)));
  const tss2 = place(d, d.newTss, TSS2, 0x500);
  const cr3Value = d.paging === 'pae' ? PDPT : d.paging === 'off' ? 0 : DIRECTORY;
  for (const task of [tss, tss2]) image.put32(task + 0x1c, cr3Value);
  image.put32(tss2 + 0x20, labels.get('task') as number);
  image.put32(tss2 + 0x24, 2);
  image.put32(tss2 + 0x38, stack);
  for (const offset of [0x48, 0x50, 0x54, 0x58, 0x5c]) image.put32(tss2 + offset, SELECTOR.data);
  image.put32(tss2 + 0x4c, SELECTOR.code);
  if (d.broken?.includes('task-data')) image.put32(tss2 + 0x54, SELECTOR.absent);
  image.put32(tss2 + 0x64, (0x68 << 16) | (d.broken?.includes('task-trap') ? 1 : 0));
}

/** The code of the event itself. */
function raise(a: Assembler, d: Delivery): void {
  switch (d.event) {
    case 'int':
      a.raw(0xcd, INT);
      break;
    case 'int3':
      a.raw(0xcc);
      break;
    case 'into':
      a.raw(0xb0, 0x7f, 0x04, 0x01, 0xce);
      break;
    case 'icebp':
      a.raw(0xf1);
      break;
    case 'ud':
      a.raw(0x0f, 0x0b);
      break;
    case 'gp':
      // HLT, or FS from behind the GDT
      if (d.from === 'user' || d.from === 'v86') a.raw(0xf4);
      else a.raw(0x66, 0xb8, 0x50, 0, 0x8e, 0xe0);
      break;
    case 'pf':
      a.raw(0xa1, 0, 0, 0x28, 0);
      break;
    case 'inject':
      a.raw(0x0f, 0x01, 0xd9, 0x90);
      break;
    default:
      a.mov(mem32(APIC + 0xf0), 0x1ff);
      a.mov(mem32(APIC + 0x300), 0x4_0000 | INT);
      a.raw(0xfb, 0xf4, 0xfa);
  }
}

/** Instructions of every kind that has an exit or an intercept; what they yield goes to DATA. */
function remoteCode(back: number): Uint8Array {
  const a = new Assembler(REMOTE);
  const log = (register: typeof eax): void => a.mov(mem32(DATA + 4 * logged++), register);
  let logged = 0;
  a.mov(esp, HANDLER_STACK + 0x1000);
  a.mov(eax, 1);
  a.emit('Cpuid');
  for (const register of [eax, ecx, edx]) log(register);
  a.mov(eax, cr0);
  a.or(eax, CR0.TS);
  a.mov(cr0, eax);
  a.mov(eax, cr0);
  log(eax);
  a.emit('Clts');
  a.emit('Smsw', eax);
  log(eax);
  // Another CR3 with the same tables: PWT and PCD.
  a.mov(eax, cr3);
  a.or(eax, 0x18);
  a.mov(cr3, eax);
  a.xor(eax, eax);
  a.mov(eax, cr3);
  log(eax);
  a.mov(eax, cr4);
  a.mov(cr4, eax);
  log(eax);
  a.mov(eax, 0x1234_5678);
  a.mov(cr2, eax);
  a.raw(0x0f, 0x23, 0xc0, 0x31, 0xc0, 0x0f, 0x21, 0xc0);
  log(eax);
  a.mov(eax, dr6);
  log(eax);
  a.emit('Invlpg', mem(DATA));
  a.mov(ecx, 0x175);
  a.mov(eax, 0x5555);
  a.xor(edx, edx);
  a.emit('Wrmsr');
  a.xor(eax, eax);
  a.emit('Rdmsr');
  log(eax);
  a.emit('Rdtsc');
  a.mov(edi, eax);
  a.emit('Rdtsc');
  a.emit('Sub', eax, edi);
  a.emit('Shr', eax, 20);
  log(eax);
  a.emit('Wbinvd');
  a.raw(0xe4, 0x92);
  log(eax);
  a.pushfd();
  a.pop(eax);
  log(eax);
  a.emit('Str', eax);
  log(eax);
  a.raw(0x0f, 0x01, 0x05, ...[0, 1, 2, 3].map((i) => ((DATA + 0x100) >>> (8 * i)) & 0xff));
  a.mov(eax, back);
  a.jmp(eax);
  return a.finish().bytes;
}

/** L1: enters L2, injects when it calls, and ends with any other exit. */
function hypervisor(a: Assembler, d: Delivery): void {
  a.mov(ecx, 0xc000_0080);
  a.mov(eax, 0x1000);
  a.xor(edx, edx);
  a.emit('Wrmsr');
  a.mov(ecx, 0xc001_0117);
  a.mov(eax, HSAVE);
  a.emit('Wrmsr');
  a.mov(esp, HANDLER_STACK + 0x1000);
  if (d.nested?.pages) {
    a.mov(eax, CR4.PSE);
    a.mov(cr4, eax);
    a.mov(eax, L1_DIRECTORY);
    a.mov(cr3, eax);
    a.mov(eax, cr0);
    a.or(eax, CR0.PG);
    a.mov(cr0, eax);
  }
  a.label('enter');
  a.mov(eax, VMCB12);
  a.emit('Clgi');
  a.raw(0x0f, 0x01, 0xd8);
  a.cmp(mem32(VMCB12 + VMCB.EXITCODE), 0x81);
  a.branch('Jne', 'exit');
  a.emit('Add', mem32(VMCB12 + VMCB_SAVE.RIP), 3);
  a.mov(eax, mem32(VMCB12 + VMCB_SAVE.RIP));
  a.emit('Add', eax, 1);
  a.mov(mem32(VMCB12 + VMCB.NRIP), eax);
  a.mov(mem32(VMCB12 + VMCB.EVENTINJ), d.nested?.event ?? 0);
  a.mov(mem32(VMCB12 + VMCB.EVENTINJ + 4), d.nested?.errorCode ?? 0);
  a.jmp('enter');
  a.label('exit');
  finish(a, 3);
}

function finish(a: Assembler, value: number): void {
  a.mov(eax, value);
  a.emit('Out', 0xf4, eax);
  a.label(`stop${value}`);
  a.jmp(`stop${value}`);
}

function begin(a: Assembler, d: Delivery): void {
  a.emit('Lgdt', mem(address('gdtr')));
  a.emit('Lidt', mem(address('idtr')));
  if (d.paging !== 'off') {
    a.mov(eax, (d.paging === 'pae' ? CR4.PAE : CR4.PSE) | (d.redirects ? CR4.VME : 0));
    a.mov(cr4, eax);
    a.mov(eax, d.paging === 'pae' ? PDPT : DIRECTORY);
    a.mov(cr3, eax);
    a.mov(eax, cr0);
    a.or(eax, (CR0.PG | CR0.WP) >>> 0);
    a.mov(cr0, eax);
  }
  if (d.gdt !== 'absent' && d.gdt !== 'apic') {
    a.mov(ax, SELECTOR.tss);
    a.emit('Ltr', ax);
  }
  a.mov(ebx, 0x1111_1111);
  a.mov(esi, 0x2222_2222);
}

function goOn(a: Assembler, d: Delivery): void {
  const stack = place(d, d.stack, HANDLER_STACK - 0x1000, 0xe00);
  switch (d.from ?? 'kernel') {
    case 'kernel':
      a.mov(esp, stack);
      break;
    case 'real':
      // SS keeps its base in real mode: a stack where no real-mode selector leads.
      a.emit('Lgdt', mem(address('realGdtr')));
      a.mov(ax, 0x08);
      a.mov(ss, ax);
      a.mov(esp, 0x800);
      a.mov(eax, 0);
      a.mov(cr0, eax);
      a.raw(0xea, ...word(address16(a)), 0, 0, 0, 0);
      a.label('realBody');
      break;
    default:
      a.mov(esp, HANDLER_STACK);
      if (d.from === 'v86') {
        for (let i = 0; i < 4; i += 1) a.push(0);
        // A redirected interrupt stays on this stack.
        const inTable = d.redirects === true && d.stack === 'table';
        a.push(inTable ? place(d, 'table', 0, 0) >>> 4 : 0x2000);
        a.push(inTable ? 0xd80 : 0x1000);
        a.push(0x2_3002);
        a.push(0);
      } else {
        a.push(SELECTOR.userData);
        a.push(HANDLER_STACK + 0x2000);
        a.push(0x3002);
        a.push(SELECTOR.userCode);
      }
      a.push(address('event'));
      a.emit('Iretd');
  }
}

/** EIP behind a far jump of seven bytes. */
const address16 = (a: Assembler): number => a.here + 7;
const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];

/** Logs vector (EAX), stack pointer, what is on the stack, and registers; then ends, or returns. */
function handlers(a: Assembler, d: Delivery): void {
  const own = VECTOR_OF[d.event];
  a.label('common');
  a.mov(ebx, esp);
  a.mov(edi, mem32(address('log')));
  a.raw(0xab);
  a.mov(eax, ebx);
  a.raw(0xab);
  for (let i = 0; i < 10; i += 1) {
    a.mov(eax, mem32(ebx, 4 * i));
    a.raw(0xab);
  }
  a.mov(esp, HANDLER_STACK);
  for (const register of [cr0, cr2, dr6]) {
    a.mov(eax, register);
    a.raw(0xab);
  }
  for (const segment of [cs, ss]) {
    a.mov(eax, segment);
    a.raw(0xab);
  }
  a.emit('Str', eax);
  a.raw(0xab);
  a.pushfd();
  a.pop(eax);
  a.raw(0xab);
  a.mov(mem32(address('log')), edi);
  a.cmp(mem32(edi, -4 * 19), d.returns ? own : 0x1000);
  a.branch('Jne', 'end');
  a.mov(esp, ebx);
  if (d.gate === 'interrupt16') a.raw(0x66, 0xcf);
  else a.emit('Iretd');
  a.label('end');
  finish(a, 1);
  for (let vector = 0; vector < VECTORS; vector += 1) {
    a.label(`stub${vector}`);
    a.mov(eax, SELECTOR.data);
    a.mov(ds, eax);
    a.mov(es, eax);
    a.mov(eax, vector);
    a.jmp('common');
  }
  a.label('task');
  a.mov(eax, 0x1234);
  a.mov(ebx, esp);
  a.mov(edi, mem32(address('log')));
  a.raw(0xab);
  a.mov(eax, ebx);
  a.raw(0xab);
  a.mov(eax, mem32(ebx, 0));
  a.raw(0xab);
  a.mov(eax, cr0);
  a.raw(0xab);
  a.emit('Str', eax);
  a.raw(0xab);
  a.mov(mem32(address('log')), edi);
  if (d.returns) {
    if (WITH_CODE.has(own)) a.add(esp, 4);
    a.emit('Iretd');
  } else finish(a, 2);
}

/** The same for real mode, 16-bit: vector, stack pointer and four words from the stack. */
function realHandlers(a: Assembler): void {
  const common = a.here;
  a.raw(0xa3, ...word(LOG), 0x89, 0x26, ...word(LOG + 2));
  for (let i = 4; i < 12; i += 2) a.raw(0x8f, 0x06, ...word(LOG + i));
  a.raw(0x66, 0xb8, 1, 0, 0, 0, 0x66, 0xe7, 0xf4, 0xeb, 0xfe);
  for (let vector = 0; vector < VECTORS; vector += 1) {
    a.label(`stub${vector}`);
    a.raw(0xb8, vector, 0, 0xe9, ...word((common - (a.here + 6)) & 0xffff));
  }
  a.label('task');
}

/** The memory image, entered at CODE in flat protected mode. */
export function deliveryImage(d: Delivery): Uint8Array<ArrayBuffer> {
  const image = new Image();
  const a = new Assembler(CODE);
  if (d.nested) hypervisor(a, d);
  a.label('body');
  begin(a, d);
  goOn(a, d);
  if (d.elsewhere) {
    // The timer's initial count, LVT masked, is the entry.
    a.mov(mem32(APIC + 0x380), (REMOTE_FRAME << 12) | 7);
    a.mov(eax, REMOTE);
    a.jmp(eax);
  }
  a.label('event');
  raise(a, d);
  a.label('redirected');
  if (d.from === 'v86') a.raw(0xcd, END);
  else {
    // The return from an inner level has dropped its data segments.
    if (d.from === 'user') a.raw(0x66, 0xb8, SELECTOR.userData, 0, 0x8e, 0xd8);
    a.mov(mem32(LOG - 4), 0x600d);
    finish(a, 0);
  }
  if (d.from === 'real') realHandlers(a);
  else handlers(a, d);
  a.label('gdtr');
  a.data16(0x3f);
  a.data32(place(d, d.gdt, GDT, 0xc00));
  a.label('idtr');
  a.data16(8 * VECTORS - 1);
  a.data32(place(d, d.idt, IDT, 0x800));
  a.label('realGdtr');
  a.data16(0x0f);
  a.data32(0x7000);
  a.label('log');
  a.data32(LOG);
  const program = a.finish();
  if (program.bytes.length > IDT - CODE) throw new Error('the program is too long');
  writeTables(image);
  writeDescriptors(image, d);
  writeGates(image, d, program.labels);
  writeTasks(image, d, program.labels);
  image.put64(0x7008, ...descriptor(place(d, d.stack, 0x2_0000, 0xe00), 0xffff, 0x93, 0));
  image.bytes.set(program.bytes, CODE);
  // The 8086 program's own vector table.
  if (d.redirects) image.put32(4 * INT, program.labels.get('redirected') as number);
  if (d.elsewhere) image.bytes.set(remoteCode(program.labels.get('event') as number), REMOTE_FRAME * 0x1000);
  if (d.nested) writeVmcb(image, d, program.labels.get('body') as number);
  return image.bytes;
}

function writeVmcb(image: Image, d: Delivery, rip: number): void {
  const set = (offset: number, value: number): void => image.put32(VMCB12 + offset, value);
  set(VMCB.INTERCEPT_EXCEPTION, d.nested?.exceptions ?? 0);
  set(VMCB.INTERCEPT_MISC1, d.nested?.misc1 ?? 0);
  set(VMCB.INTERCEPT_MISC2, INTERCEPT2.VMRUN | INTERCEPT2.VMMCALL);
  set(VMCB.GUEST_ASID, 1);
  set(VMCB.TLB_CONTROL, TLB_CONTROL.FLUSH_ALL);
  set(VMCB_SAVE.CS, SELECTOR.code | (0xc9b << 16));
  for (const s of [VMCB_SAVE.ES, VMCB_SAVE.SS, VMCB_SAVE.DS]) set(s, SELECTOR.data | (0xc93 << 16));
  for (const s of [VMCB_SAVE.ES, VMCB_SAVE.CS, VMCB_SAVE.SS, VMCB_SAVE.DS]) set(s + 4, 0xffff_ffff);
  set(VMCB_SAVE.EFER, 0x1000);
  set(VMCB_SAVE.CR0, 0x31);
  set(VMCB_SAVE.DR6, 0xffff_0ff0);
  set(VMCB_SAVE.DR7, 0x400);
  set(VMCB_SAVE.RFLAGS, 2);
  set(VMCB_SAVE.RIP, rip);
  if (d.nested?.pages === undefined) return;
  set(VMCB.NESTED_CTL, NESTED_CTL.NP_ENABLE);
  set(VMCB.N_CR3, NESTED_DIRECTORY);
  set(VMCB_SAVE.G_PAT, PAT_RESET.lo);
  set(VMCB_SAVE.G_PAT + 4, PAT_RESET.hi);
  for (const directory of [L1_DIRECTORY, NESTED_DIRECTORY]) {
    image.put32(directory, directory === L1_DIRECTORY ? 0x87 : NESTED_TABLE | 7);
    image.put32(directory + 4 * 0x3fb, 0xfec0_0087);
  }
  for (let frame = 0; frame < 1024; frame += 1) image.put32(NESTED_TABLE + 4 * frame, (frame << 12) | 7);
  for (const [frame, flags] of d.nested.pages) image.put32(NESTED_TABLE + 4 * frame, (frame << 12) | flags);
}
