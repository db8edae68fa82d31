/** What `umbra run` needs of a machine, and nothing more. Tests put a made-up one in its place. */
import type { CpuModel } from '../../arch/cpu-models.ts';
import type { HostKernel } from '../../guest/host-kernel/layout.ts';
import type { L0Paging } from '../../l0/guest-cpu.ts';
import type { RawOptions } from '../../machine/loaders/raw.ts';
import type { Module } from '../../machine/loaders/request.ts';
import type { LoadPolicy } from '../../vmm/load-policy.ts';

export interface MachineConfig {
  /** Whether the image runs on the bare machine or on L0, which shadows its page tables or nests them. */
  readonly l0: 'none' | L0Paging;
  /** The kernel that L0 is part of; one with PAE paging unless given. */
  readonly host?: HostKernel | undefined;
  /** Whether L0 loads where NX is off; it does unless given. */
  readonly loadPolicy?: LoadPolicy | undefined;
  /** What the image sees; under L0 the guest's. */
  readonly cpu: CpuModel;
  /** What L0 runs on; unless given, a processor that has all that L0 can offer. */
  readonly hostCpu?: CpuModel | undefined;
  /** Bytes. */
  readonly memorySize: number;
  readonly image: Uint8Array;
  readonly imageName: string;
  readonly commandLine: string;
  readonly initrd: Uint8Array | undefined;
  readonly modules: readonly Module[];
  /** Given where the image is to be loaded raw, whatever it looks like. */
  readonly raw: RawOptions | undefined;
  /** L0 checks its invariants after every MMU operation. */
  readonly check: boolean;
  /** Takes one line per event, without a newline. */
  readonly trace: ((line: string) => void) | undefined;
  /** Takes each byte that the guest sends on COM1. It may call `stop`. */
  readonly serial: (byte: number) => void;
}

/** Makes a machine with its image loaded. @throws InputError where the configuration or the image cannot be */
export type CreateMachine = (config: MachineConfig) => RunningMachine;

export interface RunningMachine {
  /**
   * Runs until at most `instructions` instructions have retired and says why it returned; under L0, exits and halted time
   * count as well. A halted guest is passed over: the next call goes on with the next timer.
   */
  run(instructions: number): Stop;
  /** Called from within `run` (by `serial`): makes `run` return `budget` before the next instruction. */
  stop(): void;
  /** Instructions retired so far, all levels together. */
  readonly instructions: number;
  /** Bytes for the guest's COM1; they wait until the guest takes them. */
  input(bytes: Uint8Array): void;
  statistics(): MachineStatistics;
}

export type Stop =
  /** The instructions are used up, or `stop` was called. */
  | { readonly kind: 'budget' }
  /** The guest waits for an interrupt; the next timer is due after so many nanoseconds, Infinity for none. */
  | { readonly kind: 'halted'; readonly wakeAfter: number }
  /** The guest halted with interrupts off: nothing can wake it. */
  | { readonly kind: 'dead' }
  | { readonly kind: 'power-off' }
  /** The guest asked for a reset (keyboard controller, port 0x92, ACPI). */
  | { readonly kind: 'reset' }
  /** The guest wrote a value to the debug-exit port 0xf4. */
  | { readonly kind: 'debug-exit'; readonly value: number }
  /** `report` shows the processor's state, lines of text for the user. */
  | { readonly kind: 'triple-fault'; readonly report: string }
  /** L0 cannot go on with its guest, and says why. */
  | { readonly kind: 'l0-failure'; readonly message: string };

export interface MachineStatistics {
  /** L0's VMRUNs, and those of them around which EFER.NXE changes; 0 on the bare machine. */
  readonly entries: number;
  readonly nxSwitches: number;
  /** L0's exits by name; empty on the bare machine. */
  readonly exits: Readonly<Record<string, number>>;
  /** Counters of L0's MMU by name, the same names on the bare machine, where all are 0. */
  readonly mmu: Readonly<Record<string, number>>;
}
