import { bootMissing, measureBoot } from './boot.ts';
import type { Measurement } from './engine.ts';
import { type EngineName, loadEngine } from './engines.ts';
import { assembleProgram, DEFAULT_MEMORY, warmUpOf } from './frame.ts';
import type { BenchProgram } from './program.ts';
import { PROGRAMS } from './programs/all.ts';
import { cpuid } from './programs/cpuid.ts';
import { integerLoop } from './programs/integer-loop.ts';
import { interrupts } from './programs/interrupts.ts';
import { pageFault } from './programs/page-fault.ts';
import { pageTables } from './programs/page-tables.ts';
import { portIo } from './programs/port-io.ts';
import { kvmRoundTrips, roundTrips } from './programs/svm-round-trips.ts';
import { imageScenarios, measureImage, measureScenarios, TIMED_SCENARIOS } from './scenarios.ts';

/** Who is measured beside Umbra. */
export type Peer = 'v86' | 'qemu' | 'qemu-kvm';

/** A line of the table. */
export interface Bench {
  readonly name: string;
  /** What is counted per second, in the plural. */
  readonly unit: string;
  readonly units: number;
  /** The Umbra that is measured, and who can do the same. */
  readonly subject: 'umbra' | 'umbra-l0';
  readonly peer: Peer | undefined;
  /** So long that once must do. */
  readonly once?: boolean;
  /** Why it cannot be run here; undefined if it can. */
  missing?(): string | undefined;
  /** Runs it once. Throws where the result is not what it must be. */
  measure(engine: EngineName): Promise<Measurement>;
}

function programBench(
  program: BenchProgram,
  subject: Bench['subject'],
  peer: Peer | undefined,
  name: string,
): Bench {
  return {
    name,
    unit: program.unit,
    units: program.iterations,
    subject,
    peer,
    measure: (engine) => measureProgram(program, engine),
  };
}

const bare = (program: BenchProgram): Bench => programBench(program, 'umbra', 'v86', program.name);
const svm = (program: BenchProgram): Bench =>
  programBench(program, 'umbra', undefined, `svm-${program.name}`);
/** Where every unit of work is an exit or several, a part of the work is enough. */
const onL0 = (program: BenchProgram, part = 1): Bench =>
  programBench(
    { ...program, iterations: program.iterations / part },
    'umbra-l0',
    undefined,
    `l0-${program.name}`,
  );

const boot = (kernel: string, subject: Bench['subject']): Bench => ({
  name: `${subject === 'umbra' ? '' : 'l0-'}boot-${kernel.replace('vmlinuz-', '')}`,
  unit: 'boots to user space',
  units: 1,
  subject,
  peer: subject === 'umbra' ? 'v86' : undefined,
  once: true,
  missing: () => bootMissing(kernel),
  measure: (engine) => measureBoot(kernel, engine),
});

const scenarios = (subject: Bench['subject']): Bench => ({
  name: `${subject === 'umbra' ? '' : 'l0-'}scenarios`,
  unit: 'random scenarios, made, run and judged',
  units: TIMED_SCENARIOS,
  subject,
  peer: undefined,
  measure: async () => measureScenarios(subject),
});

const image = (subject: Bench['subject']): Bench => ({
  name: `${subject === 'umbra' ? '' : 'l0-'}exported-image`,
  unit: 'scenarios of an image that judges itself',
  get units() {
    return imageScenarios().length;
  },
  subject,
  peer: subject === 'umbra' ? 'qemu' : 'qemu-kvm',
  measure: measureImage,
});

/** Everything there is to measure, in the order of the table. */
export const BENCHES: readonly Bench[] = [
  ...PROGRAMS.map(bare),
  ...[roundTrips, kvmRoundTrips].map(svm),
  onL0(cpuid),
  onL0(portIo, 4),
  onL0(roundTrips),
  onL0(kvmRoundTrips, 2),
  onL0(integerLoop),
  onL0(interrupts),
  onL0(pageTables),
  onL0(pageFault, 4),
  scenarios('umbra'),
  scenarios('umbra-l0'),
  image('umbra'),
  image('umbra-l0'),
  boot('vmlinuz-686', 'umbra'),
  boot('vmlinuz-686-pae', 'umbra'),
  boot('vmlinuz-686', 'umbra-l0'),
  boot('vmlinuz-686-pae', 'umbra-l0'),
];

export const benchNamed = (name: string): Bench | undefined => BENCHES.find((bench) => bench.name === name);

/** Runs a program on an engine and compares its result with the model's. */
export async function measureProgram(
  program: BenchProgram,
  engineName: EngineName,
  iterations = program.iterations,
): Promise<Measurement> {
  const engine = await loadEngine(engineName);
  const measurement = await engine(
    assembleProgram(program, iterations),
    program.memoryBytes ?? DEFAULT_MEMORY,
  );
  const work = program.model();
  work(warmUpOf(iterations));
  const expected = work(iterations);
  if (measurement.result !== expected) {
    throw new Error(`${program.name} on ${engineName} came to ${measurement.result}; ${expected} is right.`);
  }
  return measurement;
}
