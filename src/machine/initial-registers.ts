import type { Cpu } from '../cpu/cpu.ts';
import { SYSTEM } from '../cpu/layout.ts';
import type { InitialState } from './loaders/initial-state.ts';

const SEGMENT_ORDER = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;

/** Puts a processor that comes from RESET into the state a loader describes. */
export function applyInitialState(cpu: Cpu, initial: InitialState): void {
  const { state } = cpu;
  for (const [number, value] of initial.gprs.entries()) state.setGpr(number, value);
  SEGMENT_ORDER.forEach((name, segment) => {
    const { selector, base, limit, attributes } = initial.segments[name];
    state.setSegment(segment, selector, base, limit, attributes);
  });
  state.setSystem(SYSTEM.GDT_BASE, initial.gdtr.base);
  state.setSystem(SYSTEM.GDT_LIMIT, initial.gdtr.limit);
  state.setSystem(SYSTEM.IDT_BASE, initial.idtr.base);
  state.setSystem(SYSTEM.IDT_LIMIT, initial.idtr.limit);
  state.setSystem(SYSTEM.CR0, initial.cr0);
  state.eflags = initial.eflags;
  state.eip = initial.eip;
  cpu.cpl = 0;
  cpu.paging.modeChanged();
  cpu.updateContext();
}
