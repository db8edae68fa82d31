import fc from 'fast-check';
import type { Scenario } from '../scenario.ts';
import { rawScenario } from './arbitrary.ts';
import { repair } from './repair.ts';

/** Tries for a scenario that has any steps left; it hardly ever takes a second one. */
const MOST_TRIES = 100;

export const randomScenarioName = (seed: number, index: number): string => `random/${seed >>> 0}/${index}`;

/**
 * Scenario number `index` of a seed, always the same.
 * @param seed  32 bits
 * @param index 0 and up
 */
export function randomScenario(seed: number, index: number): Scenario {
  const name = randomScenarioName(seed, index);
  const raw = rawScenario(name);
  for (let attempt = 0; attempt < MOST_TRIES; attempt++) {
    const [scenario] = fc.sample(raw, { seed: mix(mix(mix(0, seed), index), attempt), numRuns: 1 });
    const repaired = repair(scenario);
    if (repaired !== undefined) return repaired;
  }
  throw new Error(`Seed ${seed} gives no scenario ${index} in ${MOST_TRIES} tries.`);
}

/** Mixes a number into a hash so that neighbours lie far apart: the finalizer of MurmurHash3, in the public domain. */
function mix(hash: number, value: number): number {
  let h = (hash ^ value) + 0x9e37_79b9;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) | 0;
}
