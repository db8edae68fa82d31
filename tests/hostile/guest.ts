/**
 * Hostile guests: half a megabyte of memory in which most is random, and a start that brings the processor from flat
 * protected mode into a mode where the random part runs. The same image serves bare, as L1 and as L2.
 */
import { ATTRIBUTE, descriptorHi, descriptorLo, SYSTEM_TYPE } from '../../src/arch/descriptors.ts';
import { MSR } from '../../src/arch/msrs.ts';
import { CR0, CR4, EFER, EFLAGS } from '../../src/arch/registers.ts';
import {
  Assembler,
  ax,
  cr0,
  cr3,
  cr4,
  ds,
  eax,
  ebx,
  ecx,
  edx,
  es,
  esp,
  fs,
  gs,
  mem32,
  ss,
} from '../../src/guest/assembler.ts';
import type { Random } from './random.ts';
import { resume, resumeReal, simmer, TARGETS } from './run-on.ts';

export const MEMORY = 0x8_0000;
/** The least that a PC can have. What the guest does not fill is zero. */
export const MACHINE_MEMORY = 0x10_0000;
const PAGES = MEMORY / 4096;
/** Flat protected mode, CPL 0, paging off: EIP and ESP at the start. */
export const START = 0x1000;
export const STACK = 0x8000;
/** Random code begins here. */
export const SOUP = 0x2_8000;

const PLACE = {
  /** Handlers that go on elsewhere: that of real mode, and that of protected mode. */
  RESUME_REAL: 0x800,
  RESUME: 0x1800,
  TARGETS: 0x1e00,
  POINTERS: 0x1f00,
  COUNT: 0x1f40,
  GDT: 0x2000,
  IDT: 0x3000,
  TSS: 0x4000,
  TSS16: 0x4800,
  SECOND_TSS: 0x4900,
  LDT: 0x5000,
  DIRECTORY: 0x1_0000,
  TABLES: 0x1_1000,
  PDPT: 0x1_8000,
  PAE_DIRECTORIES: 0x1_9000,
  PAE_TABLES: 0x1_d000,
  TABLES_END: 0x2_8000,
} as const;
const SELECTOR = {
  CODE: 0x08,
  DATA: 0x10,
  USER_CODE: 0x1b,
  USER_DATA: 0x23,
  TSS: 0x28,
  CODE16: 0x30,
  DATA16: 0x38,
  TSS16: 0x40,
  SECOND_TSS: 0x48,
  LDT: 0x50,
  CALL_GATE: 0x5b,
  TASK_GATE: 0x63,
  ODD_CODE: 0x68,
  ODD_DATA: 0x70,
  USER_CODE16: 0x7b,
  USER_DATA16: 0x83,
} as const;
const GDT_BYTES = 0x200;
const FLAT = 0xffff_ffff;

export const MODES = [
  'real',
  'flat-32',
  'flat-32-user',
  'protected-16',
  'protected-16-user',
  'odd-segments',
  'virtual-8086',
] as const;
export type Mode = (typeof MODES)[number];
export const PAGING = ['off', '2-level', 'pse', 'pae'] as const;
export type Paging = (typeof PAGING)[number];

export interface GuestOptions {
  readonly mode: Mode;
  readonly paging: Paging;
  /** NXE may be set, CR4 may have any bit: the model has what they need. */
  readonly nx?: boolean;
  readonly vme?: boolean;
  /** Most events are taken by a handler that goes on elsewhere, and some of the code is harmless; else all is random. */
  readonly runsOn?: boolean;
}

/** The guest's memory; it starts at `START` as described there. */
export function hostileGuest(random: Random, options: GuestOptions): Uint8Array {
  const bytes = new Uint8Array(MEMORY);
  const view = new DataView(bytes.buffer);
  random.fill(bytes);
  brew(random, bytes, SOUP, MEMORY);
  const runsOn = options.runsOn === true;
  if (runsOn && !random.oneIn(4)) simmer(random, bytes, SOUP, MEMORY);
  if (options.mode === 'real') realVectors(random, view, runsOn);
  descriptorTables(random, view);
  interruptTable(random, view, runsOn);
  tables2Level(random, view, options.paging === 'pse');
  tablesPae(random, view, options.nx === true);
  bytes.set(start(random, view, options), START);
  return bytes;
}

/** Opcodes that random bytes would find too seldom: system instructions, strings, far transfers, SVM. */
// biome-ignore format: table
const SPICE: readonly (readonly number[])[] = [
  [0x0f, 0x20], [0x0f, 0x22], [0x0f, 0x21], [0x0f, 0x23], [0x0f, 0x00], [0x0f, 0x01], [0x0f, 0x30], [0x0f, 0x32],
  [0x0f, 0x31], [0x0f, 0xa2], [0x0f, 0xc7], [0x0f, 0xae], [0x0f, 0xb1], [0x0f, 0x34], [0x0f, 0x35], [0x0f, 0x09],
  [0x0f, 0x01, 0xd8], [0x0f, 0x01, 0xd9], [0x0f, 0x01, 0xda], [0x0f, 0x01, 0xdb], [0x0f, 0x01, 0xdc],
  [0x0f, 0x01, 0xdd], [0x0f, 0x01, 0xdf], [0x0f, 0x01, 0xf9], [0x0f, 0x01, 0xc8], [0x0f, 0x01, 0xc9],
  [0xf3, 0xa4], [0xf3, 0xa5], [0xf3, 0xab], [0xf2, 0xae], [0xf3, 0xa7], [0x66, 0xf3, 0x6d], [0xf3, 0x6e],
  [0xcf], [0x66, 0xcf], [0xcb], [0xca], [0x9a], [0xea], [0xff], [0xcd], [0xcc], [0xce], [0xf1], [0x9d], [0x9c],
  [0x17], [0x8e], [0x8c], [0xc4], [0xc5], [0x0f, 0xb2], [0x0f, 0x02], [0x0f, 0x03], [0x62], [0x63], [0xc8], [0xc9],
  [0xf0, 0x0f, 0xb1], [0xf0, 0x87], [0xd9], [0xdb], [0xdd], [0xdf], [0x0f, 0x6f], [0x0f, 0x58], [0x0f, 0x28],
  [0xfb], [0xfa], [0xf4], [0xe4], [0xec], [0xee], [0xef], [0x67], [0x2e], [0x64], [0x66], [0x0f, 0xff], [0x0f, 0x0b],
];

/** Makes random bytes more often instructions that matter. */
function brew(random: Random, bytes: Uint8Array, from: number, to: number): void {
  const density = random.pick([0, 8, 24, 64]);
  if (density === 0) return;
  for (let at = from; at < to - 16; at += 1 + random.below(density)) bytes.set(random.pick(SPICE), at);
}

const offsetInSoup = (random: Random): number => SOUP + random.below(MEMORY - SOUP);

/** Real-mode vectors into the soup, or most of them to where it is gone on with. */
function realVectors(random: Random, view: DataView, runsOn: boolean): void {
  for (let vector = 0; vector < 256; vector++) {
    const place = offsetInSoup(random);
    const goesOn = runsOn && !random.oneIn(4);
    view.setUint16(vector * 4, goesOn ? PLACE.RESUME_REAL : place & 0xf, true);
    view.setUint16(vector * 4 + 2, goesOn ? 0 : place >>> 4, true);
  }
}

function descriptorTables(random: Random, view: DataView): void {
  const { P, S, CODE, READABLE, WRITABLE, DB, G, EXPAND_DOWN, CONFORMING } = ATTRIBUTE;
  const user = ATTRIBUTE.DPL;
  const maybe = (bit: number): number => (random.oneIn(2) ? bit : 0);
  const set = (selector: number, base: number, limit: number, attributes: number): void => {
    view.setUint32(PLACE.GDT + (selector & ~7), descriptorLo(base, limit, attributes), true);
    view.setUint32(PLACE.GDT + (selector & ~7) + 4, descriptorHi(base, limit, attributes), true);
  };
  const gate = (selector: number, target: number, offset: number, attributes: number): void => {
    view.setUint32(PLACE.GDT + (selector & ~7), (target << 16) | (offset & 0xffff), true);
    view.setUint32(PLACE.GDT + (selector & ~7) + 4, (offset & 0xffff_0000) | (attributes << 8), true);
  };
  const oddLimit = (): number => random.pick([0xffff, 0xf_ffff, 0x7fff, 0x2_8fff, random.below(MEMORY)]);
  set(SELECTOR.CODE, 0, FLAT, P | S | CODE | READABLE | DB | G);
  set(SELECTOR.DATA, 0, FLAT, P | S | WRITABLE | DB | G);
  set(SELECTOR.USER_CODE, 0, FLAT, P | S | user | CODE | READABLE | DB | G);
  set(SELECTOR.USER_DATA, 0, FLAT, P | S | user | WRITABLE | DB | G);
  set(SELECTOR.TSS, PLACE.TSS, 0x67 + random.below(0x200), P | SYSTEM_TYPE.TSS_32_AVAILABLE);
  set(SELECTOR.CODE16, SOUP, 0xffff, P | S | CODE | READABLE);
  set(SELECTOR.DATA16, SOUP, 0xffff, P | S | WRITABLE | maybe(EXPAND_DOWN));
  set(SELECTOR.TSS16, PLACE.TSS16, 0x2b + random.below(4), P | user | SYSTEM_TYPE.TSS_16_AVAILABLE);
  set(SELECTOR.SECOND_TSS, PLACE.SECOND_TSS, 0x67, P | user | SYSTEM_TYPE.TSS_32_AVAILABLE);
  set(SELECTOR.LDT, PLACE.LDT, random.below(0x1000), P | SYSTEM_TYPE.LDT);
  gate(SELECTOR.CALL_GATE, SELECTOR.CODE, offsetInSoup(random), P | user | SYSTEM_TYPE.CALL_GATE_32);
  gate(SELECTOR.TASK_GATE, SELECTOR.SECOND_TSS, 0, P | user | SYSTEM_TYPE.TASK_GATE);
  set(
    SELECTOR.ODD_CODE,
    random.below(0x1000),
    oddLimit(),
    P | S | CODE | maybe(READABLE) | DB | maybe(CONFORMING),
  );
  set(
    SELECTOR.ODD_DATA,
    random.pick([0, 1, 0xffff_f000, random.u32()]),
    oddLimit(),
    P | S | WRITABLE | maybe(DB) | maybe(EXPAND_DOWN),
  );
  set(SELECTOR.USER_CODE16, SOUP, 0xffff, P | S | user | CODE | READABLE);
  set(SELECTOR.USER_DATA16, SOUP, 0xffff, P | S | user | WRITABLE);
  for (const tss of [PLACE.TSS, PLACE.SECOND_TSS]) taskState(random, view, tss);
}

/** A 32-bit TSS: stacks for all levels, a state to switch to, and an I/O bitmap with random bits. */
function taskState(random: Random, view: DataView, place: number): void {
  view.setUint32(place + 4, STACK - 0x800, true);
  view.setUint32(place + 8, SELECTOR.DATA, true);
  view.setUint32(place + 0x1c, PLACE.DIRECTORY, true);
  view.setUint32(place + 0x20, offsetInSoup(random), true);
  view.setUint32(place + 0x24, random.u32() & 0x3_7fd7, true);
  view.setUint32(place + 0x38, STACK - 0x1000, true);
  const user = random.oneIn(2);
  const data = user ? SELECTOR.USER_DATA : SELECTOR.DATA;
  for (let n = 0; n < 6; n++) view.setUint32(place + 0x48 + n * 4, data, true);
  view.setUint32(place + 0x4c, user ? SELECTOR.USER_CODE : SELECTOR.CODE, true);
  view.setUint16(place + 0x60, random.pick([0, SELECTOR.LDT, random.u32() & 0xffff]), true);
  view.setUint16(place + 0x64, random.oneIn(8) ? 1 : 0, true);
  view.setUint16(place + 0x66, random.pick([0x68, 0xffff, random.u32() & 0xffff]), true);
}

/** Mostly interrupt and trap gates into the soup, or to where it is gone on with; some task gates, some garbage. */
function interruptTable(random: Random, view: DataView, runsOn: boolean): void {
  for (let vector = 0; vector < 256; vector++) {
    const kind = random.below(16);
    if (kind === 0) continue;
    const place = PLACE.IDT + vector * 8;
    const goesOn = runsOn && kind !== 1 && !random.oneIn(8);
    const offset = goesOn ? PLACE.RESUME : offsetInSoup(random);
    const dpl = random.oneIn(2) ? 0x60 : 0;
    const type =
      kind === 1
        ? SYSTEM_TYPE.TASK_GATE
        : random.pick([SYSTEM_TYPE.INTERRUPT_GATE_32, SYSTEM_TYPE.TRAP_GATE_32]);
    const selector =
      kind === 1 ? SELECTOR.SECOND_TSS : !goesOn && random.oneIn(16) ? SELECTOR.CODE16 : SELECTOR.CODE;
    view.setUint32(place, (selector << 16) | (offset & 0xffff), true);
    view.setUint32(place + 4, (offset & 0xffff_0000) | ((0x80 | dpl | type) << 8), true);
  }
}

/** Pages that the start itself needs: never made absent. */
const isNeeded = (page: number): boolean => page < 9;

/** An entry's low flags: usually all rights, sometimes anything. */
function flags(random: Random): number {
  return random.oneIn(5) ? random.below(0x1000) & ~0x80 : 0x07 | (random.u32() & 0x160);
}

function tables2Level(random: Random, view: DataView, large: boolean): void {
  for (let n = 0; n < 1024; n++) {
    const table = PLACE.TABLES + random.below(7) * 0x1000;
    const garbage = random.oneIn(6) ? random.u32() : 0;
    const big = large && random.oneIn(4) ? (random.u32() & 0x1fe000) | (random.below(2) << 22) | 0x80 : 0;
    const entry = garbage !== 0 ? garbage : (big !== 0 ? big : table) | flags(random);
    view.setUint32(PLACE.DIRECTORY + n * 4, n === 0 ? PLACE.TABLES | 7 : entry, true);
  }
  for (let n = 0; n < 7 * 1024; n++) {
    const page = n & 0x3ff;
    const identity = n < 1024 && page < PAGES;
    const target = identity && !random.oneIn(8) ? page : random.below(PAGES);
    const value = random.oneIn(20)
      ? random.u32()
      : (target << 12) | flags(random) | (random.oneIn(30) ? 0x80 : 0);
    view.setUint32(PLACE.TABLES + n * 4, n < 1024 && isNeeded(page) ? (page << 12) | 7 : value, true);
  }
}

function tablesPae(random: Random, view: DataView, nx: boolean): void {
  const high = (): number =>
    random.oneIn(40) ? random.u32() : nx && random.oneIn(6) ? 0x8000_0000 : random.oneIn(100) ? 1 : 0;
  for (let n = 0; n < 4; n++) {
    const present = n === 0 || !random.oneIn(4) ? 1 : 0;
    view.setUint32(PLACE.PDPT + n * 8, (PLACE.PAE_DIRECTORIES + n * 0x1000) | present, true);
    view.setUint32(PLACE.PDPT + n * 8 + 4, 0, true);
  }
  for (let n = 0; n < 4 * 512; n++) {
    const table = PLACE.PAE_TABLES + random.below(8) * 0x1000;
    const big = random.oneIn(6);
    const value = big ? 0x80 | (random.oneIn(4) ? random.u32() & 0xffe0_0000 : 0) : table;
    view.setUint32(
      PLACE.PAE_DIRECTORIES + n * 8,
      n === 0 ? PLACE.PAE_TABLES | 7 : value | flags(random),
      true,
    );
    view.setUint32(PLACE.PAE_DIRECTORIES + n * 8 + 4, n === 0 ? 0 : high(), true);
  }
  for (let n = 0; n < 8 * 512; n++) {
    const page = n & 0x1ff;
    const needed = n < 512 && isNeeded(page);
    const target = needed || (n < PAGES && !random.oneIn(8)) ? page : random.below(PAGES);
    view.setUint32(PLACE.PAE_TABLES + n * 8, (target << 12) | (needed ? 7 : flags(random)), true);
    view.setUint32(PLACE.PAE_TABLES + n * 8 + 4, needed ? 0 : high(), true);
  }
}

function start(random: Random, view: DataView, options: GuestOptions): Uint8Array {
  const { mode, paging, nx, vme, runsOn } = options;
  pointers(view, mode === 'real');
  const a = new Assembler(START);
  a.mov(esp, STACK);
  a.lgdt(mem32(PLACE.POINTERS));
  a.lidt(mem32(PLACE.POINTERS + 8));
  if (mode === 'real') {
    toRealMode(a);
    if (runsOn === true) goOnElsewhere(random, view, mode, { cr0: 0, cr3: 0, cr4: 0 });
    return a.finish().bytes;
  }
  a.mov(eax, SELECTOR.TSS);
  a.ltr(ax);
  if (!random.oneIn(4)) {
    a.mov(eax, SELECTOR.LDT);
    a.lldt(ax);
  }
  if (nx === true && random.oneIn(2)) {
    a.mov(ecx, MSR.EFER);
    a.mov(eax, EFER.NXE);
    a.mov(edx, 0);
    a.wrmsr();
  }
  const control = turnPagingOn(a, random, paging, vme === true);
  if (runsOn === true) goOnElsewhere(random, view, mode, control);
  dataSegments(a, random, mode);
  frame(a, random, mode, entry(random, mode), runsOn === true ? EFLAGS.IF : 0);
  for (let n = 0; n < 8; n++) if (n !== 4) a.raw(0xb8 + n, ...littleEndian(random.boundary()));
  a.iretd();
  return a.finish().bytes;
}

const littleEndian = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** Operands of LGDT and LIDT. */
function pointers(view: DataView, real: boolean): void {
  view.setUint16(PLACE.POINTERS, GDT_BYTES - 1, true);
  view.setUint32(PLACE.POINTERS + 2, PLACE.GDT, true);
  view.setUint16(PLACE.POINTERS + 8, real ? 0x3ff : 0x7ff, true);
  view.setUint32(PLACE.POINTERS + 10, real ? 0 : PLACE.IDT, true);
}

/** Through a 16-bit code segment, whose base is that of the soup, to real mode there. */
function toRealMode(a: Assembler): void {
  a.jmpFar(SELECTOR.CODE, 'flat');
  a.label('flat');
  a.mov(eax, SELECTOR.DATA);
  a.mov(ss, ax);
  a.mov(eax, CR0.ET);
  a.mov(cr0, eax);
  // The code segment is still a 32-bit one: operand-size prefix for the 16:16 far jump.
  a.raw(0x66, 0xea, 0, 0, (SOUP >>> 4) & 0xff, SOUP >>> 12);
}

/** Puts the handler of `runsOn` and its targets into memory. */
function goOnElsewhere(
  random: Random,
  view: DataView,
  mode: Mode,
  control: { readonly cr0: number; readonly cr3: number; readonly cr4: number },
): void {
  const bytes = new Uint8Array(view.buffer);
  const places = { count: PLACE.COUNT, table: PLACE.TARGETS, pointers: PLACE.POINTERS };
  for (let n = 0; n < TARGETS; n++) {
    const real = random.below(0x8000) | ((SOUP >>> 4) << 16);
    view.setUint32(PLACE.TARGETS + n * 4, mode === 'real' ? real : entry(random, mode), true);
  }
  if (mode === 'real') {
    bytes.set(resumeReal({ ...places, segment: SOUP >>> 4 }), PLACE.RESUME_REAL);
    return;
  }
  const a = new Assembler(PLACE.RESUME);
  resume(a, {
    ...places,
    ...control,
    data: SELECTOR.DATA,
    stack: STACK,
    enter: () => {
      dataSegments(a, random, mode);
      frame(a, random, mode, ebx, EFLAGS.IF);
      a.iretd();
    },
  });
  bytes.set(a.finish().bytes, PLACE.RESUME);
}

/** Returns the control registers that it loads. */
function turnPagingOn(
  a: Assembler,
  random: Random,
  paging: Paging,
  vme: boolean,
): { readonly cr0: number; readonly cr3: number; readonly cr4: number } {
  const control = (paging === 'pae' ? CR4.PAE : 0) | (paging === 'pse' ? CR4.PSE : 0);
  const extra = vme ? random.u32() & (CR4.VME | CR4.PVI | CR4.TSD | CR4.DE | CR4.PCE) : 0;
  if ((control | extra) !== 0) {
    a.mov(eax, control | extra);
    a.mov(cr4, eax);
  }
  const other = random.u32() & (CR0.MP | CR0.EM | CR0.TS | CR0.NE | CR0.WP | CR0.AM);
  const tables = paging === 'pae' ? PLACE.PDPT : PLACE.DIRECTORY;
  if (paging !== 'off') {
    a.mov(eax, tables);
    a.mov(cr3, eax);
  }
  const mode = (CR0.PE | CR0.ET | other | (paging === 'off' ? 0 : CR0.PG)) >>> 0;
  a.mov(eax, mode);
  a.mov(cr0, eax);
  return { cr0: mode, cr3: tables, cr4: control | extra };
}

function dataSegments(a: Assembler, random: Random, mode: Mode): void {
  const user = mode === 'flat-32-user' || mode === 'protected-16-user';
  const flat = user ? SELECTOR.USER_DATA : SELECTOR.DATA;
  const small = user ? SELECTOR.USER_DATA16 : SELECTOR.DATA16;
  for (const register of [ds, es, fs, gs]) {
    const selector =
      mode === 'odd-segments'
        ? random.pick([0, SELECTOR.ODD_CODE, SELECTOR.ODD_DATA, SELECTOR.DATA16, SELECTOR.DATA])
        : mode.startsWith('protected-16')
          ? random.pick([flat, small])
          : flat;
    // Code that cannot be read cannot be loaded.
    a.mov(eax, selector === SELECTOR.ODD_CODE ? SELECTOR.DATA : selector);
    a.mov(register, ax);
  }
  if (mode === 'odd-segments' && random.oneIn(2)) {
    a.mov(eax, SELECTOR.DATA);
    a.mov(ss, ax);
  }
}

/** An offset into the soup in the code segment of a mode. */
function entry(random: Random, mode: Mode): number {
  const is16 = mode.startsWith('protected-16') || mode === 'virtual-8086';
  return is16 ? random.below(0xffff) : offsetInSoup(random);
}

/** What IRETD pops: into the soup, in the mode wanted. `always`: flags that are set in any case. */
function frame(a: Assembler, random: Random, mode: Mode, eip: number | typeof ebx, always: number): void {
  const iopl = random.below(4) << 12;
  const eflags =
    EFLAGS.ONE | always | iopl | (random.u32() & (0xcd5 | EFLAGS.IF)) | (random.oneIn(8) ? EFLAGS.TF : 0);
  if (mode === 'virtual-8086') {
    for (let n = 0; n < 4; n++) a.push(0x2000 + random.below(0x5000));
    a.push(random.below(0x8000));
    a.push(0xfff0 - random.below(0x100));
    a.push(eflags | EFLAGS.VM | (random.u32() & (EFLAGS.VIF | EFLAGS.VIP)));
    a.push(SOUP >>> 4);
    a.push(eip);
    return;
  }
  const is16 = mode.startsWith('protected-16');
  if (mode === 'flat-32-user' || is16) {
    if (mode !== 'protected-16') {
      a.push(is16 ? SELECTOR.USER_DATA16 : SELECTOR.USER_DATA);
      a.push(is16 ? 0xfff0 : STACK - 0x2000);
    }
  }
  const code =
    mode === 'flat-32-user'
      ? SELECTOR.USER_CODE
      : mode === 'protected-16-user'
        ? SELECTOR.USER_CODE16
        : mode === 'protected-16'
          ? SELECTOR.CODE16
          : mode === 'odd-segments'
            ? SELECTOR.ODD_CODE
            : SELECTOR.CODE;
  a.push(eflags);
  a.push(code);
  a.push(eip);
}

const MODELS = ['486', 'pentium', 'pentium-pro', 'pentium4', 'prescott', 'opteron', 'current-amd'] as const;

/** A random guest for a random processor; `models` to choose from another list. */
export function anyGuest(
  random: Random,
  models: readonly string[] = MODELS,
): { readonly model: string; readonly name: string; readonly memory: Uint8Array } {
  const model = random.pick(models);
  const older =
    model === '486' ? ['off', '2-level'] : model === 'pentium' ? ['off', '2-level', 'pse'] : PAGING;
  const paging = random.pick(older) as Paging;
  const mode = random.pick(MODES);
  const nx = !['486', 'pentium', 'pentium-pro', 'pentium4'].includes(model);
  const runsOn = !random.oneIn(3);
  const memory = hostileGuest(random, { mode, paging, nx, vme: model !== '486', runsOn });
  return { model, name: `${model}, ${mode}, paging ${paging}${runsOn ? ', runs on' : ''}`, memory };
}
