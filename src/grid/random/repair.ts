import { InputError } from '../../arch/input-error.ts';
import { type CompiledScenario, compileScenario } from '../compile.ts';
import { Expectations } from '../expect.ts';
import { withoutFeatures } from '../run.ts';
import type { Scenario, Step } from '../scenario.ts';
import type { ProcessorFacts, StepExpectation } from '../step-expectation.ts';

/** The processors that random scenarios are checked with: where PDPTEs are read must not matter to validity. */
const PROCESSORS: readonly ProcessorFacts[] = [
  { maxPhyAddr: 48, pdptes: 'registers' },
  { maxPhyAddr: 48, pdptes: 'memory, checked by VMRUN' },
];

/**
 * The scenario without the steps that cannot stand where they are: a leave in L1, code or a descriptor that may be no
 * marker's, a store over what the agents need, an L1 that could not start. An L2 is left before another is entered and
 * at the end. Undefined if nothing remains.
 */
export function repair(scenario: Scenario): Scenario | undefined {
  let steps = inOrder(scenario.steps);
  for (;;) {
    if (steps.length === 0) return undefined;
    const candidate = { ...scenario, steps };
    const wrong = wrongSteps(candidate);
    if (wrong === 'start') return undefined;
    if (wrong.size === 0) return candidate;
    steps = inOrder(steps.filter((_, index) => !wrong.has(index)));
  }
}

/** Steps with a leave before every enter in an L2 and none in L1, ending in L1. */
export function inOrder(steps: readonly Step[]): Step[] {
  const ordered: Step[] = [];
  let inL2 = false;
  for (const step of steps) {
    if (step.do === 'leave' && !inL2) continue;
    if (step.do === 'enter' && inL2) ordered.push({ do: 'leave' });
    if (step.do === 'enter') inL2 = true;
    if (step.do === 'leave') inL2 = false;
    ordered.push(step);
  }
  return inL2 ? [...ordered, { do: 'leave' }] : ordered;
}

/** Steps that must go, by index; `start` if the scenario cannot even begin. More may come to light without them. */
function wrongSteps(scenario: Scenario): ReadonlySet<number> | 'start' {
  let wrong: ReadonlySet<number> | 'start' = new Set();
  let compiled: CompiledScenario;
  try {
    compiled = compileScenario(scenario);
  } catch (error) {
    if (error instanceof InputError) return 'start';
    throw error;
  }
  for (const processor of usesPae(scenario) ? PROCESSORS : PROCESSORS.slice(0, 1)) {
    wrong = wrongStepsOn(compiled, processor);
    if (wrong === 'start' || wrong.size > 0) break;
  }
  return wrong;
}

/** Whether any PDPTEs are read. */
const usesPae = ({ features }: Scenario): boolean => features.includes('pae');

function wrongStepsOn(compiled: CompiledScenario, processor: ProcessorFacts): ReadonlySet<number> | 'start' {
  const { scenario } = compiled;
  const wrong = new Set<number>();
  let expectations: Expectations;
  try {
    expectations = new Expectations(compiled, withoutFeatures(processor, scenario.absent ?? []));
  } catch (error) {
    if (error instanceof InputError) return 'start';
    throw error;
  }
  for (const [index, step] of scenario.steps.entries()) {
    let expectation: StepExpectation | undefined;
    try {
      expectation = expectations.next();
      expectation?.settle(expectation.alternatives);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      wrong.add(step.do === 'leave' ? entryBefore(scenario.steps, index) : index);
      // A probe that was refused before it was made has changed nothing: what follows can be looked at now.
      if (step.do !== 'probe' || expectation !== undefined) return wrong;
    }
  }
  return wrong;
}

const entryBefore = (steps: readonly Step[], index: number): number =>
  steps.slice(0, index).findLastIndex((step) => step.do === 'enter');
