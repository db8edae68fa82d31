import type { CpuModel } from '../arch/cpu-models.ts';
import { InputError } from '../arch/input-error.ts';
import { checkMemorySize, PC_MEMORY } from '../arch/memory-size.ts';
import { Cpu } from '../cpu/cpu.ts';
import type { CpuMemory } from '../cpu/cpu-memory.ts';
import { Clock } from './clock.ts';
import { createPcDevices, type PcDevices } from './devices/pc.ts';
import { applyInitialState } from './initial-registers.ts';
import type { LoadedImage } from './loaders/request.ts';
import { type ImageOptions, loadPcImage } from './pc-image.ts';

/** What the machine's owner gets told. Handlers may call `Machine.stop`. */
export interface MachineEvents {
  /** A byte that COM1 sent. */
  serial?(byte: number): void;
  /** A byte written to port 0xe9. */
  debugConsole?(byte: number): void;
}

export interface MachineOptions {
  readonly model: CpuModel;
  /** Bytes of RAM, a multiple of 4 KiB from 1 MiB to 2 GiB. */
  readonly memoryBytes: number;
  /** Where they are to be; fresh unless given. No machine that had it before may run any more. */
  readonly memory?: CpuMemory | undefined;
  readonly events?: MachineEvents;
  /** What is sent to COM1 waits until the guest raises RTS, as Linux does when it listens. */
  readonly serialFlowControl?: boolean;
}

/** Why `run` returned. */
export type MachineStop =
  | { readonly kind: 'limit' }
  /** Waiting for an interrupt; the next timer is due after so many ticks, Infinity for none. */
  | { readonly kind: 'halted'; readonly wakeAfter: number }
  /** Halted with interrupts off: nothing can wake it. */
  | { readonly kind: 'dead' }
  | { readonly kind: 'power-off' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'debug-exit'; readonly value: number }
  | { readonly kind: 'triple-fault' };

/** EIP after RESET (SDM vol. 3A table 9-1): no firmware is there. */
export const RESET_VECTOR = 0xfff0;

export const nothingLoaded = (): InputError =>
  new InputError('Nothing is loaded, so that there is nothing to run: call load() before run().');

/** A PC: processor, memory and devices on one virtual clock. */
export class Machine {
  readonly cpu: Cpu;
  readonly clock: Clock;
  readonly devices: PcDevices;
  #ending: MachineStop | undefined;
  #stopped = false;
  #started = false;

  /** @throws InputError for an amount of RAM that cannot be */
  constructor(options: MachineOptions) {
    const { model, memoryBytes, events = {} } = options;
    checkMemorySize(memoryBytes, PC_MEMORY);
    // Clock and devices come first, but ask the processor for the time and tell it of events.
    let cpu: Cpu | undefined;
    const attention = (): void => cpu?.endSlice();
    this.clock = new Clock(() => cpu?.instructionNow ?? 0, attention);
    this.devices = createPcDevices({
      clock: this.clock,
      memoryBytes,
      hasApic: model.features.has('apic'),
      serialFlowControl: options.serialFlowControl,
      serialOut: (byte) => events.serial?.(byte),
      debugConsoleOut: (byte) => events.debugConsole?.(byte),
      onReset: () => this.#end({ kind: 'reset' }),
      onPowerOff: () => this.#end({ kind: 'power-off' }),
      onDebugExit: (status) => this.#end({ kind: 'debug-exit', value: status >>> 1 }),
      onInterrupt: attention,
      onNmi: () => {
        if (cpu !== undefined) cpu.nmiPending = true;
        attention();
      },
      onInit: () => {
        if (cpu !== undefined) cpu.initPending = true;
        attention();
      },
      onA20: (open) => {
        if (cpu !== undefined) cpu.paging.a20 = open;
        cpu?.updateContext();
        attention();
      },
      onMmioMoved: (first, frames) => cpu?.devicesMoved(first, frames),
    });
    this.cpu = new Cpu({
      model,
      ramBytes: memoryBytes,
      ...(options.memory && { memory: options.memory }),
      mmio: this.devices.mmio,
      environment: {
        interrupts: this.devices.interrupts,
        ports: this.devices.io,
        ...(this.devices.apic && { apic: this.devices.apic }),
        // The reset vector is the firmware's, and there is none: the owner decides.
        initialized: () => this.#end({ kind: 'reset' }),
      },
    });
    cpu = this.cpu;
    this.devices.io.onIsaCycle = (ticks) => this.cpu.passTime(ticks);
  }

  /** Loads an image and puts the processor at its entry. @throws InputError */
  load(options: ImageOptions): LoadedImage {
    const { physical } = this.cpu;
    const memory = { size: physical.size, write: physical.load.bind(physical) };
    const loaded = loadPcImage(options, memory, this.devices.apic !== undefined);
    applyInitialState(this.cpu, loaded.state);
    return loaded;
  }

  /** Makes `run` return before the next instruction. */
  stop(): void {
    this.#stopped = true;
    this.cpu.stopRequested = true;
    this.cpu.endSlice();
  }

  /**
   * Runs until `instructions` instructions have retired, or until something ends or halts the machine. Halted time does
   * not count: at each halt it jumps to the next timer, and `run` returns. (`HostedMachine.run` counts ticks.)
   * @throws InputError where nothing was loaded
   */
  run(instructions: number): MachineStop {
    const { cpu, clock } = this;
    if (!this.#started && cpu.state.eip === RESET_VECTOR) throw nothingLoaded();
    this.#started = true;
    this.#stopped = false;
    const end = cpu.retired + instructions;
    while (cpu.retired < end) {
      clock.advance();
      const until = Math.min(clock.nextDeadline, cpu.now + (end - cpu.retired));
      const reason = cpu.run(until);
      if (this.#ending !== undefined) return this.#takeEnding();
      if (reason === 'shutdown') return { kind: 'triple-fault' };
      if (this.#stopped) break;
      if (reason === 'halted') {
        const ended = this.#waitHalted();
        if (ended !== undefined) return ended;
      }
    }
    return { kind: 'limit' };
  }

  /** Lets virtual time pass to the next deadline; the caller of `run` learns of the wait. */
  #waitHalted(): MachineStop | undefined {
    const { cpu, clock } = this;
    if (cpu.wakeable && this.devices.interrupts.pending) return undefined;
    const wakeAfter = clock.nextDeadline - cpu.now;
    if (!cpu.wakeable) return { kind: 'dead' };
    if (wakeAfter === Number.POSITIVE_INFINITY) return { kind: 'halted', wakeAfter };
    cpu.idleTicks += Math.max(wakeAfter, 0);
    return { kind: 'halted', wakeAfter };
  }

  #end(ending: MachineStop): void {
    this.#ending = ending;
    this.cpu.stopRequested = true;
    this.cpu.endSlice();
  }

  #takeEnding(): MachineStop {
    const ending = this.#ending as MachineStop;
    this.#ending = undefined;
    return ending;
  }
}
