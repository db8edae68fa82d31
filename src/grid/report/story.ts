import { roleString } from '../../l0/mmu/role.ts';
import { compileScenario, stepNumber } from '../compile.ts';
import { pagingRegistersText, stepText } from '../describe.ts';
import { judgeScenario } from '../judge.ts';
import { expectedText, seenText } from '../records.ts';
import { runCompiled, type ScenarioHost } from '../run.ts';
import type { ScenarioSummary } from '../run-grid.ts';
import { type RunHostName, runHost } from '../run-host.ts';
import type { Scenario, Step } from '../scenario.ts';
import { machineMemory, umbraHost, type Watch } from '../umbra-host.ts';
import { type TableView, viewTables } from './table-view.ts';

/** L0's MMU at one moment between two steps. */
export interface Moment {
  /** Root role. */
  readonly role: string;
  readonly tables: TableView;
}

/** One step of a scenario as it went. */
export interface StoryStep {
  /** The step in the text form. */
  readonly text: string;
  /** Who ran it, and its paging registers then. */
  readonly level: string;
  readonly registers: string;
  /** Root role of L0's MMU when the step began; empty where nothing is known. */
  readonly role: string;
  /** What the oracle permits, and what was recorded. */
  readonly expected: readonly string[];
  readonly seen: readonly string[];
  readonly right: boolean;
  /** The MMU as the step found it, where it changes level or registers or went wrong. */
  readonly before?: Moment;
  /** The MMU as a step that went wrong left it. */
  readonly after?: Moment;
}

/** All that happened in one scenario under L0. */
export interface Story {
  readonly name: string;
  readonly on: RunHostName;
  readonly about: string;
  readonly steps: readonly StoryStep[];
  /** What was wrong and belongs to no step. */
  readonly notes: readonly string[];
}

/** Steps before which the tables are worth a look: what the mode before them has built is all there. */
const TURNS: ReadonlySet<Step['do']> = new Set(['enter', 'leave', 'switch', 'set']);

/** A host that L0 of a scenario's story runs on, looked at by `watch`. */
export type WatchedHost = (watch: Watch) => ScenarioHost;

/** Umbra on hosts with L0, which share one memory. */
export function storyHosts(): (on: RunHostName) => WatchedHost {
  const memory = machineMemory('shadow');
  return (on) => (watch) => umbraHost({ ...runHost(on), watch }, memory);
}

/**
 * Runs a scenario once more under L0, looking at L0's MMU at each step: the roles before and after every switch, the
 * guest's tables beside the shadow tables, and both as every wrong step found and left them. The guest does the same as
 * without: it is only stopped between instructions.
 * @param on   a host with L0
 * @param host that host, to be looked at
 */
export function tellStory(
  scenario: Scenario,
  on: RunHostName = 'shadow/pae',
  host: WatchedHost = storyHosts()(on),
): Story {
  const turning = scenario.steps.flatMap((step, index) => (TURNS.has(step.do) ? [index] : []));
  const story = { ...watchedRun(scenario, host, new Set(turning)), on };
  const wrong = story.steps.flatMap(({ right }, index) => (right ? [] : [index]));
  if (wrong.length === 0) return story;
  // Which steps go wrong is known behind the first run only; the second one does the same.
  const looked = new Set([...turning, ...wrong, ...wrong.map((index) => index + 1)]);
  return { ...watchedRun(scenario, host, looked), on };
}

/** @param looked steps at whose begin the tables are read; at the end of the run they always are */
function watchedRun(scenario: Scenario, hostOf: WatchedHost, looked: ReadonlySet<number>): Omit<Story, 'on'> {
  const roles = new Map<number, string>();
  const moments = new Map<number, Moment>();
  const end = scenario.steps.length;
  const watch: Watch = (number, machine) => {
    const index = number === 'end' ? end : number - stepNumber(0);
    const role = roleString(machine.vcpu.mmu.context.rootRole);
    roles.set(index, role);
    if (index === end || looked.has(index)) moments.set(index, { role, tables: viewTables(machine) });
  };
  const compiled = compileScenario(scenario);
  const { end: ended, processor } = runCompiled(compiled, hostOf(watch));
  const steps: StoryStep[] = [];
  const { mismatches } = judgeScenario(compiled, ended, processor, ({ expectation, seen, right }) => {
    const { index, step, level, registers, alternatives } = expectation;
    // Behind a step on which the machine hung there is only the end.
    const after = right ? undefined : (moments.get(index + 1) ?? moments.get(end));
    const before = moments.get(index);
    steps.push({
      text: stepText(step),
      level,
      registers: pagingRegistersText(registers),
      role: roles.get(index) ?? '',
      expected: [...new Set(alternatives.map(({ records }) => records.map(expectedText).join(', then ')))],
      seen: seen.map(seenText),
      right,
      ...(before && { before }),
      ...(after && { after }),
    });
  });
  const notes = mismatches.filter(({ index }) => index < 0).map(({ text }) => text);
  return { name: scenario.name, about: scenario.about, steps, notes };
}

/** Stories of wrong scenarios in a report, at most: the first are the ones to read. */
const MOST_WRONG = 40;

/** Scenarios of a part among which the shortest is sought: making random ones takes time. */
const LOOKED_AT = 60;

/** A scenario whose story belongs in a report, and what it ran on. */
export interface Telling {
  readonly scenario: Scenario;
  readonly on: RunHostName;
}

/** What a part of a run found, as much as it takes to choose. */
interface Told {
  readonly on: RunHostName;
  readonly title: string;
  readonly summaries: readonly ScenarioSummary[];
}

/**
 * The scenarios whose stories belong in a report: the wrong ones, and of the parts of each title a short one, to see what is
 * right.
 */
export function worthTelling(parts: readonly Told[], scenarioByName: (name: string) => Scenario): Telling[] {
  const wrong = parts
    .flatMap(({ on, summaries }) =>
      summaries.filter(({ mismatches }) => mismatches.length > 0).map(({ name }) => ({ on, name })),
    )
    .slice(0, MOST_WRONG)
    .map(({ on, name }) => ({ on, scenario: scenarioByName(name) }));
  const right = new Map<string, Telling>();
  for (const { on, title, summaries } of parts) {
    if (right.has(title)) continue;
    const [shortest] = summaries
      .filter(({ mismatches, skipped }) => mismatches.length === 0 && skipped === undefined)
      .slice(0, LOOKED_AT)
      .map(({ name }) => scenarioByName(name))
      .filter(({ steps }) => steps.some((step) => step.do === 'enter'))
      .sort((a, b) => a.steps.length - b.steps.length);
    if (shortest !== undefined) right.set(title, { on, scenario: shortest });
  }
  return [...wrong, ...right.values()];
}
