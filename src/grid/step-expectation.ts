/** What may come of one step of a scenario, whoever says so. */
import { VECTOR } from '../arch/exceptions.ts';
import type { OracleFeatures } from '../oracle/cpu.ts';
import type { Source } from '../oracle/expected.ts';
import type { ExpectedRecord } from './records.ts';
import type { PagingRegisters } from './registers.ts';
import type { Step } from './scenario.ts';

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

/** Nothing is recorded. */
export const NOTHING: Alternative = { records: [], source: 'tables' };
/** L2 exits to L1 with a code that says it all. */
export const exitWith = (code: number): Alternative => ({
  records: [{ kind: 'exit', level: 1, code }],
  source: 'tables',
});

/** A step that answers a value: what `level` records of it. `unknown`: bits that may be either way. */
export function valueAt(level: 1 | 2, value: bigint, unknown = 0n): Alternative {
  const half = (of: bigint, shift: bigint): number => Number((of >> shift) & 0xffff_ffffn);
  const record: ExpectedRecord = {
    kind: 'value',
    level,
    lo: half(value, 0n),
    hi: half(value, 32n),
    unknownLo: half(unknown, 0n),
    unknownHi: half(unknown, 32n),
  };
  return { records: [record], source: 'tables' };
}

/** A step that ends in #GP(0) at `level`. */
export function generalProtectionAt(level: 1 | 2): Alternative {
  const record = { kind: 'fault', level, vector: VECTOR.GP, errorCode: 0, cr2: [], eip: [] } as const;
  return { records: [record], source: 'tables' };
}
