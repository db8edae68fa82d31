import { InputError } from '../arch/input-error.ts';
import { CR0 } from '../arch/registers.ts';
import { IOPM_SIZE, MSRPM_SIZE, VMCB_SIZE } from '../arch/vmcb.ts';
import { AGENT_LAYOUT, HOST_MEMORY, OPERATION } from '../guest/agent-layout.ts';
import { agentPageTables } from '../guest/agent-paging.ts';
import { GATED_VECTORS } from '../guest/agent-tables.ts';
import { agents } from '../guest/agents.ts';
import { elfImage, type Segment } from '../guest/elf.ts';
import { buildVmcb } from '../guest/l2-agent.ts';
import { PROBE_FORMS, probeFormNumber } from '../guest/probe-forms.ts';
import { entryValue } from './entry.ts';
import { MemoryImage } from './memory-image.ts';
import { type Placement, placeOf, placePages, resolve } from './placement.ts';
import { RootKeeper } from './reach.ts';
import { FLAG_BITS, pagingModeOf } from './registers.ts';
import type { EditStep, EntryEdit, PagingMode, ProbeStep, Scenario, Step } from './scenario.ts';
import { type Mending, patHalves, ScriptWriter } from './script.ts';
import { L1, type TrackedSpace, Tracker } from './tracker.ts';

/** A scenario ready to run on anything that boots multiboot images. */
export interface CompiledScenario {
  readonly scenario: Scenario;
  /** A multiboot 1 image in ELF form. */
  readonly image: Uint8Array<ArrayBuffer>;
  /** What the image loads, for whoever models the memory. */
  readonly segments: readonly Segment[];
  /** Those of them that are not the agents', which are the same for every scenario. */
  readonly own: readonly Segment[];
  readonly placement: Placement;
  /** Addresses of the 4-byte words in the scenario's pages that the agents need as they are. */
  readonly claimed: ReadonlySet<number>;
}

/** Number in script and log of step `index` of a scenario; 0 is what comes before the first. */
export const stepNumber = (index: number): number => index + 1;

/** Compiles a scenario. Throws an InputError that says which step or page cannot be and why. */
export function compileScenario(scenario: Scenario): CompiledScenario {
  checkNestingIsNamed(scenario);
  const placement = placePages(scenario);
  const memory = new MemoryImage(scenario, placement);
  const script = compileSteps(scenario, placement, memory);
  const { bytes, origin, entry } = agents();
  const own: Segment[] = [
    ...vmcbSegment(scenario, placement),
    { address: AGENT_LAYOUT.SCRIPT, bytes: script },
    ...memory.segments(),
  ];
  const segments: Segment[] = [
    { address: origin, bytes },
    { address: AGENT_LAYOUT.IO_MAP, bytes: new Uint8Array(IOPM_SIZE) },
    { address: AGENT_LAYOUT.MSR_MAP, bytes: new Uint8Array(MSRPM_SIZE) },
    { address: AGENT_LAYOUT.TABLES, bytes: agentTables() },
    ...own,
  ];
  // Whoever only wants to know what a scenario means needs none.
  let image: Uint8Array<ArrayBuffer> | undefined;
  return {
    scenario,
    get image() {
      return (image ??= elfImage(entry, segments));
    },
    segments,
    own,
    placement,
    claimed: memory.claimed,
  };
}

/** Processors of scenarios have nested paging only where it is needed: see `guestModel` of umbra-host.ts. */
function checkNestingIsNamed({ name, features, absent = [], l2, steps }: Scenario): void {
  if (features.includes('npt') || absent.includes('npt')) return;
  const entered = steps.find((step) => step.do === 'enter' && typeof step.vmcb?.nested === 'string');
  const nesting =
    entered?.do === 'enter' ? entered.l2 : Object.keys(l2).find((level) => l2[level].nested !== undefined);
  if (nesting === undefined) return;
  throw new InputError(
    `Scenario "${name}" runs ${nesting} with nested paging; write "needs npt", or "on a processor without npt".`,
  );
}

let agentTableBytes: Uint8Array | undefined;
const agentTables = (): Uint8Array => (agentTableBytes ??= agentPageTables());

/** Address of an L2's VMCB; L2s are numbered in the scenario's order. */
export const vmcbAddress = (scenario: Scenario, l2: string): number =>
  AGENT_LAYOUT.VMCB + Object.keys(scenario.l2).indexOf(l2) * VMCB_SIZE;

function vmcbSegment(scenario: Scenario, placement: Placement): Segment[] {
  const names = Object.keys(scenario.l2);
  if (names.length === 0) return [];
  const room = (AGENT_LAYOUT.VMCB_LIMIT - AGENT_LAYOUT.VMCB) / VMCB_SIZE;
  if (names.length > room) {
    throw new InputError(`Scenario "${scenario.name}" has ${names.length} L2s; there is room for ${room}.`);
  }
  const tracker = new Tracker(scenario, placement);
  const bytes = new Uint8Array(names.length * VMCB_SIZE);
  names.forEach((name, index) => {
    const { asid, interceptPageFaults } = scenario.l2[name];
    const interceptExceptions = interceptPageFaults === true ? 1 << 14 : 0;
    const { registers } = tracker.spaceOf(name);
    const nested = tracker.nestingOf(name);
    const state = { ...registers, asid, interceptExceptions, ...(nested === undefined ? {} : { nested }) };
    bytes.set(buildVmcb(state, agents().labels), index * VMCB_SIZE);
  });
  return [{ address: AGENT_LAYOUT.VMCB, bytes }];
}

function compileSteps(scenario: Scenario, placement: Placement, memory: MemoryImage): Uint8Array {
  const tracker = new Tracker(scenario, placement);
  const script = new ScriptWriter();
  const context: Context = { scenario, placement, script, tracker };
  const roots = new RootKeeper(scenario, placement, tracker);
  for (const level of tracker.levels) useRoot(context, memory, tracker.spaceOf(level));
  script.switchPaging(tracker.current.registers);
  let resumeAfterLeave: ((after: number) => void) | undefined;
  scenario.steps.forEach((step, index) => {
    script.step = stepNumber(index);
    try {
      if (step.do === 'enter') resumeAfterLeave = compileEnter(context, step);
      else compileStep(context, step);
      tracker.apply(step);
      roots.follow(step);
      useRoot(context, memory, tracker.current);
      if (step.do === 'enter') useNesting(context, memory, step.l2);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      throw new InputError(`Step ${index + 1} (${step.do}) of scenario "${scenario.name}": ${error.message}`);
    }
    if (step.do === 'leave') resumeAfterLeave?.(script.here);
  });
  if (tracker.level !== L1) {
    throw new InputError(
      `Scenario "${scenario.name}" ends in ${tracker.level}; its last step must be in L1.`,
    );
  }
  const bytes = script.finish();
  if (AGENT_LAYOUT.SCRIPT + bytes.length > AGENT_LAYOUT.SCRIPT_LIMIT) {
    throw new InputError(`Scenario "${scenario.name}" is too long: its script has ${bytes.length} bytes.`);
  }
  return bytes;
}

interface Context {
  readonly scenario: Scenario;
  readonly placement: Placement;
  readonly script: ScriptWriter;
  readonly tracker: Tracker;
}

function useRoot({ placement }: Context, memory: MemoryImage, { registers, root }: TrackedSpace): void {
  const mode = pagingModeOf(registers);
  if (root === undefined || mode === 'off') return;
  addAgents(memory, placeOf(placement, root), mode, false);
}

/** The nested tables of an L2 that L1 has just entered are read in L1's own format. */
function useNesting({ tracker }: Context, memory: MemoryImage, l2: string): void {
  const nesting = tracker.nestingOf(l2);
  const mode = pagingModeOf(tracker.spaceOf(L1).registers);
  if (nesting !== undefined && mode !== 'off') addAgents(memory, nesting.low, mode, true);
}

function addAgents(memory: MemoryImage, root: number, mode: PagingMode, nested: boolean): void {
  const cr3 = mode === 'PAE' ? root : root & ~0xfff;
  memory.addAgents({ cr3, format: mode === 'PAE' ? 'PAE' : '2-level', nested });
}

function compileEnter(context: Context, step: Extract<Step, { do: 'enter' }>): (after: number) => void {
  const { scenario, script, tracker } = context;
  const changes = step.vmcb ?? {};
  tracker.spaceOf(step.l2);
  if ((changes.inject?.vector ?? 0) >= GATED_VECTORS) {
    throw new InputError(
      `L2 has no handler for vector ${changes.inject?.vector}; those from 0 to ${GATED_VECTORS - 1} can be injected.`,
    );
  }
  const at = vmcbAddress(scenario, step.l2);
  const registers = tracker.afterVmcbChanges(step.l2, changes)?.registers;
  script.vmcb(at, registers, tracker.nestingAfter(step.l2, changes), changes);
  return script.enter(at, step.reflect ?? false, step.mend && mending(context, step.mend));
}

function mending(context: Context, { page, index, width, entry }: EntryEdit): Mending {
  const at = aliasOf(context, page, index * width, width);
  return { at, width, value: entryValue(entry, width, context.placement) };
}

/** Where the agents reach bytes of a page: at its physical address. Throws an InputError where they cannot. */
function aliasOf({ placement, tracker }: Context, page: string, offset: number, width: number): number {
  const address = placeOf(placement, page) + offset;
  const { registers } = tracker.current;
  const identity = (registers.cr0 & CR0.PG) === 0 && tracker.nestingOf(tracker.level) === undefined;
  if (!identity && address + width > AGENT_LAYOUT.END) {
    throw new InputError(`Page "${page}" is beyond the first 16 MiB, which the agents reach with paging on.`);
  }
  return address;
}

function compileStep(context: Context, step: Exclude<Step, { do: 'enter' }>): void {
  const { script, placement, tracker } = context;
  const alias = (page: string, offset: number, width: number): number =>
    aliasOf(context, page, offset, width);
  switch (step.do) {
    case 'leave':
      script.operation(OPERATION.LEAVE);
      return;
    case 'switch':
      script.switchPaging(tracker.spaceFor(step).registers);
      return;
    case 'set': {
      const { register, bit } = FLAG_BITS[step.flag];
      script.change(register, step.value ? 0 : bit, step.value ? bit : 0);
      return;
    }
    case 'load-cr3':
      script.change('cr3', 0xffff_ffff, resolve(placement, step.root));
      return;
    case 'reload-cr3':
      script.operation(OPERATION.RELOAD);
      return;
    case 'edit':
      compileEdit(script, alias(step.page, step.index * step.width, step.width), step, placement);
      return;
    case 'write':
      script.write(alias(step.page, step.offset, step.width), step.width, step.value);
      return;
    case 'read':
      script.operation(OPERATION.READ, alias(step.page, step.offset, step.width), step.width);
      return;
    case 'invlpg':
      script.operation(OPERATION.INVLPG, step.at);
      return;
    case 'invlpga':
      script.operation(OPERATION.INVLPGA, step.at, step.asid);
      return;
    case 'probe':
      checkProbe(step);
      script.probe(step, probeValue(step, placement));
      return;
    case 'host':
      script.operation(OPERATION.HOST_MEMORY, placeOf(placement, step.page) | HOST_ACTIONS[step.action]);
      return;
    case 'pat':
      if (step.value === undefined) script.operation(OPERATION.PAT);
      else script.operation(OPERATION.PAT, 1, ...patHalves(step.value));
      return;
    case 'registers':
      script.operation(OPERATION.REGISTERS);
      return;
  }
}

function compileEdit(script: ScriptWriter, at: number, step: EditStep, placement: Placement): void {
  const { lo, hi } = entryValue(step.entry, step.width, placement);
  if (step.width === 4) {
    script.write(at, 4, lo);
    return;
  }
  switch (step.stores ?? 'one') {
    case 'one':
      script.write(at, 8, lo, hi);
      return;
    case 'low-first':
      script.write(at, 4, lo);
      script.write(at + 4, 4, hi);
      return;
    case 'high-first':
      script.write(at + 4, 4, hi);
      script.write(at, 4, lo);
      return;
  }
}

const HOST_ACTIONS = {
  move: HOST_MEMORY.MOVE,
  remove: HOST_MEMORY.REMOVE,
  return: HOST_MEMORY.RETURN,
} as const;

/** What a probe stores: 32 bits, unsigned. */
export const probeValue = ({ value, entry }: ProbeStep, placement: Placement): number =>
  entry === undefined ? (value ?? 0) >>> 0 : entryValue(entry, 4, placement).lo;

function checkProbe(step: ProbeStep): void {
  const form = PROBE_FORMS[probeFormNumber(step.form)];
  if (form.userOnly === true && step.cpl !== 3) {
    throw new InputError(`A ${form.name} probe runs at CPL 3 only: at CPL 0 its stack takes the fault.`);
  }
  const end = step.at + form.size;
  if (step.at < AGENT_LAYOUT.USER_STACK + 0x1000 && end > AGENT_LAYOUT.IMAGE && form.access === 'write') {
    throw new InputError(`A ${form.name} probe at 0x${step.at.toString(16)} would write over the agents.`);
  }
}
