import { parseCpuModel } from '../src/arch/cpu-model-text.ts';
import { judgeWork } from '../src/grid/execute.ts';
import { exportScenarios } from '../src/grid/export/export.ts';
import { allScenarios } from '../src/grid/replay.ts';
import { resultOf } from '../src/grid/result-of.ts';
import type { Scenario } from '../src/grid/scenario.ts';
import { umbraHost } from '../src/grid/umbra-host.ts';
import { Machine } from '../src/machine/machine.ts';
import { HostedMachine } from '../src/vmm/hosted-machine.ts';
import { hasNestedPaging } from '../tools/elsewhere/images.ts';
import { measureImageOn } from './elsewhere.ts';
import type { Measurement } from './engine.ts';
import type { EngineName } from './engines.ts';
import { startStopwatch } from './stopwatch.ts';

const SEED = 1;
const WARM_UP = 30;
/** Random scenarios that are timed. */
export const TIMED_SCENARIOS = 200;
/** Each so-many-th scenario of the grid is in the image. */
const STRIDE = 4;
const IMAGE_MEMORY = 128 << 20;
const IMAGE_LIMIT = 2_000_000_000;

type Subject = 'umbra' | 'umbra-l0';
const l0Of = (subject: Subject): 'none' | 'shadow' => (subject === 'umbra' ? 'none' : 'shadow');

/** Random scenarios one after another in one thread: made, run on a machine of their own, judged by the oracle. */
export function measureScenarios(subject: Subject): Measurement {
  const host = umbraHost({ l0: l0Of(subject) });
  const run = (first: number, count: number): void => {
    for (let index = first; index < first + count; index++) {
      const [mismatch] = judgeWork({ seed: SEED, index }, host).mismatches;
      if (mismatch !== undefined) throw new Error(mismatch.text);
    }
  };
  run(0, WARM_UP);
  const elapsed = startStopwatch();
  run(WARM_UP, TIMED_SCENARIOS);
  return { ...elapsed(), result: 0 };
}

/**
 * The scenarios of the image; made where they are asked for, since every bench loads this file. Those are left out that
 * not every host runs: an L2 without paging kills L1 under KVM (docs/findings.md), and KVM with npt=0 has no nested paging.
 */
export const imageScenarios = (): readonly Scenario[] =>
  allScenarios()
    .filter((scenario) => !hasNestedPaging(scenario) && !hasL2WithoutPaging(scenario))
    .filter((_, index) => index % STRIDE === 0);

/** Some L2 runs without paging at some time. */
const hasL2WithoutPaging = ({ l2, steps }: Scenario): boolean =>
  Object.values(l2).some(({ mode }) => mode === 'off') ||
  steps.some(
    (step) =>
      (step.do === 'enter' && step.vmcb?.mode === 'off') || (step.do === 'switch' && step.mode === 'off'),
  );

/** The image, once a process has made it. */
let image: Uint8Array<ArrayBuffer> | undefined;

/** An exported image, which judges itself: all its scenarios on one machine, ours or another. */
export async function measureImage(engine: EngineName): Promise<Measurement> {
  image ??= await resultOf(exportScenarios(imageScenarios()));
  if (engine === 'qemu' || engine === 'qemu-kvm') return measureImageOn(engine, image);
  const options = { model: parseCpuModel('current-amd'), memoryBytes: IMAGE_MEMORY };
  const machine = engine === 'umbra' ? new Machine(options) : new HostedMachine(options);
  machine.load({ image });
  const before = machine.cpu.retired;
  const elapsed = startStopwatch();
  const stop = machine.run(IMAGE_LIMIT);
  const times = elapsed();
  if (stop.kind !== 'debug-exit' || stop.value !== 0) throw new Error(`The image ended with ${stop.kind}.`);
  return { ...times, instructions: machine.cpu.retired - before, result: 0 };
}
