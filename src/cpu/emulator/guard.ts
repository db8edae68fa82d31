import { VECTOR } from '../../arch/exceptions.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import type { Cpu } from '../cpu.ts';
import type { GuestException } from '../guest-exception.ts';
import type { PhysicalMemory } from '../physical-memory.ts';
import type { ExitInformation } from '../svm/exit-information.ts';
import { EXIT, GuestExit } from '../svm/guest-exit.ts';
import { type SimpleIntercept, Svm } from '../svm/svm.ts';
import { VmcbPage } from '../svm/vmcb-page.ts';
import { WorldSwitch } from '../svm/world-switch.ts';

/** No exit code: every intercept counts. */
export const NO_EXIT = -1;

/** A #VMEXIT that is only noted: there is no host to go back to. */
class NotedExit extends GuestExit {
  readonly #cpu: Cpu;
  /** What the processor would report. */
  noted: ExitInformation | undefined;

  constructor(cpu: Cpu) {
    super(cpu, new WorldSwitch(cpu));
    this.#cpu = cpu;
  }

  override leave(exit: ExitInformation): void {
    if (this.delivering !== undefined) exit.setEvent(this.#cpu, this.delivering);
    this.delivering = undefined;
    this.noted = exit;
  }
}

/**
 * Stands where the processor asks whether something is intercepted. An intercept of the guest's VMCB ends the emulation
 * with what its #VMEXIT would report, and so does every exception, and what an emulator cannot do: tell the time, and
 * reach MSRs.
 */
export class EmulationGuard extends Svm {
  /** It was an exception that ended the emulation; it is in the processor's `exception`. */
  faulted = false;
  readonly #owner: Cpu;
  readonly #exits: NotedExit;
  readonly #vmcb: VmcbPage;

  /** @param memory where VMCBs and permission maps lie */
  constructor(cpu: Cpu, memory: PhysicalMemory) {
    const exits = new NotedExit(cpu);
    super(cpu, { exits, maps: memory });
    this.#owner = cpu;
    this.#exits = exits;
    this.#vmcb = new VmcbPage(memory);
  }

  /**
   * @param vmcb        physical address of the guest's VMCB
   * @param disregarded exit code of the intercept that is being carried out; NO_EXIT for none
   */
  begin(vmcb: number, disregarded: number): void {
    this.faulted = false;
    this.#exits.noted = undefined;
    this.#exits.delivering = undefined;
    this.#vmcb.attach(vmcb);
    this.useControls(this.#vmcb, disregarded);
  }

  /** How the emulation ended, if by an exception or an intercept. */
  get exit(): ExitInformation | undefined {
    return this.#exits.noted;
  }

  override exitForException(vector: number, errorCode: number, linear: number): boolean {
    const { exception } = this.#owner;
    this.faulted = true;
    exception.vector = vector;
    exception.errorCode = errorCode;
    exception.linear = linear;
    const exit = this.#exits.begin(VMEXIT.EXCP + vector);
    // BOUND; INT3 and INTO are asked about before they raise anything (APM vol. 2 15.7.1).
    if (vector === VECTOR.BR) exit.nextRip = this.#owner.nextEip;
    this.#exits.leave(exit);
    return true;
  }

  /** Its owner knows what it is about: nested tables are none of the emulator's. */
  override exitForNestedFault(fault: GuestException): void {
    this.exitForException(fault.vector, fault.errorCode, 0);
  }

  /** INT3 and INTO: they are carried out unless their vector is intercepted. */
  override interceptException(vector: number, errorCode: number, linear: number): void {
    if (super.exitForException(vector, errorCode, linear, this.#owner.instructionEip)) throw EXIT;
  }

  override exitForInstruction(name: SimpleIntercept): boolean {
    if (super.exitForInstruction(name)) return true;
    if (name !== 'RDTSC' && name !== 'RDTSCP') return false;
    this.#exits.leaveInstruction(this.#exits.begin(VMEXIT[name]));
    return true;
  }

  override interceptMsr(_index: number, kind: 'read' | 'write'): void {
    const exit = this.#exits.begin(VMEXIT.MSR);
    exit.info1 = kind === 'write' ? 1 : 0;
    this.#exits.throwInstruction(exit);
  }
}
