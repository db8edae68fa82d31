import { roleString } from '../../l0/mmu/role.ts';
import type { HostedMachine } from '../../vmm/hosted-machine.ts';
import { compileScenario, stepNumber } from '../compile.ts';
import { pagingRegistersText, stepText } from '../describe.ts';
import { judgeScenario } from '../judge.ts';
import { expectedText, seenText } from '../records.ts';
import { runCompiled } from '../run.ts';
import type { ScenarioSummary } from '../run-grid.ts';
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
 * @param memory for its machine; its own unless given
 */
export function tellStory(scenario: Scenario, memory: ReusedMemory = machineMemory('shadow')): Story {
  const moments = new Map<number, Moment>();
  const watch = (number: number, machine: HostedMachine): void => {
    const step: Step | undefined = scenario.steps[number - stepNumber(0)];
    const role = roleString(machine.vcpu.mmu.context.rootRole);
    const turning = step === undefined || TURNS.has(step.do);
    moments.set(number, turning ? { role, tables: viewTables(machine) } : { role });
  };
  const host = umbraHost({ l0: 'shadow', watch }, memory);
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
  return { name: scenario.name, about: scenario.about, steps, notes };
}

/** Stories of wrong scenarios in a report, at most: the first are the ones to read. */
const MOST_WRONG = 40;

/** Scenarios of a part among which the shortest is sought: making random ones takes time. */
const LOOKED_AT = 60;

/** The scenarios whose stories belong in a report: the wrong ones, and of each part a short one, to see what is right. */
export function worthTelling(
  cells: readonly { readonly summaries: readonly ScenarioSummary[] }[],
  scenarioByName: (name: string) => Scenario,
): Scenario[] {
  const wrong = cells
    .flatMap(({ summaries }) => summaries.filter(({ mismatches }) => mismatches.length > 0))
    .slice(0, MOST_WRONG)
    .map(({ name }) => scenarioByName(name));
  const right = cells.flatMap(({ summaries }) => {
    const entering = summaries
      .filter(({ mismatches, skipped }) => mismatches.length === 0 && skipped === undefined)
      .slice(0, LOOKED_AT)
      .map(({ name }) => scenarioByName(name))
      .filter(({ steps }) => steps.some((step) => step.do === 'enter'));
    return entering.sort((a, b) => a.steps.length - b.steps.length).slice(0, 1);
  });
  return [...wrong, ...right];
}
