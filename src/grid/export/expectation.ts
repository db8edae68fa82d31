import type { CompiledScenario } from '../compile.ts';
import { pagingRegistersText, roleText, stepText } from '../describe.ts';
import { Expectations, scenarioMemory } from '../expect.ts';
import { expectedText } from '../records.ts';
import type { Scenario, Step } from '../scenario.ts';
import type { ProcessorFacts, StepExpectation } from '../step-expectation.ts';
import { RecordingMemory } from './recording-memory.ts';
import { alternativeWords } from './tables.ts';

/** What the oracle says of a scenario on one kind of processor. */
export interface ScenarioExpectation {
  /** Texts and alternatives of each step. */
  readonly steps: readonly ExpectedStep[];
  /** The same as one text, to compare. */
  readonly key: string;
  /** Physical-address bits from 32 on that MAXPHYADDR may be about; bit 0 is bit 32. */
  readonly addressBits: number;
  readonly touchedPages: readonly number[];
  /** It matters whether VMRUN looks at PDPTEs, if they are read on use. */
  readonly vmrunMeetsIllegalPdptes: boolean;
}

export interface ExpectedStep {
  readonly step: string;
  readonly expected: string;
  readonly registers: string;
  readonly alternatives: readonly (readonly number[])[];
}

/**
 * The expectations of all steps. Nobody sees here which of several alternatives a processor takes, so that what comes
 * after is expected with all of them possible.
 */
export function expectScenario(compiled: CompiledScenario, facts: ProcessorFacts): ScenarioExpectation {
  const memory = new RecordingMemory(scenarioMemory(compiled), usesPae(compiled.scenario));
  const expectations = new Expectations(compiled, facts, memory);
  const steps: ExpectedStep[] = [];
  for (let next = expectations.next(); next !== undefined; next = expectations.next()) {
    steps.push(expectedStep(next));
    next.settle(next.alternatives);
  }
  const { touchedPages, addressBits } = memory;
  const { vmrunMeetsIllegalPdptes } = expectations;
  return { steps, key: JSON.stringify(steps), touchedPages, addressBits, vmrunMeetsIllegalPdptes };
}

const quoted = (text: string): string => JSON.stringify(text);

function expectedStep({ step, level, registers, alternatives }: StepExpectation): ExpectedStep {
  const texts = alternatives.map(({ records, source }) => {
    const text = records.length === 0 ? 'nothing recorded' : records.map(expectedText).join(', then ');
    return source === 'tables' ? text : `${text} (from a ${source})`;
  });
  const list = [...new Set(texts)].map((text) => `  - ${quoted(text)}\n`).join('');
  return {
    step: `level: ${quoted(level)}\ndoes: ${quoted(stepText(step))}\n`,
    expected: `expected:\n${list}`,
    registers: `registers: ${quoted(pagingRegistersText(registers))}\ncpu_role: ${quoted(roleText(registers, level))}\n`,
    alternatives: alternativeWords(alternatives),
  };
}

/** Whether any level of a scenario uses PAE paging. */
export function usesPae({ l1, l2, steps }: Scenario): boolean {
  const setsPae = (step: Step): boolean =>
    (step.do === 'switch' && step.mode === 'PAE') ||
    (step.do === 'enter' && step.vmcb?.mode === 'PAE') ||
    (step.do === 'set' && step.flag === 'CR4.PAE');
  return l1.mode === 'PAE' || Object.values(l2).some(({ mode }) => mode === 'PAE') || steps.some(setsPae);
}
