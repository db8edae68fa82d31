import type { Assembler } from '../src/guest/assembler.ts';

/**
 * A guest program that does one kind of work over and over. The frame (frame.ts) makes a multiboot image of it, which
 * runs in flat 32-bit protected mode at CPL 0 with interrupts off: set-up, work to warm up, mark, work, mark, exit.
 */
export interface BenchProgram {
  /** As on the command line. */
  readonly name: string;
  /** What one iteration of the work is, in the plural: "interrupts". */
  readonly unit: string;
  /** Units of work between the two marks. */
  readonly iterations: number;
  /** Physical addresses below this are used; 16 MiB unless told. */
  readonly memoryBytes?: number;
  /**
   * Emits the label "work": a subroutine that does ECX units of work, may change every register but ESP, and returns
   * its result in EAX.
   */
  emit(a: Assembler): void;
  /** Emits what runs once before, inline; every register but ESP may be changed. */
  setUp?(a: Assembler): void;
  /**
   * The same work in JavaScript: each call does so many units and returns, unsigned, what the guest's subroutine must
   * return. State that the guest keeps from call to call is kept here as well.
   */
  model(): (units: number) => number;
}
