import { hpa } from '../arch/address.ts';
import { exceptionName } from '../arch/exceptions.ts';
import type { Cpu, ShutdownCause } from '../cpu/cpu.ts';
import type { StopReason } from '../cpu/run.ts';
import type { Program } from '../guest/assembler.ts';
import { disassemble } from '../guest/disassemble.ts';
import { hostKernel, KERNEL_LABEL, NO_CPUID } from '../guest/host-kernel/kernel.ts';
import {
  HOST_KERNEL_PLACE,
  KERNEL_BUILDS,
  type KernelBuildName,
  PAGE_OFFSET,
} from '../guest/host-kernel/layout.ts';
import { applyInitialState } from '../machine/initial-registers.ts';
import { protectedState } from '../machine/loaders/initial-state.ts';

/** What the loader's descriptors are called; the kernel loads its own. */
const LOADER = { code: 0x10, data: 0x18 } as const;
const INSTRUCTIONS = 1_000_000;
const LONGEST_INSTRUCTION = 15;

/** How a kernel's start on a processor ended. */
export type BootEnd =
  /** The kernel has found a CPUID instruction, or has not. */
  | { readonly kind: 'booted'; readonly hasCpuid: boolean }
  /** A triple fault, which began with this exception. */
  | ({ readonly kind: 'died' } & BootFault)
  /** It still runs after a million instructions, or halted where it should not. */
  | { readonly kind: 'lost'; readonly reason: StopReason; readonly eip: number };

export interface BootFault extends ShutdownCause {
  /** `#GP(0)`. */
  readonly exception: string;
  /** The instruction at EIP in the kernel's image: `mov cr4,eax`. */
  readonly instruction: string;
  /** EIP as the nearest label and a distance: `default_entry+0x35`. */
  readonly place: string;
}

const programs = new Map<KernelBuildName, Program>();

function programOf(build: KernelBuildName): Program {
  const known = programs.get(build);
  if (known !== undefined) return known;
  const made = hostKernel(KERNEL_BUILDS[build]);
  programs.set(build, made);
  return made;
}

/**
 * Boots a host kernel on a processor that comes from RESET, as a boot loader enters it. Where it booted, the processor has the
 * kernel's registers and goes on with whatever it is given to do.
 */
export function bootKernel(cpu: Cpu, build: KernelBuildName): BootEnd {
  const program = programOf(build);
  cpu.physical.load(hpa(program.origin), program.bytes);
  return start(cpu, program, KERNEL_LABEL.START, KERNEL_LABEL.IDLE);
}

/**
 * Starts a second processor, with memory of its own that becomes as the first one has left it, of which `first` booted
 * `build`.
 */
export function bootSecond(cpu: Cpu, build: KernelBuildName, first: Cpu): BootEnd {
  const { ZERO_PAGE, END } = HOST_KERNEL_PLACE;
  cpu.physical.load(hpa(ZERO_PAGE), first.physical.u8.subarray(ZERO_PAGE, END));
  return start(cpu, programOf(build), KERNEL_LABEL.START_SECOND, KERNEL_LABEL.SECOND_IDLE);
}

function start(cpu: Cpu, program: Program, entry: string, idle: string): BootEnd {
  const at = (label: string): number => program.labels.get(label) as number;
  applyInitialState(cpu, protectedState(at(entry), {}, LOADER.code, LOADER.data, hpa(0)));
  const reason = cpu.run(cpu.now + INSTRUCTIONS);
  const { eip } = cpu.state;
  if (reason === 'shutdown' && cpu.shutdownCause !== undefined)
    return { kind: 'died', ...faultOf(cpu.shutdownCause, program) };
  if (reason !== 'halted' || eip !== (at(idle) + PAGE_OFFSET) >>> 0) return { kind: 'lost', reason, eip };
  cpu.halted = false;
  return { kind: 'booted', hasCpuid: cpu.physical.u32[at(KERNEL_LABEL.CPUID_LEVEL) >>> 2] !== NO_CPUID };
}

function faultOf(cause: ShutdownCause, program: Program): BootFault {
  const { vector, errorCode, eip } = cause;
  const mnemonic = exceptionName(vector);
  const physical = eip >= PAGE_OFFSET ? eip - PAGE_OFFSET : eip;
  const offset = physical - program.origin;
  const code = program.bytes.subarray(offset, offset + LONGEST_INSTRUCTION);
  return {
    ...cause,
    exception: errorCode < 0 ? mnemonic : `${mnemonic}(${errorCode})`,
    instruction: offset >= 0 && code.length > 0 ? disassemble(code, eip) : '(outside the kernel)',
    place: placeOf(physical, program),
  };
}

/** The nearest label at or below an address. */
function placeOf(physical: number, { labels }: Program): string {
  let found: [label: string, address: number] | undefined;
  for (const [label, address] of labels) {
    if (address <= physical && (found === undefined || address >= found[1])) found = [label, address];
  }
  if (found === undefined) return `0x${physical.toString(16)}`;
  const distance = physical - found[1];
  return distance === 0 ? found[0] : `${found[0]}+0x${distance.toString(16)}`;
}

/** How a start ended, as a clause: `it died of #GP(0) at 0x401066, mov cr4,eax (default_entry+0x36)`. */
export function bootClause(end: BootEnd): string {
  const hex = (value: number): string => `0x${value.toString(16)}`;
  if (end.kind === 'booted') return 'it booted';
  if (end.kind === 'lost') return `it got lost (${end.reason} at ${hex(end.eip)})`;
  return `it died of ${end.exception} at ${hex(end.eip)}, ${end.instruction} (${end.place})`;
}
