import type { ScenarioReport, SkippedScenario } from '../../grid/replay.ts';
import { plural } from '../../grid/report/page.ts';
import type { RunHostName } from '../../grid/run-host.ts';
import { readInput } from '../files.ts';
import type { Host } from '../host.ts';
import { type Progress, withProgress } from '../progress.ts';

/** Where scenarios run: on which hosts, and whether L0's invariants are checked. */
export interface GridSetup {
  readonly hosts: readonly RunHostName[];
  readonly check: boolean;
  /** Threads. */
  readonly jobs: number;
  /** Address of a queue's Redis: its workers run the scenarios then. */
  readonly queue?: string;
  /** Takes each line of L0's trace of the one scenario that runs. */
  readonly trace?: (line: string) => void;
}

/** The text of a scenario file, and what messages call it. */
export interface ScenarioText {
  readonly text: string;
  readonly source: string;
}

/** The texts of scenario files. @throws InputError where one cannot be read */
export const readScenarioFiles = (paths: readonly string[]): ScenarioText[] =>
  paths.map((source) => ({ source, text: new TextDecoder().decode(readInput(source, 'scenario file')) }));

/** Runs all scenarios of files. */
export type Replay = (
  files: readonly ScenarioText[],
  setup: GridSetup,
  host: Host,
) => AsyncGenerator<Progress, ScenarioReport>;

/**
 * Replays scenario files and prints every mismatch.
 * @returns the exit status: 1 where anything differs from the oracle
 */
export async function replayFiles(
  paths: readonly string[],
  setup: GridSetup,
  host: Host,
  replay: Replay,
): Promise<number> {
  const report = await withProgress(host, replay(readScenarioFiles(paths), setup, host));
  for (const { mismatches } of report.failures) host.stdout.write(`${mismatches.join('\n')}\n`);
  host.stdout.write([summary(report, setup), ...skipLines(report.skipped), ''].join('\n'));
  return report.failures.length === 0 ? 0 : 1;
}

/** Which random scenarios: the first of a seed, perhaps of those with nested paging. */
export interface RandomChoice {
  readonly count: number;
  readonly seed: number;
  readonly nested: boolean;
}

/** Runs random scenarios. */
export type Random = (
  run: RandomChoice,
  setup: GridSetup,
  host: Host,
) => AsyncGenerator<Progress, ScenarioReport>;

/**
 * Runs random scenarios and prints those that fail as a scenario file to replay, with the mismatches as comments.
 * @returns the exit status: 1 where anything differs from the oracle
 */
export async function randomScenarios(
  run: RandomChoice,
  setup: GridSetup,
  host: Host,
  random: Random,
): Promise<number> {
  const started = host.now();
  const report = await withProgress(host, random(run, setup, host));
  const seconds = (host.now() - started) / 1000;
  const comment = (text: string): string => text.replace(/^/gm, '# ');
  for (const { mismatches, text } of report.failures)
    host.stdout.write(`${comment(mismatches.join('\n'))}\n${text}\n`);
  const skipped = report.skipped.length === 0 ? '' : `, ${report.skipped.length} skipped`;
  const line = `${summary(report, setup)}, seed ${run.seed}${skipped}, ${seconds.toFixed(1)} s`;
  const lines = [line, ...skipLines(report.skipped)].join('\n');
  host.stdout.write(`${report.failures.length === 0 ? lines : comment(lines)}\n`);
  return report.failures.length === 0 ? 0 : 1;
}

/** `3 scenarios on bare, npt/pae: 120 probes judged by the oracle, no mismatch`. */
function summary({ scenarios, probes, failures }: ScenarioReport, { hosts }: GridSetup): string {
  const failed =
    failures.length === 0 ? 'no mismatch' : `${plural(failures.length, 'scenario')} with mismatches`;
  const where = `${plural(scenarios, 'scenario')} on ${hosts.join(', ')}`;
  return `${where}: ${plural(probes, 'probe')} judged by the oracle, ${failed}`;
}

/** A line for each reason why scenarios did not run. */
export function skipLines(skipped: readonly SkippedScenario[]): string[] {
  const names = new Map<string, string[]>();
  for (const { name, why } of skipped) {
    const alike = names.get(why) ?? [];
    alike.push(name);
    names.set(why, alike);
  }
  return [...names].map(([why, [first, ...others]]) =>
    others.length === 0
      ? `  skipped ${first}: ${why}`
      : `  skipped ${first} and ${others.length} more: ${why}`,
  );
}
