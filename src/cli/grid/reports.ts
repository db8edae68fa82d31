import { allScenarios, scenarioByName } from '../../grid/replay.ts';
import { htmlReport } from '../../grid/report/html.ts';
import { junitReport } from '../../grid/report/junit.ts';
import { matrixReport } from '../../grid/report/report.ts';
import { type Story, tellStory, worthTelling } from '../../grid/report/story.ts';
import { isCell, type PartVerdict, rowTitle } from '../../grid/run-grid.ts';
import { runHost, runHostText } from '../../grid/run-host.ts';
import type { Scenario } from '../../grid/scenario.ts';
import { machineMemory } from '../../grid/umbra-host.ts';
import type { Progress } from '../progress.ts';
import type { GridReports } from './grid.ts';
import type { GridSetup } from './scenarios.ts';

const ABOUT =
  'Each scenario lets L1 run L2s and both change their paging mode, registers and tables; each probe is one access whose ' +
  'value or fault, error code, CR2, accessed and dirty bits have to be what the manuals allow.';

const where = ({ hosts }: GridSetup): string => `L1 ran on ${hosts.map(runHostText).join(', and on ')}.`;

/** What is the same on every host. */
const titleOf = (part: PartVerdict): string =>
  isCell(part) ? `L1 ${rowTitle(part)}, L2 ${part.l2}` : part.group;

/** Finds scenarios by name without making all of them each time. */
function finder(): (name: string) => Scenario {
  const named = new Map(allScenarios().map((scenario) => [scenario.name, scenario]));
  return (name) => named.get(name) ?? scenarioByName(name);
}

async function* html(parts: readonly PartVerdict[], setup: GridSetup): AsyncGenerator<Progress, string> {
  // Only L0 has an MMU to look at.
  const underL0 = parts.filter(({ on }) => runHost(on).l0 !== 'none');
  const told = worthTelling(
    underL0.map((part) => ({ on: part.on, title: titleOf(part), summaries: part.summaries })),
    finder(),
  );
  const memory = machineMemory('shadow');
  const stories: Story[] = [];
  for (const { scenario, on } of told) {
    stories.push(tellStory(scenario, on, memory));
    yield { done: stories.length, total: told.length };
  }
  return htmlReport(matrixReport(parts, `${ABOUT} ${where(setup)}`), stories);
}

/** The reports of `umbra grid`. */
export const reports: GridReports = {
  html,
  junit: (parts, seconds) => junitReport(matrixReport(parts, ABOUT), seconds),
};
