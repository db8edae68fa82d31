import type { Cpu } from '../cpu.ts';
import { EFLAGS } from '../../arch/registers.ts';
import type { TaskSwitch } from '../segmentation/task-switch.ts';
import type { Instruction } from '../instruction.ts';
import type { Event } from '../events/deliver.ts';

export type SimpleIntercept =
  | 'PUSHF' | 'POPF' | 'CPUID' | 'RDTSC' | 'RDTSCP' | 'RDPMC' | 'HLT' | 'PAUSE' | 'RSM' | 'MONITOR' | 'MWAIT'
  | 'VMRUN' | 'VMMCALL' | 'VMLOAD' | 'VMSAVE' | 'STGI' | 'CLGI' | 'SKINIT' | 'INVLPGA' | 'ICEBP';

/**
 * AMD's virtual machine extension as this processor has it: APM vol. 2 chapter 15. Instructions and events ask here
 * whether they are intercepted; a #VMEXIT is thrown as VmExit after the host's state has been restored.
 */
export class Svm {
  readonly #cpu: Cpu;
  /** A guest runs: VMRUN was executed, #VMEXIT not yet. */
  inGuest = false;
  /** Global interrupt flag (APM vol. 2 15.17). */
  gif = true;

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
  }

  /** An exception is about to be delivered. */
  interceptException(_vector: number, _errorCode: number, _linear: number): void {
    void this.#cpu;
  }

  /** Between these, a #VMEXIT reports the event in EXITINTINFO (APM vol. 2 15.7.2). */
  beginDelivery(_event: Event, _exception: boolean): void {}
  endDelivery(): void {}

  interceptShutdown(): void {}
  interceptTaskSwitch(_selector: number, _request: TaskSwitch): void {}

  interceptSoftwareInterrupt(_vector: number): void {}
  interceptInterruptReturn(): void {}
  /** SGDT and LGDT, SIDT and LIDT, SLDT and LLDT, STR and LTR. */
  interceptTable(_which: 'gdt' | 'idt' | 'ldt' | 'tr', _kind: 'read' | 'write'): void {}
  /** MOV CR0, LMSW and CLTS, with the value CR0 would get. */
  interceptCr0Write(_value: number, _lmsw: boolean, _instruction: Instruction): void {}
  interceptCr(_number: number, _kind: 'read' | 'write', _instruction: Instruction): void {}
  interceptDr(_number: number, _kind: 'read' | 'write', _instruction: Instruction): void {}
  interceptMsr(_index: number, _kind: 'read' | 'write'): void {}
  interceptInvalidatePage(_linear: number): void {}
  interceptCacheInvalidation(_which: 'invd' | 'wbinvd'): void {}
  /** IN, OUT, INS, OUTS after the permission checks; sizes in bytes. `segment`: of OUTS' source. */
  interceptIo(
    _port: number,
    _size: 1 | 2 | 4,
    _isInput: boolean,
    _isString: boolean,
    _isRepeated: boolean,
    _addressSize: 2 | 4,
    _segment: number,
  ): void {}
  /** Instructions whose intercept is one bit and whose exit says no more: by the key of INTERCEPT1 or INTERCEPT2. */
  intercept(_name: SimpleIntercept): void {}
  /** CR8 under virtual interrupt masking (APM vol. 2 15.21.3). */
  readTaskPriority(): number {
    return this.#cpu.environment.apic?.taskPriority ?? 0;
  }
  writeTaskPriority(value: number): void {
    if (this.#cpu.environment.apic !== undefined) this.#cpu.environment.apic.taskPriority = value;
  }

  /** #VMEXIT(NMI) or #VMEXIT(INTR) instead of taking it; true if so. */
  interceptNmi(): boolean {
    return false;
  }
  interceptInterrupt(): boolean {
    return false;
  }
  /** Whether a physical interrupt may be taken now. */
  physicalInterruptsOpen(shadow: boolean): boolean {
    return !shadow && (this.#cpu.state.systemFlags & EFLAGS.IF) !== 0;
  }
  /** Takes V_IRQ if it is pending and open. */
  takeVirtualInterrupt(_shadow: boolean): void {}
}
