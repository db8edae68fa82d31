import { VMEXIT, type Vmexit } from '../../arch/svm-exits.ts';
import type { Cpu } from '../cpu.ts';
import type { Event } from '../events/deliver.ts';
import { VmExit } from '../guest-exception.ts';
import { ExitInformation } from './exit-information.ts';
import type { WorldSwitch } from './world-switch.ts';

/** Thrown where an operation or a delivery must end with the #VMEXIT that just happened. */
export const EXIT = new VmExit();

/** The way out of a guest (APM vol. 2 15.6, 15.7): gathers what is reported, writes it and brings the host back. */
export class GuestExit {
  readonly #cpu: Cpu;
  readonly #switch: WorldSwitch;
  readonly #information = new ExitInformation();
  /** The event on its way to its handler, and where a fault meanwhile leaves RIP. */
  delivering: Event | undefined;
  deliveryEip = 0;

  constructor(cpu: Cpu, worldSwitch: WorldSwitch) {
    this.#cpu = cpu;
    this.#switch = worldSwitch;
  }

  /** Begins an exit; what it reports beyond the code is to be filled in. */
  begin(code: Vmexit | number): ExitInformation {
    return this.#information.begin(code);
  }

  /** #VMEXIT with the guest at `eip`: the host is back when it returns. */
  leave(exit: ExitInformation, eip: number): void {
    const inDelivery = this.delivering !== undefined;
    if (this.delivering !== undefined) exit.setEvent(this.#cpu, this.delivering);
    this.#switch.saveGuest(eip, inDelivery);
    this.#finish(exit);
  }

  /** #VMEXIT in the middle of an instruction or a delivery, which is over with it. */
  throw(exit: ExitInformation, eip: number): never {
    this.leave(exit, eip);
    throw EXIT;
  }

  /** #VMEXIT instead of the running instruction, with nRIP behind it (15.7.1). */
  leaveInstruction(exit: ExitInformation): void {
    exit.nextRip = this.#cpu.nextEip;
    this.leave(exit, this.#cpu.instructionEip);
  }

  throwInstruction(exit: ExitInformation): never {
    this.leaveInstruction(exit);
    throw EXIT;
  }

  /** VMRUN refused its VMCB: no guest state was loaded, and none is written back. */
  refuse(): void {
    this.#finish(this.begin(VMEXIT.INVALID));
  }

  #finish(exit: ExitInformation): void {
    const cpu = this.#cpu;
    const { svm } = cpu;
    this.#switch.writeExit(exit);
    this.delivering = undefined;
    svm.inGuest = false;
    svm.gif = false;
    if (!this.#switch.loadHost()) cpu.shutdown = true;
    if (svm.hostReturns) cpu.stopRequested = true;
    if (svm.hostReturns || cpu.shutdown) cpu.endSlice();
  }
}
