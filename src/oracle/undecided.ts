import { ENTRY } from './bits.ts';
import type { EntryPlace } from './formats/entry.ts';

/** The oracle cannot tell what an access may see: too much of an entry on its way is open. The message is a sentence. */
export class Undecided extends Error {
  override readonly name = 'Undecided';
}

/** More walks or outcomes than this at once are not followed; scenarios stay far below. */
const FEW = 4096;

/** Throws Undecided where so many different entries may be cached that the search would not end in good time. */
export function requireFew(count: number, linear: bigint): void {
  if (count <= FEW) return;
  throw new Undecided(
    `Nobody can tell what an access to 0x${linear.toString(16)} may see: after more than ${FEW} combinations of old and new entries.`,
  );
}

/**
 * Throws Undecided for an entry of which more may be either way than its accessed and dirty flags: accesses that nobody
 * could tell apart have stored to it or past it.
 */
export function requireDecided(place: EntryPlace, unknown: bigint): void {
  if ((unknown & ~(ENTRY.A | ENTRY.D)) === 0n) return;
  throw new Undecided(
    `Nobody can tell what the ${place.name} at 0x${place.address.toString(16)} holds: stores that may have gone there look alike.`,
  );
}
