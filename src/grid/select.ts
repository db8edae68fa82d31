import { InputError } from '../arch/input-error.ts';
import { type Work, workName } from './execute.ts';
import type { GridPart } from './run-grid.ts';

/**
 * What a pattern matches: with `*` or `?` it is a glob over the whole name (`*` also matches slashes), without it any
 * part of the name.
 */
export function nameMatcher(pattern: string): (name: string) => boolean {
  if (!/[*?]/.test(pattern)) return (name) => name.includes(pattern);
  const literal = (text: string): string => text.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const glob = new RegExp(`^${literal(pattern).replaceAll('*', '.*').replaceAll('?', '.')}$`);
  return (name) => glob.test(name);
}

/** Some names, the first few of many, and how many they are: `3: a, b, c`, `9: a, b, c, d, e, ...`. */
export function firstNames(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_SHOWN);
  return `${names.length}: ${shown.join(', ')}${names.length > shown.length ? ', ...' : ''}`;
}

const NAMES_SHOWN = 5;

/**
 * Which of some names patterns choose. A pattern that is a name chooses this one alone, for others may contain it.
 * @throws InputError for a pattern that is empty or chooses none
 */
export function chooseNames(names: readonly string[], patterns: readonly string[]): ReadonlySet<string> {
  const known = new Set(names);
  return new Set(
    patterns.flatMap((pattern) => {
      if (pattern === '')
        throw new InputError('A pattern is empty, and would match every scenario; leave it away to run all.');
      const chosen = known.has(pattern) ? [pattern] : names.filter(nameMatcher(pattern));
      if (chosen.length > 0) return chosen;
      throw new InputError(
        `No scenario's name matches "${pattern}" among the ${names.length}, of which the first is ${names[0]}; umbra grid --list shows all.`,
      );
    }),
  );
}

/** The part with those of its scenarios that are wanted. */
export function withScenarios(part: GridPart, wanted: (work: Work) => boolean): GridPart {
  const { on } = part;
  return 'group' in part
    ? { on, group: part.group, scenarios: part.scenarios.filter(wanted) }
    : { ...part, scenarios: part.scenarios.filter(wanted) };
}

/**
 * The parts with those of their scenarios that patterns choose; all where there is no pattern. Parts without scenarios are
 * left out. Throws an InputError as `chooseNames`.
 */
export function selectScenarios(
  parts: readonly GridPart[],
  patterns: readonly string[],
): readonly GridPart[] {
  if (patterns.length === 0) return parts;
  const names = chooseNames(
    parts.flatMap(({ scenarios }) => scenarios.map(workName)),
    patterns,
  );
  const chosen = (work: Work): boolean => names.has(workName(work));
  return parts.map((part) => withScenarios(part, chosen)).filter(({ scenarios }) => scenarios.length > 0);
}
