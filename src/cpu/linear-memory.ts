/**
 * Memory by linear address, as instructions that TypeScript carries out see it. `access` is of ACCESS (arch/paging):
 * USER for accesses at CPL 3, IMPLICIT for descriptor tables and task state. Values are unsigned.
 *
 * Methods throw the processor's GuestException when the access faults. An instruction that makes several accesses
 * calls `check` for those it will make after its first change.
 */
export interface LinearMemory {
  check(linear: number, size: number, access: number): void;
  read(linear: number, size: 1 | 2 | 4, access: number): number;
  write(linear: number, size: 1 | 2 | 4, value: number, access: number): void;

  /** As `check`, for the interpreter: false after the exception was filled in. */
  allows(linear: number, size: number, access: number): boolean;

  /** A task switch loads CR3 while an instruction is emulated; the processor's own memory does that elsewhere. */
  loadCr3?(value: number): void;
}
