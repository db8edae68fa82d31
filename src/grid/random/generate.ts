import fc from 'fast-check';
import type { Scenario } from '../scenario.ts';
import { rawScenario } from './arbitrary.ts';
import { repair } from './repair.ts';

/** Tries for a scenario that has any steps left; it hardly ever takes a second one. */
const MOST_TRIES = 100;

/** Which random scenario. */
export interface RandomWork {
  /** 32 bits. */
  readonly seed: number;
  /** 0 and up. */
  readonly index: number;
  /** Of those in which L1 runs L2s with nested paging. */
  readonly nested?: true;
}

/** The scenario of that number and seed, of either kind. */
export const randomWork = (seed: number, index: number, nested: boolean): RandomWork =>
  nested ? { seed, index, nested } : { seed, index };

/** `random/1/0`, or with nested paging `random/nested/1/0`. */
export const randomScenarioName = ({ seed, index, nested }: RandomWork): string =>
  `random/${nested ? 'nested/' : ''}${seed >>> 0}/${index}`;

const RANDOM_NAME = /^random\/(nested\/)?(\d{1,16})\/(\d{1,16})$/;

/** The random scenario that has a name; undefined for other names. Its numbers may be too large. */
export function randomWorkNamed(name: string): RandomWork | undefined {
  const [, nested, seed, index] = RANDOM_NAME.exec(name) ?? [];
  return seed === undefined ? undefined : randomWork(Number(seed), Number(index), nested !== undefined);
}

/** The scenario, always the same. */
export function randomScenario(work: RandomWork): Scenario {
  const { seed, index, nested = false } = work;
  const raw = rawScenario(randomScenarioName(work), nested);
  for (let attempt = 0; attempt < MOST_TRIES; attempt++) {
    const [scenario] = fc.sample(raw, {
      seed: mix(mix(mix(nested ? 1 : 0, seed), index), attempt),
      numRuns: 1,
    });
    const repaired = repair(scenario);
    if (repaired !== undefined) return repaired;
  }
  throw new Error(`There is no ${randomScenarioName(work)} in ${MOST_TRIES} tries.`);
}

/** Mixes a number into a hash so that neighbours lie far apart: the finalizer of MurmurHash3, in the public domain. */
function mix(hash: number, value: number): number {
  let h = (hash ^ value) + 0x9e37_79b9;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) | 0;
}
