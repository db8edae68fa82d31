import type { Cpu } from '../cpu.ts';
import { EIP_BASE, FPU, REGISTERS, SEGMENTS, STACK_MASK, SYSTEM } from '../layout.ts';
import { loadCr3 } from '../system/control-registers.ts';

/** Where registers that a task switch loads lie: general ones, flags and EIP; SS.B; segment and system registers. */
const RANGES = [
  [REGISTERS, EIP_BASE],
  [STACK_MASK, STACK_MASK + 4],
  [SEGMENTS, FPU],
] as const;

/** The CR3 load of a task switch; who supplies an emulator's memory must hear of it. */
export function loadTaskCr3(cpu: Cpu, cr3: number): void {
  if (cpu.memory.loadCr3 === undefined) {
    loadCr3(cpu, cr3);
    return;
  }
  cpu.memory.loadCr3(cr3);
  cpu.state.setSystem(SYSTEM.CR3, cr3);
}

/**
 * The registers of the old task. A nested page fault behind the commit point of a task switch is not the new task's, as an
 * exception would be: the host mends its tables, and the instruction or event happens again from its beginning.
 */
export class OldTask {
  readonly #registers: readonly Uint8Array[];
  readonly #cr3: number;
  readonly #cpl: number;
  readonly #resumeFlagUntil: number;
  readonly #pendingDebug: number;

  constructor({ state, cpl, resumeFlagUntil, pendingDebug }: Cpu) {
    this.#registers = RANGES.map(([from, to]) => state.u8.slice(from, to));
    this.#cr3 = state.cr3;
    this.#cpl = cpl;
    this.#resumeFlagUntil = resumeFlagUntil;
    this.#pendingDebug = pendingDebug;
  }

  /** Goes back to it; a #VMEXIT follows. What the switch wrote to memory is the caller's to mend. */
  restore(cpu: Cpu): void {
    const { state } = cpu;
    // Nothing that was translated for the new task may stay under the old one's CR3.
    if (state.cr3 !== this.#cr3) loadTaskCr3(cpu, this.#cr3);
    RANGES.forEach(([from], n) => {
      state.u8.set(this.#registers[n], from);
    });
    cpu.cpl = this.#cpl;
    cpu.resumeFlagUntil = this.#resumeFlagUntil;
    cpu.pendingDebug = this.#pendingDebug;
    cpu.updateContext();
  }
}
