/**
 * Before an entry: which event, if any, goes into the guest with VMRUN (APM vol. 2 15.20), and whether the guest must exit as
 * soon as it could take an interrupt (15.21.4).
 */
import { VECTOR } from '../arch/exceptions.ts';
import { CR0 } from '../arch/registers.ts';
import { CLEAN, EVENT_TYPE, eventInjection, V_INTR, V_INTR_PRIORITY_SHIFT, VMCB } from '../arch/vmcb.ts';
import { applySideEffects, deliverQueued, injectedReturn } from './delivery.ts';
import { NO_EVENT } from './events.ts';
import { takeInit } from './init.ts';
import type { Vcpu } from './vcpu.ts';

/** A virtual interrupt of the highest priority that ignores TPR: it is "taken" as soon as IF and the shadow allow. */
const WINDOW = V_INTR.IRQ | V_INTR.IGNORE_TPR | (0xf << V_INTR_PRIORITY_SHIFT);

export function prepareEvents(vcpu: Vcpu): void {
  const { events, state, nested } = vcpu;
  applySideEffects(vcpu);
  // Nothing but GIF holds up INIT (APM vol. 2 table 15-10).
  if (events.initPending && vcpu.gif && !(state.guestMode && nested.interceptsInit)) takeInit(vcpu);
  if (nmiWaits(vcpu)) clearTheWay(vcpu);
  // L1 may want to see the event instead; then L1 runs from here on.
  if (state.guestMode) nested.interceptEvents();
  if (events.tripleFault) {
    events.tripleFault = false;
    vcpu.shutdown();
    return;
  }
  if (events.vector >= 0) injectException(vcpu);
  else if (events.event !== NO_EVENT) injectAgain(vcpu);
  else if (nmiAllowed(vcpu)) injectNmi(vcpu);
  else if (vcpu.vm.environment.interrupts.pending && interruptAllowed(vcpu)) injectInterrupt(vcpu);
  updateWindow(vcpu);
}

function inject(vcpu: Vcpu, event: number, errorCode: number, again = false): void {
  const { vmcb, guestMode } = vcpu.state;
  vmcb.write64(VMCB.EVENTINJ, event, errorCode);
  if (guestMode) vmcb.write64(VMCB.NRIP, injectedReturn(vcpu), 0);
  vcpu.injected = event;
  vcpu.halted = false;
  const { trace } = vcpu.vm;
  if (trace !== null) trace.inject(event, errorCode, guestMode, again);
}

function injectException(vcpu: Vcpu): void {
  const { events, state } = vcpu;
  const again = events.redelivered !== NO_EVENT;
  inject(vcpu, events.injection((state.cr0 & CR0.PE) !== 0), events.errorCode, again);
  vcpu.statistics.injectedExceptions += 1;
  events.vector = -1;
  events.redelivered = NO_EVENT;
}

function injectAgain(vcpu: Vcpu): void {
  const { events } = vcpu;
  inject(vcpu, events.event, 0, true);
  events.event = NO_EVENT;
}

/** An NMI is due, but for an interrupt shadow and what is to be delivered before it. */
const nmiWaits = ({ gif, events }: Vcpu): boolean => gif && events.nmiPending && !events.nmiBlocked;

/**
 * IF does not hold up NMIs, and so no interrupt window tells when to inject one: what comes before it, an event or the
 * instruction in an interrupt shadow, is carried out here. Of L2, an intercepted NMI ends the shadow as well.
 */
function clearTheWay(vcpu: Vcpu): void {
  const { events, state, nested } = vcpu;
  deliverQueued(vcpu);
  for (let n = 0; n < MOST_SHADOWS && state.interruptShadow; n += 1) {
    const intercepted = state.guestMode && nested.interceptsNmi;
    if (intercepted || !events.empty || vcpu.exit !== null) return;
    vcpu.emulation.run();
    deliverQueued(vcpu);
  }
}
/** Instructions in a row that each cast a shadow; behind more of them the next exit tries again. */
const MOST_SHADOWS = 64;

const nmiAllowed = (vcpu: Vcpu): boolean => nmiWaits(vcpu) && !vcpu.state.interruptShadow;

function injectNmi(vcpu: Vcpu): void {
  const { events } = vcpu;
  events.nmiPending = false;
  // From its acceptance to IRET, whatever comes of its delivery (SDM vol. 3A 6.7.1). An NMI that L1 injects blocks none.
  events.nmiBlocked = true;
  inject(vcpu, eventInjection(EVENT_TYPE.NMI, VECTOR.NMI, false), 0);
  vcpu.intercepts.iret = true;
  vcpu.applyIntercepts();
}

const interruptAllowed = (vcpu: Vcpu): boolean => vcpu.interruptsOpen && !vcpu.state.interruptShadow;

function injectInterrupt(vcpu: Vcpu): void {
  const vector = vcpu.vm.environment.interrupts.acknowledge();
  inject(vcpu, eventInjection(EVENT_TYPE.INTR, vector, false), 0);
  vcpu.statistics.injectedInterrupts += 1;
}

/** Opens the interrupt window while something waits for it, and closes it otherwise. */
function updateWindow(vcpu: Vcpu): void {
  const { intercepts, vm, state } = vcpu;
  const wanted = vcpu.gif && vm.environment.interrupts.pending && !interceptedByL1(vcpu);
  if (wanted === intercepts.interruptWindow) return;
  intercepts.interruptWindow = wanted;
  const { vmcb } = state;
  if (wanted) vmcb.write(VMCB.V_INTR, (vmcb.read(VMCB.V_INTR) & ~V_INTR.PRIORITY) | WINDOW);
  else closeWindow(vcpu);
  vmcb.dirty(CLEAN.TPR);
  vcpu.applyIntercepts();
}

/** While L2 runs under a VINTR window of L0's, L1's own virtual interrupt is set aside (nested/). */
function closeWindow(vcpu: Vcpu): void {
  const { vmcb, guestMode } = vcpu.state;
  const rest = vmcb.read(VMCB.V_INTR) & ~(V_INTR.IRQ | V_INTR.IGNORE_TPR | V_INTR.PRIORITY);
  vmcb.write(VMCB.V_INTR, guestMode ? rest | vcpu.nested.virtualInterrupt : rest);
}

/** Interrupts end L2 whatever its IF is: there is no window to wait for. */
const interceptedByL1 = (vcpu: Vcpu): boolean => vcpu.state.guestMode && vcpu.nested.interceptsInterrupts;
