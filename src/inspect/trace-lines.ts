import { exceptionName } from '../arch/exceptions.ts';
import { WALK, type WalkResult } from '../arch/paging/walker.ts';
import { kvmExitName } from '../arch/svm-exits.ts';
import { EVENT, EVENT_TYPE } from '../arch/vmcb.ts';
import { extendedRoleString, roleLevel, roleString } from '../l0/mmu/role.ts';
import type { ShadowPage } from '../l0/mmu/shadow-page.ts';
import { isMmio, SPTE, SPTE_HI_NX } from '../l0/mmu/spte.ts';
import type { ExitReport, TraceSink } from '../l0/trace.ts';

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
/** Up to 52 bits: guest-physical addresses of nested faults. */
const addressText = (address: number): string => `0x${address.toString(16)}`;
const long = (value: bigint | number): string => `0x${BigInt(value).toString(16).padStart(16, '0')}`;
const whole = ([lo, hi]: readonly [lo: number, hi: number]): bigint =>
  (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
const wide = (lo: number, hi: number): string => `0x${whole([lo, hi]).toString(16)}`;
const level = (nested: boolean): string => (nested ? 'L2' : 'L1');

/** Page-fault error code, the number and its bits. */
/** `0x11 P|F`. */
export function errorCodeText(code: number): string {
  const names = ['P', 'W', 'U', 'RSVD', 'F'].filter((_, bit) => (code & (1 << bit)) !== 0);
  return names.length === 0 ? hex(code) : `${hex(code)} ${names.join('|')}`;
}

function eventText(event: number, errorCode: number): string {
  const vector = event & EVENT.VECTOR;
  const code = (event & EVENT.EV) !== 0 ? ` (${hex(errorCode)})` : '';
  switch (event & EVENT.TYPE) {
    case EVENT_TYPE.EXCEPTION:
      return `kvm_inj_exception: ${exceptionName(vector)}${code}`;
    case EVENT_TYPE.NMI:
      return 'kvm_inj_nmi:';
    case EVENT_TYPE.SOFTWARE:
      return `kvm_inj_virq: Soft/INTn ${hex(vector)}`;
    default:
      return `kvm_inj_virq: IRQ ${hex(vector)}`;
  }
}

function exitText({ code, rip, info1, info2, event, eventErrorCode, nested }: ExitReport): string {
  const reason = `kvm_exit: ${level(nested)} reason ${kvmExitName(code)} rip ${hex(rip)}`;
  const interrupted = event === 0 ? '' : ` intr_info ${hex(event)} error_code ${hex(eventErrorCode)}`;
  return `${reason} info1 ${long(info1)} info2 ${long(info2)}${interrupted}`;
}

const pageText = (shadow: ShadowPage): string =>
  `gfn ${(shadow.gfn >>> 0).toString(16)} ${roleString(shadow.role)}`;

/** Where an entry is: its host-physical address, and the shadow page that it is in. */
const placeText = (shadow: ShadowPage, entry: number): string =>
  `at ${hex(shadow.wordOf(entry) * 4)} in sp ${pageText(shadow)}`;

function spteText(shadow: ShadowPage, entry: number, gfn: number, lo: number, hi: number): string {
  if (isMmio(lo, hi)) return `mark_mmio_spte: spte ${wide(lo, hi)} ${placeText(shadow, entry)}`;
  const rights = [
    (lo & SPTE.P) !== 0 ? 'r' : '-',
    (lo & SPTE.W) !== 0 ? 'w' : '-',
    (hi & SPTE_HI_NX) === 0 ? 'x' : '-',
    (lo & SPTE.U) !== 0 ? 'u' : '-',
  ].join('');
  const what = `gfn ${gfn.toString(16)} spte ${wide(lo, hi)} (${rights}) level ${roleLevel(shadow.role)}`;
  return `kvm_mmu_set_spte: ${what} ${placeText(shadow, entry)}`;
}

/** The lines of one walk: what was asked, each entry read from the root down, and the error if there was one. */
function* walkLines(address: number, access: number, result: WalkResult): Generator<string> {
  yield `kvm_mmu_pagetable_walk: addr ${addressText(address)} pferr ${errorCodeText(access & 0x1f)}`;
  for (let at = result.rootLevel; at >= result.level && at > 0; at--) {
    yield `kvm_mmu_paging_element: pte ${wide(result.entryLo[at], result.entryHi[at])} level ${at}`;
  }
  if (result.status !== WALK.OK) yield `kvm_mmu_walker_error: pferr ${errorCodeText(result.errorCode)}`;
}

/**
 * One line for each event, in the words of KVM's trace points; what KVM has no trace point for begins with `umbra_`.
 * docs/trace.md says what every line means.
 *
 * @param write takes a line without newline
 * @param now   virtual time in retired instructions, which starts each line
 */
export function lineTrace(write: (line: string) => void, now: () => number): TraceSink {
  const say = (text: string): void => write(`${now()} ${text}`);
  return {
    entry: (rip, nested) => say(`kvm_entry: ${level(nested)} rip ${hex(rip)}`),
    exit: (report) => say(exitText(report)),
    controlRegister: (register, value, wrote) =>
      say(`kvm_cr: cr_${wrote ? 'write' : 'read'} ${register} = ${hex(value)}`),
    portAccess: (port, size, value, wrote) =>
      say(`kvm_pio: pio_${wrote ? 'write' : 'read'} at ${hex(port)} size ${size} count 1 val ${hex(value)}`),
    msr: (index, lo, hi, wrote, legal) =>
      say(
        `kvm_msr: msr_${wrote ? 'write' : 'read'} ${index.toString(16)} = ${wide(lo, hi)}${legal ? '' : ' (#GP)'}`,
      ),
    cpuid: (leaf, subleaf, ...[eax, ebx, ecx, edx]) =>
      say(
        `kvm_cpuid: func ${hex(leaf)} idx ${hex(subleaf)} eax ${hex(eax)} ebx ${hex(ebx)} ecx ${hex(ecx)} edx ${hex(edx)}`,
      ),
    emulate: (codeBase, rip) => say(`kvm_emulate_insn: ${codeBase.toString(16)}:${rip.toString(16)}`),
    inject: (event, errorCode, nested, again) =>
      say(`${eventText(event, errorCode)}${again ? ' [reinjected]' : ''} into ${level(nested)}`),
    nestedEntry: (rip, vmcb12, nestedRip, event) =>
      say(
        `kvm_nested_vmenter: rip ${hex(rip)} vmcb ${hex(vmcb12)} nested_rip ${hex(nestedRip)} event_inj ${hex(event)}`,
      ),
    nestedExit: (code, info1, info2) =>
      say(
        `kvm_nested_vmexit_inject: reason ${kvmExitName(code)} ext_inf1 ${long(whole(info1))} ext_inf2 ${long(whole(info2))}`,
      ),
    roleChange: (cpuBase, extended, root) =>
      say(
        `umbra_mmu_role: cpu ${roleString(cpuBase)} ${extendedRoleString(extended)} root ${roleString(root)}`,
      ),
    getPage: (shadow, created) =>
      say(`kvm_mmu_get_page: sp ${pageText(shadow)} ${created ? 'new' : 'existing'}`),
    syncPage: (shadow) => say(`kvm_mmu_sync_page: sp ${pageText(shadow)}`),
    unsyncPage: (shadow) => say(`kvm_mmu_unsync_page: sp ${pageText(shadow)}`),
    zapPage: (shadow) => say(`kvm_mmu_prepare_zap_page: sp ${pageText(shadow)}`),
    setSpte: (shadow, entry, gfn, lo, hi) => say(spteText(shadow, entry, gfn, lo, hi)),
    linkPage: (shadow, entry, child) =>
      say(`umbra_mmu_link_page: sp ${pageText(child)} ${placeText(shadow, entry)}`),
    dropSpte: (shadow, entry) => say(`umbra_mmu_drop_spte: ${placeText(shadow, entry)}`),
    walk(address, access, result) {
      for (const line of walkLines(address, access, result)) say(line);
    },
    pageFault: (address, errorCode) =>
      say(`kvm_page_fault: address ${addressText(address)} error_code ${errorCodeText(errorCode)}`),
  };
}
