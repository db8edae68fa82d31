import { LDT_SELECTOR, SHIFTED_BASE } from './agent-layout.ts';
import {
  type Assembler,
  cl,
  cs,
  cx,
  ebx,
  ecx,
  edx,
  es,
  esp,
  fs,
  gs,
  mem8,
  mem16,
  mem32,
  type RegisterOperand,
  ss,
} from './assembler.ts';

/** What an access does to the page tables' eyes. A read-modify-write counts as a write (SDM vol. 3A 4.6). */
export type ProbeAccess = 'read' | 'write' | 'fetch';

/**
 * One way to touch memory. The stub gets the address in EBX and a value in ECX, leaves its result in ECX and jumps
 * to EDX. The instruction that may fault is the last one before that jump.
 */
export interface ProbeForm {
  readonly name: string;
  readonly access: ProbeAccess;
  /** Bytes touched. */
  readonly size: 1 | 2 | 4 | 8;
  /** What the result in ECX is: the bytes read, the value given, or the selector loaded. */
  readonly result: 'read' | 'given' | 'selector';
  /** Reads and writes in one instruction: XCHG, which is always locked (SDM vol. 3A 8.1.2.1). */
  readonly modifies?: true;
  /** A supervisor access whatever the CPL, to which EFLAGS.AC does not apply (SDM vol. 3A 4.6.1). */
  readonly implicit?: true;
  /** Uses the stack pointer, which CPL 0 needs for the fault itself. */
  readonly userOnly?: true;
  readonly emit: (a: Assembler) => void;
}

const through = (segment: RegisterOperand): { segment: RegisterOperand } => ({ segment });
/** FS and GS have the shifted base, so the offset is the linear address less that. */
const shifted = (segment: RegisterOperand) => mem32(ebx, -SHIFTED_BASE, through(segment));

// biome-ignore format: table
const FORMS = [
  { name: 'read1',    access: 'read',  size: 1, result: 'read',  emit: (a) => a.movzx(ecx, mem8(ebx)) },
  { name: 'read2',    access: 'read',  size: 2, result: 'read',  emit: (a) => a.movzx(ecx, mem16(ebx)) },
  { name: 'read4',    access: 'read',  size: 4, result: 'read',  emit: (a) => a.mov(ecx, mem32(ebx)) },
  { name: 'write1',   access: 'write', size: 1, result: 'given', emit: (a) => a.mov(mem8(ebx), cl) },
  { name: 'write2',   access: 'write', size: 2, result: 'given', emit: (a) => a.mov(mem16(ebx), cx) },
  { name: 'write4',   access: 'write', size: 4, result: 'given', emit: (a) => a.mov(mem32(ebx), ecx) },
  { name: 'rmw1',     access: 'write', size: 1, result: 'read',  modifies: true, emit: (a) => a.xchg(mem8(ebx), cl) },
  { name: 'rmw4',     access: 'write', size: 4, result: 'read',  modifies: true, emit: (a) => a.xchg(mem32(ebx), ecx) },
  { name: 'fetch',    access: 'fetch', size: 1, result: 'read',  emit: (a) => a.jmp(ebx) },
  { name: 'read4.cs', access: 'read',  size: 4, result: 'read',  emit: (a) => a.mov(ecx, mem32(ebx, 0, through(cs))) },
  { name: 'read4.ss', access: 'read',  size: 4, result: 'read',  emit: (a) => a.mov(ecx, mem32(ebx, 0, through(ss))) },
  { name: 'read4.es', access: 'read',  size: 4, result: 'read',  emit: (a) => a.mov(ecx, mem32(ebx, 0, through(es))) },
  { name: 'read4.fs', access: 'read',  size: 4, result: 'read',  emit: (a) => a.mov(ecx, shifted(fs)) },
  { name: 'read4.gs', access: 'read',  size: 4, result: 'read',  emit: (a) => a.mov(ecx, shifted(gs)) },
  { name: 'write4.ss', access: 'write', size: 4, result: 'given', emit: (a) => a.mov(mem32(ebx, 0, through(ss)), ecx) },
  { name: 'write4.fs', access: 'write', size: 4, result: 'given', emit: (a) => a.mov(shifted(fs), ecx) },
  { name: 'write4.es', access: 'write', size: 4, result: 'given', emit: (a) => a.mov(mem32(ebx, 0, through(es)), ecx) },
  { name: 'write4.gs', access: 'write', size: 4, result: 'given', emit: (a) => a.mov(shifted(gs), ecx) },
  { name: 'push',     access: 'write', size: 4, result: 'given', userOnly: true, emit: (a) => a.push(ecx) },
  { name: 'pop',      access: 'read',  size: 4, result: 'read',  userOnly: true, emit: (a) => a.pop(ecx) },
  { name: 'descriptor',       access: 'read',  size: 8, result: 'selector', implicit: true, emit: (a) => a.mov(fs, ecx) },
  { name: 'descriptor.write', access: 'write', size: 8, result: 'selector', implicit: true, emit: (a) => a.mov(fs, ecx) },
] as const satisfies readonly ProbeForm[];

export type ProbeFormName = (typeof FORMS)[number]['name'];
/** Every probe form; the index is its number in a script. */
export const PROBE_FORMS: readonly (ProbeForm & { readonly name: ProbeFormName })[] = FORMS;

/** Number of a form in a script. Throws if there is none of that name. */
export function probeFormNumber(name: ProbeFormName): number {
  const number = PROBE_FORMS.findIndex((form) => form.name === name);
  if (number < 0) throw new RangeError(`There is no probe form "${name}".`);
  return number;
}

/** Label of the instruction of a form that may fault; `kind` is the ring the stubs are for. */
export const probeLabel = (kind: 'kernel' | 'user', form: number): string => `${kind}-probe-${form}`;

/** Emits the stubs of all forms for one ring. */
export function emitProbeStubs(a: Assembler, kind: 'kernel' | 'user'): void {
  const forms = PROBE_FORMS;
  forms.forEach((form, index) => {
    a.label(`${kind}-stub-${index}`);
    if (form.name === 'push') a.emit('Lea', esp, { ...mem32(ebx, 4), size: 0 });
    if (form.name === 'pop') a.mov(esp, ebx);
    if (form.result === 'selector') a.mov(ecx, LDT_SELECTOR);
    if (form.name === 'rmw1') a.movzx(ecx, cl);
    a.label(probeLabel(kind, index));
    form.emit(a);
    a.jmp(edx);
  });
}

/** Emits the addresses of a ring's stubs under the label `${kind}-probes`; SMAP keeps CPL 0 from reading user pages. */
export function emitProbeTable(a: Assembler, kind: 'kernel' | 'user'): void {
  a.align(4);
  a.label(`${kind}-probes`);
  PROBE_FORMS.forEach((_, index) => {
    a.data32({ kind: 'address', label: `${kind}-stub-${index}`, offset: 0 });
  });
}
