import { pushesErrorCode } from '../arch/exceptions.ts';
import { InputError } from '../arch/input-error.ts';
import { EVENT_TYPE, eventInjection, NESTED_CTL, TLB_CONTROL, VMCB, VMCB_SAVE } from '../arch/vmcb.ts';
import {
  AGENT_LAYOUT,
  AGENT_REGISTER,
  ENTER_FLAG,
  OPERATION,
  PROBE_FLAG,
  STEP_SIZE,
} from '../guest/agent-layout.ts';
import { PROBE_FORMS, probeFormNumber } from '../guest/probe-forms.ts';
import type { EntryValue } from './entry.ts';
import type { PagingRegisters } from './registers.ts';
import type { ProbeStep, VmcbChanges } from './scenario.ts';

/** First vector that is not an exception (SDM vol. 3A 6.2). */
const FIRST_INTERRUPT = 32;

const TLB_CONTROLS = {
  all: TLB_CONTROL.FLUSH_ALL,
  asid: TLB_CONTROL.FLUSH_ASID,
  'asid-non-global': TLB_CONTROL.FLUSH_ASID_NON_GLOBAL,
} as const;

/** An entry that L1 writes at a nested page fault. */
export interface Mending {
  /** Address that L1 reaches it by. */
  readonly at: number;
  readonly width: 4 | 8;
  readonly value: EntryValue;
}

/** Both halves of a value of the PAT. Throws an InputError if it is none. */
export function patHalves(pat: string): [lo: number, hi: number] {
  const [, hi, lo] = /^0x([0-9a-f]{8})([0-9a-f]{8})$/.exec(pat) ?? [];
  if (hi === undefined) throw new InputError(`"${pat}" is no value of the PAT: it is 0x and sixteen digits.`);
  return [Number.parseInt(lo, 16), Number.parseInt(hi, 16)];
}

/** The agents' script in the making: operations in order, each with the number of the step it belongs to. */
export class ScriptWriter {
  readonly #words: number[] = [];
  #step = 0;

  /** Number of the step that the following operations belong to. */
  set step(number: number) {
    this.#step = number;
  }

  /** Address of the next operation. */
  get here(): number {
    return AGENT_LAYOUT.SCRIPT + this.#words.length * 4;
  }

  /** Operands are 32 bits each, at most 6. */
  operation(code: number, ...operands: readonly number[]): void {
    this.#words.push(code, this.#step);
    for (let index = 0; index < STEP_SIZE / 4 - 2; index++) this.#words.push((operands[index] ?? 0) >>> 0);
  }

  write(address: number, width: 1 | 2 | 4 | 8, lo: number, hi = 0): void {
    this.operation(OPERATION.WRITE, address, width, lo, hi);
  }

  /** @param value what the probe stores */
  probe(step: ProbeStep, value: number): void {
    const number = probeFormNumber(step.form);
    let flags = step.cpl === 3 ? PROBE_FLAG.CPL3 : 0;
    if (step.ac === true) flags |= PROBE_FLAG.AC;
    if (PROBE_FORMS[number].implicit === true) flags |= PROBE_FLAG.LDT;
    this.operation(OPERATION.PROBE, number, flags, step.at, value);
  }

  /** Clears and sets bits of a register. */
  change(register: 'cr0' | 'cr3' | 'cr4' | 'efer', clear: number, set: number): void {
    const number = {
      cr0: AGENT_REGISTER.CR0,
      cr3: AGENT_REGISTER.CR3,
      cr4: AGENT_REGISTER.CR4,
      efer: AGENT_REGISTER.EFER,
    };
    this.operation(OPERATION.SET, number[register], clear, set);
  }

  switchPaging({ cr0, cr3, cr4, efer }: PagingRegisters): void {
    this.operation(OPERATION.SWITCH, cr0, cr3, cr4, efer);
  }

  /** The fields of a VMCB that `changes` names, given the registers and the nested paging that follow from them. */
  vmcb(
    at: number,
    registers: PagingRegisters | undefined,
    nesting: { readonly low: number; readonly high: number } | undefined,
    changes: VmcbChanges,
  ): void {
    if (registers !== undefined) {
      this.write(at + VMCB_SAVE.CR0, 4, registers.cr0);
      this.write(at + VMCB_SAVE.CR3, 4, registers.cr3);
      this.write(at + VMCB_SAVE.CR4, 4, registers.cr4);
      this.write(at + VMCB_SAVE.EFER, 4, registers.efer);
    }
    if (changes.asid !== undefined) this.write(at + VMCB.GUEST_ASID, 4, changes.asid);
    if (changes.nested !== undefined || changes.nestedHigh !== undefined) {
      this.write(at + VMCB.NESTED_CTL, 4, nesting === undefined ? 0 : NESTED_CTL.NP_ENABLE);
      if (nesting !== undefined) this.write(at + VMCB.N_CR3, 8, nesting.low, nesting.high);
    }
    if (changes.gPat !== undefined) this.write(at + VMCB_SAVE.G_PAT, 8, ...patHalves(changes.gPat));
    if (changes.interceptPageFaults !== undefined) {
      this.write(at + VMCB.INTERCEPT_EXCEPTION, 4, changes.interceptPageFaults ? 1 << 14 : 0);
    }
    if (changes.tlbControl !== undefined) {
      this.write(at + VMCB.TLB_CONTROL, 1, TLB_CONTROLS[changes.tlbControl]);
    }
    if (changes.inject !== undefined) {
      const { vector, errorCode } = changes.inject;
      const type = vector < FIRST_INTERRUPT ? EVENT_TYPE.EXCEPTION : EVENT_TYPE.INTR;
      const event = eventInjection(type, vector, vector < FIRST_INTERRUPT && pushesErrorCode(vector));
      this.write(at + VMCB.EVENTINJ, 8, event, errorCode ?? 0);
    }
  }

  /** Enters L2. Answers what to call with the address to go on at if L2 cannot run. */
  enter(vmcb: number, reflect: boolean, mend: Mending | undefined): (after: number) => void {
    const target = this.#words.length + 3;
    const mending = mend === undefined ? 0 : mend.width === 4 ? ENTER_FLAG.MEND4 : ENTER_FLAG.MEND8;
    const flags = (reflect ? ENTER_FLAG.REFLECT : 0) | mending;
    this.operation(OPERATION.ENTER, vmcb, 0, flags, mend?.at ?? 0, mend?.value.lo ?? 0, mend?.value.hi ?? 0);
    this.operation(OPERATION.NOTHING);
    return (after) => {
      this.#words[target] = after;
    };
  }

  /** The script's bytes, ended. */
  finish(): Uint8Array {
    this.operation(OPERATION.END);
    const view = new DataView(new ArrayBuffer(this.#words.length * 4));
    this.#words.forEach((word, index) => {
      view.setUint32(index * 4, word, true);
    });
    return new Uint8Array(view.buffer);
  }
}
