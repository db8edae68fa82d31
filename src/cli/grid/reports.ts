import { allScenarios, scenarioByName } from '../../grid/replay.ts';
import { htmlReport } from '../../grid/report/html.ts';
import { junitReport } from '../../grid/report/junit.ts';
import { matrixReport } from '../../grid/report/report.ts';
import { type Story, tellStory, worthTelling } from '../../grid/report/story.ts';
import type { PartVerdict } from '../../grid/run-grid.ts';
import type { Scenario } from '../../grid/scenario.ts';
import { machineMemory } from '../../grid/umbra-host.ts';
import type { Progress } from '../progress.ts';
import type { GridReports } from './grid.ts';
import type { GridSetup } from './scenarios.ts';

const ABOUT =
  'Each scenario lets L1 run L2s and both change their paging mode, registers and tables; each probe is one access whose ' +
  'value or fault, error code, CR2, accessed and dirty bits have to be what the manuals allow.';

const where = ({ l0 }: GridSetup): string =>
  l0 === 'none' ? 'L1 had the bare processor.' : 'L1 was a guest of L0, which used shadow paging.';

/** Finds scenarios by name without making all of them each time. */
function finder(): (name: string) => Scenario {
  const named = new Map(allScenarios().map((scenario) => [scenario.name, scenario]));
  return (name) => named.get(name) ?? scenarioByName(name);
}

async function* html(parts: readonly PartVerdict[], setup: GridSetup): AsyncGenerator<Progress, string> {
  // Only L0 has an MMU to look at.
  const scenarios = setup.l0 === 'none' ? [] : worthTelling(parts, finder());
  const memory = machineMemory('shadow');
  const stories: Story[] = [];
  for (const scenario of scenarios) {
    stories.push(tellStory(scenario, memory));
    yield { done: stories.length, total: scenarios.length };
  }
  return htmlReport(matrixReport(parts, `${ABOUT} ${where(setup)}`), stories);
}

/** The reports of `umbra grid`. */
export const reports: GridReports = {
  html,
  junit: (parts, seconds) => junitReport(matrixReport(parts, ABOUT), seconds),
};
