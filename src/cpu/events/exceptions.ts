import { COMBINATION, combineExceptions, VECTOR } from '../../arch/exceptions.ts';
import { EFLAGS } from '../../arch/registers.ts';
import type { Cpu } from '../cpu.ts';
import { VmExit } from '../guest-exception.ts';
import { SYSTEM } from '../layout.ts';
import { deliverEvent, type Event } from './deliver.ts';

/** A handler's frame has RF set for faults, so that an instruction breakpoint does not fire again (SDM vol. 3B 17.3.1.1). */
const isFault = (vector: number): boolean =>
  vector !== VECTOR.DB &&
  vector !== VECTOR.BP &&
  vector !== VECTOR.OF &&
  vector !== VECTOR.DF &&
  vector !== VECTOR.NMI;

/**
 * Raises an exception at `eip` and carries it to its handler: #VMEXIT if it is intercepted, a double fault or shutdown
 * if its delivery fails. Afterwards EIP is where to go on. For a #PF the address is in `cpu.exception.linear`.
 */
export function raiseException(cpu: Cpu, vector: number, errorCode: number, eip: number): void {
  withDelivery(cpu, { vector, errorCode, software: false, returnEip: eip }, true);
}

/** Delivers an interrupt, NMI, software interrupt or injected event, which exceptions intercepts do not see. */
export function deliverInterrupt(cpu: Cpu, event: Event): void {
  withDelivery(cpu, event, false);
}

function withDelivery(cpu: Cpu, first: Event, isException: boolean): void {
  let event = first;
  let exception = isException;
  const faultEip = first.faultEip ?? first.returnEip;
  cpu.delivered = true;
  cpu.state.eip = faultEip;
  for (;;) {
    try {
      if (exception) cpu.svm.interceptException(event.vector, event.errorCode, cpu.exception.linear);
      if (event.vector === VECTOR.PF && exception) cpu.state.setSystem(SYSTEM.CR2, cpu.exception.linear);
      if (exception && isFault(event.vector)) cpu.state.systemFlags |= EFLAGS.RF;
      cpu.svm.beginDelivery(event, exception);
      deliverEvent(cpu, event);
      cpu.svm.endDelivery();
      return;
    } catch (error) {
      if (error instanceof VmExit) return;
      if (error !== cpu.exception) throw error;
    }
    const next = nextEvent(cpu, event, exception, faultEip);
    if (next === undefined) return;
    event = next;
    exception = true;
  }
}

/** What becomes of a fault during delivery (SDM vol. 3A 6.15, "Interrupt 8"). */
function nextEvent(cpu: Cpu, event: Event, wasException: boolean, returnEip: number): Event | undefined {
  const { vector, errorCode } = cpu.exception;
  const combination = wasException ? combineExceptions(event.vector, vector) : COMBINATION.SERIAL;
  if (combination === COMBINATION.SHUTDOWN) {
    enterShutdown(cpu);
    return undefined;
  }
  if (combination === COMBINATION.DOUBLE_FAULT)
    return { vector: VECTOR.DF, errorCode: 0, software: false, returnEip };
  return { vector, errorCode, software: false, returnEip };
}

/** SDM vol. 3A 6.15: a triple fault; under SVM it may be intercepted. */
function enterShutdown(cpu: Cpu): void {
  try {
    cpu.svm.interceptShutdown();
  } catch (error) {
    if (error instanceof VmExit) return;
    throw error;
  }
  cpu.shutdown = true;
  cpu.endSlice();
}
