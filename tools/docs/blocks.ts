/** Everything in the pages of docs/ that a run of Umbra prints, by page and by the name of its block. */
import { parseCpuModel } from '../../src/arch/cpu-model-text.ts';
import { directedScenarios } from '../../src/grid/directed/directed.ts';
import { READ_ONLY_PAGE } from '../../src/grid/directed/write-protect.ts';
import { catchWith, mutantHost } from '../../src/grid/mutants/hunt.ts';
import { mutantNamed } from '../../src/grid/mutants/mutants.ts';
import type { Scenario } from '../../src/grid/scenario.ts';
import { UnsupportedHost } from '../../src/l0/hypervisor.ts';
import { HostedMachine } from '../../src/vmm/hosted-machine.ts';
import { twiceAtOnce } from './nested-fault.ts';
import { nestedRoots, offers, reasons } from './offers.ts';
import { align, pageRun, traceOfStep } from './page-run.ts';

const directed = new Map(directedScenarios().map((scenario) => [scenario.name, scenario]));
const scenario = (name: string): Scenario => directed.get(`directed/${name}`)!;
/** L0's trace of a step of `smep-without-wp`, without entries and exits. */
const trace = (step: number) => (): string =>
  traceOfStep(scenario('smep-without-wp'), step)
    .filter((line) => !/^kvm_(?:entry|exit):/.test(line))
    .join('\n');

const run = (name: string) => (): string => pageRun(scenario(name), READ_ONLY_PAGE);

/** Each mutant with the scenario of the page that catches it. */
const MUTANTS: readonly (readonly [mutant: string, scenario: string])[] = [
  ['no-nx-for-smep-without-wp', 'smep-without-wp'],
  ['user-page-left-open-without-wp', 'smep-without-wp'],
  ['stale-wp-in-permission-checks', 'smep-without-wp'],
  ['extended-role-without-smep', 'smep-without-wp'],
  ['nx-not-forced', 'smep-without-wp-and-efer-nx'],
  ['no-emulation-for-smap-without-wp', 'smap-without-wp'],
  ['smap-not-in-role', 'smap-without-wp'],
  ['no-reinit-on-vmrun', 'wp-toggled-by-l2'],
  ['no-reinit-on-vmexit', 'wp-toggled-by-l2'],
  ['wp-not-in-role', 'wp-toggled'],
  ['key-without-smep-andnot-wp', 'smep-toggled-without-wp'],
];

function mutants(): string {
  const rows = MUTANTS.map(([name, caughtBy]) => {
    const finding = catchWith(scenario(caughtBy), mutantHost(mutantNamed(name), false));
    if (finding.caught !== 'by a probe')
      throw new Error(`${caughtBy} does not catch ${name} by a probe, but ${finding.caught}.`);
    return [name, finding.scenario, `step ${finding.step}`];
  });
  return align(rows).join('\n');
}

/** What L0 says on a processor without NX. */
function refusal(): string {
  try {
    new HostedMachine({ model: parseCpuModel('current-amd,-nx'), memoryBytes: 0x40_0000 });
  } catch (error) {
    if (error instanceof UnsupportedHost) return error.message;
    throw error;
  }
  throw new Error('L0 shadows without NX.');
}

const SMEP_AND_NOT_WP = {
  'smep-without-wp': run('smep-without-wp'),
  'trace of the kernel writing': trace(2),
  'trace of the kernel fetching': trace(4),
  'trace of the user fetching': trace(6),
  'smep-without-wp-and-efer-nx': run('smep-without-wp-and-efer-nx'),
  'smep-without-wp-or-nx': run('smep-without-wp-or-nx'),
  'smep-without-wp-on-a-cpu-without-nx': run('smep-without-wp-on-a-cpu-without-nx'),
  'a processor without NX': refusal,
  'smap-without-wp': run('smap-without-wp'),
  'wp-toggled-by-l2': run('wp-toggled-by-l2'),
  mutants,
};

const NESTED_PAGING = {
  'what is offered': offers,
  'why not': reasons,
  'roots of nested tables': nestedRoots,
  'a fault of L1': () => twiceAtOnce().first,
  'a fault of L0': () => twiceAtOnce().again,
};

type Blocks = Readonly<Record<string, () => string>>;

export const PAGES: Readonly<Record<string, Blocks>> = {
  'docs/smep-and-not-wp.md': SMEP_AND_NOT_WP,
  'docs/nested-paging.md': NESTED_PAGING,
};

/** A block in a page: the name in a comment, then what the run prints, fenced. */
const BLOCK = /<!-- run: (.+?) -->\n```\n[\s\S]*?```/g;

/** A page with every block as Umbra prints it now. Throws an Error for the name of a block that is none. */
export const withBlocks = (page: string, blocks: Blocks): string =>
  page.replaceAll(BLOCK, (_, name: string) => {
    const print = blocks[name];
    if (print === undefined) throw new Error(`There is no block "${name}".`);
    return `<!-- run: ${name} -->\n\`\`\`\n${print()}\n\`\`\``;
  });

/** Names of the blocks in a page. */
export const blocksIn = (page: string): string[] => [...page.matchAll(BLOCK)].map(([, name]) => name);
