import type { Elapsed } from './stopwatch.ts';

/** What was measured between the two marks of a program. */
export interface Measurement extends Elapsed {
  /** Retired instructions, where the engine counts them. */
  readonly instructions?: number;
  /** Exits to L0 by name, where there is an L0. */
  readonly exits?: Readonly<Record<string, number>>;
  /** What the program sent as its result. */
  readonly result: number;
}

/** Runs a multiboot image of frame.ts once, in a new machine with so much RAM. */
export type Engine = (
  image: Uint8Array<ArrayBuffer>,
  memoryBytes: number,
) => Measurement | Promise<Measurement>;
