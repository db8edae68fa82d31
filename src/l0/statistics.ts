/** Counters of a VM. Plain numbers, always on: an increment costs less than asking whether to. */
import { vmexitName } from '../arch/svm-exits.ts';

export class MmuStatistics {
  /** Shadow pages in use now. */
  shadowPages = 0;
  /** Shadow pages ever made. */
  shadowPagesCreated = 0;
  /** Of those zapped: because the limit was reached, and because the guest kept writing to the table. */
  evictions = 0;
  floodings = 0;
  zaps = 0;
  /** Roots built, and switches that found one ready. */
  roots = 0;
  rootHits = 0;
  /** Unsync shadow pages brought up to date. */
  syncs = 0;
  unsyncs = 0;
  /** Page faults that reached L0: answered with an SPTE, passed on to the guest, emulated. */
  faults = 0;
  fixed = 0;
  injected = 0;
  emulated = 0;
  prefetched = 0;
  /** How often the cpu role or the root role changed. */
  roleChanges = 0;
  tlbFlushes = 0;
}

export class Statistics {
  readonly mmu = new MmuStatistics();
  /** #VMEXITs of the processor, by the low half of EXITCODE (0..0x4ff), with L0's vCPU in L1 and in L2. */
  readonly exitCounts = new Float64Array(0x500);
  /** VMEXIT_INVALID and other negative codes. */
  failedEntries = 0;
  entries = 0;
  /** Of those: VMRUN changed EFER.NXE, and #VMEXIT changed it back. */
  nxSwitches = 0;
  /** VMRUNs that L0 emulated for L1, and exits that it reflected to it. */
  nestedEntries = 0;
  nestedExits = 0;
  injectedInterrupts = 0;
  injectedExceptions = 0;
  emulatedInstructions = 0;

  countExit(code: number): void {
    if (code >= 0 && code < this.exitCounts.length) this.exitCounts[code] += 1;
    else this.failedEntries += 1;
  }

  get totalExits(): number {
    return this.exitCounts.reduce((sum, count) => sum + count, this.failedEntries);
  }

  /** Count by the manual's exit name, zero ones left out. */
  exitsByName(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const [code, count] of this.exitCounts.entries()) if (count > 0) counts[vmexitName(code)] = count;
    if (this.failedEntries > 0) counts.VMEXIT_INVALID = this.failedEntries;
    return counts;
  }
}
