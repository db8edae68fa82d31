/** A hostile guest as a virtual machine of L0, and what can be observed of both. */
import { gpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { VMCB_SAVE } from '../../src/arch/vmcb.ts';
import { HOST_KERNEL_PLACE, type HostKernel } from '../../src/guest/host-kernel/layout.ts';
import type { L0Paging } from '../../src/l0/guest-cpu.ts';
import { setInitialState } from '../../src/l0/vcpu-registers.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { HostedMachine, hostMemory as newHostMemory } from '../../src/vmm/hosted-machine.ts';
import { hashWords } from './bare.ts';
import { MACHINE_MEMORY, STACK, START } from './guest.ts';

/** Where hostile guests run. */
export interface Below {
  readonly l0: L0Paging;
  readonly host: HostKernel;
}
export const NESTED_HOSTS: readonly Below[] = [
  { l0: 'npt', host: 'pae' },
  { l0: 'npt', host: 'nopae' },
  { l0: 'npt', host: 'nopae-nx' },
];
export const nameOf = ({ l0, host }: Below): string => `${l0} on a ${host} host`;

export interface HostedOptions {
  readonly below?: Below;
  readonly model?: string;
  readonly check?: boolean;
  readonly start?: number;
  readonly shadowPageLimit?: number;
}

const CANARY = 0x5a;
/** Host memory that is nobody's: below the host's kernel. */
const NOBODYS = { from: 0, to: HOST_KERNEL_PLACE.ZERO_PAGE };
const KERNEL = { from: HOST_KERNEL_PLACE.ZERO_PAGE, to: HOST_KERNEL_PLACE.END };

/** One for all: fresh memory for each machine costs more than its run. */
const MEMORY = newHostMemory(MACHINE_MEMORY);

/** A machine with `memory` from address 0. The one made before it must not be used any more. */
export function hostedWith(memory: Uint8Array, options: HostedOptions = {}): HostedMachine {
  const model = parseCpuModel('current-amd');
  const machine = new HostedMachine({
    model,
    ...options.below,
    ...(options.model !== undefined && { guestModel: parseCpuModel(options.model) }),
    memoryBytes: MACHINE_MEMORY,
    memory: MEMORY,
    check: options.check === true,
    ...(options.shadowPageLimit !== undefined && { shadowPageLimit: options.shadowPageLimit }),
  });
  machine.cpu.physical.u8.fill(CANARY, NOBODYS.from, NOBODYS.to);
  machine.write(gpa(0), memory);
  setInitialState(machine.vcpu, protectedState(options.start ?? START, { ESP: STACK }, 8, 16, hpa(0)));
  return machine;
}

/** Runs a guest that may do what it likes, and says how it ended; L0 never gives up on one. */
export const runHosted = (machine: HostedMachine, ticks: number): string => machine.run(ticks).kind;

/** First byte outside the VM that changed: of memory that is nobody's, or of the host's kernel; -1 for none. */
export function trespass(machine: HostedMachine, hostBefore: Uint8Array): number {
  const { u8 } = machine.cpu.physical;
  for (let at = KERNEL.from; at < KERNEL.to; at++) if (u8[at] !== hostBefore[at - KERNEL.from]) return at;
  for (let at = NOBODYS.from; at < NOBODYS.to; at++) if (u8[at] !== CANARY) return at;
  return -1;
}

/** The host's own memory, before the guest runs. */
export const hostMemory = (machine: HostedMachine): Uint8Array =>
  machine.cpu.physical.u8.slice(KERNEL.from, KERNEL.to);

export function hostedFingerprint(machine: HostedMachine): string {
  const { vcpu, cpu } = machine;
  const { state } = vcpu;
  const memory = machine.read(gpa(0), MACHINE_MEMORY);
  const { words } = state.vmcb;
  return [
    cpu.retired,
    state.rip,
    state.rflags,
    state.cr0,
    state.cr3,
    state.cr4,
    state.guestMode,
    hashWords(state.gpr),
    hashWords(words.slice(VMCB_SAVE.ES >>> 2, (VMCB_SAVE.CR2 + 8) >>> 2)),
    machine.clock.now,
    hashWords(new Uint32Array(memory.buffer)),
    JSON.stringify({ ...machine.statistics, exitCounts: machine.statistics.exitsByName() }),
  ].join(' ');
}
