import { once } from 'node:events';
import type { Host } from '../host.ts';
import { GuestConsole } from './console.ts';
import type { RunningMachine, Stop } from './session.ts';
import { UntilMatcher } from './until.ts';

/** How a run ended: the exit status and, where something is to be said, a sentence. */
export interface Ending {
  readonly kind:
    | Exclude<Stop['kind'], 'budget' | 'halted'>
    | 'until'
    | 'timeout'
    | 'max-instructions'
    | 'left'
    | 'signal';
  readonly status: number;
  readonly sentence?: string;
}

export interface DriveOptions {
  readonly until?: RegExp;
  /** Seconds. */
  readonly timeout?: number;
  readonly maxInstructions?: number;
}

/** The same number every time, so that when a resting line is looked at depends on the guest alone. */
const SLICE = 250_000;
/** How long the machine may keep the event loop waiting: what a key press notices. Milliseconds. */
const PATIENCE = 10;
const NANOSECONDS = 1e6;

const LIMIT_STATUS = 124;
const TRIPLE_FAULT_STATUS = 125;

/**
 * Runs a machine to its end, with its serial port on the host's standard input and output.
 * @param boot makes the machine; it hands on each byte of the guest's serial output
 */
export async function drive(
  host: Host,
  options: DriveOptions,
  boot: (serial: (byte: number) => void) => RunningMachine,
): Promise<{ machine: RunningMachine; ending: Ending }> {
  const matcher = options.until && new UntilMatcher(options.until);
  const output: number[] = [];
  const machine = boot((byte) => {
    output.push(byte);
    if (matcher?.push(byte)) machine.stop();
  });
  const guestConsole = new GuestConsole(host.stdin, (bytes) => machine.input(bytes));
  let signal: 'SIGINT' | 'SIGTERM' | undefined;
  let outputClosed = false;
  const onOutputError = (): void => {
    outputClosed = true;
    guestConsole.wake();
  };
  const stopListening = host.onSignal((received) => {
    signal = received;
    guestConsole.wake();
  });
  host.stdout.on('error', onOutputError);
  guestConsole.open();
  try {
    const ending = await loop();
    return { machine, ending };
  } finally {
    guestConsole.close();
    stopListening();
    host.stdout.off('error', onOutputError);
  }

  async function loop(): Promise<Ending> {
    const deadline = host.now() + (options.timeout ?? Number.POSITIVE_INFINITY) * 1000;
    const { maxInstructions = Number.POSITIVE_INFINITY } = options;
    let breath = host.now();
    for (;;) {
      const stop = machine.run(Math.min(SLICE, maxInstructions - machine.instructions));
      // A line at rest: the guest waits, or has printed nothing during a whole slice.
      if (stop.kind === 'halted' || output.length === 0) matcher?.rest();
      if (output.length > 0) await print(output.splice(0));
      if (matcher?.matched) return { kind: 'until', status: 0 };
      const ending = endingOf(stop);
      if (ending) return ending;
      if (machine.instructions >= maxInstructions) {
        return {
          kind: 'max-instructions',
          status: LIMIT_STATUS,
          sentence: `stopped after ${maxInstructions} instructions.`,
        };
      }
      if (stop.kind === 'halted') {
        const asleep = await sleep(stop.wakeAfter, deadline);
        if (asleep) return asleep;
      }
      if (host.now() - breath >= PATIENCE) {
        await new Promise((resolve) => setImmediate(resolve));
        breath = host.now();
      }
      if (guestConsole.left || outputClosed) return { kind: 'left', status: 0 };
      if (signal) return { kind: 'signal', status: signal === 'SIGINT' ? 130 : 143 };
      if (host.now() >= deadline) {
        return {
          kind: 'timeout',
          status: LIMIT_STATUS,
          sentence: `stopped after ${options.timeout} seconds.`,
        };
      }
    }
  }

  async function print(bytes: number[]): Promise<void> {
    if (!host.stdout.write(Uint8Array.from(bytes)) && !outputClosed && !host.stdout.destroyed) {
      // A reader that is slow slows the guest; one that is gone ends it.
      await Promise.race([once(host.stdout, 'drain'), once(host.stdout, 'close')]).catch(onOutputError);
    }
  }

  /**
   * What happens while the guest waits. At a terminal its clock goes like the user's, so that an idle guest costs
   * nothing; else virtual time jumps on. With no timer armed only input can wake it.
   */
  async function sleep(wakeAfter: number, deadline: number): Promise<Ending | undefined> {
    const remaining = Math.max(0, deadline - host.now());
    if (wakeAfter === Number.POSITIVE_INFINITY) {
      if (guestConsole.ended) return NOTHING_LEFT;
      await guestConsole.wait(remaining);
    } else if (guestConsole.interactive && !matcher && wakeAfter >= NANOSECONDS) {
      await guestConsole.wait(Math.min(wakeAfter / NANOSECONDS, remaining));
    }
    return undefined;
  }
}

const NOTHING_LEFT: Ending = {
  kind: 'dead',
  status: LIMIT_STATUS,
  sentence: 'the guest halted, and nothing is left that could wake it.',
};

function endingOf(stop: Stop): Ending | undefined {
  switch (stop.kind) {
    case 'budget':
    case 'halted':
      return undefined;
    case 'dead':
      return { ...NOTHING_LEFT, sentence: 'the guest halted with interrupts off; nothing can wake it.' };
    case 'power-off':
      return { kind: stop.kind, status: 0 };
    case 'reset':
      return { kind: stop.kind, status: 0, sentence: 'the guest reset the machine.' };
    case 'debug-exit':
      return { kind: stop.kind, status: ((stop.value << 1) | 1) & 0xff };
    case 'triple-fault':
      return {
        kind: stop.kind,
        status: TRIPLE_FAULT_STATUS,
        sentence: `triple fault.\n${stop.report}`.trimEnd(),
      };
  }
}
