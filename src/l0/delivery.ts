/**
 * Delivery of events in software. The processor delivers what L0 injects and what the guest's own code raises, but where it
 * meets a device or a protected page table on the way, L0 must do it: the processor's own delivery is run in the emulator.
 */
import { VECTOR } from '../arch/exceptions.ts';
import { CR0, EFLAGS } from '../arch/registers.ts';
import { CLEAN, EVENT, EVENT_TYPE, type EventType, VMCB, VMCB_SAVE } from '../arch/vmcb.ts';
import { NO_EVENT } from './events.ts';
import { instructionLength } from './exits/instruction.ts';
import type { EmulatedEvent } from './hardware.ts';
import type { Vcpu } from './vcpu.ts';

/** The exit was met on the way to an event's handler (EXITINTINFO, APM vol. 2 15.7.2): delivers that event. */
export function deliverInSoftware(vcpu: Vcpu): void {
  const event = queuedEvent(vcpu);
  // INT n and its like begin anew with the instruction.
  if (event === null) vcpu.emulation.run();
  else vcpu.emulation.deliver(event);
}

/**
 * Delivers in software what is queued, and the faults on the way, so that another event can be taken before the handler's
 * first instruction. Stops where L1 or user space must look.
 */
export function deliverQueued(vcpu: Vcpu): void {
  const { events, state } = vcpu;
  const { guestMode } = state;
  while (vcpu.exit === null && state.guestMode === guestMode) {
    if (events.nestedVector >= 0 || events.tripleFault) return;
    const event = queuedEvent(vcpu) ?? newException(vcpu);
    if (event === null) return;
    applySideEffects(vcpu);
    vcpu.halted = false;
    vcpu.emulation.deliver(event);
  }
}

/** An exception that L0 raised and nobody has begun to deliver. */
function newException({ events, state }: Vcpu): EmulatedEvent | null {
  if (events.vector < 0) return null;
  const info = events.injection((state.cr0 & CR0.PE) !== 0);
  return describe(info, (info & EVENT.EV) !== 0 ? events.errorCode : -1, state.rip);
}

/**
 * What the processor does when it raises an exception by itself and not when one is injected: CR2, and RF in the flags. It
 * does so even where the exception then makes a double fault.
 */
export function applySideEffects(vcpu: Vcpu): void {
  const { events, state } = vcpu;
  if (events.pageFaultAddress >= 0) {
    state.vmcb.write64(VMCB_SAVE.CR2, events.pageFaultAddress, 0);
    state.vmcb.dirty(CLEAN.CR2);
    events.pageFaultAddress = -1;
  }
  // The flags that a fault pushes have RF = 1 (SDM vol. 3B 17.3.1.1).
  if (events.faulted) state.rflags |= EFLAGS.RF;
  events.faulted = false;
}

/** The event whose delivery the exit in the current VMCB interrupted; null for none. */
export function eventInDelivery(vcpu: Vcpu): EmulatedEvent | null {
  const queued = queuedEvent(vcpu);
  if (queued !== null) return queued;
  const { state } = vcpu;
  const info = state.vmcb.read(VMCB.EXITINTINFO);
  if ((info & EVENT.VALID) === 0) return null;
  return describe(info, -1, (state.rip + instructionLength(vcpu)) >>> 0);
}

/** The event that the queue has taken over from EXITINTINFO to deliver it again; null where an instruction will do that. */
function queuedEvent(vcpu: Vcpu): EmulatedEvent | null {
  const { events, state } = vcpu;
  const info = events.vector >= 0 ? events.redelivered : events.event;
  if (info === NO_EVENT) return null;
  const errorCode = (info & EVENT.EV) !== 0 ? events.errorCode : -1;
  return describe(info, errorCode, isSoftware(info) ? injectedReturn(vcpu) : state.rip);
}

function describe(info: number, errorCode: number, returnEip: number): EmulatedEvent {
  const type = (info & EVENT.TYPE) as EventType;
  const vector = type === EVENT_TYPE.NMI ? VECTOR.NMI : info & EVENT.VECTOR;
  return { type, vector, errorCode, software: isSoftware(info), returnEip };
}

/** INT n, INT3 and INTO (APM vol. 2 15.20). */
function isSoftware(info: number): boolean {
  const type = info & EVENT.TYPE;
  const vector = info & EVENT.VECTOR;
  if (type === EVENT_TYPE.EXCEPTION) return vector === VECTOR.BP || vector === VECTOR.OF;
  return type === EVENT_TYPE.SOFTWARE;
}

/**
 * What a software event that L1 injects pushes for RIP: the next rIP in L1's VMCB, where its CPU has that field
 * (APM vol. 2 15.20). Nobody else injects those: what the guest begins itself runs once more.
 */
export function injectedReturn(vcpu: Vcpu): number {
  const { nested, state, vm } = vcpu;
  const saved = state.guestMode && vm.model.features.has('nrip_save');
  return saved ? nested.read12(VMCB.NRIP) : state.rip;
}
