/** #VMEXIT of L2 to L1: the guest's state into vmcb12, L1's back from vmcb01 (APM vol. 2 15.6). */
import type { Hpa } from '../../arch/address.ts';
import { VECTOR } from '../../arch/exceptions.ts';
import { CR0, DR7_FIXED_ONE, EFLAGS } from '../../arch/registers.ts';
import { VMEXIT } from '../../arch/svm-exits.ts';
import { CLEAN, EVENT, INTERRUPT_STATE, V_INTR, VMCB, VMCB_SAVE } from '../../arch/vmcb.ts';
import { applyControlRegisters, reloadPdptes } from '../control-registers.ts';
import { NO_EVENT } from '../events.ts';
import { completeInstructionBytes } from '../exits/instruction.ts';
import { trackWrite } from '../mmu/write-track.ts';
import type { Vcpu } from '../vcpu.ts';

const PAGE_FAULT = VMEXIT.EXCP + VECTOR.PF;
const RAX = 0;
const RSP = 4;
const FLOATING_HI = 0xffff_ffff;

// biome-ignore format: table
/** Save-area fields that a #VMEXIT stores, in 64-bit units; control registers and general registers are L0's to fill in. */
const SAVED_64 = [
  VMCB_SAVE.ES, VMCB_SAVE.ES + 8, VMCB_SAVE.CS, VMCB_SAVE.CS + 8,
  VMCB_SAVE.SS, VMCB_SAVE.SS + 8, VMCB_SAVE.DS, VMCB_SAVE.DS + 8,
  VMCB_SAVE.GDTR, VMCB_SAVE.GDTR + 8, VMCB_SAVE.IDTR, VMCB_SAVE.IDTR + 8,
  VMCB_SAVE.DR6, VMCB_SAVE.DR7, VMCB_SAVE.RFLAGS, VMCB_SAVE.RIP, VMCB_SAVE.CR2,
] as const;

/** vmcb12 in memory, or nowhere, if L1 had it where no memory is. */
class Vmcb12Writer {
  readonly #u32: Uint32Array;
  readonly #at: number;

  constructor(vcpu: Vcpu) {
    this.#u32 = vcpu.hardware.memory.u32;
    this.#at = vcpu.vm.slots.hostAddress(vcpu.nested.vmcb12Address);
  }

  write(offset: number, value: number): void {
    if (this.#at >= 0) this.#u32[(this.#at + offset) >>> 2] = value;
  }

  write64(offset: number, lo: number, hi: number): void {
    this.write(offset, lo);
    this.write(offset + 4, hi);
  }

  read(offset: number): number {
    return this.#at < 0 ? 0 : this.#u32[(this.#at + offset) >>> 2];
  }

  /** Tells processor and shadow MMU what was written. */
  finish(vcpu: Vcpu): void {
    if (this.#at < 0) return;
    vcpu.hardware.memory.written(this.#at as Hpa, VMCB_SIZE_USED);
    trackWrite(vcpu.vm.tables, vcpu.nested.vmcb12Address, VMCB_SIZE_USED);
  }
}
const VMCB_SIZE_USED = 0x700;
/** The count and 15 bytes behind it. */
const INSTRUCTION_BYTES = 16;

/**
 * VMRUN on an illegal VMCB: #VMEXIT with VMEXIT_INVALID, by which no guest state is stored, and the host's is as after any
 * #VMEXIT (APM vol. 2 15.5.1, 15.6).
 */
export function reportInvalid(vcpu: Vcpu): void {
  const { state, vmcb01 } = vcpu;
  const vmcb12 = new Vmcb12Writer(vcpu);
  saveInstruction(vcpu, vmcb12, false);
  vmcb12.write64(VMCB.EXITINTINFO, 0, 0);
  vmcb12.write64(VMCB.EVENTINJ, 0, 0);
  vmcb12.write64(VMCB.EXITCODE, VMEXIT.INVALID >>> 0, FLOATING_HI);
  vmcb12.write64(VMCB.EXITINFO1, 0, 0);
  vmcb12.write64(VMCB.EXITINFO2, 0, 0);
  vmcb12.finish(vcpu);
  vmcb01.write64(VMCB_SAVE.DR7, DR7_FIXED_ONE, 0);
  vmcb01.dirty(CLEAN.DRX);
  if (!reloadPdptes(vcpu, '#VMEXIT', 0, state.cr0, state.cr4, state.cr3)) vcpu.shutdown();
}

/** An exit that L0 found to be L1's. `code` is the low half of EXITCODE, signed. Next rIP and instruction bytes are not known. */
export function exitToL1(vcpu: Vcpu, code: number, info1 = 0, info2 = 0): void {
  leaveL2(vcpu, code, info1, 0, info2, 0, false);
}

/**
 * The same with all of EXITINFO1 and EXITINFO2, and next rIP and instruction bytes as they are in the current VMCB.
 *
 * @param info1 {low, high} halves, as `info2`
 */
export function exitToL1Decoded(
  vcpu: Vcpu,
  code: number,
  info1: readonly [lo: number, hi: number],
  info2: readonly [lo: number, hi: number],
): void {
  leaveL2(vcpu, code, info1[0], info1[1], info2[0], info2[1], true);
}

/** The exit that the processor just made, handed on as it is but for the code. */
export function reflectExit(vcpu: Vcpu, code: number): void {
  const { vmcb } = vcpu.state;
  leaveL2(
    vcpu,
    code,
    vmcb.read(VMCB.EXITINFO1),
    vmcb.readHigh(VMCB.EXITINFO1),
    vmcb.read(VMCB.EXITINFO2),
    vmcb.readHigh(VMCB.EXITINFO2),
    true,
  );
}

function leaveL2(
  vcpu: Vcpu,
  code: number,
  info1: number,
  info1Hi: number,
  info2: number,
  info2Hi: number,
  decoded: boolean,
): void {
  const { trace } = vcpu.vm;
  if (trace !== null) trace.nestedExit(code, [info1, info1Hi], [info2, info2Hi]);
  vcpu.statistics.nestedExits += 1;
  const vmcb12 = new Vmcb12Writer(vcpu);
  saveL2(vcpu, vmcb12);
  if (decoded && (code === VMEXIT.NPF || code === PAGE_FAULT)) completeInstructionBytes(vcpu);
  saveInstruction(vcpu, vmcb12, decoded);
  vmcb12.write64(VMCB.EXITCODE, code >>> 0, code < 0 ? FLOATING_HI : 0);
  vmcb12.write64(VMCB.EXITINFO1, info1, info1Hi);
  vmcb12.write64(VMCB.EXITINFO2, info2, info2Hi);
  vmcb12.finish(vcpu);
  vcpu.useMmu(vcpu.rootMmu);
  restoreL1(vcpu);
  if (vcpu.mmu.checker !== null) vcpu.mmu.checker.check(vcpu.mmu, 'nested exit');
}

function saveL2(vcpu: Vcpu, vmcb12: Vmcb12Writer): void {
  const { state } = vcpu;
  const { vmcb } = state;
  saveEventInDelivery(vcpu, vmcb12);
  for (const offset of SAVED_64) vmcb12.write64(offset, vmcb.read(offset), vmcb.readHigh(offset));
  const cplWord = VMCB_SAVE.CPL & ~3;
  const shift = 8 * (VMCB_SAVE.CPL & 3);
  vmcb12.write(cplWord, (vmcb12.read(cplWord) & ~(0xff << shift)) | (state.cpl << shift));
  vmcb12.write64(VMCB_SAVE.CR0, state.cr0, 0);
  vmcb12.write64(VMCB_SAVE.CR3, state.cr3, 0);
  vmcb12.write64(VMCB_SAVE.CR4, state.cr4, 0);
  vmcb12.write64(VMCB_SAVE.EFER, state.efer, 0);
  vmcb12.write64(VMCB_SAVE.RAX, state.gpr[RAX * 2], state.gpr[RAX * 2 + 1]);
  vmcb12.write64(VMCB_SAVE.RSP, state.gpr[RSP * 2], state.gpr[RSP * 2 + 1]);
  // G_PAT is L2's PAT MSR under nested paging, and nobody's without (APM vol. 2 15.25.4).
  if (vcpu.vm.rules.savesGuestPat(vcpu.nested.nestedPaging))
    vmcb12.write64(VMCB_SAVE.G_PAT, vmcb.read(VMCB_SAVE.G_PAT), vmcb.readHigh(VMCB_SAVE.G_PAT));
  vmcb12.write64(VMCB.INTERRUPT_STATE, vmcb.read(VMCB.INTERRUPT_STATE) & INTERRUPT_STATE.SHADOW, 0);
  saveVirtualInterrupt(vcpu, vmcb12);
  // The processor clears EVENTINJ when it has taken the event.
  vmcb12.write64(VMCB.EVENTINJ, 0, 0);
}

/** What the processor told of the intercepted instruction, as far as L1's CPU has it; zero where there is none. */
function saveInstruction(vcpu: Vcpu, vmcb12: Vmcb12Writer, decoded: boolean): void {
  const { vmcb } = vcpu.state;
  const { features } = vcpu.vm.model;
  if (features.has('nrip_save')) vmcb12.write64(VMCB.NRIP, decoded ? vmcb.read(VMCB.NRIP) : 0, 0);
  if (!features.has('decodeassists')) return;
  for (let i = 0; i < INSTRUCTION_BYTES; i += 4) {
    vmcb12.write(VMCB.INSTRUCTION_COUNT + i, decoded ? vmcb.read(VMCB.INSTRUCTION_COUNT + i) : 0);
  }
}

/** V_TPR as L2 left it; V_IRQ went when L2 took it, unless the field held L0's window. */
function saveVirtualInterrupt(vcpu: Vcpu, vmcb12: Vmcb12Writer): void {
  const changes = vcpu.intercepts.interruptWindow ? V_INTR.TPR : V_INTR.TPR | V_INTR.IRQ;
  const now = vcpu.state.vmcb.read(VMCB.V_INTR);
  vmcb12.write(VMCB.V_INTR, (vmcb12.read(VMCB.V_INTR) & ~changes) | (now & changes));
}

/**
 * EXITINTINFO (APM vol. 2 15.7.2): an event whose delivery to L2 this exit cut short; or one that L0 was about to deliver, which
 * to L1 is the same.
 */
function saveEventInDelivery(vcpu: Vcpu, vmcb12: Vmcb12Writer): void {
  const { events, state } = vcpu;
  const { vmcb } = state;
  let info: number = NO_EVENT;
  let errorCode = 0;
  if (events.vector >= 0) {
    info = events.injection((state.cr0 & CR0.PE) !== 0);
    errorCode = events.errorCode;
  } else if (events.event !== NO_EVENT) info = events.event;
  else if ((vmcb.read(VMCB.EXITINTINFO) & EVENT.VALID) !== 0) {
    info = vmcb.read(VMCB.EXITINTINFO);
    errorCode = vmcb.readHigh(VMCB.EXITINTINFO);
  }
  vmcb12.write64(VMCB.EXITINTINFO, info, errorCode);
}

function restoreL1(vcpu: Vcpu): void {
  const { nested, state, vmcb01, events, intercepts } = vcpu;
  const { l1 } = nested;
  const changed = state.cr3 ^ l1.cr3;
  nested.wasPaged = (state.cr0 & CR0.PG) !== 0;
  events.clear();
  events.interceptedByL1 = 0;
  intercepts.interruptWindow = false;
  state.guestMode = false;
  state.efer = l1.efer;
  state.cr0 = l1.cr0;
  state.cr4 = l1.cr4;
  state.cr3 = l1.cr3;
  state.gpr[RAX * 2] = vmcb01.read(VMCB_SAVE.RAX);
  state.gpr[RAX * 2 + 1] = vmcb01.readHigh(VMCB_SAVE.RAX);
  state.gpr[RSP * 2] = vmcb01.read(VMCB_SAVE.RSP);
  state.gpr[RSP * 2 + 1] = vmcb01.readHigh(VMCB_SAVE.RSP);
  // CR2 and DR6 are not among what VMRUN saves of its host: L1 finds L2's (APM vol. 2 15.5.1).
  vmcb01.write64(VMCB_SAVE.CR2, state.vmcb.read(VMCB_SAVE.CR2), 0);
  vmcb01.write64(VMCB_SAVE.DR6, state.vmcb.read(VMCB_SAVE.DR6), 0);
  // Breakpoints of the host are off after #VMEXIT (APM vol. 2 15.6).
  vmcb01.write64(VMCB_SAVE.DR7, DR7_FIXED_ONE, 0);
  vmcb01.dirty(CLEAN.DRX | CLEAN.CR2);
  state.vmcb = vmcb01;
  vcpu.gif = false;
  vcpu.halted = false;
  applyControlRegisters(vcpu);
  vcpu.applyIntercepts();
  // PDPTEs of a PAE host are loaded again; illegal ones shut the processor down (APM vol. 2 15.6).
  if (!reloadPdptes(vcpu, '#VMEXIT', changed, l1.cr0, l1.cr4, l1.cr3)) vcpu.shutdown();
  vcpu.mmu.reconfigure('#VMEXIT');
  if (vcpu.vm.rules.flushes('#VMEXIT', changed)) vcpu.mmu.flush();
  // VMRUN is over only now: L1's TF traps behind it (APM vol. 2 15.5.1), GIF or not (table 15-10).
  if ((state.rflags & EFLAGS.TF) !== 0) vcpu.raiseSingleStep();
}
