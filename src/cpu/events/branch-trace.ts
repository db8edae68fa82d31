import { DEBUGCTL, LASTBRANCH, MSR } from '../../arch/msrs.ts';
import { ACCESS } from '../../arch/paging/permissions.ts';
import { FORMS } from '../../isa/table.ts';
import type { Cpu } from '../cpu.ts';
import { DECODE_MODE } from '../decode/decoder.ts';
import { CS, RECORD } from '../layout.ts';

const LONGEST = 15;
const ALWAYS_TAKEN: readonly string[] = ['JMP', 'CALL', 'RET', 'RETF', 'IRET', 'SYSENTER', 'SYSEXIT'];
const isConditional = (name: string): boolean => name.startsWith('J') || name.startsWith('LOOP');
/** Families of last-branch registers. */
const KIND = { NONE: 0, PAIR: 1, STACK: 2, SPLIT_STACK: 3 } as const;

/**
 * DEBUGCTL: recording of the last branches, and single steps that are branches (SDM vol. 3B 17.4; APM vol. 2 13.1.1). While
 * either is on the processor runs instruction by instruction, and looks at each before it runs; else nothing is done.
 */
export class BranchTrace {
  readonly #cpu: Cpu;
  readonly #kind: number;
  readonly #bytes = new Uint8Array(LONGEST);
  /** DEBUGCTL.LBR */
  recording = false;
  /** DEBUGCTL.BTF: TF traps behind branches only. */
  stepsBranches = false;
  /** The instruction that runs. */
  #eip = 0;
  #base = 0;
  #next = 0;
  #name = '';

  constructor(cpu: Cpu) {
    const { vendor, family, model } = cpu.model;
    const pentium4 = model < 3 ? KIND.STACK : KIND.SPLIT_STACK;
    const intel = family === 15 ? pentium4 : family === 6 ? KIND.PAIR : KIND.NONE;
    this.#cpu = cpu;
    this.#kind = vendor === 'AuthenticAMD' ? KIND.PAIR : intel;
  }

  /** DEBUGCTL changed. */
  follow(): void {
    const control = this.#cpu.msrs.get(MSR.DEBUGCTL)?.lo ?? 0;
    this.recording = (control & DEBUGCTL.LBR) !== 0;
    this.stepsBranches = (control & DEBUGCTL.BTF) !== 0;
  }

  /** #DB is about to be raised: both are off in its handler (SDM vol. 3B 17.4.2, 17.4.3). */
  debugException(): void {
    if (!this.recording && !this.stepsBranches) return;
    const control = this.#cpu.msrs.get(MSR.DEBUGCTL);
    if (control !== undefined) control.lo &= ~(DEBUGCTL.LBR | DEBUGCTL.BTF);
    this.follow();
  }

  /** Looks at the instruction that runs next. */
  begin(): void {
    const { state, code } = this.#cpu;
    this.#eip = state.eip;
    this.#base = state.segmentBase(CS);
    this.#name = '';
    const mode = this.#cpu.decodeMode;
    const linear = (this.#base + this.#eip) >>> 0;
    const record = code.uncachedBlock(this.#bytes, this.#fetch(linear), linear & 0xfff, mode);
    if (record === 0) return;
    const length = state.u8[record + RECORD.LENGTH] as number;
    const mask = (mode & DECODE_MODE.CODE32) !== 0 ? 0xffff_ffff : 0xffff;
    this.#next = ((this.#eip + length) & mask) >>> 0;
    this.#name = FORMS[state.u16[(record + RECORD.FORM) >> 1] as number].name;
  }

  /** How many bytes of code can be had at an address. A page that is not there is the running instruction's to find. */
  #fetch(linear: number): number {
    const { paging, physical, dataAccess } = this.#cpu;
    for (let count = 0; count < LONGEST; count++) {
      const address = paging.translate((linear + count) >>> 0, dataAccess | ACCESS.FETCH);
      if (address < 0) return count;
      this.#bytes[count] = physical.read8(address);
    }
    return LONGEST;
  }

  /** It ran: records it if it was a branch, and says so. What an event did is not its doing. */
  end(): boolean {
    const { state, delivered } = this.#cpu;
    if (delivered || this.#name === '') return false;
    const always = ALWAYS_TAKEN.includes(this.#name);
    if (!always && !(isConditional(this.#name) && state.eip !== this.#next)) return false;
    if (this.recording) this.#record(this.#base, this.#eip, false);
    return true;
  }

  /** An interrupt or exception reached its handler, from an EIP in a segment at `base`. */
  event(base: number, eip: number): void {
    this.#record(base, eip, true);
  }

  /** P6 registers hold offsets, the others linear addresses (SDM vol. 3B 17.4.8, 17.14). */
  #record(base: number, eip: number, isEvent: boolean): void {
    const { state, model } = this.#cpu;
    const offsets = model.family === 6;
    const from = offsets ? eip : (base + eip) >>> 0;
    const to = offsets ? state.eip : (state.segmentBase(CS) + state.eip) >>> 0;
    if (this.#kind === KIND.PAIR) this.#recordPair(from, to, isEvent);
    else if (this.#kind !== KIND.NONE) this.#push(from, to, isEvent);
  }

  /** One pair, which an interrupt or exception copies into a second one (SDM vol. 3B 17.14; APM vol. 2 13.1.1.9). */
  #recordPair(from: number, to: number, isEvent: boolean): void {
    if (isEvent) {
      this.#set(MSR.LASTINT_FROM, this.#low(MSR.LASTBRANCH_FROM));
      this.#set(MSR.LASTINT_TO, this.#low(MSR.LASTBRANCH_TO));
    }
    this.#set(MSR.LASTBRANCH_FROM, from);
    this.#set(MSR.LASTBRANCH_TO, to);
  }

  /** The stack of the Pentium 4: four entries of two halves, or sixteen pairs (SDM vol. 3B 17.12.2). */
  #push(from: number, to: number, isEvent: boolean): void {
    const split = this.#kind === KIND.SPLIT_STACK;
    const top = this.#low(LASTBRANCH.TOS);
    const next = (top + 1) % (split ? LASTBRANCH.SPLIT_ENTRIES : LASTBRANCH.ENTRIES);
    if (isEvent) {
      const last = this.#cpu.msrs.get(split ? LASTBRANCH.TO0 + top : LASTBRANCH.ENTRY0 + top);
      this.#set(LASTBRANCH.LER_FROM, this.#low(split ? LASTBRANCH.FROM0 + top : LASTBRANCH.ENTRY0 + top));
      this.#set(LASTBRANCH.LER_TO, (split ? last?.lo : last?.hi) ?? 0);
    }
    this.#set(LASTBRANCH.TOS, next);
    if (split) {
      this.#set(LASTBRANCH.FROM0 + next, from);
      this.#set(LASTBRANCH.TO0 + next, to);
    } else this.#set(LASTBRANCH.ENTRY0 + next, from, to);
  }

  #low(index: number): number {
    return this.#cpu.msrs.get(index)?.lo ?? 0;
  }

  #set(index: number, lo: number, hi = 0): void {
    const register = this.#cpu.msrs.get(index);
    if (register === undefined) return;
    register.lo = lo >>> 0;
    register.hi = hi >>> 0;
  }
}
