import { exceptionName } from '../arch/exceptions.ts';
import { kvmExitName } from '../arch/svm-exits.ts';
import { EVENT, EVENT_TYPE } from '../arch/vmcb.ts';
import { extendedRoleString, roleString } from '../l0/mmu/role.ts';
import type { ShadowPage } from '../l0/mmu/shadow-page.ts';
import type { TraceSink, WalkReport } from '../l0/trace.ts';

const hex = (value: number): string => (value >>> 0).toString(16);
const wide = (lo: number, hi: number): string =>
  hi === 0 ? hex(lo) : `${hex(hi)}${hex(lo).padStart(8, '0')}`;
const level = (nested: boolean): string => (nested ? 'L2' : 'L1');

/** Page-fault error code as KVM prints it: P|W|U|RSVD|F. */
function errorCodeText(code: number): string {
  const names = ['P', 'W', 'U', 'RSVD', 'F'].filter((_, bit) => (code & (1 << bit)) !== 0);
  return names.length === 0 ? '0' : names.join('|');
}

function eventText(event: number, errorCode: number): string {
  const vector = event & EVENT.VECTOR;
  const code = (event & EVENT.EV) !== 0 ? ` (0x${hex(errorCode)})` : '';
  switch (event & EVENT.TYPE) {
    case EVENT_TYPE.EXCEPTION:
      return `kvm_inj_exception: ${exceptionName(vector)}${code}`;
    case EVENT_TYPE.NMI:
      return 'kvm_inj_nmi';
    case EVENT_TYPE.SOFTWARE:
      return `kvm_inj_exception: INT 0x${hex(vector)}`;
    default:
      return `kvm_inj_virq: IRQ 0x${hex(vector)}`;
  }
}

/**
 * One line for each event, in the words of KVM's trace points.
 *
 * @param write takes a line without newline
 * @param now   virtual time in ticks, which starts each line
 */
export function lineTrace(write: (line: string) => void, now: () => number): TraceSink {
  const say = (text: string): void => write(`${now()} ${text}`);
  const page = (name: string, shadow: ShadowPage, more = ''): void =>
    say(`${name}: gfn ${hex(shadow.gfn)} ${roleString(shadow.role)}${more}`);
  return {
    entry: (rip, nested) => say(`kvm_entry: ${level(nested)} rip 0x${hex(rip)}`),
    exit: (code, rip, info1, info1Hi, info2, info2Hi, nested) =>
      say(
        `kvm_exit: ${level(nested)} reason ${kvmExitName(code)} rip 0x${hex(rip)} info ${wide(info1, info1Hi)} ${wide(info2, info2Hi)}`,
      ),
    inject: (event, errorCode, nested) => say(`${eventText(event, errorCode)} into ${level(nested)}`),
    nestedEntry: (rip, vmcb12) => say(`kvm_nested_vmenter: rip 0x${hex(rip)} vmcb 0x${hex(vmcb12)}`),
    nestedExit: (code, info1, info2) =>
      say(`kvm_nested_vmexit_inject: reason ${kvmExitName(code)} info ${hex(info1)} ${hex(info2)}`),
    roleChange: (cpuBase, extended, root) =>
      say(
        `kvm_mmu_role: cpu ${roleString(cpuBase)} ${extendedRoleString(extended)} root ${roleString(root)}`,
      ),
    getPage: (shadow, created) => page('kvm_mmu_get_page', shadow, created ? ' new' : ' existing'),
    syncPage: (shadow) => page('kvm_mmu_sync_page', shadow),
    unsyncPage: (shadow) => page('kvm_mmu_unsync_page', shadow),
    zapPage: (shadow) => page('kvm_mmu_prepare_zap_page', shadow),
    setSpte: (shadow, entry, lo, hi) =>
      page('kvm_mmu_set_spte', shadow, ` entry ${entry} spte ${wide(lo, hi)}`),
    walk: (report) => say(walkText(report)),
    pageFault: (address, errorCode) =>
      say(`kvm_page_fault: address 0x${hex(address)} error_code ${errorCodeText(errorCode)}`),
  };
}

function walkText({ address, frame, errorCode }: WalkReport): string {
  return frame < 0
    ? `kvm_mmu_walker_error: address 0x${hex(address)} pferr ${errorCodeText(errorCode)}`
    : `kvm_mmu_pagetable_walk: address 0x${hex(address)} gfn ${hex(frame)}`;
}
