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

/**
 * The parts with those of their scenarios whose names match any of the patterns; all where there is no pattern. Parts
 * without scenarios are left out.
 * @throws InputError for a pattern that matches no scenario
 */
export function selectScenarios(
  parts: readonly GridPart[],
  patterns: readonly string[],
): readonly GridPart[] {
  if (patterns.length === 0) return parts;
  const matchers = patterns.map(nameMatcher);
  const names = parts.flatMap(({ scenarios }) => scenarios.map(workName));
  const idle = patterns.find((_, index) => !names.some(matchers[index]));
  if (idle !== undefined) {
    throw new InputError(
      `No scenario's name matches "${idle}" among the ${names.length}, of which the first is ${names[0]}; --list shows all.`,
    );
  }
  const chosen = (work: Work): boolean => matchers.some((matches) => matches(workName(work)));
  return parts
    .map((part): GridPart => {
      const { on } = part;
      return 'group' in part
        ? { on, group: part.group, scenarios: part.scenarios.filter(chosen) }
        : { ...part, scenarios: part.scenarios.filter(chosen) };
    })
    .filter(({ scenarios }) => scenarios.length > 0);
}
