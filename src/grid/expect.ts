import { InputError } from '../arch/input-error.ts';
import { CR0 } from '../arch/registers.ts';
import { VMEXIT } from '../arch/svm-exits.ts';
import { AGENT_LAYOUT } from '../guest/agent-layout.ts';
import { AddressSpaceModel, TLB_CONTROL } from '../oracle/address-space.ts';
import { type OracleCpu, oracleCpu, oracleFeatures } from '../oracle/cpu.ts';
import type { PhysicalMemory } from '../oracle/memory.ts';
import { PatRegisters } from '../oracle/svm/pat.ts';
import { checkVmrun, type VmrunVerdict } from '../oracle/svm/vmrun-checks.ts';
import { type CompiledScenario, probeValue } from './compile.ts';
import { PlainSteps } from './expect-plain.ts';
import { type AfterProbe, decided, expectProbe, type ProbeExpectation } from './expect-probe.ts';
import {
  BOOT_REGISTERS,
  type GuestState,
  injected,
  nCr3Of,
  PAT_AT_RESET,
  registersOf,
  TLB_CONTROLS,
  type VmcbState,
  vmcbFields,
  withRegisters,
} from './expect-vmrun.ts';
import { PageMemory } from './page-memory.ts';
import { SCENARIO_MEMORY } from './placement.ts';
import type { EnterStep, EntryEdit, ProbeStep, VmcbChanges } from './scenario.ts';
import {
  type Alternative,
  exitWith,
  NOTHING,
  type ProcessorFacts,
  type StepExpectation,
} from './step-expectation.ts';
import { L1, Tracker } from './tracker.ts';

/** The memory of a compiled scenario, in which it must not write over what the agents need. */
export const scenarioMemory = ({ segments, claimed }: CompiledScenario): PageMemory =>
  new PageMemory(SCENARIO_MEMORY, segments, { below: AGENT_LAYOUT.PAGES, words: claimed });

/** Goes through a scenario with the oracle, step by step. */
export class Expectations {
  readonly model: AddressSpaceModel;
  readonly #compiled: CompiledScenario;
  readonly #tracker: Tracker;
  readonly #pats = new PatRegisters();
  readonly #steps: PlainSteps;
  readonly #guests = new Map<string, GuestState>();
  readonly #pdptesInMemory: boolean;
  readonly #vmrunChecksPdptes: boolean;
  #index = 0;
  #level = L1;
  #enter: EnterStep | undefined;
  /** What L1 will do at L2's first nested page fault of this visit. */
  #mend: EntryEdit | undefined;
  #host: OracleCpu | undefined;
  /** The L2 that was entered cannot run: its steps are skipped. */
  #skipping = false;
  #vmrunMeetsIllegalPdptes = false;

  /** @param memory the scenario's memory as the image loads it; the expectations write into it */
  constructor(
    compiled: CompiledScenario,
    processor: ProcessorFacts,
    memory: PhysicalMemory = scenarioMemory(compiled),
  ) {
    this.#compiled = compiled;
    const { scenario, placement } = compiled;
    this.#tracker = new Tracker(scenario, placement);
    this.#pdptesInMemory = processor.pdptes !== 'registers';
    this.#vmrunChecksPdptes = processor.pdptes !== 'memory';
    const base = oracleCpu({
      features: oracleFeatures(processor.features),
      maxPhyAddr: processor.maxPhyAddr,
      pdptesInMemory: this.#pdptesInMemory,
    });
    this.model = new AddressSpaceModel(memory, withRegisters(base, BOOT_REGISTERS));
    this.#steps = new PlainSteps(this.model, placement, this.#tracker, this.#pats);
    for (const [name, state] of Object.entries(scenario.l2)) {
      const cpu = withRegisters(base, this.#tracker.spaceOf(name).registers);
      this.#guests.set(name, {
        cpu,
        entered: cpu,
        asid: state.asid,
        interceptPageFaults: state.interceptPageFaults ?? false,
        nCr3: nCr3Of(this.#tracker.nestingOf(name)),
        gPat: PAT_AT_RESET,
        enteredPat: PAT_AT_RESET,
      });
    }
    const start = this.#steps.switchTo(this.#tracker.current.registers);
    if (start !== undefined) {
      throw new InputError(`L1 of scenario "${scenario.name}" cannot start: ${start}.`);
    }
  }

  /**
   * A VMRUN has met PDPTEs that are illegal, so far, and did not look at them: on a processor that reads PDPTEs on use, it
   * may (see `ProcessorFacts`).
   */
  get vmrunMeetsIllegalPdptes(): boolean {
    return this.#vmrunMeetsIllegalPdptes;
  }

  /** The next step; undefined at the end. */
  next(): StepExpectation | undefined {
    const index = this.#index;
    const step = this.#compiled.scenario.steps[index];
    if (step === undefined) return undefined;
    this.#index++;
    const level = this.#level;
    const registers = registersOf(this.model.cpu);
    let settle: StepExpectation['settle'] = () => {};
    let alternatives: readonly Alternative[];
    if (this.#skipping && step.do !== 'leave') {
      alternatives = [NOTHING];
    } else if (step.do === 'probe') {
      ({ alternatives, settle } = this.#expectProbe(step));
    } else if (step.do === 'enter') {
      alternatives = this.#expectEnter(step);
      settle = (taken) => this.#settleEnter(step, taken);
    } else {
      alternatives = [step.do === 'leave' ? this.#leave() : this.#steps.expect(step, this.#levelNumber)];
    }
    this.#tracker.apply(step);
    const settleAll: StepExpectation['settle'] = (taken) => {
      settle(taken);
      if (step.do !== 'enter' && !this.#skipping) this.#checkRoot();
    };
    return { index, step, level, registers, alternatives, settle: settleAll };
  }

  #expectProbe(step: ProbeStep): Pick<StepExpectation, 'alternatives' | 'settle'> {
    const first = this.#expectOneProbe(step);
    if (this.#mend === undefined || first.nestedFault === 'never') {
      return { alternatives: first.alternatives, settle: (taken) => this.#settleProbe(first.settle(taken)) };
    }
    // What L2 finds when it tries again depends on what L1 has mended: it has to be certain that L1 has.
    const exits = first.alternatives.every(({ records }) => records.length === 1);
    if (first.nestedFault === 'sometimes' || !exits)
      throw new InputError('It is open whether L1 mends an entry here.');
    first.settle(first.alternatives);
    this.#mendAndEnter(this.#mend);
    this.#mend = undefined;
    const second = this.#expectOneProbe(step);
    const joined = new Map<Alternative, Alternative>();
    for (const { records } of first.alternatives) {
      for (const last of second.alternatives)
        joined.set({ records: [...records, ...last.records], source: last.source }, last);
    }
    return {
      alternatives: [...joined.keys()],
      settle: (taken) => {
        const last = new Set(taken.map((alternative) => joined.get(alternative)!));
        this.#settleProbe(second.settle([...last]));
      },
    };
  }

  #expectOneProbe(step: ProbeStep): ProbeExpectation {
    const guest = this.#guests.get(this.#level);
    const stores = { ...step, value: probeValue(step, this.#compiled.placement) };
    const mayExit = guest?.interceptPageFaults === true || guest?.nCr3 !== undefined;
    return expectProbe(this.model, stores, {
      level: this.#levelNumber,
      intercepted: guest?.interceptPageFaults ?? false,
      reflect: this.#enter?.reflect ?? false,
      reentry: mayExit ? this.#vmrunVerdict({ ...guest, cpu: this.model.cpu }, {}) : 'valid',
    });
  }

  /** L1 has heard of a nested page fault: it writes an entry and enters L2 again. */
  #mendAndEnter(edit: EntryEdit): void {
    const guest = this.#guests.get(this.#level)!;
    guest.cpu = { ...this.model.cpu, cpl: 0, eflagsAc: false };
    this.#exit();
    this.#steps.edit(edit);
    if (this.#run(guest, {}) !== 'entered')
      throw new InputError('L2 cannot be entered again after the mending.');
  }

  #settleProbe(after: ReadonlySet<AfterProbe>): void {
    if (after.size === 0 || (after.size === 1 && after.has('stayed'))) return;
    const guest = this.#guests.get(this.#level)!;
    guest.cpu = { ...this.model.cpu, cpl: 0, eflagsAc: false };
    if (after.size > 1) {
      this.#checkSameEitherWay(after, guest);
      return;
    }
    // L1 looked at the page fault and entered L2 again, or tried to.
    this.#exit();
    if (after.has('came back')) {
      if (this.#run(guest, {}) === 'entered') return;
      this.#exit();
    }
    // What VMRUN leaves of a guest that it refuses is not defined: the agent puts back what it entered.
    guest.cpu = guest.entered;
    guest.gPat = guest.enteredPat;
    this.#skipping = true;
  }

  /** Where nobody has seen whether L2 exited, it must not matter: the way there and back loads PDPTEs. */
  #checkSameEitherWay(after: ReadonlySet<AfterProbe>, { cpu, nCr3 }: GuestState): void {
    // With nested paging none are loaded: they are read on use (APM vol. 2 15.25.10).
    if (nCr3 !== undefined && !after.has('left')) return;
    const pdptes = this.model.pdptesAfterEntry(cpu);
    if (!after.has('left') && pdptes?.every((pdpte, index) => pdpte === cpu.pdptes[index])) return;
    throw new InputError('It is open whether L2 exits to L1 here, and with that which PDPTEs are loaded.');
  }

  #expectEnter(step: EnterStep): Alternative[] {
    const changes = step.vmcb ?? {};
    const guest = this.#guests.get(step.l2)!;
    const space = this.#tracker.afterVmcbChanges(step.l2, changes);
    if (space !== undefined) guest.cpu = withRegisters(guest.cpu, space.registers);
    guest.asid = changes.asid ?? guest.asid;
    guest.interceptPageFaults = changes.interceptPageFaults ?? guest.interceptPageFaults;
    guest.nCr3 = nCr3Of(this.#tracker.nestingAfter(step.l2, changes));
    guest.gPat = changes.gPat === undefined ? guest.gPat : BigInt(changes.gPat);
    this.#enter = step;
    this.#mend = step.mend;
    this.#level = step.l2;
    this.#host = this.model.cpu;
    guest.entered = guest.cpu;
    guest.enteredPat = guest.gPat;
    const verdict = this.#vmrunVerdict(guest, changes);
    const entered: Alternative = { records: injected(changes), source: 'tables' };
    const refused = exitWith(VMEXIT.INVALID);
    return verdict === 'valid' ? [entered] : verdict === 'invalid' ? [refused] : [entered, refused];
  }

  #vmrunVerdict(guest: VmcbState, changes: VmcbChanges): VmrunVerdict['verdict'] {
    const { cr0, cr4, efer, features, maxPhyAddr } = this.#host!;
    const host = { cr0, cr4, efer, features, maxPhyAddr };
    const fields = vmcbFields(guest, changes);
    const { verdict } = checkVmrun({ ...host, memory: this.model.memory }, fields);
    if (this.#vmrunChecksPdptes) return verdict;
    const { verdict: unchecked } = checkVmrun(host, fields);
    this.#vmrunMeetsIllegalPdptes ||= verdict !== unchecked;
    return unchecked;
  }

  #settleEnter(step: EnterStep, taken: readonly Alternative[]): void {
    const guest = this.#guests.get(step.l2)!;
    const refused = taken.every(({ records }) => records[0]?.kind === 'exit');
    this.#skipping = refused || this.#run(guest, step.vmcb ?? {}) === 'invalid';
    if (this.#skipping) this.#exit();
    else if (guest.nCr3 !== undefined) this.#checkAgentRuns();
    else this.#checkRoot();
  }

  /** L1 runs on in its own state, with its PDPTEs loaded anew (APM vol. 2 15.6). */
  #exit(): void {
    this.#pats.vmexit();
    if (this.model.vmexit(this.#host!) === 'shutdown') {
      throw new InputError('L1 shuts down here: its PDPTEs are illegal when L2 exits (APM vol. 2 15.6).');
    }
  }

  /** A root at an address that is L2's alone may be out of reach after any step. */
  #checkRoot(): void {
    const { cr0, cr3 } = this.model.cpu;
    const paged = (cr0 & BigInt(CR0.PG >>> 0)) !== 0n;
    if (paged && cr3 >= BigInt(AGENT_LAYOUT.END)) this.#checkAgentRuns();
  }

  /** The agent runs whatever a step does: its way through both stages must be free, and no entry on it change. */
  #checkAgentRuns(): void {
    const at = BigInt(AGENT_LAYOUT.IMAGE);
    const outcomes = decided(() => this.model.allowed(at, { kind: 'write', implicit: false }));
    const reaches = outcomes.every(
      (outcome) => outcome.outcome === 'ok' && outcome.address === at && outcome.entries.length === 0,
    );
    if (reaches) return;
    throw new InputError(
      this.#level === L1
        ? `The agent may not be able to run in L1: its root is an address that only an L2 with nested paging has, or beyond the memory of scenarios.`
        : `The agent may not be able to run in ${this.#level}: nested tables must map its root where they map it, accessed and dirty, with all rights.`,
    );
  }

  #run(guest: GuestState, changes: VmcbChanges): 'entered' | 'invalid' {
    const tlbControl =
      changes.tlbControl === undefined ? TLB_CONTROL.NOTHING : TLB_CONTROLS[changes.tlbControl];
    const { cpu, asid, nCr3 } = guest;
    const nested = nCr3 === undefined ? {} : { nested: { host: { ...this.#host!, cr3: nCr3 } } };
    this.#pats.vmrun(nCr3 === undefined ? undefined : guest);
    return this.model.vmrun({ cpu, asid, tlbControl, ...nested });
  }

  #leave(): Alternative {
    const skipped = this.#skipping;
    const guest = this.#guests.get(this.#level)!;
    this.#level = L1;
    this.#enter = undefined;
    this.#mend = undefined;
    this.#skipping = false;
    if (skipped) return NOTHING;
    guest.cpu = this.model.cpu;
    this.#exit();
    return exitWith(VMEXIT.VMMCALL);
  }

  get #levelNumber(): 1 | 2 {
    return this.#level === L1 ? 1 : 2;
  }
}
