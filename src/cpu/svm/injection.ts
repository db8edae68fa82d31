import { VECTOR } from '../../arch/exceptions.ts';
import { EVENT, EVENT_TYPE, type EventType, VMCB, VMCB_SAVE } from '../../arch/vmcb.ts';
import type { Cpu } from '../cpu.ts';
import { deliverInterrupt } from '../events/exceptions.ts';
import type { VmcbPage } from './vmcb-page.ts';

/**
 * Delivers the event in EVENTINJ, if it is valid, before the guest's first instruction (APM vol. 2 15.20). The event
 * itself passes every intercept; exceptions on its way do not.
 */
export function injectEvent(cpu: Cpu, vmcb: VmcbPage): void {
  const field = vmcb.read(VMCB.EVENTINJ);
  if ((field & EVENT.VALID) === 0) return;
  const type = (field & EVENT.TYPE) as EventType;
  const vector = type === EVENT_TYPE.NMI ? VECTOR.NMI : field & EVENT.VECTOR;
  const rip = vmcb.read(VMCB_SAVE.RIP);
  // INT n, and what would come from INT3 and INTO: the gate's DPL counts, and the instruction's end is pushed.
  const software = type === EVENT_TYPE.SOFTWARE || (type === EVENT_TYPE.EXCEPTION && isByInstruction(vector));
  const returnEip = software && cpu.hasFeature('nrip_save') ? vmcb.read(VMCB.NRIP) : rip;
  const errorCode = (field & EVENT.EV) !== 0 ? vmcb.readHigh(VMCB.EVENTINJ) : -1;
  deliverInterrupt(cpu, { type, vector, errorCode, software, returnEip, faultEip: rip });
  // The shadow was that of the interrupted code.
  if (cpu.svm.inGuest) cpu.shadowAt = -1;
}

const isByInstruction = (vector: number): boolean => vector === VECTOR.BP || vector === VECTOR.OF;
