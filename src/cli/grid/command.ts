import type { Command } from 'commander';
import { InputError } from '../../arch/input-error.ts';
import { type RunHost, runHost } from '../../grid/run-host.ts';
import { firstNames } from '../../grid/select.ts';
import type { LoadPolicy } from '../../vmm/load-policy.ts';
import { exitStatusHelp, QUEUE_EXIT_STATUS } from '../exit-status.ts';
import { LiveFile, refuseSharedOutput } from '../files.ts';
import type { Host } from '../host.ts';
import { loadPolicyOption } from '../host-options.ts';
import { parseQueue } from '../jobs/redis.ts';
import { collect, jobsOption, once, option } from '../options.ts';
import type { Services } from '../services.ts';
import { parseScenarioCount, parseSeed } from '../values.ts';
import { type GridOptions, grid } from './grid.ts';
import { hostOption, hostsFor, l0Option, nestingHosts } from './hosts.ts';
import { huntMutants, mutantList } from './mutants.ts';
import { type GridSetup, randomScenarios, readScenarioFiles, replayFiles } from './scenarios.ts';

/** Adds `umbra grid`. */
export function addGrid(
  program: Command,
  host: Host,
  services: Services,
  end: (status: number) => void,
): void {
  program
    .command('grid')
    .description('Switch L1 and L2 between paging modes and let the oracle judge every probe.')
    .argument(
      '[pattern...]',
      'run only the scenario of this name, or those with this in their names; * and ? make it a glob',
    )
    .option(
      '--only <pattern>',
      'the same, and with --mutants the scenarios to run on them; may be repeated',
      collect,
    )
    .option('--list', 'print names of scenarios instead, and what each is about')
    .option('--json <file>', 'write the cells, or the mutants, and the time as JSON')
    .option('--junit <file>', 'write a JUnit report, a case for each scenario or mutant')
    .option(
      '--html <file>',
      'write a page: the grid, or the mutants, as a map, with the stories of scenarios',
    )
    .addOption(jobsOption())
    .addOption(option('--queue <url>', 'have the workers of a queue run it (umbra worker)', parseQueue))
    .option('--show <name>', 'print a scenario of the grid instead: a file for --replay')
    .option(
      '--replay <file>',
      'run the scenarios of a file instead, and print each mismatch; may be repeated',
      collect,
    )
    .addOption(
      option(
        '--random <n>',
        'run so many random scenarios instead; what fails is printed as a file',
        parseScenarioCount,
      ),
    )
    .option('--nested', 'random scenarios in which L1 runs L2s with nested paging', false)
    .addOption(option('--seed <number>', 'which random scenarios (default: 1)', parseSeed))
    .addOption(l0Option())
    .addOption(hostOption())
    .addOption(loadPolicyOption())
    .option('--check', "check L0's invariants after every MMU operation (slow)", false)
    .addOption(
      once('--trace <file>', "write L0's trace of the scenario, on the first host with an L0; needs one"),
    )
    .option(
      '--mutants',
      'run on mutants of L0 instead, all or those named (umbra mutants), until each is caught: the grid, or what --only and --replay choose; each where it lives, or where --l0 and --host say',
    )
    .addHelpText('after', GRID_HELP)
    .action(async (patterns: readonly string[], options: GridCommandOptions) => {
      end(await gridCommand(patterns, options, host, services));
    });
}

const GRID_HELP = `
${exitStatusHelp({
  0: 'everything is as the oracle says; every mutant is as its entry says',
  1: 'anything is not',
  ...QUEUE_EXIT_STATUS,
})}`;

interface GridCommandOptions
  extends Omit<GridOptions, 'patterns' | 'seed' | 'trace' | 'hosts'>,
    Partial<RunHost> {
  readonly only?: readonly string[];
  readonly loadPolicy?: LoadPolicy;
  readonly list?: true;
  readonly mutants?: true;
  readonly trace?: string;
  readonly show?: string;
  readonly replay?: readonly string[];
  readonly random?: number;
  readonly nested: boolean;
  readonly seed?: number;
}

async function gridCommand(
  names: readonly string[],
  options: GridCommandOptions,
  host: Host,
  services: Services,
): Promise<number> {
  const {
    show,
    replay,
    random,
    nested,
    seed: asked,
    json,
    junit,
    html,
    only = [],
    list,
    mutants,
    trace,
    l0,
    host: kernel,
    loadPolicy,
    ...others
  } = options;
  const { check } = others;
  if (nested && random === undefined)
    throw new InputError('--nested is about random scenarios; add --random.');
  const chosen = hostsFor({ l0, host: kernel, loadPolicy }, check);
  const setup = { ...others, hosts: nested ? nestingHosts(chosen) : chosen };
  const named = (options: object): string[] =>
    Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`]));
  // The reports are of the grid or of its mutants, and any of them go together.
  const report = mutants ? [] : named({ json, junit, html }).slice(0, 1);
  const instead = [...named({ list, show, ...(mutants ? {} : { replay }), random, mutants }), ...report];
  if (instead.length > 1) throw new InputError(`${instead.join(' and ')} do not go together; use one.`);
  refuseSharedOutput({ '--json': json, '--junit': junit, '--html': html, '--trace': trace });
  const [fixed] = named({ show, replay, mutants });
  if (asked !== undefined && fixed !== undefined && only.length === 0)
    throw new InputError(`--seed chooses random scenarios, and ${fixed} runs none; leave it away.`);
  const seed = asked ?? 1;
  const patterns = [...names, ...only];
  if (list) {
    for (const { name, about } of services.listScenarios(setup, { patterns, seed }))
      host.stdout.write(`${name}\n    ${about}\n`);
    return 0;
  }
  if (mutants) {
    if (l0 === 'none') throw new InputError('--mutants breaks L0, so it needs an --l0 that is not none.');
    if (check) throw new InputError('--mutants uses --check where no probe catches a mutant; leave it away.');
    const files = readScenarioFiles(replay ?? []);
    const hunt = {
      mutants: services.mutants(names),
      ...((l0 ?? kernel) !== undefined && { hosts: chosen.filter((name) => name !== 'bare') }),
      ...(only.length + files.length > 0 && {
        scenarios: services.scenarios({ patterns: only, seed }, files),
      }),
      jobs: setup.jobs,
      ...(setup.queue !== undefined && { queue: setup.queue }),
      ...{ json, junit, html },
    };
    if (trace !== undefined && hunt.mutants.length !== 1) {
      const all = firstNames(hunt.mutants.map(({ name }) => name));
      throw new InputError(`--trace is of one mutant, and these are ${all}; name one.`);
    }
    return withTrace(trace, setup, ({ trace }) =>
      huntMutants({ ...hunt, ...(trace && { trace }) }, host, services.huntMutants, services.reports),
    );
  }
  const [other] = named({ show, replay, random });
  if (other !== undefined && patterns.length > 0)
    throw new InputError(
      `"${patterns[0]}" chooses among the scenarios of the grid, which ${other} does not run.`,
    );
  if (show !== undefined) {
    host.stdout.write(services.showScenario(show));
    return 0;
  }
  return withTrace(trace, setup, (traced) => {
    if (replay !== undefined) return replayFiles(replay, traced, host, services.replay);
    if (random !== undefined)
      return randomScenarios({ count: random, seed, nested }, traced, host, services.random);
    return grid({ ...traced, json, junit, html, patterns, seed }, host, services.runGrid, services.reports);
  });
}

/** Does work with a set-up whose trace goes into a file, where one is wanted: on the first host that has an L0. */
async function withTrace(
  path: string | undefined,
  setup: GridSetup,
  work: (setup: GridSetup) => Promise<number>,
): Promise<number> {
  if (path === undefined) return work(setup);
  const [on] = setup.hosts.filter((name) => runHost(name).l0 !== 'none');
  if (on === undefined)
    throw new InputError('--trace writes what L0 does, so it needs an --l0 that is not none.');
  if (setup.queue !== undefined) throw new InputError('--trace and --queue do not go together; use one.');
  const file = new LiveFile(path, 'trace file');
  try {
    return await work({ ...setup, hosts: [on], trace: (line) => file.write(`${line}\n`) });
  } finally {
    file.close();
  }
}

/** Adds `umbra mutants`. */
export function addMutants(program: Command, host: Host, services: Services): void {
  program
    .command('mutants')
    .description(
      'List the ways in which L0 can be broken on purpose: the bug of history, and what catches it.',
    )
    .argument('[name...]', 'only these')
    .addHelpText('after', `\n${exitStatusHelp({ 0: 'they are listed' })}`)
    .action((names: readonly string[]) => {
      const inexpressible = names.length === 0 ? services.inexpressible : [];
      host.stdout.write(mutantList(services.mutants(names), inexpressible));
    });
}
