import { InputError } from '../../arch/input-error.ts';
import { HISTORICAL } from './historical.ts';
import type { Mutant } from './mutant.ts';
import { NESTED_HISTORICAL } from './nested-historical.ts';
import { NESTED_SYSTEMATIC } from './nested-systematic.ts';
import { SYSTEMATIC } from './systematic.ts';

/** Every mutant of L0: KVM's bugs, then each rule broken in turn; first those of shadow paging, then those of nested paging. */
export const MUTANTS: readonly Mutant[] = [
  ...HISTORICAL,
  ...SYSTEMATIC,
  ...NESTED_HISTORICAL,
  ...NESTED_SYSTEMATIC,
];

/** A mutant by name. Throws an InputError that lists the names if there is none. */
export function mutantNamed(name: string): Mutant {
  const mutant = MUTANTS.find((candidate) => candidate.name === name);
  if (mutant === undefined) {
    throw new InputError(`There is no mutant "${name}"; \`umbra mutants\` lists them.`);
  }
  return mutant;
}
