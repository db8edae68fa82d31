/** A hostile guest as a virtual machine of L0, and what can be observed of both. */
import { gpa, hpa } from '../../src/arch/address.ts';
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { VMCB_SAVE } from '../../src/arch/vmcb.ts';
import { HOST_BOOT } from '../../src/guest/host-boot.ts';
import { setInitialState } from '../../src/l0/vcpu-registers.ts';
import { protectedState } from '../../src/machine/loaders/initial-state.ts';
import { HostedMachine, hostMemory as newHostMemory } from '../../src/vmm/hosted-machine.ts';
import { hashWords } from './bare.ts';
import { MACHINE_MEMORY, STACK, START } from './guest.ts';

export interface HostedOptions {
  readonly model?: string;
  readonly check?: boolean;
  readonly start?: number;
  readonly shadowPageLimit?: number;
}

const CANARY = 0x5a;
/** Host memory that is nobody's: above the boot code's tables, below L0's pages. */
const NOBODYS = { from: HOST_BOOT.END, to: 0x10_0000 };

/** One for all: fresh memory for each machine costs more than its run. */
const MEMORY = newHostMemory(MACHINE_MEMORY);

/** A machine with `memory` from address 0. The one made before it must not be used any more. */
export function hostedWith(memory: Uint8Array, options: HostedOptions = {}): HostedMachine {
  const model = parseCpuModel('current-amd');
  const machine = new HostedMachine({
    model,
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

/** First byte outside the VM that changed: of memory that is nobody's, or of the host's boot code; -1 for none. */
export function trespass(machine: HostedMachine, hostBefore: Uint8Array): number {
  const { u8 } = machine.cpu.physical;
  for (let at = 0; at < NOBODYS.from; at++) if (u8[at] !== hostBefore[at]) return at;
  for (let at = NOBODYS.from; at < NOBODYS.to; at++) if (u8[at] !== CANARY) return at;
  return -1;
}

/** The host's own memory, before the guest runs. */
export const hostMemory = (machine: HostedMachine): Uint8Array =>
  machine.cpu.physical.u8.slice(0, NOBODYS.from);

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
