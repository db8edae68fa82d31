/** A PC's devices, wired together: of the machine itself, and again of each VM under the hypervisor. */
import { APIC_BASE_RESET } from '../../arch/msrs.ts';
import type { Clock } from '../clock.ts';
import { IoBus } from '../io-bus.ts';
import { MmioBus, type MmioMoved } from '../mmio-bus.ts';
import type { InterruptLine, InterruptSource } from '../ports.ts';
import { A20Gate } from './a20-gate.ts';
import { AcpiPm, SCI_IRQ } from './acpi-pm.ts';
import { CoprocessorErrors } from './coprocessor.ts';
import { DebugPorts } from './debug-ports.ts';
import { setUpAsFirmware } from './firmware.ts';
import { IoApic } from './io-apic.ts';
import type { Keyboard } from './keyboard.ts';
import { KeyboardController } from './keyboard-controller.ts';
import { LocalApic } from './local-apic.ts';
import { Pci } from './pci.ts';
import { hostBridge, isaBridge } from './pci-bridges.ts';
import { PicPair } from './pic-pair.ts';
import { Pit } from './pit.ts';
import { Rtc } from './rtc.ts';
import { SystemControl } from './system-control.ts';
import { Uart } from './uart.ts';

export interface PcOptions {
  readonly clock: Clock;
  /** RAM from address 0 up, for the memory sizes in CMOS. */
  readonly memoryBytes: number;
  /** Local APIC and I/O APIC; without them the 8259s alone interrupt the processor. True unless given. */
  readonly hasApic?: boolean | undefined;
  /** Initial APIC ID of the processor; 0 unless given. */
  readonly apicId?: number | undefined;
  /** Time at tick 0, in seconds since 1970; 2021-07-12 00:00:00 UTC unless given. */
  readonly epochSeconds?: number | undefined;
  /** Whoever sends to COM1 waits until the guest raises RTS (see UartOptions). */
  readonly serialFlowControl?: boolean | undefined;
  /** Takes each byte that COM1 sends. */
  readonly serialOut: (byte: number) => void;
  /** Takes each byte written to port E9h. */
  readonly debugConsoleOut: (byte: number) => void;
  /** The guest resets the machine by port CF9h. `reset` is for the owner to call. */
  readonly onReset: () => void;
  /** The guest powers the machine off by ACPI. */
  readonly onPowerOff: () => void;
  /** Takes `(v << 1) | 1` of a value v written to port F4h. */
  readonly onDebugExit: (status: number) => void;
  /** The A20 gate opens (true) or closes; it starts open. */
  readonly onA20: (enabled: boolean) => void;
  /** Takes each byte written to port 80h. */
  readonly onPostCode?: ((code: number) => void) | undefined;
  /** An NMI for the processor. */
  readonly onNmi?: (() => void) | undefined;
  /**
   * INIT for the processor: keyboard controller, port 92h, port CF9h, or a message to the local APIC. Who takes it calls
   * `apic.init`. Without this it is as a reset of the machine.
   */
  readonly onInit?: (() => void) | undefined;
  /** Device registers came or went: `mmio.claims` may say something else of so many frames from the first one. */
  readonly onMmioMoved?: MmioMoved | undefined;
  /** `interrupts.pending` became true. */
  readonly onInterrupt?: (() => void) | undefined;
}

export interface PcDevices {
  readonly io: IoBus;
  readonly mmio: MmioBus;
  /** What the processor asks for vectors: the local APIC, or the 8259s where there is none. */
  readonly interrupts: InterruptSource;
  readonly apic: LocalApic | undefined;
  readonly ioApic: IoApic | undefined;
  readonly pic: PicPair;
  readonly pit: Pit;
  readonly rtc: Rtc;
  readonly uart: Uart;
  readonly keyboard: Keyboard;
  readonly systemControl: SystemControl;
  readonly coprocessor: CoprocessorErrors;
  readonly acpi: AcpiPm;
  readonly pci: Pci;
  readonly debugPorts: DebugPorts;
  readonly a20: A20Gate;
  /** The bus's NMI line, behind the mask of port 70h; it leads to LINT1. */
  readonly nmi: InterruptLine;
  /** Input of ISA IRQ 0..15 at the 8259s and the I/O APIC. */
  irq(number: number): InterruptLine;
  /** Resets every device and sets it up as firmware does. */
  reset(): void;
}

/** Builds the devices, reset and set up as firmware leaves them. */
export function createPcDevices(options: PcOptions): PcDevices {
  const { clock, memoryBytes, onReset, onInit = onReset } = options;
  const io = new IoBus();
  const mmio = new MmioBus(options.onMmioMoved);
  const controllers = createControllers(options);
  const { apic, ioApic, pic, irq } = controllers;
  const a20 = new A20Gate(options.onA20);
  const pit = new Pit(clock, irq(0));
  const rtc = new Rtc({ clock, irq: irq(8), memoryBytes, epochSeconds: options.epochSeconds });
  const uart = new Uart({
    clock,
    irq: irq(4),
    transmit: options.serialOut,
    flowControl: options.serialFlowControl,
  });
  const keyboardController = new KeyboardController({
    keyboardIrq: irq(1),
    auxiliaryIrq: irq(12),
    a20,
    onInit,
  });
  const systemControl = new SystemControl({ pit, a20, onInit });
  const coprocessor = new CoprocessorErrors(irq(13));
  const acpi = new AcpiPm({ clock, sci: irq(SCI_IRQ), onPowerOff: options.onPowerOff });
  const debugPorts = new DebugPorts({
    consoleOut: options.debugConsoleOut,
    onExit: options.onDebugExit,
    onPostCode: options.onPostCode,
  });
  const bridges = [hostBridge(), isaBridge()];
  const pci = new Pci(onReset, onInit);
  bridges.forEach((bridge, device) => {
    pci.add(device, 0, bridge);
  });

  const onPorts = [
    pic,
    pit,
    rtc,
    uart,
    keyboardController,
    systemControl,
    coprocessor,
    acpi,
    debugPorts,
    pci,
  ];
  for (const device of onPorts) device.attach(io);
  apic?.attach(mmio);
  ioApic?.attach(mmio);

  const reset = (): void => {
    for (const device of [...onPorts, ...bridges, a20, apic, ioApic]) device?.reset();
    setUpAsFirmware(io, mmio, apic && APIC_BASE_RESET);
  };
  reset();

  return {
    io,
    mmio,
    ...controllers,
    interrupts: apic ?? pic,
    pit,
    rtc,
    uart,
    keyboard: keyboardController.keyboard,
    systemControl,
    coprocessor,
    acpi,
    pci,
    debugPorts,
    a20,
    nmi: { set: (level) => controllers.nmi.set(level && !rtc.nmiMasked) },
    reset,
  };
}

/** IRQ 0 arrives at input 2 of the I/O APIC, whose input 0 has the 8259s; the MADT tells. */
const TIMER_INPUT = 2;
const EXTINT_INPUT = 0;
const CASCADE_IRQ = 2;

interface Controllers {
  readonly apic: LocalApic | undefined;
  readonly ioApic: IoApic | undefined;
  readonly pic: PicPair;
  readonly nmi: InterruptLine;
  irq(number: number): InterruptLine;
}

/** The interrupt controllers and the wires between them. */
function createControllers(options: PcOptions): Controllers {
  const { clock, hasApic = true, onInterrupt, onNmi = () => {} } = options;
  if (!hasApic) {
    const pic = new PicPair({ set: (level) => level && onInterrupt?.() });
    return {
      apic: undefined,
      ioApic: undefined,
      pic,
      nmi: risingEdge(onNmi),
      irq: (number) => pic.line(number),
    };
  }
  const pic: PicPair = new PicPair({
    set: (level) => {
      apic.lint0.set(level);
      ioApic.line(EXTINT_INPUT).set(level);
    },
  });
  const apic: LocalApic = new LocalApic({
    clock,
    pic,
    id: options.apicId,
    onEoi: (vector) => ioApic.endOfInterrupt(vector),
    onNmi,
    onInit: options.onInit ?? options.onReset,
    onPending: onInterrupt,
  });
  const ioApic = new IoApic((message) => apic.receive(message));
  const irq = (number: number): InterruptLine => {
    if (number === CASCADE_IRQ) throw new Error('IRQ 2 is the cascade of the 8259s; no device has it.');
    const atPic = pic.line(number);
    const atIoApic = ioApic.line(number === 0 ? TIMER_INPUT : number);
    return {
      set: (level) => {
        atPic.set(level);
        atIoApic.set(level);
      },
    };
  };
  return { apic, ioApic, pic, nmi: apic.lint1, irq };
}

function risingEdge(rises: () => void): InterruptLine {
  let asserted = false;
  return {
    set: (level) => {
      if (level && !asserted) rises();
      asserted = level;
    },
  };
}
