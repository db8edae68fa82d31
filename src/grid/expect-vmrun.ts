/** L2s as their VMCBs describe them, in the oracle's terms. */
import { pushesErrorCode } from '../arch/exceptions.ts';
import { EVENT_TYPE, eventInjection } from '../arch/vmcb.ts';
import { AGENT_LAYOUT } from '../guest/agent-layout.ts';
import { TLB_CONTROL } from '../oracle/address-space.ts';
import type { OracleCpu } from '../oracle/cpu.ts';
import type { VmcbFields } from '../oracle/svm/vmrun-checks.ts';
import type { ExpectedRecord } from './records.ts';
import type { PagingRegisters } from './registers.ts';
import type { VmcbChanges } from './scenario.ts';
import type { TrackedNesting } from './tracker.ts';

/** An L2 as its VMCB describes it. */
export interface GuestState {
  cpu: OracleCpu;
  /** As it was when the script entered it last. */
  entered: OracleCpu;
  asid: number;
  interceptPageFaults: boolean;
  /** nCR3, with nested paging. */
  nCr3: bigint | undefined;
  gPat: bigint;
  /** As it was then. */
  enteredPat: bigint;
}

/** As much of it as VMRUN checks. */
export type VmcbState = Pick<GuestState, 'cpu' | 'asid' | 'nCr3' | 'gPat'>;

/** APM vol. 2 7.8.2. */
export const PAT_AT_RESET = 0x0007_0406_0007_0406n;

/** nCR3 as L1 writes it. */
export const nCr3Of = (nesting: TrackedNesting | undefined): bigint | undefined =>
  nesting && (BigInt(nesting.high) << 32n) | BigInt(nesting.low);

/** TLB_CONTROL by the names of scenarios. */
export const TLB_CONTROLS = {
  all: TLB_CONTROL.ALL_ASIDS,
  asid: TLB_CONTROL.THIS_ASID,
  'asid-non-global': TLB_CONTROL.THIS_ASID_NON_GLOBAL,
} as const;

/** The registers with which the L1 agent takes its first step: multiboot's, and EFER.SVME. */
export const BOOT_REGISTERS: PagingRegisters = { cr0: 0x11, cr3: 0, cr4: 0, efer: 0x1000 };

export const withRegisters = (cpu: OracleCpu, { cr0, cr3, cr4, efer }: PagingRegisters): OracleCpu => ({
  ...cpu,
  cr0: BigInt(cr0),
  cr3: BigInt(cr3),
  cr4: BigInt(cr4),
  efer: BigInt(efer),
});

export const registersOf = ({ cr0, cr3, cr4, efer }: OracleCpu): PagingRegisters => ({
  cr0: Number(cr0),
  cr3: Number(cr3),
  cr4: Number(cr4),
  efer: Number(efer),
});

/** What L2 records of an event that L1 injects. */
export function injected({ inject }: VmcbChanges): ExpectedRecord[] {
  if (inject === undefined) return [];
  const { vector, errorCode } = inject;
  const pushed = pushesErrorCode(vector) ? (errorCode ?? 0) : 0;
  return [{ kind: 'fault', level: 2, vector, errorCode: pushed, cr2: [], eip: [] }];
}

/** The fields that VMRUN checks. */
export function vmcbFields({ cpu, asid, nCr3, gPat }: VmcbState, { inject }: VmcbChanges): VmcbFields {
  const { cr0, cr3, cr4, efer } = cpu;
  const type = (inject?.vector ?? 0) < 32 ? EVENT_TYPE.EXCEPTION : EVENT_TYPE.INTR;
  const event =
    inject === undefined ? 0 : eventInjection(type, inject.vector, pushesErrorCode(inject.vector));
  return {
    interceptVmrun: true,
    iopmBasePa: BigInt(AGENT_LAYOUT.IO_MAP),
    msrpmBasePa: BigInt(AGENT_LAYOUT.MSR_MAP),
    guestAsid: asid,
    tlbControl: 0,
    npEnable: nCr3 !== undefined,
    nCr3: nCr3 ?? 0n,
    gPat,
    eventInj: BigInt(event),
    csLong: false,
    csDefaultBig: true,
    efer,
    cr0,
    cr3,
    cr4,
    dr6: 0xffff_0ff0n,
    dr7: 0x400n,
  };
}
