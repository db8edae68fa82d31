import { type Gpa, gpa, hpa, PAGE_SIZE } from '../arch/address.ts';
import type { CpuModel } from '../arch/cpu-models.ts';
import { checkMemorySize, type MemoryLimits, PC_MEMORY } from '../arch/memory-size.ts';
import { Cpu } from '../cpu/cpu.ts';
import { CpuMemory } from '../cpu/cpu-memory.ts';
import { Emulator } from '../cpu/emulator/emulator.ts';
import { CpuHardware } from '../cpu/host/hardware.ts';
import {
  HOST_KERNEL_PLACE,
  type HostKernel,
  KERNEL_BUILDS,
  LOW_MEMORY,
} from '../guest/host-kernel/layout.ts';
import type { L0Paging } from '../l0/guest-cpu.ts';
import type { Hardware } from '../l0/hardware.ts';
import { Hypervisor, UnsupportedHost } from '../l0/hypervisor.ts';
import type { Rules } from '../l0/rules.ts';
import type { Statistics } from '../l0/statistics.ts';
import type { TraceSink } from '../l0/trace.ts';
import type { Vcpu } from '../l0/vcpu.ts';
import { setInitialState } from '../l0/vcpu-registers.ts';
import type { Vm } from '../l0/vm.ts';
import { Clock } from '../machine/clock.ts';
import { createPcDevices, type PcDevices } from '../machine/devices/pc.ts';
import type { LoadedImage } from '../machine/loaders/request.ts';
import { type MachineEvents, type MachineStop, nothingLoaded, RESET_VECTOR } from '../machine/machine.ts';
import { type ImageOptions, loadPcImage } from '../machine/pc-image.ts';
import { HostMemoryPort } from './host-memory.ts';
import { bootClause, bootKernel } from './kernel-boot.ts';
import { type LoadPolicy, LoadRefused, loadRefusal, nxOf } from './load-policy.ts';

/** Host memory below the guest's: the host's kernel, then what L0 owns. */
const L0_START = HOST_KERNEL_PLACE.END;
const GUEST_BASE = LOW_MEMORY;

export interface HostedMachineOptions {
  /** The host's processor. */
  readonly model: CpuModel;
  /**
   * What the guest is offered, as far as L0 can virtualise it; the host's processor unless given. Instructions that need
   * no intercept behave as on the host all the same, and with nested paging so do reserved bits in the guest's page tables.
   */
  readonly guestModel?: CpuModel;
  /** How L0 translates the guest's addresses: shadow paging unless given. */
  readonly l0?: L0Paging;
  /** The kernel that L0 is part of: one with PAE paging unless given. */
  readonly host?: HostKernel;
  /** Whether L0 loads on a host with NX turned off: it does unless given. */
  readonly loadPolicy?: LoadPolicy;
  /** Bytes of guest RAM, within `HOSTED_MEMORY`, a multiple of 4 KiB. */
  readonly memoryBytes: number;
  /** From `hostMemory`; fresh unless given. No machine that had it before may run any more. */
  readonly memory?: CpuMemory | undefined;
  readonly events?: MachineEvents;
  /** What is sent to COM1 waits until the guest raises RTS, as Linux does when it listens. */
  readonly serialFlowControl?: boolean;
  readonly check?: boolean;
  readonly trace?: TraceSink | undefined;
  /** Shadow pages at most. */
  readonly shadowPageLimit?: number;
  /** Other rules of shadow paging than the right ones: a mutant's. */
  readonly rules?: Rules;
}

/** Bytes of a guest's RAM, least and most: the host has a PC's, and L0 keeps the first 64 MiB of it. */
export const HOSTED_MEMORY: MemoryLimits = { least: PC_MEMORY.least, most: PC_MEMORY.most - GUEST_BASE };

/** Memory of the host of a `HostedMachine` whose guest has `memoryBytes` bytes of RAM. */
export const hostMemory = (memoryBytes: number): CpuMemory => new CpuMemory(GUEST_BASE + memoryBytes);

/** L0 gave up on its guest; the message says why. */
export class GuestFailure extends Error {
  override readonly name = 'GuestFailure';
}

/**
 * A PC that is a virtual machine: a host processor, booted by a host kernel's early code, L0 on it, and one VM with the
 * devices of a PC. It loads and runs images as `Machine` does.
 */
export class HostedMachine {
  readonly cpu: Cpu;
  readonly clock: Clock;
  readonly devices: PcDevices;
  readonly hypervisor: Hypervisor;
  readonly vm: Vm;
  readonly vcpu: Vcpu;
  readonly #memoryBytes: number;
  readonly #hardware: CpuHardware<Emulator>;
  #ending: MachineStop | undefined;
  #started = false;

  /**
   * @throws UnsupportedHost where the host's kernel does not boot or the processor lacks what L0 needs, LoadRefused where the
   * load policy says so, UnsupportedGuest where the host lacks what the guest is to have, InputError for an amount of RAM that
   * cannot be
   */
  constructor(options: HostedMachineOptions) {
    const { model, memoryBytes, events = {} } = options;
    checkMemorySize(memoryBytes, HOSTED_MEMORY);
    this.#memoryBytes = memoryBytes;
    this.cpu = new Cpu({
      model,
      ramBytes: GUEST_BASE + memoryBytes,
      ...(options.memory && { memory: options.memory }),
    });
    const { cpu } = this;
    this.clock = new Clock(
      () => cpu.instructionNow,
      () => cpu.endSlice(),
    );
    const { host = 'pae', loadPolicy = 'allow' } = options;
    bootHost(cpu, host);
    this.#hardware = new CpuHardware(cpu, this.clock, new Emulator(cpu));
    applyPolicy(loadPolicy, host, this.#hardware);
    this.hypervisor = new Hypervisor(
      this.#hardware,
      { base: hpa(L0_START), size: GUEST_BASE - L0_START },
      options.l0 === undefined ? {} : { paging: options.l0 },
    );
    const guestModel = this.hypervisor.guestModel(options.guestModel ?? model);
    // The devices come first, but tell the VM where they move.
    let vm: Vm | undefined;
    this.devices = createPcDevices({
      clock: this.clock,
      memoryBytes,
      hasApic: guestModel.features.has('apic'),
      serialFlowControl: options.serialFlowControl,
      serialOut: (byte) => events.serial?.(byte),
      debugConsoleOut: (byte) => events.debugConsole?.(byte),
      onReset: () => this.#end({ kind: 'reset' }),
      onPowerOff: () => this.#end({ kind: 'power-off' }),
      onDebugExit: (status) => this.#end({ kind: 'debug-exit', value: status >>> 1 }),
      // What raises a line between two runs must not wait for the guest to leave the processor by itself.
      onInterrupt: () => this.#hardware.interruptHost(),
      onNmi: () => {
        this.vcpu.signalNmi();
        this.#hardware.interruptHost();
      },
      onInit: () => this.vcpu.signalInit(),
      onA20: () => {},
      onMmioMoved: (first, frames) => vm?.devicesMoved(first, frames),
    });
    this.devices.io.onIsaCycle = (ticks) => cpu.passTime(ticks);
    this.vm = this.hypervisor.createVm({
      model: guestModel,
      environment: {
        interrupts: this.devices.interrupts,
        ports: this.devices.io,
        ...(this.devices.apic && { apic: this.devices.apic }),
        // The reset vector is the firmware's, and there is none: the owner decides.
        initialized: () => this.#end({ kind: 'reset' }),
      },
      mmio: this.devices.mmio,
      check: options.check === true,
      ...(options.trace && { trace: options.trace }),
      ...(options.shadowPageLimit !== undefined && { shadowPageLimit: options.shadowPageLimit }),
      ...(options.rules && { rules: options.rules }),
    });
    vm = this.vm;
    this.vm.addMemory(gpa(0), { base: hpa(GUEST_BASE), size: memoryBytes });
    new HostMemoryPort(this.vm).attach(this.devices.io);
    this.vcpu = this.vm.createVcpu();
  }

  get statistics(): Statistics {
    return this.vm.statistics;
  }

  /** Loads an image into the VM and puts its vCPU at the entry. @throws InputError */
  load(options: ImageOptions): LoadedImage {
    const memory = {
      size: this.#memoryBytes,
      write: (address: number, bytes: Uint8Array) => this.write(gpa(address), bytes),
    };
    const loaded = loadPcImage(options, memory, this.devices.apic !== undefined);
    setInitialState(this.vcpu, loaded.state);
    return loaded;
  }

  /** Puts bytes into guest memory. Throws RangeError beyond its end. */
  write(address: Gpa, bytes: Uint8Array): void {
    for (const { host, offset, count } of this.#runs(address, bytes.length)) {
      if (host >= 0) this.cpu.physical.load(hpa(host), bytes.subarray(offset, offset + count));
    }
    this.vm.memoryWritten(address, bytes.length);
  }

  /** A copy of guest memory. Throws RangeError beyond its end. */
  read(address: Gpa, length: number): Uint8Array {
    const copy = new Uint8Array(length).fill(0xff);
    for (const { host, offset, count } of this.#runs(address, length)) {
      if (host >= 0) copy.set(this.cpu.physical.u8.subarray(host, host + count), offset);
    }
    return copy;
  }

  /** The pieces of a range of guest memory, page by page, and where each is now; -1 for a page that was taken away. */
  *#runs(address: Gpa, length: number): Generator<{ host: number; offset: number; count: number }> {
    if (address + length > this.#memoryBytes) throw new RangeError('beyond the guest RAM');
    for (let offset = 0; offset < length; ) {
      const at = address + offset;
      const count = Math.min(PAGE_SIZE - (at % PAGE_SIZE), length - offset);
      yield { host: this.vm.slots.hostAddress(at), offset, count };
      offset += count;
    }
  }

  /** Makes `run` return before the next instruction. */
  stop(): void {
    this.vcpu.kick();
    this.cpu.endSlice();
  }

  /**
   * Runs until `ticks` ticks of virtual time have passed, or until something ends the machine. A tick is an instruction
   * that retires, one that L0 emulates, an exit to L0, or a tick of halted time, which is never cut short; so that at most
   * `ticks` instructions retire. (`Machine.run` counts those alone.) Wherever a run is cut into several, the guest does
   * the same at the same ticks.
   * @throws GuestFailure where L0 cannot go on, InputError where nothing was loaded
   */
  run(ticks: number): MachineStop {
    if (!this.#started && this.vcpu.state.rip === RESET_VECTOR) throw nothingLoaded();
    this.#started = true;
    this.#hardware.stopAt = this.clock.now + ticks;
    const exit = this.vcpu.run();
    if (this.#ending !== undefined) {
      const ending = this.#ending;
      this.#ending = undefined;
      return ending;
    }
    switch (exit.reason) {
      case 'kicked':
      case 'stopped':
        return { kind: 'limit' };
      case 'halted':
        if (!this.vcpu.interruptsOpen) return { kind: 'dead' };
        return { kind: 'halted', wakeAfter: Number.POSITIVE_INFINITY };
      case 'shutdown':
        return { kind: 'triple-fault' };
      case 'internal-error':
        throw new GuestFailure(exit.message);
    }
  }

  #end(ending: MachineStop): void {
    this.#ending = ending;
    this.vcpu.kick();
  }
}

/** Boots the host's kernel on the bare processor, and looks whether L0 could ask that processor anything. */
function bootHost(cpu: Cpu, kernel: HostKernel): void {
  const end = bootKernel(cpu, kernel);
  if (end.kind !== 'booted') {
    const because =
      KERNEL_BUILDS[kernel].pae && !cpu.hasFeature('pae')
        ? "it has no PAE, and the host's kernel pages with PAE: "
        : '';
    throw new UnsupportedHost(
      `${because}${bootClause(end)} when the host's kernel (${kernel}) started on it.`,
    );
  }
  if (!end.hasCpuid) throw new UnsupportedHost('it has no CPUID instruction, and so no SVM, which L0 needs.');
}

/** @throws LoadRefused */
function applyPolicy(policy: LoadPolicy, kernel: HostKernel, hardware: Hardware): void {
  const refusal = loadRefusal(policy, { kernel: KERNEL_BUILDS[kernel], ...nxOf(hardware) });
  if (refusal !== undefined) throw new LoadRefused(refusal);
}
