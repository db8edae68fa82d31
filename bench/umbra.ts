import { parseCpuModel } from '../src/arch/cpu-model-text.ts';
import type { MachineConfig, RunningMachine } from '../src/cli/run/session.ts';
import { services } from '../src/cli/wiring.ts';
import type { Engine } from './engine.ts';
import { MarkListener } from './marks.ts';
import { startStopwatch } from './stopwatch.ts';

/** What `umbra run` takes unless told otherwise. */
const MODEL = 'current-amd';
const SLICE = 1e9;
/** Instructions; more than any image here takes. Whoever needs more is lost. */
const PATIENCE = 30e9;

/** What differs from one machine here to the next. */
type Wanted = Pick<MachineConfig, 'l0' | 'image' | 'memorySize' | 'serial'> &
  Partial<Pick<MachineConfig, 'commandLine' | 'initrd'>>;

/** The machine that `umbra run` makes by default, with an image loaded. */
export const createUmbra = (wanted: Wanted): RunningMachine =>
  services.createMachine({
    cpu: parseCpuModel(MODEL),
    imageName: 'bench',
    commandLine: '',
    initrd: undefined,
    modules: [],
    raw: undefined,
    check: false,
    trace: undefined,
    ...wanted,
  });

/** Runs a machine, waiting out its halts, until `done`; whoever sets that calls the machine's `stop`. */
export function runUntil(machine: RunningMachine, done: () => boolean): void {
  while (!done()) {
    const stop = machine.run(SLICE);
    if (done()) return;
    if (stop.kind !== 'budget' && stop.kind !== 'halted')
      throw new Error(`The guest ended early: ${stop.kind}.`);
    if (stop.kind === 'halted' && stop.wakeAfter === Number.POSITIVE_INFINITY) {
      throw new Error('The guest halted and nothing will wake it.');
    }
    if (machine.instructions > PATIENCE) throw new Error(`The guest went on for ${PATIENCE} instructions.`);
  }
}

const engine =
  (l0: MachineConfig['l0']): Engine =>
  (image, memorySize) => {
    const marks = new MarkListener();
    let heard = 'nothing';
    const serial = (byte: number): void => {
      heard = marks.push(byte);
      if (heard !== 'nothing') machine.stop();
    };
    const machine = createUmbra({ l0, image, memorySize, serial });
    runUntil(machine, () => heard === 'begin');
    const instructionsBefore = machine.instructions;
    const exitsBefore = machine.statistics().exits;
    const elapsed = startStopwatch();
    runUntil(machine, () => heard === 'end');
    const times = elapsed();
    const instructions = machine.instructions - instructionsBefore;
    const exits = difference(machine.statistics().exits, exitsBefore);
    runUntil(machine, () => heard === 'result');
    return { ...times, instructions, exits, result: marks.result };
  };

type Counts = Readonly<Record<string, number>>;

const difference = (after: Counts, before: Counts): Counts =>
  Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)]));

/** Umbra's machine without L0. */
export const umbra = engine('none');

/** The same with L0 between it and the program. */
export const umbraL0 = engine('shadow');
