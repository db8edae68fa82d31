import { InputError } from '../../arch/input-error.ts';
import type { Cpu } from '../../cpu/cpu.ts';
import type { PcDevices } from '../../machine/devices/pc.ts';
import { recognise } from '../../machine/loaders/recognise.ts';
import type { LoadedImage } from '../../machine/loaders/request.ts';
import type { MachineStop } from '../../machine/machine.ts';
import type { ImageOptions } from '../../machine/pc-image.ts';
import { GuestFailure } from '../../vmm/hosted-machine.ts';
import { registerReport } from './register-report.ts';
import type { MachineConfig, MachineStatistics, RunningMachine, Stop } from './session.ts';

/** What a PC and a VM have in common. */
interface AnyMachine {
  readonly cpu: Cpu;
  readonly devices: PcDevices;
  load(options: ImageOptions): LoadedImage;
  run(instructions: number): MachineStop;
  stop(): void;
}

/** Linux raises RTS before it reads; what comes earlier would be lost while it probes the port. Others may never raise it. */
export const heedsFlowControl = (image: Uint8Array): boolean => recognise(image) === 'bzimage';

/** A machine with its image, as `umbra run` drives it. */
export class MachineRun implements RunningMachine {
  readonly #machine: AnyMachine;
  readonly #statistics: () => MachineStatistics;
  /** Instructions of the host's boot code, which are not the image's. */
  readonly #before: number;

  /** @throws InputError where the image is bad or needs what the processor lacks */
  constructor(machine: AnyMachine, config: MachineConfig, statistics: () => MachineStatistics) {
    this.#machine = machine;
    this.#before = machine.cpu.retired;
    this.#statistics = statistics;
    const loaded = machine.load({
      image: config.image,
      name: config.imageName,
      commandLine: config.commandLine,
      initrd: config.initrd,
      modules: config.modules,
      raw: config.raw,
    });
    if (loaded.needsLongMode && !(config.cpu.features as ReadonlySet<string>).has('lm')) {
      throw new InputError(
        `${config.imageName} is a 64-bit kernel, and ${config.cpu.name} has no long mode; take a 32-bit kernel.`,
      );
    }
  }

  run(instructions: number): Stop {
    const stop = this.#runMachine(instructions);
    if (stop.kind === 'l0-failure') return stop;
    if (stop.kind === 'limit') return { kind: 'budget' };
    if (stop.kind === 'triple-fault')
      return { kind: 'triple-fault', report: registerReport(this.#machine.cpu) };
    return stop;
  }
  #runMachine(instructions: number): MachineStop | Extract<Stop, { kind: 'l0-failure' }> {
    try {
      return this.#machine.run(instructions);
    } catch (error) {
      if (error instanceof GuestFailure) return { kind: 'l0-failure', message: error.message };
      throw error;
    }
  }
  stop(): void {
    this.#machine.stop();
  }
  get instructions(): number {
    return this.#machine.cpu.retired - this.#before;
  }
  input(bytes: Uint8Array): void {
    this.#machine.devices.uart.receive(bytes);
  }
  statistics(): MachineStatistics {
    return this.#statistics();
  }
}
