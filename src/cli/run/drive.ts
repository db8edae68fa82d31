import { once } from 'node:events';
import { OUTPUT_STATUS, SIGNAL_STATUS } from '../exit-status.ts';
import type { Host } from '../host.ts';
import { readerIsGone } from '../standard-output.ts';
import { GuestConsole } from './console.ts';
import { type Ending, endingOf, LIMIT_STATUS, NOTHING_LEFT } from './ending.ts';
import type { RunningMachine } from './session.ts';
import { UntilMatcher } from './until.ts';

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

/** A machine that was driven to its end. */
export interface Driven {
  readonly machine: RunningMachine;
  readonly ending: Ending;
  /** What making the machine took, and what its run. */
  readonly setupSeconds: number;
  readonly seconds: number;
}

/**
 * Runs a machine to its end, with its serial port on the host's standard input and output.
 * @param boot makes the machine; it hands on each byte of the guest's serial output
 */
export async function drive(
  host: Host,
  options: DriveOptions,
  boot: (serial: (byte: number) => void) => RunningMachine,
): Promise<Driven> {
  const matcher = options.until && new UntilMatcher(options.until);
  const output: number[] = [];
  const begun = host.now();
  const machine = boot((byte) => {
    output.push(byte);
    if (matcher?.push(byte)) machine.stop();
  });
  const started = host.now();
  const guestConsole = new GuestConsole(host.stdin, (bytes) => machine.input(bytes));
  let signal: 'SIGINT' | 'SIGTERM' | undefined;
  let outputError: Error | undefined;
  const onOutputError = (error: Error): void => {
    outputError = error;
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
    const seconds = (host.now() - started) / 1000;
    return { machine, ending, setupSeconds: (started - begun) / 1000, seconds };
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
      if (outputError && !readerIsGone(outputError)) return { kind: 'output-lost', status: OUTPUT_STATUS };
      if (guestConsole.left || outputError) return { kind: 'left', status: 0 };
      if (signal) return { kind: 'signal', status: SIGNAL_STATUS[signal] };
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
    if (!host.stdout.write(Uint8Array.from(bytes)) && !outputError && !host.stdout.destroyed) {
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
