import { type HuntVerdict, mutantHost } from '../../grid/mutants/hunt.ts';
import type { HostWithL0 } from '../../grid/mutants/mutant.ts';
import { mutantNamed } from '../../grid/mutants/mutants.ts';
import { allScenarios, scenarioByName } from '../../grid/replay.ts';
import { htmlReport } from '../../grid/report/html.ts';
import { junitReport, mutantsJunit } from '../../grid/report/junit.ts';
import { mutantFindings } from '../../grid/report/mutants.ts';
import { mutantsPage } from '../../grid/report/mutants-page.ts';
import { matrixReport } from '../../grid/report/report.ts';
import { type Story, storyHosts, tellStory, worthTelling } from '../../grid/report/story.ts';
import { isCell, type PartVerdict, rowTitle } from '../../grid/run-grid.ts';
import { runHost, runHostText } from '../../grid/run-host.ts';
import type { Scenario } from '../../grid/scenario.ts';
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

/** Finds scenarios by name, those given before those of the grid, without making all of them each time. */
function finder(first: readonly Scenario[] = []): (name: string) => Scenario {
  const named = new Map([...allScenarios(), ...first].map((scenario) => [scenario.name, scenario]));
  return (name) => named.get(name) ?? scenarioByName(name);
}

async function* html(parts: readonly PartVerdict[], setup: GridSetup): AsyncGenerator<Progress, string> {
  // Only L0 has an MMU to look at.
  const underL0 = parts.filter(({ on }) => runHost(on).l0 !== 'none');
  const told = worthTelling(
    underL0.map((part) => ({ on: part.on, title: titleOf(part), summaries: part.summaries })),
    finder(),
  );
  const hosts = storyHosts();
  const stories: Story[] = [];
  for (const { scenario, on } of told) {
    stories.push(tellStory(scenario, on, hosts(on)));
    yield { done: stories.length, total: told.length };
  }
  return htmlReport(matrixReport(parts, `${ABOUT} ${where(setup)}`), stories);
}

async function* mutantsHtml(
  verdicts: readonly HuntVerdict[],
  scenarios: readonly Scenario[] = [],
): AsyncGenerator<Progress, string> {
  const find = finder(scenarios);
  const stories = new Map<string, Story>();
  let done = 0;
  for (const { mutant, on, finding } of verdicts) {
    // What only --check finds is in no step's records.
    const story = finding.caught === 'by a probe' ? storyOn(mutant, on, finding.scenario, find) : undefined;
    if (story !== undefined) stories.set(mutant, story);
    yield { done: ++done, total: verdicts.length, name: mutant };
  }
  return mutantsPage(mutantFindings(verdicts), stories);
}

/** The story of a scenario on a mutant of L0; undefined where the mutant does not survive its own scenario. */
function storyOn(
  mutant: string,
  on: HostWithL0,
  scenario: string,
  find: (name: string) => Scenario,
): Story | undefined {
  try {
    const one = mutantNamed(mutant);
    return tellStory(find(scenario), on, (watch) => mutantHost(one, false, { on, watch }));
  } catch {
    // What L0 did to itself is in the verdict.
    return undefined;
  }
}

/** The reports of `umbra grid`. */
export const reports: GridReports = {
  html,
  junit: (parts, seconds) => junitReport(matrixReport(parts, ABOUT), seconds),
  mutantsHtml,
  mutantsJunit: (verdicts, seconds) => mutantsJunit(mutantFindings(verdicts), seconds),
};
