import { pushesErrorCode, VECTOR } from '../arch/exceptions.ts';
import { InputError } from '../arch/input-error.ts';
import { CR0 } from '../arch/registers.ts';
import { VMEXIT } from '../arch/svm-exits.ts';
import { EVENT_TYPE, eventInjection } from '../arch/vmcb.ts';
import { AGENT_LAYOUT } from '../guest/agent-layout.ts';
import { AddressSpaceModel, TLB_CONTROL } from '../oracle/address-space.ts';
import type { RegisterWrite } from '../oracle/control-registers.ts';
import { type OracleCpu, type OracleFeatures, oracleCpu, oracleFeatures } from '../oracle/cpu.ts';
import type { Source } from '../oracle/expected.ts';
import type { PhysicalMemory } from '../oracle/memory.ts';
import { checkVmrun, type VmcbFields, type VmrunVerdict } from '../oracle/svm/vmrun-checks.ts';
import { type CompiledScenario, probeValue } from './compile.ts';
import { entryValue } from './entry.ts';
import { type AfterProbe, decided, expectProbe, type ProbeExpectation } from './expect-probe.ts';
import { PageMemory } from './page-memory.ts';
import { placeOf, resolve, SCENARIO_MEMORY } from './placement.ts';
import type { ExpectedRecord } from './records.ts';
import { FLAG_BITS, type PagingRegisters } from './registers.ts';
import type { EditStep, EnterStep, EntryEdit, ProbeStep, Step, VmcbChanges } from './scenario.ts';
import { L1, type TrackedNesting, Tracker } from './tracker.ts';

/** What the oracle has to know about the processor that a scenario runs on. */
export interface ProcessorFacts {
  /** CPUID, where it differs from a current AMD processor without long mode. */
  readonly features?: Partial<OracleFeatures>;
  /** MAXPHYADDR in bits. */
  readonly maxPhyAddr: number;
  /**
   * Where PAE paging finds its PDPTEs: in registers loaded with CR3, or in memory on use (APM vol. 2 5.5.3). With the latter
   * VMRUN may look at them all the same, as a hypervisor does that has nested paging below its guests.
   */
  readonly pdptes: 'registers' | 'memory' | 'memory, checked by VMRUN';
}

/** One course that a step may take. */
export interface Alternative {
  /** What the agents record for it, in order. */
  readonly records: readonly ExpectedRecord[];
  /** Where the oracle has it from. */
  readonly source: Source;
}

/** A step, who runs it with which registers, and what may come of it. */
export interface StepExpectation {
  readonly index: number;
  readonly step: Step;
  /** `L1` or the name of an L2. */
  readonly level: string;
  readonly registers: PagingRegisters;
  readonly alternatives: readonly Alternative[];
  /**
   * Goes on from here; to be called before the next step. `taken`: the alternatives that were seen, or all of them
   * if nobody looked.
   */
  readonly settle: (taken: readonly Alternative[]) => void;
}

/** An L2 as its VMCB describes it. */
interface GuestState {
  cpu: OracleCpu;
  /** As it was when the script entered it last. */
  entered: OracleCpu;
  asid: number;
  interceptPageFaults: boolean;
  /** nCR3, with nested paging. */
  nCr3: bigint | undefined;
  gPat: bigint;
}

/** As much of it as VMRUN checks. */
type VmcbState = Pick<GuestState, 'cpu' | 'asid' | 'nCr3' | 'gPat'>;

/** APM vol. 2 7.8.2. */
const PAT_AT_RESET = 0x0007_0406_0007_0406n;

const nCr3Of = (nesting: TrackedNesting | undefined): bigint | undefined =>
  nesting && (BigInt(nesting.high) << 32n) | BigInt(nesting.low);

const NOTHING: Alternative = { records: [], source: 'tables' };
const exit = (code: number): Alternative => ({
  records: [{ kind: 'exit', level: 1, code }],
  source: 'tables',
});

/** The memory of a compiled scenario, in which it must not write over what the agents need. */
export const scenarioMemory = ({ segments, claimed }: CompiledScenario): PageMemory =>
  new PageMemory(SCENARIO_MEMORY, segments, { below: AGENT_LAYOUT.PAGES, words: claimed });

/** Goes through a scenario with the oracle, step by step. */
export class Expectations {
  readonly model: AddressSpaceModel;
  readonly #compiled: CompiledScenario;
  readonly #tracker: Tracker;
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
    for (const [name, state] of Object.entries(scenario.l2)) {
      const cpu = withRegisters(base, this.#tracker.spaceOf(name).registers);
      this.#guests.set(name, {
        cpu,
        entered: cpu,
        asid: state.asid,
        interceptPageFaults: state.interceptPageFaults ?? false,
        nCr3: nCr3Of(this.#tracker.nestingOf(name)),
        gPat: PAT_AT_RESET,
      });
    }
    const start = this.#switchTo(this.#tracker.current.registers);
    if (start !== undefined) {
      throw new InputError(`L1 of scenario "${scenario.name}" cannot start: ${start}.`);
    }
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
      alternatives = [this.#expectStep(step)];
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
    this.#edit(edit);
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

  #expectStep(step: Exclude<Step, { do: 'probe' | 'enter' }>): Alternative {
    const { placement } = this.#compiled;
    switch (step.do) {
      case 'leave':
        return this.#leave();
      case 'switch': {
        const refused = this.#switchTo(this.#tracker.spaceFor(step).registers);
        return refused === undefined ? this.#value(this.model.cpu.cr0) : this.#generalProtection();
      }
      case 'set': {
        const { register, bit } = FLAG_BITS[step.flag];
        const before = this.model.cpu[register];
        const after = step.value ? before | BigInt(bit >>> 0) : before & ~BigInt(bit >>> 0);
        return this.#registerWrite(this.#writeRegister(register, after), () => this.model.cpu[register]);
      }
      case 'load-cr3':
        return this.#registerWrite(
          this.model.writeCr3(BigInt(resolve(placement, step.root))),
          () => this.model.cpu.cr3,
        );
      case 'reload-cr3':
        return this.#registerWrite(this.model.writeCr3(this.model.cpu.cr3), () => this.model.cpu.cr3);
      case 'edit':
        this.#edit(step);
        return NOTHING;
      case 'write':
        this.model.store(
          BigInt(placeOf(placement, step.page) + step.offset),
          step.width,
          BigInt(step.value >>> 0),
        );
        return NOTHING;
      case 'read': {
        const at = BigInt(placeOf(placement, step.page) + step.offset);
        return this.#value(this.model.memory.read(at, step.width), this.model.unknown(at, step.width));
      }
      case 'invlpg':
        this.model.invlpg(BigInt(step.at));
        return NOTHING;
      case 'invlpga':
        this.model.invlpga(BigInt(step.at), step.asid);
        return NOTHING;
      case 'host': {
        const page = BigInt(placeOf(placement, step.page));
        if (step.action === 'remove') this.model.removeMemory(page);
        else if (step.action === 'return') this.model.returnMemory(page);
        return NOTHING;
      }
      case 'registers':
        return {
          records: [{ kind: 'registers', level: this.#levelNumber, ...registersOf(this.model.cpu) }],
          source: 'tables',
        };
    }
  }

  #edit(step: EntryEdit & Pick<EditStep, 'stores'>): void {
    const { placement } = this.#compiled;
    const at = BigInt(placeOf(placement, step.page) + step.index * step.width);
    const { lo, hi } = entryValue(step.entry, step.width, placement);
    const low = (): void => this.model.store(at, 4, BigInt(lo));
    const high = (): void => this.model.store(at + 4n, 4, BigInt(hi));
    if (step.width === 4) low();
    else if (step.stores === 'low-first') {
      low();
      high();
    } else if (step.stores === 'high-first') {
      high();
      low();
    } else this.model.store(at, 8, (BigInt(hi) << 32n) | BigInt(lo));
  }

  /** What the agents' SWITCH step does, in its order. Answers the rule that refused a write, if one did. */
  #switchTo({ cr0, cr3, cr4, efer }: PagingRegisters): string | undefined {
    const writes: (() => RegisterWrite)[] = [
      () => this.model.writeCr0(this.model.cpu.cr0 & 0x7fff_ffffn),
      () => this.model.writeEfer(BigInt(efer)),
      () => this.model.writeCr4(BigInt(cr4)),
      () => this.model.writeCr3(BigInt(cr3)),
      () => this.model.writeCr0(BigInt(cr0)),
    ];
    for (const write of writes) {
      const result = write();
      if (result.outcome !== 'ok') return result.reason;
    }
    return undefined;
  }

  #writeRegister(register: 'cr0' | 'cr4' | 'efer', value: bigint): RegisterWrite {
    if (register === 'cr0') return this.model.writeCr0(value);
    return register === 'cr4' ? this.model.writeCr4(value) : this.model.writeEfer(value);
  }

  #registerWrite(result: RegisterWrite, after: () => bigint): Alternative {
    return result.outcome === 'ok' ? this.#value(after()) : this.#generalProtection();
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
    const verdict = this.#vmrunVerdict(guest, changes);
    const entered: Alternative = { records: injected(changes), source: 'tables' };
    const refused = exit(VMEXIT.INVALID);
    return verdict === 'valid' ? [entered] : verdict === 'invalid' ? [refused] : [entered, refused];
  }

  #vmrunVerdict(guest: VmcbState, changes: VmcbChanges): VmrunVerdict['verdict'] {
    const { cr0, cr4, efer, features, maxPhyAddr } = this.#host!;
    const memory = this.#vmrunChecksPdptes ? { memory: this.model.memory } : {};
    return checkVmrun({ cr0, cr4, efer, features, maxPhyAddr, ...memory }, vmcbFields(guest, changes))
      .verdict;
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
      "The agent may not be able to run in L2: nested tables must map L2's root where they map it, accessed and dirty, with all rights.",
    );
  }

  #run(guest: GuestState, changes: VmcbChanges): 'entered' | 'invalid' {
    const tlbControl =
      changes.tlbControl === undefined ? TLB_CONTROL.NOTHING : TLB_CONTROLS[changes.tlbControl];
    const { cpu, asid, nCr3 } = guest;
    const nested = nCr3 === undefined ? {} : { nested: { host: { ...this.#host!, cr3: nCr3 } } };
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
    return exit(VMEXIT.VMMCALL);
  }

  get #levelNumber(): 1 | 2 {
    return this.#level === L1 ? 1 : 2;
  }

  #value(value: bigint, unknown = 0n): Alternative {
    const half = (of: bigint, shift: bigint): number => Number((of >> shift) & 0xffff_ffffn);
    const record: ExpectedRecord = {
      kind: 'value',
      level: this.#levelNumber,
      lo: half(value, 0n),
      hi: half(value, 32n),
      unknownLo: half(unknown, 0n),
      unknownHi: half(unknown, 32n),
    };
    return { records: [record], source: 'tables' };
  }

  #generalProtection(): Alternative {
    const record = {
      kind: 'fault',
      level: this.#levelNumber,
      vector: VECTOR.GP,
      errorCode: 0,
      cr2: [],
      eip: [],
    } as const;
    return { records: [record], source: 'tables' };
  }
}

const TLB_CONTROLS = {
  all: TLB_CONTROL.ALL_ASIDS,
  asid: TLB_CONTROL.THIS_ASID,
  'asid-non-global': TLB_CONTROL.THIS_ASID_NON_GLOBAL,
} as const;

/** The registers with which the L1 agent takes its first step: multiboot's, and EFER.SVME. */
const BOOT_REGISTERS: PagingRegisters = { cr0: 0x11, cr3: 0, cr4: 0, efer: 0x1000 };

const withRegisters = (cpu: OracleCpu, { cr0, cr3, cr4, efer }: PagingRegisters): OracleCpu => ({
  ...cpu,
  cr0: BigInt(cr0),
  cr3: BigInt(cr3),
  cr4: BigInt(cr4),
  efer: BigInt(efer),
});

const registersOf = ({ cr0, cr3, cr4, efer }: OracleCpu): PagingRegisters => ({
  cr0: Number(cr0),
  cr3: Number(cr3),
  cr4: Number(cr4),
  efer: Number(efer),
});

function injected({ inject }: VmcbChanges): ExpectedRecord[] {
  if (inject === undefined) return [];
  const { vector, errorCode } = inject;
  const pushed = pushesErrorCode(vector) ? (errorCode ?? 0) : 0;
  return [{ kind: 'fault', level: 2, vector, errorCode: pushed, cr2: [], eip: [] }];
}

function vmcbFields({ cpu, asid, nCr3, gPat }: VmcbState, { inject }: VmcbChanges): VmcbFields {
  const { cr0, cr3, cr4, efer } = cpu;
  const type = (inject?.vector ?? 0) < 32 ? EVENT_TYPE.EXCEPTION : EVENT_TYPE.INTR;
  const event =
    inject === undefined ? 0 : eventInjection(type, inject.vector, pushesErrorCode(inject.vector));
  return {
    interceptVmrun: true,
    iopmBasePa: BigInt(AGENT_LAYOUT.IO_MAP),
    msrpmBasePa: BigInt(AGENT_LAYOUT.MSR_MAP),
    guestAsid: asid,
    tlbControl: 0,
    npEnable: nCr3 !== undefined,
    nCr3: nCr3 ?? 0n,
    gPat,
    eventInj: BigInt(event),
    csLong: false,
    csDefaultBig: true,
    efer,
    cr0,
    cr3,
    cr4,
    dr6: 0xffff_0ff0n,
    dr7: 0x400n,
  };
}
