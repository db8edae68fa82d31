/** A host made of plain streams, and a machine that acts out a list of steps. */
import { PassThrough } from 'node:stream';
import type { Host } from '../../src/cli/host.ts';
import type { MachineConfig, RunningMachine, Stop } from '../../src/cli/run/session.ts';

export class TestHost implements Host {
  readonly stdin: PassThrough & { isTTY?: boolean; setRawMode?(raw: boolean): void } = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr: PassThrough & { isTTY?: boolean } = new PassThrough();
  signal: (signal: 'SIGINT' | 'SIGTERM') => void = () => {};
  #time = 0;
  readonly #out: Buffer[] = [];
  readonly #error: Buffer[] = [];

  constructor() {
    this.stdout.on('data', (chunk: Buffer) => this.#out.push(chunk));
    this.stderr.on('data', (chunk: Buffer) => this.#error.push(chunk));
  }

  /** Each look at the clock takes a millisecond. */
  now(): number {
    return (this.#time += 1);
  }

  onSignal(callback: (signal: 'SIGINT' | 'SIGTERM') => void): () => void {
    this.signal = callback;
    return () => {
      this.signal = () => {};
    };
  }

  get out(): string {
    return Buffer.concat(this.#out).toString();
  }

  get error(): string {
    return Buffer.concat(this.#error).toString();
  }
}

/** What the guest does in one call of `run`: text it sends, then how it stops. */
export interface Step {
  readonly send?: string | Uint8Array;
  readonly stop?: Stop;
}

/** After its steps it idles for ever. Each byte sent, and each step, counts as one instruction. */
export class ActedMachine implements RunningMachine {
  instructions = 0;
  readonly received: number[] = [];
  readonly config: Pick<MachineConfig, 'serial'>;
  readonly #steps: Step[];
  #pending: number[] = [];
  #stopped = false;
  idle: Stop = { kind: 'budget' };
  /** Called with everything received so far; text to send back. */
  answer: (received: string) => string = () => '';

  constructor(config: Pick<MachineConfig, 'serial'>, steps: Step[]) {
    this.config = config;
    this.#steps = [...steps];
  }

  run(instructions: number): Stop {
    if (instructions <= 0) throw new RangeError(`run(${instructions})`);
    this.#stopped = false;
    const step = this.#pending.length > 0 ? undefined : this.#steps.shift();
    if (this.#pending.length === 0) {
      this.#pending = [...(typeof step?.send === 'string' ? Buffer.from(step.send) : (step?.send ?? []))];
    }
    while (this.#pending.length > 0 && !this.#stopped) {
      this.instructions++;
      this.config.serial(this.#pending.shift() as number);
    }
    if (this.#stopped) return { kind: 'budget' };
    // Without output the whole slice passes.
    this.instructions += step?.send ? 1 : instructions;
    return step?.stop ?? (step ? { kind: 'budget' } : this.idle);
  }

  stop(): void {
    this.#stopped = true;
  }

  input(bytes: Uint8Array): void {
    this.received.push(...bytes);
    this.#pending.push(...Buffer.from(this.answer(Buffer.from(this.received).toString())));
  }

  statistics() {
    return {
      entries: 7,
      nxSwitches: 6,
      exits: { VMEXIT_HLT: 3 },
      mmu: { shadowPages: 1, roots: 2, syncs: 3, faults: 4, roleChanges: 5 },
    };
  }
}
