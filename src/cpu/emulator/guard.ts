import type { Cpu } from '../cpu.ts';
import { VmExit } from '../guest-exception.ts';
import { type SimpleIntercept, Svm } from '../svm/svm.ts';

const EXIT = new VmExit();

/**
 * Stands where the processor asks whether something is intercepted: everything that is not plain work on registers and
 * memory ends the emulation.
 */
export class EmulationGuard extends Svm {
  /** An exception ended the instruction; it is in the processor's `exception`. */
  faulted = false;
  /** The instruction is not for the emulator. */
  refused = false;
  readonly #owner: Cpu;

  constructor(cpu: Cpu) {
    super(cpu);
    this.#owner = cpu;
  }

  begin(): void {
    this.faulted = false;
    this.refused = false;
  }

  #refuse(): never {
    this.refused = true;
    throw EXIT;
  }

  override exitForException(vector: number, errorCode: number, linear: number): boolean {
    this.faulted = true;
    this.#owner.exception.vector = vector;
    this.#owner.exception.errorCode = errorCode;
    this.#owner.exception.linear = linear;
    return true;
  }
  override interceptSoftwareInterrupt(): void {
    this.#refuse();
  }
  override interceptTaskSwitch(): void {
    if (!this.allowsTaskSwitch) this.#refuse();
  }
  /** A task switch is what is being emulated. */
  allowsTaskSwitch = false;
  override interceptCr0Write(): void {
    this.#refuse();
  }
  override interceptCr(_number: number, kind: 'read' | 'write'): void {
    if (kind === 'write') this.#refuse();
  }
  override interceptDr(): void {
    this.#refuse();
  }
  override interceptMsr(): void {
    this.#refuse();
  }
  override interceptInvalidatePage(): void {
    this.#refuse();
  }
  override interceptCacheInvalidation(): void {
    this.#refuse();
  }
  override exitForInstruction(name: SimpleIntercept): boolean {
    if (name !== 'PUSHF' && name !== 'POPF' && name !== 'PAUSE') this.#refuse();
    return false;
  }
}
