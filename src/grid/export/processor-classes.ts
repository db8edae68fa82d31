import { InputError } from '../../arch/input-error.ts';
import { PDPTES } from '../../guest/suite/format.ts';
import { withoutFeatures } from '../run.ts';
import type { Scenario } from '../scenario.ts';
import type { ProcessorFacts } from '../step-expectation.ts';
import { type ScenarioExpectation, usesPae } from './expectation.ts';

/** Processors for which the same is expected. */
export interface ProcessorClass {
  /** Bits of PDPTES: where PDPTEs are. */
  readonly pdptes: number;
  /** MAXPHYADDR at most. */
  readonly maxBits: number;
  readonly expectation: ScenarioExpectation;
}

/** MAXPHYADDR of processors with PSE-36 or PAE (APM vol. 3 E.4.7, SDM vol. 3A 4.1.4). */
const FEWEST_BITS = 32;
const MOST_BITS = 52;
/** No processor says more. */
const ANY_BITS = 255;

/**
 * The kinds of processors that a scenario tells apart, by where PDPTEs are, if it has PAE paging; and up to which
 * MAXPHYADDR they can run it.
 *
 * A scenario's memory ends far below 4 GiB. So a physical-address bit from 32 on in an entry is either reserved, and
 * then the same as with the smallest MAXPHYADDR, or leads where no memory is, and then the scenario is not for that
 * processor. There is nothing in between, so that one table serves every processor that can run the scenario.
 * @param expect what the oracle says of one kind of processor
 * @throws InputError for a scenario that reaches beyond its memory on every processor
 */
export function processorClasses(
  scenario: Scenario,
  expect: (facts: ProcessorFacts) => ScenarioExpectation,
): ProcessorClass[] {
  const kinds = usesPae(scenario)
    ? ([
        ['registers', PDPTES.REGISTERS],
        ['memory', PDPTES.MEMORY],
      ] as const)
    : ([['registers', PDPTES.REGISTERS | PDPTES.MEMORY]] as const);
  return kinds.map(([pdptes, mask]) => {
    const at = (maxPhyAddr: number): ScenarioExpectation =>
      expect(withoutFeatures({ maxPhyAddr, pdptes }, scenario.absent ?? []));
    const expectation = at(FEWEST_BITS);
    return { pdptes: mask, maxBits: mostBits(expectation, at), expectation };
  });
}

/** The greatest MAXPHYADDR with the same expectations. */
function mostBits(expectation: ScenarioExpectation, at: (maxPhyAddr: number) => ScenarioExpectation): number {
  const isSame = (maxPhyAddr: number): boolean => {
    try {
      return at(maxPhyAddr).key === expectation.key;
    } catch (error) {
      if (error instanceof InputError) return false;
      throw error;
    }
  };
  // MAXPHYADDR makes a difference only where it passes a bit that some entry has: bit b means an address from b + 1 on.
  let most = ANY_BITS;
  for (let bit = MOST_BITS - 1; bit >= FEWEST_BITS; bit--) {
    if ((expectation.addressBits & (1 << (bit - FEWEST_BITS))) === 0) continue;
    if (isSame(bit + 1)) return most;
    most = bit;
  }
  return most;
}
