import { roleString } from '../../l0/mmu/role.ts';
import type { HostedMachine } from '../../vmm/hosted-machine.ts';
import { compileScenario, stepNumber } from '../compile.ts';
import { pagingRegistersText, stepText } from '../describe.ts';
import { judgeScenario } from '../judge.ts';
import { expectedText, seenText } from '../records.ts';
import { runCompiled } from '../run.ts';
import type { ScenarioSummary } from '../run-grid.ts';
import { type RunHostName, runHost } from '../run-host.ts';
import type { Scenario, Step } from '../scenario.ts';
import { machineMemory, type ReusedMemory, umbraHost } from '../umbra-host.ts';
import { type TableView, viewTables } from './table-view.ts';

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
  /** The tables as the step found them, where it changes level or registers. */
  readonly tables?: TableView;
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

interface Moment {
  readonly role: string;
  readonly tables?: TableView;
}

/**
 * Runs a scenario once more under L0, looking at L0's MMU at each step: the roles before and after every switch, the
 * guest's tables beside the shadow tables. The guest does the same as without: it is only stopped between instructions.
 * @param on a host with L0
 * @param memory for its machine; its own unless given
 */
export function tellStory(
  scenario: Scenario,
  on: RunHostName = 'shadow/pae',
  memory: ReusedMemory = machineMemory('shadow'),
): Story {
  const moments = new Map<number, Moment>();
  const watch = (number: number, machine: HostedMachine): void => {
    const step: Step | undefined = scenario.steps[number - stepNumber(0)];
    const role = roleString(machine.vcpu.mmu.context.rootRole);
    const turning = step === undefined || TURNS.has(step.do);
    moments.set(number, turning ? { role, tables: viewTables(machine) } : { role });
  };
  const host = umbraHost({ ...runHost(on), watch }, memory);
  const compiled = compileScenario(scenario);
  const { end, processor } = runCompiled(compiled, host);
  const steps: StoryStep[] = [];
  const { mismatches } = judgeScenario(compiled, end, processor, ({ expectation, seen, right }) => {
    const { index, step, level, registers, alternatives } = expectation;
    const moment = moments.get(stepNumber(index));
    steps.push({
      text: stepText(step),
      level,
      registers: pagingRegistersText(registers),
      role: moment?.role ?? '',
      expected: [...new Set(alternatives.map(({ records }) => records.map(expectedText).join(', then ')))],
      seen: seen.map(seenText),
      right,
      ...(moment?.tables && { tables: moment.tables }),
    });
  });
  const notes = mismatches.filter(({ index }) => index < 0).map(({ text }) => text);
  return { name: scenario.name, on, about: scenario.about, steps, notes };
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
