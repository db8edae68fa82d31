/**
 * The registers that VMRUN and #VMEXIT switch, on their way between the processor and a page in the VMCB's layout
 * (APM vol. 2 15.5.1, 15.6, appendix B table B-2). What follows from new values is left to the caller.
 */
import { ATTRIBUTE, SYSTEM_TYPE } from '../../arch/descriptors.ts';
import {
  CR0 as CR0_BIT,
  CR0_DEFINED,
  DR6_FIXED_ONE,
  DR7_FIXED_ONE,
  DR7_FIXED_ZERO,
  EFLAGS,
  EFLAGS_DEFINED,
} from '../../arch/registers.ts';
import { VMCB_SAVE, VMCB_SEGMENT } from '../../arch/vmcb.ts';
import { RAX, RSP } from '../../isa/builder.ts';
import type { Cpu } from '../cpu.ts';
import { CS, DS, ES, SS, SYSTEM } from '../layout.ts';
import type { CpuState } from '../state.ts';
import type { VmcbPage } from './vmcb-page.ts';

const { SELECTOR, LIMIT, BASE } = VMCB_SEGMENT;
const ALL_ATTRIBUTES = 0xfff;
/** Bits of DR6 that software can set (APM vol. 2 13.1.1.3). */
const DR6_WRITABLE = 0xe00f;

/** Writes selector, 12-bit attributes, limit and base of a segment register to the field at `place`. */
export function storeSegment(state: CpuState, page: VmcbPage, place: number, segment: number): void {
  const selector = state.selector(segment);
  page.write(place + SELECTOR, selector | (state.segmentAttributes(segment) << 16));
  page.write(place + LIMIT, state.segmentLimit(segment));
  page.write64(place + BASE, state.segmentBase(segment), 0);
}

/**
 * Loads a segment register with its hidden part. P alone says whether it is null; S is not looked at, and CS is
 * never null (APM vol. 2 15.5.1, "Segment State in the VMCB").
 */
export function loadSegment(state: CpuState, page: VmcbPage, place: number, segment: number): void {
  const first = page.read(place + SELECTOR);
  let attributes = (first >>> 16) & ALL_ATTRIBUTES;
  if (segment === CS) attributes |= ATTRIBUTE.P | ATTRIBUTE.S;
  else if ((attributes & ATTRIBUTE.P) !== 0) attributes |= ATTRIBUTE.S;
  state.setSegment(segment, first & 0xffff, page.read(place + BASE), page.read(place + LIMIT), attributes);
}

/** LDTR and TR. Of LDTR, P, S and the type count: anything but a present LDT is none. */
export function loadSystemSegment(
  state: CpuState,
  page: VmcbPage,
  place: number,
  segment: number,
  type: number,
): void {
  const first = page.read(place + SELECTOR);
  let attributes = (first >>> 16) & ALL_ATTRIBUTES;
  const wrong = (attributes & (ATTRIBUTE.S | ATTRIBUTE.TYPE)) !== type;
  if (type === SYSTEM_TYPE.LDT && wrong) attributes &= ~ATTRIBUTE.P;
  state.setSegment(segment, first & 0xffff, page.read(place + BASE), page.read(place + LIMIT), attributes);
}

/** What host and guest have in common; RIP and RFLAGS as given, because neither is current in the processor. */
export function storeSwitched(cpu: Cpu, page: VmcbPage, rip: number, rflags: number): void {
  const { state } = cpu;
  storeSegment(state, page, VMCB_SAVE.ES, ES);
  storeSegment(state, page, VMCB_SAVE.CS, CS);
  storeSegment(state, page, VMCB_SAVE.SS, SS);
  storeSegment(state, page, VMCB_SAVE.DS, DS);
  page.write(VMCB_SAVE.GDTR + LIMIT, state.system(SYSTEM.GDT_LIMIT));
  page.write64(VMCB_SAVE.GDTR + BASE, state.system(SYSTEM.GDT_BASE), 0);
  page.write(VMCB_SAVE.IDTR + LIMIT, state.system(SYSTEM.IDT_LIMIT));
  page.write64(VMCB_SAVE.IDTR + BASE, state.system(SYSTEM.IDT_BASE), 0);
  page.write64(VMCB_SAVE.EFER, state.efer, 0);
  page.write64(VMCB_SAVE.CR0, state.cr0, 0);
  page.write64(VMCB_SAVE.CR3, state.cr3, 0);
  page.write64(VMCB_SAVE.CR4, state.cr4, 0);
  page.write64(VMCB_SAVE.RFLAGS, rflags, 0);
  page.write64(VMCB_SAVE.RIP, rip, 0);
  page.write64(VMCB_SAVE.RSP, state.gpr(RSP), 0);
  page.write64(VMCB_SAVE.RAX, state.gpr(RAX), 0);
}

/** The counterpart; registers that have fixed bits get them. */
export function loadSwitched(cpu: Cpu, page: VmcbPage): void {
  const { state } = cpu;
  loadSegment(state, page, VMCB_SAVE.ES, ES);
  loadSegment(state, page, VMCB_SAVE.CS, CS);
  loadSegment(state, page, VMCB_SAVE.SS, SS);
  loadSegment(state, page, VMCB_SAVE.DS, DS);
  state.setSystem(SYSTEM.GDT_LIMIT, page.read(VMCB_SAVE.GDTR + LIMIT) & 0xffff);
  state.setSystem(SYSTEM.GDT_BASE, page.read(VMCB_SAVE.GDTR + BASE));
  state.setSystem(SYSTEM.IDT_LIMIT, page.read(VMCB_SAVE.IDTR + LIMIT) & 0xffff);
  state.setSystem(SYSTEM.IDT_BASE, page.read(VMCB_SAVE.IDTR + BASE));
  state.setSystem(SYSTEM.EFER, page.read(VMCB_SAVE.EFER));
  state.setSystem(SYSTEM.CR0, ((page.read(VMCB_SAVE.CR0) & CR0_DEFINED) | CR0_BIT.ET) >>> 0);
  state.setSystem(SYSTEM.CR3, page.read(VMCB_SAVE.CR3));
  state.setSystem(SYSTEM.CR4, page.read(VMCB_SAVE.CR4));
  state.eflags = (page.read(VMCB_SAVE.RFLAGS) & EFLAGS_DEFINED) | EFLAGS.ONE;
  state.eip = page.read(VMCB_SAVE.RIP);
  state.setGpr(RSP, page.read(VMCB_SAVE.RSP));
  state.setGpr(RAX, page.read(VMCB_SAVE.RAX));
}

/** What only a guest has: CR2, DR6, DR7, CPL. */
export function storeGuestOnly(cpu: Cpu, page: VmcbPage): void {
  const { state } = cpu;
  page.write64(VMCB_SAVE.CR2, state.system(SYSTEM.CR2), 0);
  page.write64(VMCB_SAVE.DR6, state.system(SYSTEM.DR6), 0);
  page.write64(VMCB_SAVE.DR7, state.system(SYSTEM.DR7), 0);
  page.writeByte(VMCB_SAVE.CPL, cpu.cpl);
}

export function loadGuestOnly(cpu: Cpu, page: VmcbPage): void {
  const { state } = cpu;
  state.setSystem(SYSTEM.CR2, page.read(VMCB_SAVE.CR2));
  state.setSystem(SYSTEM.DR6, ((page.read(VMCB_SAVE.DR6) & DR6_WRITABLE) | DR6_FIXED_ONE) >>> 0);
  state.setSystem(SYSTEM.DR7, ((page.read(VMCB_SAVE.DR7) & ~DR7_FIXED_ZERO) | DR7_FIXED_ONE) >>> 0);
  // Real and virtual-8086 mode have a level of their own, whatever the VMCB says (APM vol. 2 15.5.1).
  if (cpu.isReal) cpu.cpl = 0;
  else if (cpu.isVirtual8086) cpu.cpl = 3;
  else cpu.cpl = page.readByte(VMCB_SAVE.CPL) & 3;
}
