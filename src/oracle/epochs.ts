import type { Flush, Timeline } from './timeline.ts';

/** Steps during which cached upper-level entries live: no flush of them in between. Both ends count. */
export interface Epoch {
  readonly from: number;
  readonly last: number;
}

/** Epochs of what is cached on the way to a linear address, under the ASID in use and a PCID; oldest first. */
export const epochs = (timeline: Timeline, gva: bigint, pcid: number): Epoch[] =>
  between(
    timeline.flushes(timeline.asid, pcid).filter((flush) => dropsUpperLevels(flush, gva)),
    timeline.now,
  );

/**
 * Epochs of what is cached of nested tables under the ASID in use. Each contains whole epochs of every linear address:
 * what reaches nested tables reaches upper-level entries of the guest too.
 */
export const nestedEpochs = (timeline: Timeline): Epoch[] =>
  between(
    timeline.flushes(timeline.asid, null).filter((flush) => flush.nested),
    timeline.now,
  );

function between(ends: readonly Flush[], now: number): Epoch[] {
  const starts = [0, ...ends.map((flush) => flush.step)];
  return starts.map((from, i) => ({ from, last: i + 1 < starts.length ? starts[i + 1]! - 1 : now }));
}

/**
 * Whether a flush drops the upper-level entries on the way to an address. INVLPG drops them all; a page fault, INVLPGA
 * and INVLPG with EFER.TCE only those on the way to the page, which 2 MBytes share in every format.
 */
const dropsUpperLevels = ({ what }: Flush, gva: bigint): boolean =>
  what.kind !== 'page' || what.upperLevels || what.linear >> 21n === gva >> 21n;
