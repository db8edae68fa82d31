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
  /** MAXPHYADDR at most, and more than in the class before this one with the same `pdptes`. */
  readonly maxBits: number;
  readonly expectation: ScenarioExpectation;
}

type Expect = (facts: ProcessorFacts) => ScenarioExpectation;
type AtBits = (maxPhyAddr: number) => ScenarioExpectation;

/** MAXPHYADDR of processors with PSE-36 or PAE (APM vol. 3 E.4.7, SDM vol. 3A 4.1.4). */
const FEWEST_BITS = 32;
const MOST_BITS = 52;
/** No processor says more. */
const ANY_BITS = 255;

const LOADED = PDPTES.REGISTERS;
const READ_ON_USE = PDPTES.MEMORY | PDPTES.MEMORY_CHECKED;

/**
 * The kinds of processors that a scenario tells apart: by where PDPTEs are, if it has PAE paging, and by MAXPHYADDR.
 *
 * A scenario's memory ends far below 4 GiB. So a physical-address bit from 32 on in an entry is either reserved, or leads
 * where no memory is, and then the scenario is not for that processor; but an address of an L2 with nested paging is
 * neither: it ends in a nested page fault. So there are two classes at most for most scenarios.
 * @param expect what the oracle says of one kind of processor
 * @throws InputError for a scenario that reaches beyond its memory on every processor
 */
export function processorClasses(scenario: Scenario, expect: Expect): ProcessorClass[] {
  const at =
    (pdptes: ProcessorFacts['pdptes']): AtBits =>
    (maxPhyAddr) =>
      expect(withoutFeatures({ maxPhyAddr, pdptes }, scenario.absent ?? []));
  if (!usesPae(scenario)) return classesByBits(LOADED | READ_ON_USE, at('registers'));
  const classes = classesByBits(LOADED, at('registers'));
  const unchecked = classesByBits(READ_ON_USE, at('memory'));
  if (!unchecked.some(({ expectation }) => expectation.vmrunMeetsIllegalPdptes))
    return [...classes, ...unchecked];
  return [
    ...classes,
    ...unchecked.map((one) => ({ ...one, pdptes: PDPTES.MEMORY })),
    ...classesByBits(PDPTES.MEMORY_CHECKED, at('memory, checked by VMRUN')),
  ];
}

/** Classes by MAXPHYADDR, up to where the scenario is not for processors with more. */
function classesByBits(pdptes: number, at: AtBits): ProcessorClass[] {
  const lowest = at(FEWEST_BITS);
  let above: ProcessorClass[] = [];
  let maxBits = ANY_BITS;
  // MAXPHYADDR makes a difference only where it passes a bit that some entry has: bit b means an address from b + 1 on.
  // From above, because most often none of them does, or bit 51 alone.
  for (let bit = MOST_BITS - 1; bit >= FEWEST_BITS; bit--) {
    if ((lowest.addressBits & (1 << (bit - FEWEST_BITS))) === 0) continue;
    const expectation = expectedAt(bit + 1, at);
    if (expectation?.key === lowest.key) break;
    if (expectation === undefined) above = [];
    else if (expectation.key !== above[0]?.expectation.key)
      above = [{ pdptes, maxBits, expectation }, ...above];
    maxBits = bit;
  }
  return [{ pdptes, maxBits, expectation: lowest }, ...above];
}

/** Undefined where the scenario reaches beyond its memory. */
function expectedAt(maxPhyAddr: number, at: AtBits): ScenarioExpectation | undefined {
  try {
    return at(maxPhyAddr);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
