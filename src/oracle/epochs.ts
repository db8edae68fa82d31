import type { Flush, Timeline } from './timeline.ts';

/** Steps during which cached upper-level entries live: no flush of them in between. Both ends count. */
export interface Epoch {
  readonly from: number;
  readonly last: number;
}

/**
 * Epochs of what is cached on the way to a linear address, under the ASID in use and a PCID, oldest first: those that
 * last until step `since` or longer.
 */
export const epochs = (timeline: Timeline, gva: bigint, pcid: number, since: number): Epoch[] =>
  between(
    timeline.flushes(timeline.asid, pcid),
    (flush) => dropsUpperLevels(flush, gva),
    since,
    timeline.now,
  );

/**
 * Epochs of what is cached of nested tables under the ASID in use. Each contains whole epochs of every linear address:
 * what reaches nested tables reaches upper-level entries of the guest too.
 */
export const nestedEpochs = (timeline: Timeline): Epoch[] =>
  between(timeline.flushes(timeline.asid, null), (flush) => flush.nested, 0, timeline.now);

/** The times between the flushes that count. */
function between(
  flushes: readonly Flush[],
  counts: (flush: Flush) => boolean,
  since: number,
  now: number,
): Epoch[] {
  const found: Epoch[] = [];
  let last = now;
  for (let i = flushes.length - 1; i >= 0 && last >= since; i--) {
    const flush = flushes[i]!;
    if (!counts(flush)) continue;
    found.push({ from: flush.step, last });
    last = flush.step - 1;
  }
  if (last >= since) found.push({ from: 0, last });
  return found.reverse();
}

/**
 * Whether a flush drops the upper-level entries on the way to an address. INVLPG drops them all; a page fault, INVLPGA
 * and INVLPG with EFER.TCE only those on the way to the page, which 2 MBytes share in every format.
 */
const dropsUpperLevels = ({ what }: Flush, gva: bigint): boolean =>
  what.kind !== 'page' || what.upperLevels || what.linear >> 21n === gva >> 21n;
