import { COMBINATION, combineExceptions, VECTOR } from '../../arch/exceptions.ts';
import { EFLAGS } from '../../arch/registers.ts';
import { EVENT_TYPE } from '../../arch/vmcb.ts';
import type { Cpu, ShutdownCause } from '../cpu.ts';
import { NESTED_PAGE_FAULT, VmExit } from '../guest-exception.ts';
import { CS, SYSTEM } from '../layout.ts';
import { deliverEvent, type Event } from './deliver.ts';

/** A handler's frame has RF set for faults, so that an instruction breakpoint does not fire again (SDM vol. 3B 17.3.1.1). */
const isFault = (vector: number): boolean =>
  vector !== VECTOR.DB &&
  vector !== VECTOR.BP &&
  vector !== VECTOR.OF &&
  vector !== VECTOR.DF &&
  vector !== VECTOR.SX &&
  vector !== VECTOR.NMI;

const exceptionEvent = (vector: number, errorCode: number, eip: number): Event => ({
  type: EVENT_TYPE.EXCEPTION,
  vector,
  errorCode,
  software: false,
  returnEip: eip,
});

/**
 * Raises an exception at `instructionEip` and carries it to its handler: #VMEXIT if it is intercepted, a double fault
 * or shutdown if its delivery fails. Afterwards EIP is where to go on. For a #PF the address is in `cpu.exception.linear`.
 */
export function raiseException(cpu: Cpu, vector: number, errorCode: number, instructionEip: number): void {
  const eip = cpu.exception.takeEip(instructionEip);
  cpu.delivered = true;
  cpu.state.eip = eip;
  try {
    if (!acceptException(cpu, vector, errorCode, eip)) return;
    deliver(cpu, exceptionEvent(vector, errorCode, eip));
  } catch (error) {
    if (!(error instanceof VmExit)) throw error;
  }
}

/** Delivers an interrupt, NMI, software interrupt or injected event, which exception intercepts do not see. */
export function deliverInterrupt(cpu: Cpu, event: Event): void {
  cpu.delivered = true;
  cpu.state.eip = event.faultEip ?? event.returnEip;
  try {
    deliver(cpu, event);
  } catch (error) {
    if (!(error instanceof VmExit)) throw error;
  }
}

/**
 * An exception leaves its traces, CR2 and RF, unless it is intercepted, or is no exception but a nested page fault: false
 * then, with the host back.
 */
function acceptException(cpu: Cpu, vector: number, errorCode: number, eip: number): boolean {
  if (vector === NESTED_PAGE_FAULT) {
    cpu.svm.exitForNestedFault(cpu.exception, eip);
    return false;
  }
  if (cpu.svm.exitForException(vector, errorCode, cpu.exception.linear, eip)) return false;
  if (vector === VECTOR.PF) cpu.state.setSystem(SYSTEM.CR2, cpu.exception.linear);
  if (isFault(vector)) cpu.state.systemFlags |= EFLAGS.RF;
  return true;
}

/** Carries an event to its handler; a fault on the way becomes the next event. */
function deliver(cpu: Cpu, first: Event): void {
  const { linear } = cpu.exception;
  let event: Event | undefined = first;
  while (event !== undefined) event = attempt(cpu, event, event.faultEip ?? event.returnEip);
  if (cpu.shutdown) cpu.shutdownCause = causeOf(first, linear);
}

function causeOf({ vector, errorCode, faultEip, returnEip }: Event, linear: number): ShutdownCause {
  return { vector, errorCode, eip: faultEip ?? returnEip, linear: vector === VECTOR.PF ? linear : 0 };
}

function attempt(cpu: Cpu, event: Event, faultEip: number): Event | undefined {
  cpu.svm.beginDelivery(event, faultEip);
  const base = cpu.state.segmentBase(CS);
  try {
    deliverEvent(cpu, event);
  } catch (error) {
    if (error !== cpu.exception) throw error;
    return nextEvent(cpu, event, cpu.exception.takeEip(faultEip));
  }
  cpu.svm.endDelivery();
  if (cpu.branches.recording) cpu.branches.event(base, faultEip);
  return undefined;
}

/**
 * What becomes of a fault during delivery (SDM vol. 3A 6.15, "Interrupt 8"). Its own intercept comes first, that of the
 * double fault or shutdown it may make is next (APM vol. 2 15.7.3).
 */
function nextEvent(cpu: Cpu, event: Event, faultEip: number): Event | undefined {
  const { vector, errorCode } = cpu.exception;
  if (!acceptException(cpu, vector, errorCode, faultEip)) return undefined;
  const isException = event.type === EVENT_TYPE.EXCEPTION;
  const combination = isException ? combineExceptions(event.vector, vector) : COMBINATION.SERIAL;
  if (combination === COMBINATION.SERIAL) return exceptionEvent(vector, errorCode, faultEip);
  if (combination === COMBINATION.DOUBLE_FAULT) {
    const exits = cpu.svm.exitForException(VECTOR.DF, 0, 0, faultEip);
    return exits ? undefined : exceptionEvent(VECTOR.DF, 0, faultEip);
  }
  cpu.svm.interceptShutdown(faultEip);
  cpu.svm.endDelivery();
  cpu.shutdown = true;
  cpu.endSlice();
  return undefined;
}
