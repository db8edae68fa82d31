import type { Bench } from './benches.ts';
import type { Measurement } from './engine.ts';
import type { EngineName } from './engines.ts';
import type { Series } from './run.ts';

/** Medians over the runs of one engine. */
export interface Figures {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Millions of instructions per second, by the clock. */
  readonly mips: number | undefined;
  readonly unitsPerSecond: number;
  /** Exits to L0 per second. */
  readonly exitsPerSecond: number | undefined;
  readonly runs: readonly Measurement[];
}

/** Umbra against another engine: above 1, Umbra is faster. */
export interface Ratio {
  readonly byClock: number;
  readonly byCpuTime: number;
}

/** A line of the report. */
export interface Result {
  readonly name: string;
  readonly unit: string;
  readonly units: number;
  readonly engines: Partial<Record<EngineName, Figures>>;
  readonly ratios: Partial<Record<EngineName, Ratio>>;
  readonly failures: Partial<Record<EngineName, string>>;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Works out the figures. Whoever does not count its instructions gets the subject's: the program is the same. */
export function evaluate(bench: Bench, series: ReadonlyMap<EngineName, Series>): Result {
  const engines: Result['engines'] = {};
  const ratios: Result['ratios'] = {};
  const failures: Result['failures'] = {};
  const subjectSeries = series.get(bench.subject);
  const instructions =
    subjectSeries && 'runs' in subjectSeries ? subjectSeries.runs[0]?.instructions : undefined;
  for (const [engine, made] of series) {
    if ('failure' in made) failures[engine] = made.failure;
    else engines[engine] = figuresOf(bench, made.runs, instructions);
  }
  const subject = engines[bench.subject];
  for (const [engine, figures] of Object.entries(engines) as [EngineName, Figures][]) {
    if (subject === undefined || engine === bench.subject) continue;
    ratios[engine] = {
      byClock: figures.seconds / subject.seconds,
      byCpuTime: figures.cpuSeconds / subject.cpuSeconds,
    };
  }
  return { name: bench.name, unit: bench.unit, units: bench.units, engines, ratios, failures };
}

function figuresOf(bench: Bench, runs: readonly Measurement[], instructions: number | undefined): Figures {
  const seconds = median(runs.map((run) => run.seconds));
  const exits = median(runs.map((run) => total(run.exits)));
  return {
    seconds,
    cpuSeconds: median(runs.map((run) => run.cpuSeconds)),
    mips: instructions === undefined ? undefined : instructions / seconds / 1e6,
    unitsPerSecond: bench.units / seconds,
    exitsPerSecond: exits > 0 ? exits / seconds : undefined,
    runs,
  };
}

const total = (counts: Readonly<Record<string, number>> = {}): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0);
