/** How a scenario goes for one linear page, as text: what each step meets, and the entries that it leaves. */
import { exceptionName } from '../../src/arch/exceptions.ts';
import { ENTRY } from '../../src/arch/paging/format.ts';
import { compileScenario, stepNumber } from '../../src/grid/compile.ts';
import { stepText } from '../../src/grid/describe.ts';
import { judgeScenario } from '../../src/grid/judge.ts';
import type { SeenRecord } from '../../src/grid/records.ts';
import { type LeafView, type PageView, rightsText, viewPage } from '../../src/grid/report/table-view.ts';
import { runCompiled } from '../../src/grid/run.ts';
import type { Scenario, Step } from '../../src/grid/scenario.ts';
import { umbraHost } from '../../src/grid/umbra-host.ts';
import { errorCodeText, lineTrace } from '../../src/inspect/trace-lines.ts';
import { roleString } from '../../src/l0/mmu/role.ts';

/** L0 between two steps. */
interface Moment extends PageView {
  readonly role: string;
  /** Page faults so far that L0 gave the guest, and writes that it emulated. */
  readonly injected: number;
  readonly emulated: number;
}

/** A step, who took it, what came of it, and L0 behind it. */
interface PageStep {
  readonly text: string;
  readonly level: string;
  readonly outcome: string;
  readonly after: Moment;
}

/**
 * Runs a scenario under L0 with shadow paging, its invariants checked, and prints what a linear page comes to: a line for
 * each step with the guest's entry beside L0's as the step leaves them, and a line wherever the role, or the shadow page that
 * the entry is in, changes. Throws an Error if any step is not as the oracle says.
 */
export function pageRun(scenario: Scenario, address: number): string {
  const { before, steps } = watchPage(scenario, address);
  const rows = steps.map(({ text, level, outcome, after }, index) => [
    `${index + 1}. ${level} ${text}`,
    outcome,
    guestText(after.guest, after),
    shadowText(after.shadow),
  ]);
  const head = ['step', 'comes of it', "the guest's entry then", "L0's entry then"];
  const first = ['', '', guestText(before.guest, before), shadowText(before.shadow)];
  const table = align([head, first, ...rows]);
  const [heading, start, ...lines] = table;
  const changes = steps.map(({ after }, index) => changeLines(steps[index - 1]?.after ?? before, after));
  return [
    `role ${before.role}`,
    heading,
    start,
    ...lines.flatMap((line, index) => [line, ...changes[index]]),
  ].join('\n');
}

function watchPage(scenario: Scenario, address: number): { before: Moment; steps: PageStep[] } {
  const moments = new Map<number, Moment>();
  const end = scenario.steps.length;
  const host = umbraHost({
    l0: 'shadow',
    host: 'pae',
    check: true,
    watch: (number, machine) => {
      const { mmu } = machine.vcpu;
      const { injected, emulated } = mmu.tables.statistics;
      const role = roleString(mmu.context.rootRole);
      const index = number === 'end' ? end : number - stepNumber(0);
      moments.set(index, { ...viewPage(machine, address), role, injected, emulated });
    },
  });
  const compiled = compileScenario(scenario);
  const { end: ended, processor } = runCompiled(compiled, host);
  const steps: PageStep[] = [];
  const { mismatches } = judgeScenario(compiled, ended, processor, ({ expectation, seen }) => {
    const { index, step, level } = expectation;
    const [before, after] = [moments.get(index)!, moments.get(index + 1)!];
    const emulated = after.emulated > before.emulated ? ', emulated' : '';
    steps.push({ text: shortText(step), level, outcome: `${outcomeText(step, seen)}${emulated}`, after });
  });
  if (mismatches.length > 0) throw new Error(mismatches.map(({ text }) => text).join('\n'));
  return { before: moments.get(0)!, steps };
}

/** `the kernel writes`; other steps as in a scenario file. */
function shortText(step: Step): string {
  if (step.do !== 'probe') return stepText(step);
  const who = step.cpl === 0 ? 'kernel' : 'user';
  const what = step.form === 'fetch' ? 'fetches' : step.form.startsWith('write') ? 'writes' : 'reads';
  return `${who} ${what}${step.ac === true ? ' with AC=1' : ''}`;
}

function outcomeText(step: Step, seen: readonly SeenRecord[]): string {
  const [record] = seen;
  if (record?.kind === 'fault') {
    const pageFault = record.vector === 14 ? ` ${errorCodeText(record.errorCode)}` : '';
    return `${exceptionName(record.vector)}${pageFault}`;
  }
  return step.do === 'probe' ? 'done' : '';
}

const GUEST_FLAGS = ['P', 'W', 'U', 'A', 'D'] as const;

function guestText(entry: LeafView | undefined, { role }: Moment): string {
  if (entry === undefined) return '-';
  const flags: string[] = GUEST_FLAGS.filter((name) => (entry.lo & ENTRY[name]) !== 0);
  if (!role.includes('4-byte') && entry.hi >>> 31 !== 0) flags.push('NX');
  return `${wide(entry)} ${flags.join(' ')}`;
}

const shadowText = (entry: LeafView | undefined): string =>
  entry === undefined ? '-' : `${wide(entry)} ${rightsText(entry)}`;

const wide = ({ lo, hi }: LeafView): string =>
  `0x${hi === 0 ? '' : hi.toString(16)}${hi === 0 ? lo.toString(16) : lo.toString(16).padStart(8, '0')}`;

/** What has changed beside the entries. */
function changeLines(before: Moment, after: Moment): string[] {
  const role = after.role === before.role ? [] : [`role ${before.role}  ->  ${after.role}`];
  const moved = after.shadowPage !== undefined && after.shadowPage !== before.shadowPage;
  return [...role, ...(moved ? [`L0's entry is in sp ${after.shadowPage}`] : [])];
}

/** Rows of texts as lines whose columns stand below each other. */
export function align(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column]))
      .join('   ')
      .trimEnd(),
  );
}

/** Where L0 happens to have its tables, and the agents their code, is no matter of the page's. */
const PASSING = / at 0x[0-9a-f]+(?= in sp)/;

/** What L0 traces of a scenario while it is at one step (from 1), without times. */
export function traceOfStep(scenario: Scenario, number: number, l0: 'shadow' | 'npt' = 'shadow'): string[] {
  const lines: string[] = [];
  let at = 0;
  const host = umbraHost({
    l0,
    host: 'pae',
    prepare: (machine) => {
      machine.vm.trace = lineTrace(
        (line) => {
          if (at === number) lines.push(line.replace(/^\d+ /, '').replace(PASSING, ''));
        },
        () => 0,
      );
    },
    watch: (step) => {
      at = step === 'end' ? 0 : step;
    },
  });
  runCompiled(compileScenario(scenario), host);
  return lines;
}
