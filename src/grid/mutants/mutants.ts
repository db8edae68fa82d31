import { InputError } from '../../arch/input-error.ts';
import { HISTORICAL } from './historical.ts';
import type { Mutant } from './mutant.ts';
import { SYSTEMATIC } from './systematic.ts';

/** Every mutant of L0: KVM's bugs in the order of their mending, then each rule broken in turn. */
export const MUTANTS: readonly Mutant[] = [...HISTORICAL, ...SYSTEMATIC];

/** A mutant by name. Throws an InputError that lists the names if there is none. */
export function mutantNamed(name: string): Mutant {
  const mutant = MUTANTS.find((candidate) => candidate.name === name);
  if (mutant === undefined) {
    throw new InputError(`There is no mutant "${name}"; \`umbra mutants\` lists them.`);
  }
  return mutant;
}
